"""The DAC-VAE: 48 kHz mono <-> 50 latents/s of 128 channels (HunyuanVideo-Foley's codec).

Kumar et al. 2023, "High-fidelity audio compression with improved RVQGAN", arXiv 2306.06546, with a diagonal
Gaussian (Kingma and Welling 2013, arXiv 1312.6114) instead of quantised codes, as Tencent published it. The
latents are neither scaled nor shifted anywhere.

    wave --k7--> 5 x [3 residual units, Snake, strided convolution] --> Snake, k3 --quant_conv--> mean, log
    variance latents --post_quant_conv--> k7 --> 5 x [Snake, transposed convolution, 3 residual units] -->
    Snake, k7, tanh

The published weights are stored with weight normalisation (Salimans and Kingma 2016, arXiv 1602.07868): a
length ``weight_g`` and a direction ``weight_v`` per output channel (per input channel in transposed
convolutions). Here they are plain weights: ``fold_weight_norm`` multiplies them out when they are loaded,
once and exactly. ``published_shapes`` is the way back, from our parameters to the names and shapes of the
file.

Nothing is causal, and every sample depends on a bounded stretch of latents only. A chunk with
``DacConfig.context_latents`` real neighbours on both sides therefore gives the whole clip's samples, up to
the rounding of sums (see ``decode_in_chunks``); with one neighbour less it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgefoley.timeline import SAMPLE_RATE, chunks

DILATIONS = (1, 3, 9)  # of the three residual units in a row
KERNEL = 7
LOG_VARIANCE = (-30.0, 20.0)  # the encoder's second answer is kept within these

Part = Literal["decoder", "encoder"]
_OTHER_HALF = {"decoder": ("encoder.", "quant_conv."), "encoder": ("decoder.", "post_quant_conv.")}


@dataclass(frozen=True)
class DacConfig:
    """Sizes; the defaults are the published ones. ``encoder_dim`` channels at 48 kHz, doubled at each of
    ``encoder_rates``; ``decoder_dim`` channels at the latents' rate, halved at each of ``decoder_rates``."""

    encoder_dim: int = 128
    encoder_rates: tuple[int, ...] = (2, 3, 4, 5, 8)
    decoder_dim: int = 2048
    decoder_rates: tuple[int, ...] = (8, 5, 4, 3, 2)
    latent_dim: int = 128

    def __post_init__(self) -> None:
        if math.prod(self.encoder_rates) != math.prod(self.decoder_rates):
            raise ValueError(
                f"encoder_rates {self.encoder_rates} and decoder_rates {self.decoder_rates} must have the "
                "same product"
            )
        if self.decoder_dim % 2 ** len(self.decoder_rates):
            raise ValueError(
                f"decoder_dim {self.decoder_dim} must be divisible by 2 for each of {self.decoder_rates}"
            )

    @property
    def hop(self) -> int:
        """Samples per latent."""
        return math.prod(self.decoder_rates)

    @property
    def context_latents(self) -> int:
        """Latents on each side that the samples of one latent depend on: the least context for exact chunks.

        Found by walking from the samples [0, hop) back to the input: a convolution widens the stretch by
        its reach; sample j of a transposed one comes from the inputs i with 0 <= j + padding - i * stride <
        2 * stride.
        """
        units = sum(DILATIONS) * (KERNEL // 2)
        first, last = -(KERNEL // 2), self.hop - 1 + KERNEL // 2
        for rate in reversed(self.decoder_rates):
            padding = -(-rate // 2)
            first = -(-(first - units + padding - 2 * rate + 1) // rate)
            last = (last + units + padding) // rate
        return max(KERNEL // 2 - first, last + KERNEL // 2)

    @property
    def decoder_flops_per_second(self) -> int:
        """Multiplications and additions (2 per multiply-accumulate) of the decoder's convolutions for one
        second of sound. Published sizes: 115.5 G."""
        width, places = self.decoder_dim, 1  # places: positions per latent
        count = self.latent_dim * (self.latent_dim + KERNEL * width)
        for rate in self.decoder_rates:
            count += places * width * (width // 2) * 2 * rate
            width, places = width // 2, places * rate
            count += places * len(DILATIONS) * (KERNEL + 1) * width**2
        return 2 * (count + places * KERNEL * width) * SAMPLE_RATE // self.hop


def unused_keys(keys: Iterable[str], part: Part) -> list[str]:
    """Those of a published state dict's ``keys`` that ``part`` has no use for: the other half's."""
    return [key for key in keys if key.startswith(_OTHER_HALF[part])]


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with ``weight`` = weight_g * weight_v / |weight_v| for each such pair; the rest as it is.

    The norm is over all axes but the first. Raises ValueError when half of a pair is missing.
    """
    folded = {}
    for key, value in state.items():
        stem, _, leaf = key.rpartition(".")
        if leaf == "weight_v":
            if f"{stem}.weight_g" not in state:
                raise ValueError(f"{stem} has a weight_v without a weight_g: the weights are not complete")
            length = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1))
            folded[f"{stem}.weight"] = value * (state[f"{stem}.weight_g"] / length)
        elif leaf != "weight_g":
            folded[key] = value
        elif f"{stem}.weight_v" not in state:
            raise ValueError(f"{stem} has a weight_g without a weight_v: the weights are not complete")
    return folded


def published_shapes(module: DacDecoder | DacEncoder) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the published file of the tensors that make up ``module``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, value in module.state_dict().items():
        shape = tuple(value.shape)
        if key.endswith(".weight") and "quant_conv" not in key:
            shapes[f"{key}_g"] = (shape[0], *[1] * (len(shape) - 1))
            shapes[f"{key}_v"] = shape
        else:
            shapes[key] = shape
    return shapes


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, one alpha per channel (Ziyin et al. 2020, arXiv 2006.08195)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        # Times the reciprocal, which an exporter makes a constant: no division per sample.
        return x + (self.alpha * x).sin().square() * (self.alpha + 1e-9).reciprocal()


class _ResidualUnit(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        reach = dilation * (KERNEL // 2)
        self.block = nn.Sequential(
            Snake(width),
            nn.Conv1d(width, width, KERNEL, dilation=dilation, padding=reach),
            Snake(width),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class _Block(nn.Module):
    """Holds ``block`` where the published keys have it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


def _down(width: int, rate: int) -> _Block:
    return _Block(
        *(_ResidualUnit(width, dilation) for dilation in DILATIONS),
        Snake(width),
        nn.Conv1d(width, 2 * width, 2 * rate, stride=rate, padding=-(-rate // 2)),
    )


def _up(width: int, rate: int) -> _Block:
    widen = nn.ConvTranspose1d(
        width, width // 2, 2 * rate, stride=rate, padding=-(-rate // 2), output_padding=rate % 2
    )
    return _Block(Snake(width), widen, *(_ResidualUnit(width // 2, dilation) for dilation in DILATIONS))


class _Decoder(nn.Module):
    def __init__(self, config: DacConfig) -> None:
        super().__init__()
        width = config.decoder_dim
        layers: list[nn.Module] = [nn.Conv1d(config.latent_dim, width, KERNEL, padding=KERNEL // 2)]
        for rate in config.decoder_rates:
            layers.append(_up(width, rate))
            width //= 2
        layers += [Snake(width), nn.Conv1d(width, 1, KERNEL, padding=KERNEL // 2), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Encoder(nn.Module):
    def __init__(self, config: DacConfig) -> None:
        super().__init__()
        width = config.encoder_dim
        layers: list[nn.Module] = [nn.Conv1d(1, width, KERNEL, padding=KERNEL // 2)]
        for rate in config.encoder_rates:
            layers.append(_down(width, rate))
            width *= 2
        layers += [Snake(width), nn.Conv1d(width, config.latent_dim, 3, padding=1)]
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class DacDecoder(nn.Module):
    """Latents (B, D, n) -> wave (B, 1, 960 n), within -1..1."""

    def __init__(self, config: DacConfig | None = None) -> None:
        super().__init__()
        self.config = DacConfig() if config is None else config
        self.post_quant_conv = nn.Conv1d(self.config.latent_dim, self.config.latent_dim, 1)
        self.decoder = _Decoder(self.config)

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents))


class DacEncoder(nn.Module):
    """Wave (B, 1, 960 n), within -1..1 -> mean and log variance of the latents, (B, D, n) each.

    A latent is mean + exp(log variance / 2) * noise. Only training needs it. Raises ValueError when the
    wave is not mono or not a whole number of latents long (the reference appends zeros).
    """

    def __init__(self, config: DacConfig | None = None) -> None:
        super().__init__()
        self.config = DacConfig() if config is None else config
        self.encoder = _Encoder(self.config)
        self.quant_conv = nn.Conv1d(self.config.latent_dim, 2 * self.config.latent_dim, 1)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        if wave.ndim != 3 or wave.shape[1] != 1 or wave.shape[2] % self.config.hop:
            raise ValueError(
                f"the encoder takes mono waves (B, 1, n * {self.config.hop}), got {tuple(wave.shape)}; "
                "append zeros"
            )
        mean, log_variance = self.quant_conv(self.encoder(wave)).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)


def decode_in_chunks(decoder: DacDecoder, latents: Tensor, size: int) -> Iterator[Tensor]:
    """The wave of ``latents`` (B, D, n) in order, piece by piece of at most ``size`` latents, (B, 1, 960 k)
    each.

    Joined they are the wave of the whole, but memory grows with ``size`` instead of n. Work grows by
    2 * context_latents per piece. Raises ValueError when ``size`` is below 1.
    """
    if size < 1:
        raise ValueError(f"a chunk has at least one latent, got size {size}")
    hop = decoder.config.hop
    for start, stop, first, last in chunks(latents.shape[-1], size, decoder.config.context_latents):
        wave = decoder(latents[..., first:last])
        yield wave[..., (start - first) * hop : (stop - first) * hop]
