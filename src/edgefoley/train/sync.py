"""Train the sync encoder on rendered scenes: `python -m edgefoley.train.sync --out runs/sync [--steps N]
[--resume]`.

Learns from the films of `edgefoley train make-data`, fits event logits (binary cross-entropy against a
narrow Gaussian around each event on the 50 Hz grid) with three heads that exist in training only: strength,
activity and action. Writes sync.safetensors (encoder only, moving average of the weights) and sync.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from edgefoley.metrics.onsets import classical_onsets, match_onsets, onset_f1, peaks, pick_peaks
from edgefoley.models.sync import SyncConfig, SyncEncoder
from edgefoley.train.files import whole, write_whole
from edgefoley.train.loop import Ahead, LoopConfig, adopt, mark_done, train
from edgefoley.train.precision import mixed
from edgefoley.train.restless import Restless
from edgefoley.train.scenes import photos
from edgefoley.train.scenes.pool import EVENT_RATE, SYNC_RATE, Pool, render_shard
from edgefoley.train.sync_crops import KINDS, Batches, agreement

VALIDATION_SEED = 1_000_000  # training seeds count up from 0 and never come here
INSTANT = 32  # width of the features that twins must agree on
WEIGHTS = {"event": 1.0, "where": 0.1, "strength": 0.1, "activity": 0.1, "kind": 0.1, "twins": 0.02}
Results = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor | None]]
MIN_GAP_S = 0.08
LOWEST = -4.0  # logit of the lowest threshold that a report tries
FAINTEST = -6.0  # logit of the faintest peaks that calibration looks at


class SyncTrainer(nn.Module):
    """The encoder and the heads that only training needs."""

    def __init__(self, config: SyncConfig) -> None:
        super().__init__()
        self.encoder = SyncEncoder(config)
        self.strength = nn.Linear(config.width, 2)
        self.activity = nn.Linear(config.width, 2)
        self.action = nn.Linear(config.width, len(KINDS))
        self.instant = nn.Linear(config.width, INSTANT)


def losses(module: SyncTrainer, results: Results, batch: dict[str, Tensor], twins: int) -> dict[str, Tensor]:
    """Named scalars; `loss` is minimised. Near an event an error weighs more: events fill 3 % of the grid.
    ``results``: the encoder's own method or a compiled one."""
    device = batch["frames"].device.type
    with mixed(device):
        pictures = module.encoder.training_pictures(batch["frames"], batch["ages"])
        feat, logits, where = results(*pictures)
        hidden = torch.relu(feat)
        strength, activity = module.strength(hidden).flatten(1), module.activity(hidden).flatten(1)
        kind = module.action(hidden.mean(1))
        instant = module.instant(hidden)
    bumps = batch["bumps"]
    event = functional.binary_cross_entropy_with_logits(logits.float(), bumps, weight=1.0 + 4.0 * bumps)
    strength_loss = (bumps * (strength.float().sigmoid() - batch["strength"]).square()).sum() / (
        bumps.sum() + 1.0
    )
    parts = {
        "event": event,
        "strength": strength_loss,
        "activity": known_error(activity.float().sigmoid(), batch["activity"]),
        "kind": functional.cross_entropy(kind.float(), batch["action"]),
    }
    if where is not None:
        parts["where"] = located(where.float(), batch["where"].float())
    if twins:
        parts["twins"] = agreement(instant[:twins], instant[-twins:])
    return {
        "loss": sum((WEIGHTS[name] * value for name, value in parts.items()), event.new_zeros(())),
        **parts,
    }


def known_error(values: Tensor, target: Tensor) -> Tensor:
    """Mean squared error where ``target`` is no nan."""
    known = ~target.isnan()
    return ((values - target.nan_to_num()).square() * known).sum() / known.sum().clamp(min=1)


def located(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every place and time, weighed by the squared error, per event: the easy nowhere and
    never, nearly all there is, counts for nothing (quality focal loss, Li et al. 2020, arXiv 2006.04388)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * (logits.sigmoid() - target).square()).sum() / (target.sum() + 1.0)


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


def calibrate(
    curves: list[NDArray[np.float32]], pool: Pool, tolerance_s: float = 0.05
) -> tuple[float, float]:
    """(gain, bias) with which sigmoid(gain * logit + bias) of a peak is the share of such peaks that lie
    within the tolerance of a true event (Platt 1999), by Newton's method on held-out films."""
    logits, hits = [], []
    for curve, film in zip(curves, pool.films, strict=True):
        found = pick_peaks(curve, FAINTEST, MIN_GAP_S)
        hit = np.zeros(len(found))
        hit[[i for i, _ in match_onsets(found, film["times"], tolerance_s)]] = 1.0
        hits.append(hit)
        logits.append(np.interp(found * EVENT_RATE, np.arange(len(curve)), curve))
    x, y = np.concatenate(logits), np.concatenate(hits)
    rows, weights = np.stack([x, np.ones_like(x)], 1), np.array([1.0, 0.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-rows @ weights))
        bend = rows.T @ (rows * (p * (1 - p))[:, None]) + 1e-3 * np.eye(2)
        weights += np.linalg.solve(bend, rows.T @ (y - p) - 1e-3 * (weights - [1.0, 0.0]))
    return float(weights[0]), float(weights[1])


def report(encoder: SyncEncoder, pool: Pool) -> dict:
    """On the rendered validation films: the best threshold, F1 there at 50 and 100 ms, the classical
    baseline, and what turns a peak's logit into a probability. ``threshold`` is a logit,
    ``threshold_probability`` the same after calibration.
    """
    curves, best = event_curves(encoder, pool), (-1.0, 0.0)
    tops = [peaks(c, LOWEST, MIN_GAP_S) for c in curves]
    for threshold in np.arange(LOWEST, 2.01, 0.25):
        found = [times[heights >= threshold] for times, heights in tops]
        best = max(best, (f1_by_action(found, pool, 0.05)["mean"], float(threshold)))
    found = [pick_peaks(c, best[1], MIN_GAP_S) for c in curves]
    plain = [classical_onsets(pool.frames(i), s["timestamps"]) for i, s in enumerate(pool.films)]
    gain, bias = calibrate(curves, pool)
    return {
        "threshold": best[1],
        "threshold_probability": 1 / (1 + math.exp(-gain * best[1] - bias)),
        "peak_gain": gain,
        "peak_bias": bias,
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
    with whole(folder / "sync.safetensors") as part:
        save_file(tensors, part)
    sizes = {
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "flops_per_frame": encoder.flops_per_frame(),
    }
    text = json.dumps(
        {"config": encoder.config.to_json(), "context_frames": encoder.context_frames, **sizes, **extra},
        indent=1,
    )
    write_whole(folder / "sync.json", text + "\n")


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
    val = folder / "val" if args.val is None else args.val
    photos.use(args.photos)
    render_shard(val, 0, VALIDATION_SEED, args.validation, args.seconds)
    pool, held_out = Pool(args.films, keep=True), Pool(val)
    torch.manual_seed(args.seed)
    module = SyncTrainer(SyncConfig.from_json(args.config))
    if args.start is not None:
        print(
            f"{adopt(module, args.start)} of {len(module.state_dict())} tensors from {args.start}", flush=True
        )
    module.to(args.device)
    panoramas = photos.opened()
    others = None if panoramas is None else Restless(panoramas, module.encoder.config.size)
    batches = Ahead(Batches(pool, args.batch, args.frames, args.seed, args.twins, others))
    results: Results = module.encoder.results
    if args.compile:
        results = torch.compile(results, dynamic=False)

    def loss_fn(step: int) -> dict[str, Tensor]:
        module.train()
        batch = {key: value.to(args.device) for key, value in batches(step).items()}
        return losses(module, results, batch, args.twins)

    def validate(_: nn.Module) -> dict[str, float]:
        found = [pick_peaks(c, -1.0, MIN_GAP_S) for c in event_curves(module.encoder, held_out)]
        return {"val_f1_50": f1_by_action(found, held_out, 0.05)["mean"]}

    config = LoopConfig(
        args.steps,
        args.rate,
        warmup=100,
        average=0.998,
        save=args.save,
        minutes=args.minutes,
        seed=args.seed,
        muon=args.muon,
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
    parser.add_argument("--twins", type=int, default=4, help="of these crops: the first ones seen otherwise")
    parser.add_argument(
        "--config",
        type=json.loads,
        default={},
        help='sizes that differ, as JSON: {"early": 0}; see SyncConfig',
    )
    parser.add_argument("--start", type=Path, help="begin with another run's weights wherever shapes agree")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    parser.add_argument("--val", type=Path, help="folder of held-out films (default: val in --out)")
    parser.add_argument("--films", type=Path, default=Path("runs/school"), help="films of make-data")
    parser.add_argument("--validation", type=int, default=160, help="held-out films, rendered into --out")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a held-out film")
    parser.add_argument("--photos", type=Path, help="panoramas, behind held-out films and to move things in")
    parser.add_argument("--muon", action="store_true", help="learn by Muon where AdamW is usual")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long (0: no limit)")
    parser.add_argument("--save", type=int, default=300, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
