"""nano's audio codec: 48 kHz mono <-> 50 latents/s, a ConvNeXt auto-encoder between two short-time Fourier transforms.

The encoder reads a complex spectrogram (20 ms window, 5 ms hop) and folds four frames into one latent; the decoder
unfolds each latent into four frames and predicts log-magnitude and phase, from which an inverse STFT makes the wave.
An inverse-STFT head costs two orders of magnitude less than stacks of transposed convolutions (Siuzdak 2023,
"Vocos", arXiv 2306.00814); the blocks are those of ConvNeXt (Liu et al. 2022, arXiv 2201.03545). It is a variational
auto-encoder: each latent is a diagonal Gaussian, so that the flow-matching transformer meets a smooth space.

Frame j covers samples [240 j - 360, 240 j + 600): n latents are exactly 960 n samples and no frame is lost at an edge.
The first and last 7 ms of a wave are covered by fewer windows and fade in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CodecConfig:
    """Sizes. ``hop`` samples per latent; ``frame_hop`` and ``window`` of the STFT in samples; ``coarse_*`` blocks work
    at the latent rate, ``fine_*`` at ``hop / frame_hop`` times it."""

    hop: int = 960
    frame_hop: int = 240
    window: int = 960
    latent_dim: int = 32
    coarse_width: int = 384
    fine_width: int = 288
    encoder_fine_depth: int = 2
    encoder_coarse_depth: int = 2
    decoder_coarse_depth: int = 2
    decoder_fine_depth: int = 4
    mlp_ratio: int = 3
    kernel: int = 7

    @property
    def fold(self) -> int:
        """STFT frames per latent."""
        return self.hop // self.frame_hop

    @property
    def bins(self) -> int:
        return self.window // 2 + 1

    @property
    def context_latents(self) -> int:
        """Latents on either side that can influence one latent's samples in the decoder (exact chunked decoding)."""
        half = self.kernel // 2
        fine = self.decoder_fine_depth * half + self.window // self.frame_hop
        return (1 + self.decoder_coarse_depth) * half + -(-fine // self.fold)


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


class CodecEncoder(nn.Module):
    """Wave (B, 960 n) -> mean and log-variance (B, D, n)."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.inp = nn.Linear(2 * config.bins, config.fine_width)
        self.fine = _blocks(config.encoder_fine_depth, config.fine_width, config)
        self.fold = nn.Linear(config.fold * config.fine_width, config.coarse_width)
        self.coarse = _blocks(config.encoder_coarse_depth, config.coarse_width, config)
        self.norm = nn.LayerNorm(config.coarse_width)
        self.out = nn.Linear(config.coarse_width, 2 * config.latent_dim)
        self.register_buffer("hann", torch.hann_window(config.window), persistent=False)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        side = (c.window - c.frame_hop) // 2
        frames = F.pad(wave, (side, side)).unfold(-1, c.window, c.frame_hop) * self.hann
        spectrum = torch.view_as_real(torch.fft.rfft(frames)) / c.window**0.5
        # Compressed amplitude, phase kept: quiet detail is as visible as loud events.
        power = spectrum.square().sum(-1, keepdim=True)
        spectrum = spectrum * (power + 1e-8).pow(-0.35)
        x = self.fine(self.inp(spectrum.flatten(-2)))
        batch, frames_count, width = x.shape
        x = self.fold(x.reshape(batch, frames_count // c.fold, c.fold * width))
        mean, logvar = self.out(self.norm(self.coarse(x))).float().transpose(1, 2).chunk(2, dim=1)
        return mean, logvar.clamp(-12.0, 4.0)


class CodecDecoder(nn.Module):
    """Latents (B, D, n) -> wave (B, 1, 960 n)."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.inp = nn.Conv1d(config.latent_dim, config.coarse_width, config.kernel, padding=config.kernel // 2)
        self.coarse = _blocks(config.decoder_coarse_depth, config.coarse_width, config)
        self.unfold = nn.Linear(config.coarse_width, config.fold * config.fine_width)
        self.fine = _blocks(config.decoder_fine_depth, config.fine_width, config)
        self.norm = nn.LayerNorm(config.fine_width)
        self.out = nn.Linear(config.fine_width, 2 * config.bins)
        self.register_buffer("hann", torch.hann_window(config.window), persistent=False)
        self.register_buffer("latent_mean", torch.zeros(config.latent_dim))
        self.register_buffer("latent_std", torch.ones(config.latent_dim))

    def spectrum(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (B, 4 n, bins) of each frame."""
        c = self.config
        x = self.coarse(self.inp(latents).transpose(1, 2))
        batch, count, _ = x.shape
        x = self.fine(self.unfold(x).reshape(batch, count * c.fold, c.fine_width))
        log_magnitude, phase = self.out(self.norm(x)).float().chunk(2, dim=-1)
        magnitude = log_magnitude.clamp(max=6.0).exp()
        return magnitude * phase.cos(), magnitude * phase.sin()

    def forward(self, latents: Tensor) -> Tensor:
        real, imag = self.spectrum(latents)
        c = self.config
        frames = torch.fft.irfft(torch.complex(real, imag), n=c.window) * (self.hann * c.window**0.5)
        length = (frames.shape[1] - 1) * c.frame_hop + c.window
        wave = F.fold(frames.transpose(1, 2), (1, length), (1, c.window), stride=(1, c.frame_hop))
        side = (c.window - c.frame_hop) // 2
        return wave[:, :, 0, side : length - side] / 1.5  # Hann squared at 75 % overlap sums to 1.5


class ExportDecoder(nn.Module):
    """The decoder as it is exported: normalised latents in, and the inverse STFT as one transposed convolution.

    The transposed convolution's kernel (inverse Fourier basis times window) is computed in the graph from ranges and
    cosines, so the file does not carry it; the engine folds it when it loads.
    """

    def __init__(self, decoder: CodecDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        d = self.decoder
        c = d.config
        real, imag = d.spectrum(latents * d.latent_std[:, None] + d.latent_mean[:, None])
        n = torch.arange(c.window, dtype=torch.float32)
        k = torch.arange(c.bins, dtype=torch.float32)[:, None]
        # Reduced by the period before the cosine, so that float32 keeps its accuracy at large products.
        angle = torch.remainder(k * n, float(c.window)) * (2 * torch.pi / c.window)
        inner = torch.minimum(k, c.window / 2 - k).clamp(max=1.0)  # 0 at bins 0 and N/2, 1 elsewhere
        weight = (1 + inner) / c.window**0.5 / 1.5  # one-sided spectrum: inner bins count twice
        hann = 0.5 - 0.5 * torch.cos(n * (2 * torch.pi / c.window))
        basis = torch.cat([weight * angle.cos() * hann, -weight * angle.sin() * hann])[:, None]
        spectrum = torch.cat([real, imag], dim=-1).transpose(1, 2)
        wave = F.conv_transpose1d(spectrum, basis, stride=c.frame_hop)
        side = (c.window - c.frame_hop) // 2
        return wave[:, :, side:-side]


class Codec(nn.Module):
    """Encoder and decoder; ``latent_mean`` and ``latent_std`` (D,) normalise latents for the transformer."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config or CodecConfig()
        self.encoder = CodecEncoder(self.config)
        self.decoder = CodecDecoder(self.config)

    def encode(self, wave: Tensor) -> Tensor:
        """Wave (B, 960 n) -> normalised mean latents (B, D, n)."""
        mean, _ = self.encoder(wave)
        return (mean - self.decoder.latent_mean[:, None]) / self.decoder.latent_std[:, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents (B, D, n) -> wave (B, 1, 960 n)."""
        d = self.decoder
        return d(latents * d.latent_std[:, None] + d.latent_mean[:, None])
