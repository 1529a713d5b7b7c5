"""Train the sync encoder on rendered scenes: `python -m edgefoley.train.sync --out runs/sync [--steps N]
[--resume]`.

Learns from the films of `edgefoley train make-data`, fits event logits (binary cross-entropy against a
narrow Gaussian around each event on the 50 Hz grid) with three heads that exist in training only: strength,
activity and action. Writes sync.safetensors (encoder only, moving average of the weights) and sync.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from edgefoley.metrics.onsets import classical_onsets, onset_f1, pick_peaks
from edgefoley.models.sync import SyncConfig, SyncEncoder
from edgefoley.train.loop import LoopConfig, mark_done, train
from edgefoley.train.scenes.pool import EVENT_RATE, QUIET, SYNC_RATE, Crop, Pool, render_shard
from edgefoley.train.scenes.truth import ACTIONS

VALIDATION_SEED = 1_000_000  # training seeds count up from 0 and never come here
KINDS = (*ACTIONS, QUIET)  # what a film is mainly about, for the head that names it
SPREAD_S = 0.015  # of the Gaussian target around an event
MIN_GAP_S = 0.08


class SyncTrainer(nn.Module):
    """The encoder and the heads that only training needs."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.encoder = SyncEncoder(config)
        self.strength = nn.Linear(config.width, 2)
        self.activity = nn.Linear(config.width, 2)
        self.action = nn.Linear(config.width, len(KINDS))


def targets(crop: Crop) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(2S,) Gaussian bumps of height 1 at the events, and (2S,) the strength of the nearest event."""
    instants = np.arange(2 * len(crop.ages)) / EVENT_RATE
    if not len(crop.times):
        return np.zeros(len(instants), np.float32), np.zeros(len(instants), np.float32)
    distance = np.abs(instants[:, None] - crop.times[None])
    bumps = np.exp(-0.5 * (distance.min(1) / SPREAD_S) ** 2)
    return bumps.astype(np.float32), crop.strengths[distance.argmin(1)].astype(np.float32)


def augment(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror; random gamma, gain, offset and inversion of the shades; one choice for the whole crop."""
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    shades = np.arange(256) / 255.0
    shades = shades ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.5, 1.2) + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.1:
        shades = 1 - shades
    return (np.clip(shades, 0, 1) * 255).astype(np.uint8)[frames]


class Batches:
    """Batch `step` is a pure function of (seed, step), so a resumed run sees what it would have seen."""

    def __init__(self, pool: Pool, size: int, frames: int, seed: int, device: str) -> None:
        self.pool, self.size, self.frames, self.seed, self.device = pool, size, frames, seed, device

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        parts: dict[str, list] = {
            k: [] for k in ("frames", "ages", "bumps", "strength", "activity", "action")
        }
        for _ in range(self.size):
            speed = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35)))) if rng.random() < 0.6 else 1.0
            room = max(0.0, self.pool.seconds - self.frames / SYNC_RATE * speed)
            crop = self.pool.crop(
                int(rng.integers(len(self.pool))), float(rng.uniform(0, room)), self.frames, speed
            )
            bumps, strength = targets(crop)
            row = (
                augment(rng, crop.frames),
                crop.ages,
                bumps,
                strength,
                crop.activity,
                KINDS.index(crop.action),
            )
            for key, value in zip(parts, row, strict=True):
                parts[key].append(value)
        return {k: torch.from_numpy(np.stack(v)).to(self.device) for k, v in parts.items()}


def losses(module: SyncTrainer, batch: dict[str, Tensor], bf16: bool) -> dict[str, Tensor]:
    """Named scalars; `loss` is minimised. Near an event an error weighs more: events fill 3 % of the grid."""
    device = batch["frames"].device.type
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        feat, logits = module.encoder(batch["frames"], batch["ages"])
        hidden = torch.relu(feat)
        strength, activity = module.strength(hidden).flatten(1), module.activity(hidden).flatten(1)
        kind = module.action(hidden.mean(1))
    bumps = batch["bumps"]
    event = functional.binary_cross_entropy_with_logits(logits.float(), bumps, weight=1.0 + 4.0 * bumps)
    strength_loss = (bumps * (strength.float().sigmoid() - batch["strength"]).square()).sum() / (
        bumps.sum() + 1.0
    )
    activity_loss = (activity.float().sigmoid() - batch["activity"]).square().mean()
    kind_loss = functional.cross_entropy(kind.float(), batch["action"])
    total = event + 0.1 * strength_loss + 0.1 * activity_loss + 0.02 * kind_loss
    return {
        "loss": total,
        "event": event,
        "strength": strength_loss,
        "activity": activity_loss,
        "kind": kind_loss,
    }


@torch.inference_mode()
def event_curves(encoder: SyncEncoder, pool: Pool) -> list[NDArray[np.float32]]:
    """Event logits (2S,) of every whole scene of a pool, float32."""
    device, count = next(encoder.parameters()).device, int(pool.seconds * SYNC_RATE)
    encoder.eval()
    curves = []
    for i in range(len(pool)):
        crop = pool.crop(i, 0.0, count)
        ages = torch.from_numpy(crop.ages)[None].to(device)
        curves.append(
            encoder(torch.from_numpy(crop.frames)[None].to(device), ages)[1][0].float().cpu().numpy()
        )
    return curves


def f1_by_action(found: list[NDArray[np.float64]], pool: Pool, tolerance_s: float) -> dict[str, float]:
    """Mean onset F1 per action, and `mean` over all films that have visible contacts."""
    rows: dict[str, list[float]] = {}
    for times, scene in zip(found, pool.films, strict=True):
        value = onset_f1(times, scene["times"], tolerance_s)
        rows.setdefault(str(scene["action"]), []).append(value)
        if len(scene["times"]):
            rows.setdefault("mean", []).append(value)
    return {k: float(np.mean(v)) for k, v in sorted(rows.items())}


def report(encoder: SyncEncoder, pool: Pool) -> dict:
    """Best threshold on the rendered validation scenes, F1 there at 50 and 100 ms, and the classical
    baseline.
    """
    curves, best = event_curves(encoder, pool), (-1.0, 0.0)
    for threshold in np.arange(-4.0, 2.01, 0.25):
        found = [pick_peaks(c, threshold, MIN_GAP_S) for c in curves]
        best = max(best, (f1_by_action(found, pool, 0.05)["mean"], float(threshold)))
    found = [pick_peaks(c, best[1], MIN_GAP_S) for c in curves]
    plain = [classical_onsets(pool.frames(i), s["timestamps"]) for i, s in enumerate(pool.films)]
    return {
        "threshold": best[1],
        "min_gap_s": MIN_GAP_S,
        "f1_50": f1_by_action(found, pool, 0.05),
        "f1_100": f1_by_action(found, pool, 0.1),
        "classical_f1_50": f1_by_action(plain, pool, 0.05),
        "classical_f1_100": f1_by_action(plain, pool, 0.1),
    }


def save_encoder(encoder: SyncEncoder, folder: Path, extra: dict) -> None:
    """sync.safetensors and sync.json (config, sizes, `extra`), each moved into place whole."""
    tensors = {
        k: v.detach().float().cpu().contiguous()
        for k, v in encoder.state_dict().items()
        if v.is_floating_point()
    }
    save_file(tensors, folder / "sync.safetensors.part")
    os.replace(folder / "sync.safetensors.part", folder / "sync.safetensors")
    sizes = {
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "flops_per_frame": encoder.flops_per_frame(),
    }
    text = json.dumps(
        {"config": encoder.config.to_json(), "context_frames": encoder.context_frames, **sizes, **extra},
        indent=1,
    )
    (folder / "sync.json.part").write_text(text + "\n")
    os.replace(folder / "sync.json.part", folder / "sync.json")


def load_encoder(folder: Path) -> SyncEncoder:
    """The encoder saved in `folder`, in evaluation mode. Raises on missing or unexpected tensors."""
    from safetensors.torch import load_file

    encoder = SyncEncoder(SyncConfig.from_json(json.loads((folder / "sync.json").read_text())["config"]))
    state = load_file(folder / "sync.safetensors")
    counters = {
        k: v for k, v in encoder.state_dict().items() if not v.is_floating_point()
    }  # batch norm's step counts
    encoder.load_state_dict({**state, **counters})
    return encoder.eval()


def run(args: argparse.Namespace) -> None:
    """Render what is missing, train or resume, evaluate, save."""
    folder = Path(args.out)
    if (folder / "last.pt").exists() and not args.resume:
        raise SystemExit(f"{folder}/last.pt exists: add --resume to continue it, or choose another --out")
    render_shard(folder / "val", 0, VALIDATION_SEED, args.validation, args.seconds)
    pool, held_out = Pool(args.films), Pool(folder / "val")
    torch.manual_seed(args.seed)
    module = SyncTrainer(SyncConfig()).to(args.device)
    batches = Batches(pool, args.batch, args.frames, args.seed, args.device)

    def loss_fn(step: int) -> dict[str, Tensor]:
        module.train()
        return losses(module, batches(step), args.bf16)

    def validate(_: nn.Module) -> dict[str, float]:
        found = [pick_peaks(c, -1.0, MIN_GAP_S) for c in event_curves(module.encoder, held_out)]
        return {"val_f1_50": f1_by_action(found, held_out, 0.05)["mean"]}

    config = LoopConfig(
        args.steps, args.rate, warmup=100, average=0.998, save=args.save, minutes=args.minutes, seed=args.seed
    )
    average = train(module, loss_fn, folder, config, validate)
    module.load_state_dict(average.state)
    result = report(module.encoder, held_out)
    save_encoder(module.encoder, folder, {"scenes": len(pool), "steps": args.steps, "validation": result})
    mark_done(folder, average, config)
    print(json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="runs/sync", help="folder of the run")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--batch", type=int, default=16, help="crops per step")
    parser.add_argument("--frames", type=int, default=64, help="grid frames per crop")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--films", type=Path, default=Path("runs/school"), help="films of make-data")
    parser.add_argument("--validation", type=int, default=160, help="held-out films, rendered into --out")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a held-out film")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long (0: no limit)")
    parser.add_argument("--save", type=int, default=300, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
