"""From magnitudes to a wave, with plain operations that every engine has.

A spectrogram of smooth magnitudes and arbitrary phases is not the spectrogram of any wave: what is heard
fluctuates like noise and tones are hoarse. Griffin & Lim (1984) alternate between the wave that comes closest
and the magnitudes that were asked for; with momentum (Perraudin et al. 2013) three rounds do most of what
forty would, and they cost less than the network before them.

The transforms are the exact real DFT as products with matrices. Splitting into even and odd samples about the
middle and then into even and odd bins makes four matrices of a quarter the size: 4 times less arithmetic than
the plain product, no complex numbers, and no engine needs an FFT. Bins are therefore kept in the order
``bin_order``: even ones first. Left out: a full FFT, which is less arithmetic still but slower in engines
that only have products.

Frame j of a wave covers samples [hop j - side, hop j - side + window), side = (window - hop) / 2, and hop is
a quarter of the window; outside the wave there is silence.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Bases(NamedTuple):
    """Matrices (samples, bins) of ``dft_bases``: cosines of even and of odd bins, sines of even bins, and the
    Hann window (window,). Those of even bins are symmetric. The sines of odd bins are the cosines with the
    samples in reverse and every other bin's ``sign`` turned."""

    cos_even: Tensor
    cos_odd: Tensor
    sin_even: Tensor
    sign: Tensor
    hann: Tensor


def dft_bases(window: int) -> Bases:
    """The matrices for frames of ``window`` samples, a multiple of 4."""
    half, quarter = window // 2, window // 4

    def angle(samples: Tensor, bins: Tensor) -> Tensor:
        # Reduced by the period before the cosine, so that float32 keeps its accuracy at large products.
        return torch.remainder(samples[:, None] * bins, float(window)) * (2 * math.pi / window)

    def count(first: int, last: int, step: int = 1) -> Tensor:
        return torch.arange(first, last, step, dtype=torch.float32)

    return Bases(
        angle(count(0, quarter + 1), count(0, half + 1, 2)).cos(),
        angle(count(0, quarter), count(1, half, 2)).cos(),
        angle(count(1, quarter), count(2, half, 2)).sin(),
        1 - 2 * torch.remainder(count(0, quarter), 2.0),
        0.5 - 0.5 * torch.cos(count(0, window) * (2 * math.pi / window)),
    )


def bin_order(window: int) -> list[int]:
    """The order in which bins are kept: 0, 2, …, window / 2, then 1, 3, …"""
    half = window // 2
    return [*range(0, half + 1, 2), *range(1, half, 2)]


def transform(frames: Tensor, bases: Bases) -> tuple[Tensor, Tensor]:
    """Frames (…, window) -> real and imaginary part (…, window / 2 + 1) in ``bin_order``; no window
    applied."""
    half = frames.shape[-1] // 2
    first, second = frames[..., 1:half], frames[..., half + 1 :].flip(-1)
    even = torch.cat([frames[..., :1], first + second, frames[..., half : half + 1]], dim=-1)
    odd = second - first  # the sign of the forward transform
    q = half // 2
    low, high = even[..., :q], even[..., q + 1 :].flip(-1)
    real = [
        torch.cat([low + high, even[..., q : q + 1]], dim=-1) @ bases.cos_even,
        (low - high) @ bases.cos_odd,
    ]
    low, high = odd[..., : q - 1], odd[..., q:].flip(-1)
    reverse = torch.cat([odd[..., q - 1 : q], (low + high).flip(-1)], dim=-1)
    imag = [(low - high) @ bases.sin_even, (reverse @ bases.cos_odd) * bases.sign]
    zero = torch.zeros_like(real[0][..., :1])
    return torch.cat(real, dim=-1), torch.cat([zero, imag[0], zero, imag[1]], dim=-1)


def inverse(real: Tensor, imag: Tensor, bases: Bases) -> Tensor:
    """The inverse of ``transform``, times window / 2: (…, window / 2 + 1) twice -> frames (…, window)."""
    half = 2 * (real.shape[-1] // 2)
    q = half // 2
    ends = real[..., :1], real[..., q : q + 1]  # bins 0 and window / 2 count once, the others twice
    inner = torch.cat([0.5 * ends[0], real[..., 1:q], 0.5 * ends[1]], dim=-1)
    even, odd = inner @ bases.cos_even, real[..., q + 1 :] @ bases.cos_odd.T
    cosines = torch.cat([even[..., :q] + odd, even[..., q : q + 1], (even[..., :q] - odd).flip(-1)], dim=-1)
    even = imag[..., 1:q] @ bases.sin_even
    odd = ((imag[..., q + 1 :] * bases.sign) @ bases.cos_odd.T).flip(-1)
    inner = odd[..., : q - 1]
    sines = torch.cat([inner + even, odd[..., q - 1 :], (inner - even).flip(-1)], dim=-1)
    middle = cosines[..., 1:half]
    frames = [cosines[..., :1], middle - sines, cosines[..., half:], (middle + sines).flip(-1)]
    return torch.cat(frames, dim=-1)


def frames_of(wave: Tensor, hann: Tensor) -> Tensor:
    """Wave (B, hop n) -> windowed frames (B, n, window)."""
    hop = hann.shape[0] // 4
    side = torch.zeros_like(wave[:, : 3 * hop // 2])
    blocks = torch.cat([side, wave, side], dim=1).unflatten(1, (-1, hop))
    count = blocks.shape[1] - 3
    return torch.cat([blocks[:, i : i + count] for i in range(4)], dim=-1) * hann


def overlap_add(frames: Tensor, hann: Tensor, gain: float = 1.0) -> Tensor:
    """Frames (B, n, window) -> the wave (B, hop n) whose windowed frames, over ``gain``, come closest.

    The ends, which fewer windows cover, keep their level.
    """
    hop = hann.shape[0] // 4
    parts = (frames * (hann * (gain / 1.5))).unflatten(2, (4, hop))  # what Hann squared sums to
    edge = torch.zeros_like(parts[:, :3, 0])
    blocks = [torch.cat([edge[:, :i], parts[:, :, i], edge[:, i:]], dim=1) for i in range(4)]
    wave = (blocks[0] + blocks[1] + blocks[2] + blocks[3]).flatten(1)
    side = 3 * hop // 2
    head, tail = _edge_gains(hann)
    wave = wave[:, side : wave.shape[1] - side]
    return torch.cat([wave[:, :side] * head, wave[:, side:-side], wave[:, -side:] * tail], dim=1)


def _edge_gains(hann: Tensor) -> tuple[Tensor, Tensor]:
    """Gains (3 hop / 2,) of the first and the last samples: 1.5 over the sum of the squared windows there."""
    hop = hann.shape[0] // 4
    blocks = hann.square().unflatten(0, (4, hop))
    half = hop // 2
    # What the windows that begin before the wave (or after its end) would have added is missing.
    missing = torch.stack([blocks[1:].sum(0), blocks[2:].sum(0), blocks[3]]).flatten()
    head = 1.5 / (1.5 - missing[3 * half :])
    missing = torch.stack([blocks[0], blocks[:2].sum(0), blocks[:3].sum(0)]).flatten()
    return head, 1.5 / (1.5 - missing[: 3 * half])


def griffin_lim(
    magnitude: Tensor, start: tuple[Tensor, Tensor], gate: Tensor, rounds: int, momentum: float, bases: Bases
) -> Tensor:
    """Wave (B, hop n) whose frames have nearly the given ``magnitude`` (B, n, bins), from the phases and
    levels of ``start`` (real and imaginary part). ``gate`` (B, hop n) multiplies the wave in every round:
    what it closes stays closed, and the next round gives the frame's power to what is open."""

    def wave(real: Tensor, imag: Tensor) -> Tensor:
        return overlap_add(inverse(real, imag, bases), bases.hann, 2 / len(bases.hann)) * gate

    made = wave(*start)
    before: tuple[Tensor, Tensor] | None = None
    for _ in range(rounds):
        now = transform(frames_of(made, bases.hann), bases)
        real, imag = now
        if before is not None:
            real, imag = real + momentum * (real - before[0]), imag + momentum * (imag - before[1])
        before = now
        # Not "+ 1e-12": the exporter takes an addend as small as that for nothing, and 0 / 0 is left.
        scale = magnitude * torch.rsqrt((real.square() + imag.square()).clamp(min=1e-12))
        made = wave(scale * real, scale * imag)
    return made
