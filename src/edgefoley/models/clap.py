"""CLAP's text tower: token numbers of an English prompt -> one row of 768 per token (HunyuanVideo-Foley's
text encoder).

Wu et al. 2023, "Large-scale contrastive language-audio pretraining", arXiv 2211.06687, as published in
``laion/larger_clap_general`` (Apache-2.0): a RoBERTa (Liu et al. 2019, arXiv 1907.11692) with normalisation
last. HunyuanVideo-Foley reads its last hidden states; the pooler and the projection into the space of
sounds are unused.

How the reference calls it, which an exact port has to follow:

- The negative prompt and the prompt are tokenised as one batch [negative, prompt]; the shorter one is
  padded with ``PAD_ID`` to the length of the longer.
- Inside this tower no token attends to padding, but padding has rows of its own (all of a prompt's padding
  rows are equal: same word, same position, same keys), and the transformer later attends to them like to
  words. So the length of one prompt changes the result of the other.
- Positions count from ``PAD_ID`` + 1, padding stands at ``PAD_ID``; at most 512 tokens have one.
- Rows are cut to ``kept_tokens`` after the tower, so that a later word still colours the rows that are kept.

State-dict keys are the published ones (``text_model.…``); the published file holds the sound tower besides:
see ``unused_keys``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.models.layers import attention
from edgefoley.models.vit import split_heads

PAD_ID: Final = 1
NORM_EPS: Final = 1e-12

# `position_ids` and `token_type_ids` are a count and zeros, stored by some versions of the library that
# wrote the file.
_UNUSED = (
    "audio_model.", "audio_projection.", "text_projection.", "logit_scale", "text_model.pooler.",
    "text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids",
)  # fmt: skip


@dataclass(frozen=True)
class ClapConfig:
    """Sizes; the defaults are those of ``larger_clap_general``. ``positions`` is the length of the table,
    whose first two rows no token uses; ``kept_tokens`` rows of the result, HunyuanVideo-Foley's
    ``text_length``."""

    vocab_size: int = 50265
    positions: int = 514
    width: int = 768
    heads: int = 12
    depth: int = 12
    mlp_width: int = 3072
    kept_tokens: int = 77

    @property
    def max_tokens(self) -> int:
        """Longest prompt in tokens."""
        return self.positions - PAD_ID - 1


def unused_keys(keys: Iterable[str]) -> list[str]:
    """Those of a published state dict's ``keys`` that the text tower has no use for."""
    return [key for key in keys if key.startswith(_UNUSED)]


class _Embeddings(nn.Module):
    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(1, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=NORM_EPS)

    def forward(self, token_ids: Tensor) -> Tensor:
        real = (token_ids != PAD_ID).long()
        position = torch.cumsum(real, dim=1) * real + PAD_ID
        x = self.word_embeddings(token_ids) + self.token_type_embeddings.weight
        return self.LayerNorm(x + self.position_embeddings(position))


class _SelfAttention(nn.Module):
    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value = (nn.Linear(config.width, config.width) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (split_heads(part(x), 1, self.heads)[0] for part in (self.query, self.key, self.value))
        return attention(q, k, v, mask)


class _Output(nn.Module):
    """A linear map, added to what it started from, then normalised."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(width_in, width), nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(y) + x)


class _Layer(nn.Module):
    """Attention and an MLP with exact GELU, under RoBERTa's nested names."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        w = config.width
        self.attention = nn.ModuleDict({"self": _SelfAttention(config), "output": _Output(w, w)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(w, config.mlp_width)})
        self.output = _Output(config.mlp_width, w)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class _Encoder(nn.Module):
    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class _TextModel(nn.Module):
    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = _Embeddings(config), _Encoder(config)

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(self.embeddings(token_ids), mask)


class ClapText(nn.Module):
    """token_ids (B, T) int64, mask (B, T) float (1 token, 0 padding) -> text_feat (B, min(T, 77), 768).

    Padded rows are not zero; see the module's text. Raises ValueError when T is above ``config.max_tokens``;
    the reference fails there, too.
    """

    def __init__(self, config: ClapConfig | None = None) -> None:
        super().__init__()
        self.config = ClapConfig() if config is None else config
        self.text_model = _TextModel(self.config)

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        if token_ids.shape[1] > self.config.max_tokens:
            raise ValueError(
                f"CLAP's text tower takes at most {self.config.max_tokens} tokens, got {token_ids.shape[1]}; "
                "cut the prompt when it is tokenised"
            )
        rows = self.text_model(token_ids, mask[:, None, None] > 0)
        return rows[:, : self.config.kept_tokens]
