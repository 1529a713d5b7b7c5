"""nano's audio codec: 48 kHz mono <-> 50 latents/s.

The encoder is an analysis without training by gradients: log power in 144 mel bands every 7 ms, three such
frames per latent, projected on their principal components and whitened, and three numbers for the strongest
attack (``models/attack.py``). Every latent channel has zero mean and unit variance, and the coarse channels
come first, which suits flow matching. Phases are not transmitted.

The decoder spells the envelope out again, ConvNeXt blocks (Liu et al. 2022, arXiv 2201.03545) refine it bin
by bin, a fixed noise (``unsaid_noise``) and a click at each dry attack are shaped by it, and a few rounds of
Griffin and Lim's algorithm (``models/phase.py``) make of that a wave which has the shaped noise's
spectrogram: without them its frames do not fit together. Training is therefore regression of spectra, and
cannot invent a buzz; learned phases did twice (docs/LOG.md).

Frame j covers samples [320 j - 480, 320 j + 800): n latents are exactly 960 n samples and no frame is lost at
an edge. A second of noise serves for any length without being heard as a loop (``CodecDecoder.noise``); a
chunk that is told its ``noise_offset`` hears the same noise as the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgefoley.models.attack import AttackConfig, attacks, gate, impulses
from edgefoley.models.phase import Bases, bin_order, dft_bases, frames_of, griffin_lim, transform

FLOOR = 1e-8  # power spectral density that counts as silence: white noise of -80 dB re full scale
ATTACK = AttackConfig(floor=FLOOR)
NOISE_ROUNDS = 3  # leave a quarter of what latents could say of the noise; more change little


@dataclass(frozen=True)
class CodecConfig:
    """Sizes. ``hop`` samples per latent; ``frame_hop`` and ``window`` of the STFT in samples; ``bands`` of
    the analysis; ``coarse_*`` blocks work at the latent rate, ``fine_*`` at ``hop / frame_hop`` times it;
    ``rounds`` and ``momentum`` of the phase's algorithm; ``noise_latents`` period of the noise, which begins
    elsewhere in each of ``noise_bands`` bands, ``noise_turns`` times; ``unsaid``: how much of what latents
    say of a noise is taken out of the decoder's (``unsaid_noise``), 0 to 1."""

    hop: int = 960
    frame_hop: int = 320
    window: int = 1280
    latent_dim: int = 64
    bands: int = 144
    coarse_width: int = 352
    fine_width: int = 288
    coarse_depth: int = 2
    fine_depth: int = 4
    mlp_ratio: int = 3
    kernel: int = 7
    rounds: int = 3
    momentum: float = 1.2
    noise_latents: int = 50
    noise_bands: int = 4
    noise_turns: int = 16
    unsaid: float = 0.0

    @property
    def fold(self) -> int:
        """STFT frames per latent."""
        return self.hop // self.frame_hop

    @property
    def bins(self) -> int:
        return self.window // 2 + 1

    @property
    def noise_frames(self) -> int:
        """STFT frames of one period of the noise."""
        return self.noise_latents * self.fold

    @property
    def features(self) -> int:
        """Numbers that describe one latent's 20 ms before projection: band levels and an attack."""
        return self.fold * self.bands + 3

    @property
    def context_latents(self) -> int:
        """Latents of context for exact chunked decoding: the receptive field, rounded up to the noise's
        period."""
        half = self.kernel // 2
        overlap = self.window // self.frame_hop
        fine = self.fine_depth * half + (2 * self.rounds + 1) * overlap
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
    """Wave (B, 960 n) -> whitened principal components of log band powers, and attacks (B, D, n).

    ``centre`` (features,), ``analysis`` (features, D) and ``synthesis`` (D, features) are set by ``fit``.
    """

    bank: Tensor
    hann: Tensor
    centre: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("bank", mel_bank(config.bins, config.bands), persistent=False)
        self.register_buffer("hann", torch.hann_window(config.window), persistent=False)
        self.register_buffer("centre", torch.zeros(config.features))
        self.register_buffer("analysis", torch.zeros(config.features, config.latent_dim))
        self.register_buffer("synthesis", torch.zeros(config.latent_dim, config.features))

    def power(self, wave: Tensor) -> Tensor:
        """Power spectral density (B, 3 n, bins) of the decoder's frames; white noise of variance 1 has 1."""
        c = self.config
        side = (c.window - c.frame_hop) // 2
        frames = F.pad(wave, (side, side)).unfold(-1, c.window, c.frame_hop) * self.hann
        return torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1) / self.hann.square().sum()

    def features(self, wave: Tensor) -> Tensor:
        """Log band powers of three frames, floor -80 dB, then the attack's numbers: (B, n, features)."""
        c = self.config
        level = (self.power(wave) @ self.bank + FLOOR).log()
        level = level.reshape(level.shape[0], -1, c.fold * c.bands)
        return torch.cat([level, attacks(wave, c.hop, ATTACK)], dim=-1)

    def fit(self, features: Tensor) -> float:
        """Principal components of the levels in ``features`` (rows, features); attacks stay channels of their
        own, the last three. Returns the share of the levels' variance that is kept.

        Bands above 14 kHz count half: few ears hear what a better fit there would cost elsewhere.
        """
        c = self.config
        rows = features.double()
        centre = rows.mean(0)
        high = torch.linspace(float(mel(30.0)), float(mel(24_000.0)), c.bands + 2)[1:-1] > float(mel(14e3))
        weight = torch.where(high, 0.5, 1.0).double().repeat(c.fold)
        levels = (rows - centre)[:, :-3] * weight
        _, vectors = torch.linalg.eigh(levels.T @ levels / len(levels))
        vectors = vectors.flip(1)[:, : c.latent_dim - 3]
        made = levels @ vectors
        std = made.std(0).clamp(min=1e-4)
        self.centre.copy_(centre)
        self.analysis.zero_()
        self.synthesis.zero_()
        self.analysis[:-3, :-3] = (weight[:, None] * vectors / std).float()
        self.synthesis[:-3, :-3] = ((vectors * std).T / weight).float()
        scale = rows[:, -3:].std(0).clamp(min=1e-4)
        self.analysis[-3:, -3:] = (1 / scale).diag().float()
        self.synthesis[-3:, -3:] = scale.diag().float()
        return float(made.square().sum() / levels.square().sum())

    def forward(self, wave: Tensor) -> Tensor:
        return ((self.features(wave) - self.centre) @ self.analysis).transpose(1, 2)


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
    """Latents (B, D, n) -> wave (B, 1, 960 n). Bins are in ``bin_order``."""

    centre: Tensor
    synthesis: Tensor
    interpolation: Tensor
    noise_band: Tensor
    noise_rows: Tensor
    noise_real: Tensor
    noise_imag: Tensor

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
        nn.init.zeros_(self.out.bias)  # begin with the envelope that the latents spell out
        order = bin_order(c.window)
        self.register_buffer("centre", torch.zeros(c.features))
        self.register_buffer("synthesis", torch.zeros(c.latent_dim, c.features))
        across = mel_interpolation(c.bands, c.bins)[:, order]
        self.register_buffer("interpolation", across, persistent=False)
        band = torch.tensor(order) * c.noise_bands // c.bins
        self.register_buffer("noise_band", band, persistent=False)
        self.register_buffer("noise_rows", noise_rows(c), persistent=False)
        self.register_buffer("noise_real", torch.zeros(c.noise_frames, c.bins), persistent=False)
        self.register_buffer("noise_imag", torch.zeros(c.noise_frames, c.bins), persistent=False)
        self.draw_noise()
        self.register_load_state_dict_post_hook(lambda module, _: module.draw_noise())

    def draw_noise(self) -> None:
        """Set the noise, which depends on what latents say: after ``synthesis`` has been set."""
        noise = unsaid_noise(self.config, self.synthesis.cpu())[:, bin_order(self.config.window)]
        self.noise_real.copy_(noise.real)
        self.noise_imag.copy_(noise.imag)

    def levels(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the power spectral density (B, 3 n, bins) and attacks (B, n, 3)."""
        c = self.config
        x = self.coarse(self.inp(latents).transpose(1, 2))
        batch, count, _ = x.shape
        x = self.fine(self.unfold(x).reshape(batch, count * c.fold, c.fine_width))
        change = self.out(self.norm(x)).float()
        features = latents.transpose(1, 2).float() @ self.synthesis + self.centre
        level = features[..., :-3].reshape(batch, count * c.fold, c.bands) @ self.interpolation
        return level + change, features[..., -3:]

    def noise(self, count: int, offset: int) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (``count``, bins) of noise, from frame ``offset`` of it on.

        One period, again and again, would be heard as a loop. So each of ``noise_turns`` periods begins at
        another frame of it, and in every band at one of its own.
        """
        frame = torch.arange(count, device=self.noise_rows.device) + offset
        rows = self.noise_rows.index_select(0, frame % len(self.noise_rows))
        rows = rows.index_select(1, self.noise_band)
        return self.noise_real.gather(0, rows), self.noise_imag.gather(0, rows)

    def excitation(
        self, level: Tensor, found: Tensor, noise_offset: int, bases: Bases
    ) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (B, 3 n, bins) of noise, and instead of it an impulse as loud at each dry
        attack: one after which ``level`` falls by 10 to 20 dB within two latents. What sounds on needs no
        click."""
        c = self.config
        mean = level.unflatten(1, (-1, c.fold)).mean((2, 3))
        after = torch.cat([mean[:, 1:], mean[:, -1:]], dim=1)
        later = torch.cat([after[:, 1:], after[:, -1:]], dim=1)
        dry = ((torch.maximum(mean, after) - later - 2.3) / 2.3).clamp(0, 1)
        click = impulses(found, c.hop, ATTACK).unflatten(1, (-1, c.hop)) * dry[..., None]
        loud = 3 / 8 * c.window  # Hann squared sums to that: the power of the noise in every bin
        real, imag = transform(frames_of(math.sqrt(loud) * click.flatten(1), bases.hann), bases)
        left = (1 - (real.square() + imag.square()) / loud).clamp(min=1e-4).sqrt()
        noise_real, noise_imag = self.noise(real.shape[1], noise_offset)
        return left * noise_real + real, left * noise_imag + imag

    def forward(self, latents: Tensor, noise_offset: int = 0, bases: Bases | None = None) -> Tensor:
        """``noise_offset`` (frames) shifts the noise; ``bases`` are the window's, if they are at hand."""
        c = self.config
        bases = bases or Bases(*(b.to(latents.device) for b in dft_bases(c.window)))
        level, found = self.levels(latents)
        gain = (level.clamp(max=7.0).exp() - 1.5 * FLOOR).clamp(min=1e-14).sqrt()
        real, imag = self.excitation(level, found, noise_offset, bases)
        open_ = gate(found, c.hop, ATTACK)
        # The noise keeps fluctuations that the latents do not tell: evened out it is heard as a drone.
        start = gain * real, gain * imag
        magnitude = gain * (real.square() + imag.square()).clamp(min=1e-12).sqrt()
        return griffin_lim(magnitude, start, open_, c.rounds, c.momentum, bases)[:, None]


def noise_rows(config: CodecConfig) -> Tensor:
    """(noise_turns noise_frames, noise_bands): which frame of the noise is heard when in each band; the same
    on every machine."""
    c = config
    bits = np.random.Generator(np.random.PCG64(1)).integers(0, 2**32, (c.noise_turns, 1, c.noise_bands))
    rows = (np.arange(c.noise_frames)[:, None] + bits % c.noise_frames) % c.noise_frames
    return torch.tensor(rows.reshape(-1, c.noise_bands), dtype=torch.int64)


def white_noise(config: CodecConfig) -> NDArray[np.float64]:
    """A periodic white noise of variance one (samples of ``noise_latents``,); the same on every machine."""
    count = config.noise_latents * config.hop
    bits = np.random.Generator(np.random.PCG64(0)).integers(0, 2**32, count, dtype=np.uint64)
    return (bits / 2**31 - 1) * np.sqrt(3)  # uniform, unit variance


def unsaid_noise(config: CodecConfig, synthesis: Tensor) -> Tensor:
    """Spectra (noise_frames, bins), complex, of the windows of a noise without the share ``unsaid`` of what
    latents say of it, with power one in every band; of white noise where ``unsaid`` or all of ``synthesis``
    (D, features) is zero.

    Band levels of any noise fluctuate. A part of that is within reach of the latents' components, so a
    recording's latents tell it, and noise that fluctuates there by itself doubles it; evened-out noise lacks
    the other part. With 1, copies of recordings are much nearer to them. With latents that nano's generator
    makes, white noise is heard as nearer (docs/LOG.md, 2026-11-29, night), so nano has 0. Levels and waves
    are taken in turns, because spectra that were changed fit together no more.
    """
    c = config
    index = np.arange(c.noise_frames)[:, None] * c.frame_hop - (c.window - c.frame_hop) // 2
    index = (index + np.arange(c.window)) % (c.noise_latents * c.hop)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(c.window) / c.window)
    spectra = np.fft.rfft(white_noise(c)[index] * hann)
    if c.unsaid and synthesis.any():
        bank = mel_bank(c.bins, c.bands).double().numpy() / np.square(hann).sum()
        across = mel_interpolation(c.bands, c.bins).double().numpy()
        said = _row_space(synthesis[:-3, :-3].double().numpy())
        for _ in range(NOISE_ROUNDS):
            power = np.abs(spectra) ** 2 @ bank + 1e-6
            levels = np.log(power).reshape(c.noise_latents, -1)
            heard = (levels - levels.mean(0)) @ said.T @ said
            change = c.unsaid * heard.reshape(power.shape) + np.log(power.mean(0))
            frames = np.fft.irfft(spectra * np.exp(-0.5 * change @ across), c.window)
            wave = np.zeros(c.noise_latents * c.hop)
            np.add.at(wave, index, frames * hann / 1.5)
            spectra = np.fft.rfft(wave[index] * hann)
    return torch.tensor(spectra, dtype=torch.complex64)


def _row_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal rows that span what the rows of ``matrix`` span."""
    _, sizes, rows = np.linalg.svd(matrix, full_matrices=False)
    return rows[sizes > 1e-9 * sizes.max()]


class ExportDecoder(nn.Module):
    """The decoder as it is exported: with the Fourier matrices among its constants."""

    def __init__(self, decoder: CodecDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        for name, matrix in dft_bases(decoder.config.window)._asdict().items():
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        bases = Bases(*(self.get_buffer(name) for name in Bases._fields))
        made: Tensor = self.decoder(latents, 0, bases)
        return made


class Codec(nn.Module):
    """Analysis and decoder."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config or CodecConfig()
        self.encoder = BandAnalysis(self.config)
        self.decoder = CodecDecoder(self.config)

    def fit(self, features: Tensor) -> float:
        """Set the components of both halves from ``features``; returns the share of variance kept."""
        share = self.encoder.fit(features)
        self.decoder.centre.copy_(self.encoder.centre)
        self.decoder.synthesis.copy_(self.encoder.synthesis)
        self.decoder.draw_noise()
        return share

    def encode(self, wave: Tensor) -> Tensor:
        """Wave (B, 960 n) -> latents (B, D, n)."""
        made: Tensor = self.encoder(wave)
        return made

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, D, n) -> wave (B, 1, 960 n)."""
        made: Tensor = self.decoder(latents)
        return made
