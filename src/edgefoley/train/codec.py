"""Train the codec: ``python -m edgefoley.train.codec --data ../shared/data/sfx --out runs/codec``.

First the principal components of the analysis are fitted, then the decoder's network is trained to spell
out power spectra; phases come from Griffin and Lim's algorithm, which has nothing to learn.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgefoley.models.codec import FLOOR, Codec, CodecConfig, mel_bank
from edgefoley.models.phase import bin_order
from edgefoley.train.loop import LoopConfig, log_line, mark_done, train
from edgefoley.train.precision import mixed
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.sounds.recordings import Pool

BLUR = 0.1  # largest deviation of the noise that is added to latents in training


class SpectrumLoss(nn.Module):
    """How well a smooth power spectrum explains a sound's short-time spectrum, frame by frame, bin by bin.

    Itakura and Saito's (1968) divergence: minus the log-likelihood of Gaussian sound with that spectrum.
    Where bins are noise, the best answer is their mean power, so that no band becomes too quiet; where they
    are tones, it is the tones. Beside it the distance of mel band levels. Bins weigh by the density of the
    mel scale and a little more where the sound is loud.
    """

    def __init__(self, bins: int, bands: int, order: Sequence[int]) -> None:
        super().__init__()
        frequency = torch.linspace(0, 24_000, bins)[list(order)]
        weight = 1 / (1 + frequency / 1500) + 0.1
        self.weight = nn.Parameter(weight / weight.mean(), requires_grad=False)
        self.bank = nn.Parameter(mel_bank(bins, bands)[list(order)], requires_grad=False)

    def forward(self, level: Tensor, power: Tensor) -> dict[str, Tensor]:
        """``level`` (B, n, bins), natural logarithm of power, and true ``power`` (B, n, bins)."""
        power = power + FLOOR
        ratio = power.log() - level
        excess = (ratio - 2).clamp(min=0)  # linear beyond e squared: one stray bin must not rule a step
        divergence = ratio.clamp(max=2).exp() + math.exp(2) * excess - ratio - 1
        weight = self.weight * (level.detach().clamp(min=math.log(FLOOR)) - math.log(FLOOR)).mul(0.1).exp()
        bin_term = (weight * divergence).sum() / weight.sum()
        true = (power @ self.bank).log()
        band_term = ((level.clamp(max=7).exp() @ self.bank).log() - true).abs().mean()
        return {"bins": bin_term, "bands": band_term}


def made_up(rng: np.random.Generator, samples: int) -> npt.NDArray[np.float32]:
    """A wave (samples,), peak 1, that recordings lack: two thirds noise up to 24 kHz of a random colour, in
    swells (most recordings were cut off at 16 to 20 kHz by their coding), one third struck tones."""
    if rng.random() < 1 / 3:
        late = np.clip(np.arange(samples) / 48_000 - rng.uniform(0, 0.5 * samples / 48_000), 0, None)
        wave = np.zeros(samples)
        for frequency in rng.uniform(60, 600) * np.cumsum(rng.uniform(0.3, 1.7, rng.integers(1, 14))):
            decay = np.exp(-late * rng.uniform(0.5, 12) * (1 + frequency / 4000))
            wave += rng.uniform(0.1, 1) * np.sin(2 * np.pi * min(frequency, 20e3) * late) * decay
    else:
        spectrum = np.fft.rfft(rng.standard_normal(samples))
        height = np.interp(
            np.linspace(0, 1, len(spectrum)) ** 0.5, np.linspace(0, 1, 9), rng.normal(0, 0.5, 9)
        )
        swell = np.interp(np.arange(samples), np.linspace(0, samples, 8), rng.uniform(-1.5, 0, 8))
        wave = np.fft.irfft(spectrum * 10**height, samples) * 10**swell
    return (wave / max(1e-9, float(np.abs(wave).max()))).astype(np.float32)


def batches(pool: Pool, held_out: bool, seed: int, batch: int, samples: int) -> Callable[[int], Tensor]:
    """``batch_at(step)`` -> waves (batch, samples), a pure function of seed and step.

    Long recordings are drawn by the square root of their length, so that a two-minute ambience does not drown
    a click.
    """
    chosen = [r for r in pool.recordings if r.held_out == held_out and r.length > 480]
    weight = np.sqrt(np.minimum([r.length for r in chosen], 480_000).astype(np.float64))
    weight /= weight.sum()

    def batch_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        out = np.zeros((batch, samples), dtype=np.float32)
        for row in out:
            position = 0
            while position < samples:  # short recordings follow each other with gaps
                recording = chosen[rng.choice(len(chosen), p=weight)]
                begin = int(rng.integers(0, max(1, recording.length - samples // 2)))
                wave = pool.wave(recording, begin, begin + samples - position)
                row[position : position + len(wave)] += wave * 10 ** rng.uniform(-1.3, 0)
                position += len(wave) + int(rng.integers(0, samples // 2))
            if not held_out and rng.random() < 0.15:
                row *= rng.random() < 0.4
                row += made_up(rng, samples) * 10 ** rng.uniform(-1.7, 0)
            elif rng.random() < 0.3:  # two sounds at once
                recording = chosen[rng.choice(len(chosen), p=weight)]
                wave = pool.wave(recording, 0, samples)
                row[: len(wave)] += wave * 10 ** rng.uniform(-1.5, -0.2)
            row /= max(1.0, float(np.abs(row).max()))
        return torch.from_numpy(out)

    return batch_at


def fitted(codec: Codec, pool: Pool) -> float:
    """Fit the analysis on 1,600 seconds of training sound; returns the share of variance kept."""
    batch_at = batches(pool, False, 3, 16, 96_000)
    with torch.no_grad():
        rows = torch.cat([codec.encoder.features(batch_at(i)).flatten(0, 1) for i in range(50)])
    return codec.fit(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[Path("../shared/data/sfx")], help="folders of recordings"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/codec"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seconds", type=float, default=1.28)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop after so many minutes; run again to go on"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    pool = SoundLibrary.build(args.data, args.out.parent / "library", say=print).pool
    codec = Codec()
    args.out.mkdir(parents=True, exist_ok=True)
    if (args.out / "codec.safetensors").exists():  # the components never change once latents were made
        codec = load_codec(args.out).train()
    else:
        log_line(args.out, {"variance_kept": fitted(codec, pool)})
        save_codec(codec, args.out)
    codec.to(args.device)
    samples = int(args.seconds * 48_000) // 960 * 960
    batch_at = batches(pool, False, 1, args.batch, samples)
    check = [batches(pool, True, 2, 8, samples)(i).to(args.device) for i in range(6)]
    order = bin_order(codec.config.window)
    distance = SpectrumLoss(codec.config.bins, codec.config.bands, order).to(args.device)

    def losses(wave: Tensor, blur: float = 0.0) -> dict[str, Tensor]:
        with torch.no_grad():
            latents, power = codec.encode(wave), codec.encoder.power(wave)[..., order]
            if blur:  # a generator's latents are not exact
                amount = blur * torch.rand(len(wave), 1, 1, device=wave.device)
                latents = latents + amount * torch.randn_like(latents)
        with mixed(args.device):
            level, _ = codec.decoder.levels(latents)
        terms = distance(level, power)
        return {"loss": terms["bins"] + 0.5 * terms["bands"], **terms}

    def validate(_: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            sums = [losses(wave) for wave in check]
        return {f"val_{k}": float(np.mean([float(s[k]) for s in sums])) for k in sums[0]}

    def loss_fn(step: int) -> dict[str, Tensor]:
        return losses(batch_at(step).to(args.device), BLUR)

    config = LoopConfig(steps=args.steps, rate=args.rate, minutes=args.minutes, warmup=100)
    average = train(codec, loss_fn, args.out, config, validate)
    codec.load_state_dict({k: v.to(args.device) for k, v in average.state.items()})
    save_codec(codec, args.out)
    mark_done(args.out, average, config)


def save_codec(codec: Codec, folder: Path) -> None:
    """Averaged weights and configuration, as ``codec.safetensors`` and ``codec.json``."""
    save_file({k: v.contiguous().cpu() for k, v in codec.state_dict().items()}, folder / "codec.safetensors")
    (folder / "codec.json").write_text(json.dumps(asdict(codec.config), indent=1))


def load_codec(folder: Path) -> Codec:
    """Read what ``save_codec`` wrote; strict."""
    from safetensors.torch import load_file

    codec = Codec(CodecConfig(**json.loads((folder / "codec.json").read_text())))
    codec.load_state_dict(load_file(folder / "codec.safetensors"))
    return codec.eval()


if __name__ == "__main__":
    main()
