"""One resumable training loop for every trainer: seeds, schedule, checkpoints, a log of JSON lines.

A run lives in one folder: ``log.jsonl`` (a line per report), ``last.pt`` (weights, averaged weights,
optimiser, step; read back with ``weights_only=True``), written to a temporary name and moved into place, so
that a killed run resumes from its last whole checkpoint, and ``done.json`` once the last step is behind it
and its results are written: what waits for a finished run waits for that file.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from edgefoley.train.files import whole, write_whole
from edgefoley.train.muon import MuonAdamW, adamw

Optimiser = torch.optim.Optimizer | MuonAdamW
T = TypeVar("T")


@dataclass(frozen=True)
class LoopConfig:
    """``steps`` in all; ``rate`` peak learning rate after ``warmup`` steps, cosine to a tenth of it;
    ``average`` decay of the weights' moving average (0: none); ``report`` and ``save`` every so many steps;
    ``minutes`` stop after so much wall time in this call (0: no limit), leaving a checkpoint to resume;
    ``muon``: matrices and kernels learn by Muon instead of AdamW."""

    steps: int
    rate: float
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    report: int = 50
    save: int = 250
    minutes: float = 0.0
    seed: int = 0
    muon: bool = False


def learning_rate(config: LoopConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to a tenth of the peak."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def save_atomic(state: dict[str, Any], path: Path) -> None:
    """``torch.save`` to a temporary name, then move: a kill leaves the old file or the new one, never
    half."""
    with whole(path) as part:
        torch.save(state, part)


def log_line(folder: Path, line: dict[str, Any]) -> None:
    """Append one JSON object to the run's log and show it."""
    text = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in line.items()})
    print(text, flush=True)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


class Average:
    """Exponential moving average of a module's parameters and buffers."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.step = decay, 0  # steps trained so far
        self.state = {k: v.detach().clone().float() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value.detach().float(), 1 - decay)
            else:
                self.state[key] = value.detach().clone()


def train(
    module: nn.Module,
    loss_fn: Callable[[int], dict[str, Tensor]],
    folder: Path,
    config: LoopConfig,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Average:
    """Run or resume ``folder``. ``loss_fn(step)`` returns named scalars; "loss" is the one minimised.

    Returns the averaged weights; call ``mark_done`` when the results made of them are written. ``validate``
    sees the module with its current weights at every save.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    optimiser = _optimiser(module, config)
    average = Average(module, config.average)
    _resume(folder / "last.pt", module, optimiser, average)
    if average.step < config.steps:
        (folder / "done.json").unlink(missing_ok=True)
    sums: dict[str, float] = {}
    begin, count, mark = time.monotonic(), 0, time.monotonic()
    for step in range(average.step, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        losses = loss_fn(step)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), config.clip)
        average.step = step + 1
        if not torch.isfinite(norm):
            log_line(folder, {"step": step + 1, "skipped": "gradient not finite"})
            continue
        optimiser.step()
        average.update(module, step)
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        count += 1
        stop = step + 1 == config.steps or bool(
            config.minutes and time.monotonic() - begin > 60 * config.minutes
        )
        if (step + 1) % config.report == 0 or stop:
            pace = count / (time.monotonic() - mark)
            line = {"step": step + 1, **{k: v / count for k, v in sums.items()}, "steps_per_s": pace}
            log_line(folder, line)
            sums, count, mark = {}, 0, time.monotonic()
        if (step + 1) % config.save == 0 or stop:
            _checkpoint(folder / "last.pt", module, optimiser, average)
            if validate is not None:
                log_line(folder, {"step": step + 1, **validate(module)})
            mark = time.monotonic()
        if stop:
            break
    return average


def _optimiser(module: nn.Module, config: LoopConfig) -> Optimiser:
    learnt = [p for p in module.parameters() if p.requires_grad]
    return (MuonAdamW if config.muon else adamw)(learnt, config.rate, config.weight_decay)


def _checkpoint(path: Path, module: nn.Module, optimiser: Optimiser, average: Average) -> None:
    state = {"module": module.state_dict(), "average": average.state, "step": average.step}
    save_atomic({**state, "optimiser": optimiser.state_dict(), "rng": torch.get_rng_state()}, path)


def _resume(path: Path, module: nn.Module, optimiser: Optimiser, average: Average) -> None:
    """Put back what ``_checkpoint`` wrote, if anything, each tensor on the device where it belongs."""
    if not path.exists():
        return
    state = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    average.state = {k: v.to(average.state[k].device) for k, v in state["average"].items()}
    average.step = state["step"]
    torch.set_rng_state(state["rng"])


class Ahead(Generic[T]):
    """A function of the step, whose value for the next step is made in another thread while the newest one is
    used. The function is only ever called in that thread."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make, self._thread = make, ThreadPoolExecutor(1)
        self._next: tuple[int, Future[T]] | None = None

    def __call__(self, step: int) -> T:
        ready = self._next
        if ready is None or ready[0] != step:
            ready = step, self._thread.submit(self._make, step)
        value = ready[1].result()
        self._next = step + 1, self._thread.submit(self._make, step + 1)
        return value


def averaged(folder: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a run's last checkpoint, on the CPU."""
    state = torch.load(folder / "last.pt", weights_only=True, map_location="cpu")
    weights: dict[str, torch.Tensor] = state["average"]
    return weights


def adopt(module: nn.Module, folder: Path) -> int:
    """Copy the averaged weights of another run whose names and shapes agree; returns how many tensors."""
    found = averaged(folder)
    own = module.state_dict()
    same = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    module.load_state_dict({**own, **same})
    return len(same)


def mark_done(folder: Path, average: Average, config: LoopConfig) -> None:
    """Write ``done.json``, unless ``minutes`` stopped the run before its last step. Call it last of all."""
    if average.step >= config.steps:
        write_whole(folder / "done.json", json.dumps({"steps": average.step}) + "\n")
