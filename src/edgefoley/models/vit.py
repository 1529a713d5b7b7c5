"""Building blocks of the published vision transformers (Synchformer, SigLIP2), under their published key
names.

Pixels are 8-bit RGB, (..., height, width, 3). A patch embedding is published as a convolution whose stride
is its kernel; here it is one matrix product over unfolded patches, the same sums, which every engine runs
fast and can store in INT8.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.models.layers import attention


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, n, parts * width), layout (part, head, d) -> ``parts`` of (B, heads, n, d)."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class PatchEmbedding(nn.Module):
    """Cuboids of ``kernel`` = (frames, height, width) -> one token each.

    frames (B, T, H, W, 3) uint8 -> (B, tokens, width), tokens in the order time, row, column. ``weight`` has
    the shape of the convolution it is published as: (width, 3, *kernel), without the first axis of ``kernel``
    when ``flat``.
    """

    def __init__(self, width: int, kernel: tuple[int, int, int], flat: bool = False) -> None:
        super().__init__()
        shape = (width, 3, *(kernel[1:] if flat else kernel))
        self.kernel = kernel
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(math.prod(shape[1:])))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, frames: Tensor) -> Tensor:
        pixels = (frames.to(torch.float32) / 255 - 0.5) / 0.5  # both networks were trained on -1..1
        for axis, size in zip((3, 2, 1), reversed(self.kernel), strict=True):
            pixels = pixels.unflatten(axis, (-1, size))
        # (B, T, t, H, h, W, w, 3) -> (B, T, H, W, 3, t, h, w): inside a token the weight's own order
        tokens = pixels.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(4).flatten(1, 3)
        return F.linear(tokens.to(self.weight.dtype), self.weight.flatten(1), self.bias)


class PooledAttention(nn.Module):
    """Multi-head attention of a few query rows to all rows, with the key names of
    ``torch.nn.MultiheadAttention`` (one matrix for query, key and value).

    Both networks keep a single row of its result, so only that row is computed: nothing else can reach it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) / math.sqrt(width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """queries (B, Q, width), x (B, n, width) -> (B, Q, width)."""
        width = x.shape[-1]
        q = F.linear(queries, self.in_proj_weight[:width], self.in_proj_bias[:width])
        kv = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        k, v = split_heads(kv, 2, self.heads)
        return self.out_proj(attention(split_heads(q, 1, self.heads)[0], k, v))
