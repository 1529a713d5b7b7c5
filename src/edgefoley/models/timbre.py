"""Timbre: what the sound of one recording is like, whenever it happens, as rows that stand beside the words.

A small network has to keep in its weights what every word sounds like. nano's is relieved of that: it is
shown the *timbre* of an example of each sound that the words name, and learns to make sounds of that timbre
at the right times. This is retrieval-augmented generation (for sound: Yuan et al. 2023, arXiv 2309.08051),
with a vector in the place of a recording.

Shapes: B batch, K examples, R raw statistics of latents (``train.timbre``), P their principal components,
D width of ``text_feat``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 512
COURSE = (0, 1, 2, 4, 8, 16, 32)  # latents after an event at which its course is taken
GROUPS = 4  # of frames, from the loudest to the quietest


def timbre_width(latent_dim: int) -> int:
    """Raw statistics of one timbre: groups of frames, fluctuation, the course of an event, a flag."""
    return latent_dim * (GROUPS + 2 + len(COURSE)) + 1


class Timbre(nn.Module):
    """Raw statistics (B, K, R) -> a row for the attention to the text (B, K, D) and one for the sentence
    vector (B, K, D). ``mean`` and ``basis`` whiten the statistics: they are fitted, not trained."""

    mean: Tensor
    basis: Tensor

    def __init__(self, raw: int, components: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(raw))
        self.register_buffer("basis", torch.zeros(components, raw))
        # Normalised, the rows are as large as a text's from the start; without, they were a fifth of it and
        # 500 steps changed nothing.
        self.hidden = nn.Sequential(
            nn.Linear(components, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.LayerNorm(HIDDEN, elementwise_affine=False),
        )
        self.row, self.pooled = nn.Linear(HIDDEN, width), nn.Linear(HIDDEN, width)
        # A sound of no particular timbre changes nothing of the sentence until that has been learnt.
        nn.init.zeros_(self.pooled.weight)
        nn.init.zeros_(self.pooled.bias)

    def whiten(self, raw: Tensor) -> Tensor:
        """Raw statistics (..., R) -> principal components (..., P) of about unit variance."""
        return (raw - self.mean) @ self.basis.T

    def forward(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """(..., P) -> rows (..., D) and additions to the sentence vector (..., D)."""
        x = self.hidden(components)
        return self.row(x), self.pooled(x)


def join(text: Tensor, mask: Tensor, rows: Tensor, pooled: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Words and timbres as one text: (B, T + K, D) and its mask.

    ``text`` (B, T, D) with the sentence vector first, ``mask`` (B, T) bool; ``rows``, ``pooled`` (B, K, D) of
    the examples of which ``shown`` (B, K) bool are there. An example's row stands between the sentence vector
    and the words; the mean of what they add joins the sentence vector. Where none is shown the text is as it
    was. Padding ends up last, as in a batch of texts.
    """
    share = shown.float() / shown.sum(1, keepdim=True).clamp(min=1)
    first = text[:, :1] + (share[..., None] * pooled).sum(1, keepdim=True)
    joined = torch.cat([first, rows.to(text.dtype), text[:, 1:]], 1)
    there = torch.cat([mask[:, :1], shown, mask[:, 1:]], 1)
    order = torch.argsort((~there).to(torch.int8), dim=1, stable=True)
    return joined.gather(1, order[..., None].expand_as(joined)), there.gather(1, order)
