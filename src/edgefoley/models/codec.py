"""nano's audio codec: 48 kHz mono <-> 50 latents/s.

The encoder is an analysis without training by gradients: log power in 64 mel bands every 10 ms, two such
frames per latent, projected on their principal components and whitened. Every latent channel has zero mean
and unit variance, and the coarse channels come first, which suits flow matching.

The decoder is trained: ConvNeXt blocks (Liu et al. 2022, arXiv 2201.03545) refine the envelope that the
latents spell out and shape white noise with it, frame by frame; an inverse short-time Fourier transform makes
the wave (Siuzdak 2023, "Vocos", arXiv 2306.00814; filtered noise as in Engel et al. 2020, "DDSP", arXiv
2001.04643). Most foley is noise with an envelope, and noise need not be transmitted. The price: tones are
narrow bands of noise and sound hoarse. A branch for tones with predicted phase was tried and left out:
trained with spectral distances, it turned everything into a 200 Hz buzz (docs/LOG.md).

Frame j covers samples [240 j - 360, 240 j + 600): n latents are exactly 960 n samples and no frame is lost at
an edge. The first and last 7 ms of a wave are covered by fewer windows and fade in and out. The noise repeats
every ``noise_latents`` latents; a chunk that starts at a multiple of that hears the same noise as the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CodecConfig:
    """Sizes. ``hop`` samples per latent; ``frame_hop`` and ``window`` of the STFT in samples; ``bands`` of
    the analysis, ``subframes`` of it per latent; ``coarse_*`` blocks work at the latent rate, ``fine_*`` at
    ``hop / frame_hop`` times it; ``noise_latents`` period of the noise."""

    hop: int = 960
    frame_hop: int = 240
    window: int = 960
    latent_dim: int = 48
    bands: int = 64
    subframes: int = 2
    coarse_width: int = 384
    fine_width: int = 288
    coarse_depth: int = 2
    fine_depth: int = 4
    mlp_ratio: int = 3
    kernel: int = 7
    noise_latents: int = 50

    @property
    def fold(self) -> int:
        """STFT frames per latent."""
        return self.hop // self.frame_hop

    @property
    def bins(self) -> int:
        return self.window // 2 + 1

    @property
    def context_latents(self) -> int:
        """Latents of context for exact chunked decoding: the receptive field, rounded up to the noise's
        period."""
        half = self.kernel // 2
        fine = self.fine_depth * half + self.window // self.frame_hop
        reach = (1 + self.coarse_depth) * half + -(-fine // self.fold)
        return -(-reach // self.noise_latents) * self.noise_latents


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Hz -> mel."""
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def mel_bank(bins: int, bands: int, rate: int = 48_000) -> Tensor:
    """Triangular filters on the mel scale (bins, bands) from 30 Hz, each summing to one."""
    edges = np.linspace(mel(30.0), mel(rate / 2), bands + 2)
    at = mel(np.linspace(0, rate / 2, bins))[:, None]
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    bank = np.minimum((at - low) / (mid - low), (high - at) / (high - mid)).clip(0)
    nearest = np.abs(at - mid).argmin(0)  # a band narrower than a bin takes the nearest one
    empty = bank.sum(0) < 0.5
    bank[nearest[empty], np.flatnonzero(empty)] = 1.0
    return torch.tensor(bank / bank.sum(0), dtype=torch.float32)


def mel_interpolation(bands: int, bins: int, rate: int = 48_000) -> Tensor:
    """(bands, bins): linear interpolation on the mel scale from band centres to bins, held beyond the
    ends."""
    centres = np.linspace(mel(30.0), mel(rate / 2), bands + 2)[1:-1]
    at = mel(np.linspace(0, rate / 2, bins))
    return torch.tensor(np.stack([np.interp(at, centres, row) for row in np.eye(bands)]), dtype=torch.float32)


class BandAnalysis(nn.Module):
    """Wave (B, 960 n) -> whitened principal components of log band powers (B, D, n).

    ``centre`` (2 x bands,), ``analysis`` (2 x bands, D) and ``synthesis`` (D, 2 x bands) are set by ``fit``.
    """

    bank: Tensor
    hann: Tensor
    centre: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        width = config.subframes * config.bands
        self.register_buffer("bank", mel_bank(config.bins, config.bands), persistent=False)
        self.register_buffer("hann", torch.hann_window(config.window), persistent=False)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("analysis", torch.zeros(width, config.latent_dim))
        self.register_buffer("synthesis", torch.zeros(config.latent_dim, width))

    def levels(self, wave: Tensor) -> Tensor:
        """Log band powers (B, n, 2 x bands), floor -80 dB."""
        c = self.config
        step = c.hop // c.subframes
        side = (c.window - step) // 2
        frames = F.pad(wave, (side, side)).unfold(-1, c.window, step) * self.hann
        power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1) / self.hann.square().sum()
        level = (power @ self.bank + 1e-8).log()
        return level.reshape(level.shape[0], -1, c.subframes * c.bands)

    def fit(self, levels: Tensor) -> float:
        """Principal components of ``levels`` (rows, 2 x bands). Returns the share of variance they keep."""
        centre = levels.double().mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((levels.double() - centre).T))
        order = values.argsort(descending=True)[: self.config.latent_dim]
        std = values[order].clamp(min=1e-8).sqrt()
        self.centre.copy_(centre)
        self.analysis.copy_(vectors[:, order] / std)
        self.synthesis.copy_((vectors[:, order] * std).T)
        return float(values[order].sum() / values.sum())

    def forward(self, wave: Tensor) -> Tensor:
        return ((self.levels(wave) - self.centre) @ self.analysis).transpose(1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, normalisation, MLP, scaled residual; (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, ratio: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, ratio * width)
        self.project = nn.Linear(ratio * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.project(F.gelu(self.expand(self.norm(y)), approximate="tanh"))


def _blocks(depth: int, width: int, config: CodecConfig) -> nn.Sequential:
    return nn.Sequential(
        *(ConvNeXtBlock(width, config.mlp_ratio, config.kernel, 1.0 / max(1, depth)) for _ in range(depth))
    )


class CodecDecoder(nn.Module):
    """Latents (B, D, n) -> wave (B, 1, 960 n)."""

    centre: Tensor
    synthesis: Tensor
    interpolation: Tensor
    noise: Tensor
    hann: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        c = self.config = config
        self.inp = nn.Conv1d(c.latent_dim, c.coarse_width, c.kernel, padding=c.kernel // 2)
        self.coarse = _blocks(c.coarse_depth, c.coarse_width, c)
        self.unfold = nn.Linear(c.coarse_width, c.fold * c.fine_width)
        self.fine = _blocks(c.fine_depth, c.fine_width, c)
        self.norm = nn.LayerNorm(c.fine_width)
        self.out = nn.Linear(c.fine_width, c.bins)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)  # begin as noise filtered by the latents' envelope
        width = c.subframes * c.bands
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("synthesis", torch.zeros(c.latent_dim, width))
        self.register_buffer("interpolation", mel_interpolation(c.bands, c.bins), persistent=False)
        self.register_buffer("hann", torch.hann_window(c.window), persistent=False)
        self.register_buffer("noise", self._noise(), persistent=False)

    def _noise(self) -> Tensor:
        """Spectra (frames, 2 x bins) of the windows of a periodic white noise; the same on every machine."""
        c = self.config
        count = c.noise_latents * c.hop
        bits = np.random.Generator(np.random.PCG64(0)).integers(0, 2**32, count, dtype=np.uint64)
        wave = (bits / 2**31 - 1) * np.sqrt(3)  # uniform, unit variance
        starts = np.arange(c.noise_latents * c.fold) * c.frame_hop - (c.window - c.frame_hop) // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(c.window) / c.window)
        frames = wave[(starts[:, None] + np.arange(c.window)) % count] * hann
        spectrum = np.fft.rfft(frames)
        return torch.tensor(np.concatenate([spectrum.real, spectrum.imag], axis=1), dtype=torch.float32)

    def spectrum(self, latents: Tensor, noise_offset: int = 0) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (B, 4 n, bins) of each frame. ``noise_offset`` (frames) shifts the
        noise."""
        c = self.config
        x = self.coarse(self.inp(latents).transpose(1, 2))
        batch, count, _ = x.shape
        x = self.fine(self.unfold(x).reshape(batch, count * c.fold, c.fine_width))
        shape = self.out(self.norm(x)).float()
        level = latents.transpose(1, 2).float() @ self.synthesis + self.centre
        level = level.reshape(batch, count * c.subframes, 1, c.bands) @ self.interpolation
        level = 0.5 * level.expand(-1, -1, c.fold // c.subframes, -1).reshape(batch, count * c.fold, c.bins)
        frame = (torch.arange(count * c.fold, device=latents.device) + noise_offset) % self.noise.shape[0]
        real, imag = self.noise.index_select(0, frame).chunk(2, dim=-1)
        gain = (level + shape).clamp(max=3.0).exp()
        return gain * real, gain * imag

    def forward(self, latents: Tensor, noise_offset: int = 0) -> Tensor:
        real, imag = self.spectrum(latents, noise_offset)
        c = self.config
        frames = torch.fft.irfft(torch.complex(real, imag), n=c.window) * self.hann
        length = (frames.shape[1] - 1) * c.frame_hop + c.window
        wave = F.fold(frames.transpose(1, 2), (1, length), (1, c.window), stride=(1, c.frame_hop))
        side = (c.window - c.frame_hop) // 2
        return wave[:, :, 0, side : length - side] / 1.5  # Hann squared at 75 % overlap sums to 1.5


class ExportDecoder(nn.Module):
    """The decoder as it is exported: the inverse STFT as one transposed convolution.

    Its kernel (inverse Fourier basis times window) is computed in the graph from ranges and cosines, so the
    file does not carry it; the engine folds it when it loads.
    """

    def __init__(self, decoder: CodecDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        c = self.decoder.config
        real, imag = self.decoder.spectrum(latents)
        n = torch.arange(c.window, dtype=torch.float32)
        k = torch.arange(c.bins, dtype=torch.float32)[:, None]
        # Reduced by the period before the cosine, so that float32 keeps its accuracy at large products.
        angle = torch.remainder(k * n, float(c.window)) * (2 * torch.pi / c.window)
        inner = torch.minimum(k, c.window / 2 - k).clamp(max=1.0)  # 0 at bins 0 and N/2, 1 elsewhere
        weight = (1 + inner) / c.window / 1.5  # one-sided spectrum: inner bins count twice
        hann = 0.5 - 0.5 * torch.cos(n * (2 * torch.pi / c.window))
        basis = torch.cat([weight * angle.cos() * hann, -weight * angle.sin() * hann])[:, None]
        spectrum = torch.cat([real, imag], dim=-1).transpose(1, 2)
        wave = F.conv_transpose1d(spectrum, basis, stride=c.frame_hop)
        side = (c.window - c.frame_hop) // 2
        return wave[:, :, side:-side]


class Codec(nn.Module):
    """Analysis and decoder."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config or CodecConfig()
        self.encoder = BandAnalysis(self.config)
        self.decoder = CodecDecoder(self.config)

    def fit(self, levels: Tensor) -> float:
        """Set the principal components of both halves from ``levels``; returns the share of variance kept."""
        share = self.encoder.fit(levels)
        self.decoder.centre.copy_(self.encoder.centre)
        self.decoder.synthesis.copy_(self.encoder.synthesis)
        return share

    def encode(self, wave: Tensor) -> Tensor:
        """Wave (B, 960 n) -> latents (B, D, n)."""
        made: Tensor = self.encoder(wave)
        return made

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, D, n) -> wave (B, 1, 960 n)."""
        made: Tensor = self.decoder(latents)
        return made
