"""nano's text encoder: token numbers of an English or Chinese prompt -> a few vectors that steer the sound.

A small pre-norm transformer (Vaswani et al. 2017, arXiv 1706.03762; normalisation first as in Xiong et al.
2020, arXiv 2002.04745). Position 0 holds the [CLS] token and its output is the sentence vector; the other
positions describe the words around it. Attention is written out with plain products so that the exported
graph has dynamic batch and length and no fused operator a back end may lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Added to the scores of padded keys: exp() of it is exactly 0 in FP32, and it does not overflow in FP16.
_MASKED: Final = -1e4


@dataclass(frozen=True)
class TextConfig:
    """Sizes. ``max_tokens`` bounds the length, [CLS] included; ``text_dim`` is the width of ``text_feat``;
    ``embed_width`` of a token's own vector, widened by one matrix that all tokens share (as in ALBERT, Lan et
    al. 2020, arXiv 1909.11942), 0: as wide as the network."""

    vocab_size: int = 6000
    width: int = 192
    depth: int = 3
    heads: int = 6
    mlp_width: int = 576
    max_tokens: int = 32
    text_dim: int = 256
    embed_width: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")


# 3.0 million numbers, 6 MB in FP16, of a budget of 8 MB: most of them tell 14,000 words and characters. Two
# blocks are enough for phrases, and training them takes minutes.
NANO_TEXT: Final = TextConfig(
    vocab_size=14000, width=256, depth=2, heads=8, mlp_width=512, max_tokens=48, embed_width=128
)


class _Block(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.mlp_width)
        self.down = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        query, key, value = (
            part.reshape(shape).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(attended)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TextEncoder(nn.Module):
    """Token numbers to ``text_feat``; see the module's docstring."""

    def __init__(self, config: TextConfig | None = None) -> None:
        super().__init__()
        config = config or TextConfig()
        self.config = config
        self.token = nn.Embedding(config.vocab_size, config.embed_width or config.width)
        self.widen = (
            nn.Linear(config.embed_width, config.width, bias=False) if config.embed_width else nn.Identity()
        )
        self.position = nn.Parameter(torch.zeros(config.max_tokens, config.width))
        self.drop = nn.Dropout(0.0)  # training sets its rate
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.text_dim)
        nn.init.normal_(self.token.weight, std=0.05)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """``token_ids`` (B, T) int64 in [0, vocab_size), [CLS] first, 1 <= T <= max_tokens; ``mask`` (B, T)
        float, 1 for a token and 0 for padding. Returns ``text_feat`` (B, T, text_dim): the sentence vector
        at position 0 (trained to a root mean square of about 1), 0 at padded positions. The padding never
        changes the rest."""
        bias = ((1.0 - mask) * _MASKED)[:, None, None, :]
        x = self.drop(self.widen(self.token(token_ids)) + self.position[: token_ids.shape[1]])
        for block in self.blocks:
            x = block(x, bias)
        return self.head(self.norm(x)) * mask[:, :, None]
