"""Train the codec: ``python -m edgefoley.train.codec --data ../shared/data/sfx --out runs/codec``.

First the principal components of the analysis are fitted, then the decoder is trained on distances of mel
band powers at five resolutions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgefoley.models.codec import Codec, CodecConfig, mel_bank
from edgefoley.train.loop import LoopConfig, log_line, mark_done, train
from edgefoley.train.sounds.recordings import Pool, load_pool

RESOLUTIONS = (256, 512, 1024, 2048, 4096)  # samples; hop is a quarter


class BandLoss(nn.Module):
    """Distances between the mel band powers of two waves (B, T) at several resolutions.

    Bands, not bins: a distance per bin prefers any smooth spectrum, a buzz for instance, to noise of the
    right level.
    """

    def __init__(self) -> None:
        super().__init__()
        banks = {str(n): mel_bank(n // 2 + 1, max(16, n // 16)) for n in RESOLUTIONS}
        self.mel = nn.ParameterDict({n: nn.Parameter(bank, requires_grad=False) for n, bank in banks.items()})

    def forward(self, made: Tensor, true: Tensor, resolutions: Sequence[int]) -> dict[str, Tensor]:
        log_terms, linear_terms = [], []
        for n in resolutions:
            window = torch.hann_window(n, device=made.device)
            both = torch.stft(torch.cat([made, true]), n, n // 4, window=window, return_complex=True)
            power = torch.view_as_real(both).square().sum(-1).transpose(1, 2) / n
            a, b = (power @ self.mel[str(n)]).chunk(2)
            log_terms.append(0.5 * ((a + 1e-8).log() - (b + 1e-8).log()).abs().mean())
            # fourth root of power: loud events weigh more than in the logarithm, less than in the amplitude
            a, b = (a + 1e-10) ** 0.25, (b + 1e-10) ** 0.25
            linear_terms.append((a - b).abs().mean() / (b.mean() + 0.03))
        return {"log": torch.stack(log_terms).mean(), "lin": torch.stack(linear_terms).mean()}


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
            if rng.random() < 0.3:  # two sounds at once
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
        levels = torch.cat([codec.encoder.levels(batch_at(i)).flatten(0, 1) for i in range(50)])
    return codec.fit(levels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sfx"))
    parser.add_argument("--out", type=Path, default=Path("runs/codec"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.28)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="stop after so many minutes; run again to go on"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    pool = load_pool(args.data, args.out.parent / "recordings")
    codec, distance = Codec(), BandLoss().to(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    if (args.out / "codec.safetensors").exists():  # the components never change once latents were made
        codec = load_codec(args.out).train()
    else:
        log_line(args.out, {"variance_kept": fitted(codec, pool)})
        save_codec(codec, args.out)
    codec.to(args.device)
    samples = int(args.seconds * 48_000) // 960 * 960
    batch_at = batches(pool, False, 1, args.batch, samples)
    check = [batches(pool, True, 2, 8, samples)(i).to(args.device) for i in range(4)]

    def losses(wave: Tensor, offset: int, resolutions: Sequence[int] = RESOLUTIONS) -> dict[str, Tensor]:
        with torch.no_grad():
            latents = codec.encode(wave)
        with torch.autocast(args.device, dtype=torch.bfloat16):
            made = codec.decoder(latents, offset)[:, 0]
        terms = distance(made[:, 480:-480], wave[:, 480:-480], resolutions)
        total = terms["log"] + 3 * terms["lin"]
        return {"loss": total, **terms}

    def validate(_: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            sums = [losses(wave, 0) for wave in check]
        return {f"val_{k}": float(np.mean([float(s[k]) for s in sums])) for k in sums[0]}

    def loss_fn(step: int) -> dict[str, Tensor]:
        # Two of the five resolutions a step, in turn: the transforms cost more than the networks.
        pair = [RESOLUTIONS[step % 5], RESOLUTIONS[(step + 2 + step // 5 % 2) % 5]]
        return losses(batch_at(step).to(args.device), 7919 * step % 200, pair)

    config = LoopConfig(steps=args.steps, rate=1e-3, minutes=args.minutes, warmup=100)
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
