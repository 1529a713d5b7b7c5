"""Building blocks of the transformer: norms, rotary positions, modulation, MLPs. Shapes are (batch, tokens,
channels)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _compiled_for_training() -> bool:
    """Within ``torch.compile``, but not within an export, whose graphs keep their form."""
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32 (Zhang & Sennrich 2019, arXiv
    1910.07467)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return y.to(x.dtype) * self.weight


def rope_tables(positions: Tensor, width: int, theta: float = 10000.0) -> Tensor:
    """Rotary tables (2, tokens, width) for ``positions`` (tokens,): each cosine twice, each sine as -sin,
    +sin (Su et al. 2021, arXiv 2104.09864)."""
    frequency = torch.exp(
        torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) * (-math.log(theta) / width)
    )
    angle = positions.float()[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, cos], -1), torch.stack([-sin, sin], -1)]).flatten(-2)


def rotate(x: Tensor, tables: Tensor) -> Tensor:
    """Turn adjacent channel pairs of ``x`` (B, heads, tokens, width) by ``tables`` (2, tokens, width)."""
    cos, sin = tables.to(x.dtype)
    if _compiled_for_training():  # the compiler vectorises no flip; the values are the same
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        c, s = cos[..., 0::2], sin[..., 1::2]
        return torch.stack([a * c - b * s, b * c + a * s], -1).flatten(-2)
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x * cos + swapped * sin


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x * (1 + scale) + shift."""
    return x * (1 + scale) + shift


class Modulation(nn.Module):
    """SiLU and a linear layer to ``parts`` vectors of ``width`` (Peebles & Xie 2022, "DiT", arXiv
    2212.09748)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, parts * width)

    def forward(self, vec: Tensor) -> Tensor:
        return self.linear(F.silu(vec))


class Mlp(nn.Module):
    """Linear, GELU (tanh), linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Projection(nn.Module):
    """Linear, SiLU, linear."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width_in, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class GatedMlp(nn.Module):
    """SwiGLU without bias: w2(silu(w1 x) * w3 x) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width_in: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width_in, hidden, bias=False)
        self.w2 = nn.Linear(hidden, hidden, bias=False)
        self.w3 = nn.Linear(width_in, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class TimeConv(nn.Module):
    """Convolution along the tokens ("same" padding) whose weight has Conv1d's shape (out, in, kernel).

    Computed as one matrix product over neighbouring tokens: that is what bf16 tile units and INT8 engines run
    fast.
    """

    def __init__(self, width_in: int, width_out: int, kernel: int, bias: bool) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        self.weight = nn.Parameter(torch.randn(width_out, width_in, kernel) / (width_in * kernel) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel == 1:
            return F.linear(x, self.weight[..., 0], self.bias)
        half, count = self.kernel // 2, x.shape[1]
        padded = F.pad(x, (0, 0, half, half))
        stacked = torch.cat([padded[:, k : k + count] for k in range(self.kernel)], dim=-1)
        return F.linear(stacked, self.weight.permute(0, 2, 1).flatten(1), self.bias)


class ConvMlp(nn.Module):
    """SwiGLU whose three maps are convolutions along the tokens."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.w1 = TimeConv(width, hidden, kernel, bias=False)
        self.w2 = TimeConv(hidden, width, kernel, bias=False)
        self.w3 = TimeConv(width, hidden, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class TimeEmbedding(nn.Module):
    """Time step (B,) in (0, 1000] -> (B, width): 256 sinusoids, cosines first, then a two-layer MLP."""

    def __init__(self, width: int, frequencies: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))
        self.pairs = frequencies // 2

    def forward(self, t: Tensor) -> Tensor:
        index = torch.arange(self.pairs, device=t.device, dtype=torch.float32)
        angle = t.float()[:, None] * torch.exp(index * (-math.log(10000.0) / self.pairs))
        dtype = cast(nn.Linear, self.mlp[0]).weight.dtype
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1).to(dtype))


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention; (B, heads, tokens, width) -> (B, tokens, heads * width)."""
    if _compiled_for_training():  # plain products: the fused kernel's gradient is slow on a CPU
        score = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        if mask is not None:
            score = score.masked_fill(~mask, -1e4)
        mixed = score.float().softmax(-1).to(v.dtype) @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)
