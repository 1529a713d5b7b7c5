"""What distillation and pruning cost and save, on examples that no training saw: one table per run.

Every contestant walks from the same noise under the same conditions. The first is the reference, and the
others are held against it pair by pair:

    gflop           arithmetic of the transformer for the longest example (a multiply-add counts as two), as
                    the runtime does it: conditions once per branch, the rest once per pass
    seconds         the same work in PyTorch on this machine, the better of two runs
    latent_rms      root mean square of the difference of the final latents, channels weighed as in training
    detail          root mean square change from latent to latent, over the reference's: below 1 is blur
    log_mel_db      mean distance of the decoded sounds' mel levels
    onset_f1        of the decoded sound's onsets and the events of the curve it was made for, within 100 ms
    onset_chance    the same against the events of another example
    onset_f1_ref    of the decoded sound's onsets and those of the reference's sound
    unwanted        how far the negative prompts act as they do in the reference: mean cosine of what they
                    change in the final latents, with and without them (the reference has 1; 0 is chance)
    velocity_error  mean squared error of the plain velocity against noise - data, channels weighed: the
                    training loss (only where it means something)
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.metrics.onsets import onset_f1, pick_peaks
from edgefoley.models.transformer import Transformer, sync_rows, visual_positions
from edgefoley.timeline import EVENT_RATE
from edgefoley.train.files import write_whole
from edgefoley.train.sampler import Velocity, trajectory, velocity_of
from edgefoley.train.sounds.onsets import EARLY_S, onset_times, to_16k
from edgefoley.train.teachers import Batch
from edgefoley.train.unwanted import fold, without_negatives

Wave = npt.NDArray[np.float32]
Decode = Callable[[Tensor], Tensor]  # latents (B, D, L) -> waves (B, 1, samples)
Row = dict[str, Any]

TOLERANCE_S: Final = 0.1
SURE: Final = 0.3  # height of the curve's peaks that count as events; false ones are lower
MIN_GAP_S: Final = 0.06
Item = TypeVar("Item")


@dataclass(frozen=True)
class Contestant:
    """A way from noise to latents. ``folded``: the network reads negatives among its words (``unwanted``)
    and takes one pass; else ``guidance`` above 1 takes two, and up to 1 ignores negatives."""

    name: str
    network: Transformer
    steps: int
    guidance: float = 1.0
    folded: bool = False

    @property
    def passes(self) -> int:
        return 2 if self.guidance > 1 else 1

    def velocity(self, batch: Batch, bf16: bool) -> Velocity:
        seen = fold(batch) if self.folded else batch
        return velocity_of(self.network, seen, self.guidance, bf16)

    def make(self, batch: Batch, noise: Tensor, bf16: bool) -> Tensor:
        """Final latents (B, D, L)."""
        return trajectory(self.velocity(batch, bf16), noise, self.steps)[-1]


@dataclass(frozen=True)
class Trial:
    """On what contestants are compared: ``batches``, the noise's ``seed``, ``weights`` (D, 1) of the
    channels, how to ``decode`` latents (None: no figures of sound), whether to compute in bfloat16."""

    batches: Sequence[Batch]
    weights: Tensor
    decode: Decode | None = None
    seed: int = 11
    bf16: bool = True

    def noise(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + index)
        latents = self.batches[index]["latents"]
        return torch.randn(latents.shape, generator=generator).to(latents.device)

    def longest(self) -> dict[str, Tensor]:
        """The first example of the batch with the longest ones, alone."""
        batch = max(self.batches, key=lambda b: b["latents"].shape[-1])
        count = len(batch["latents"])
        return {name: part[:1] if len(part) == count else part for name, part in batch.items()}


def gflop(contestant: Contestant, batch: Batch) -> float:
    """Counted arithmetic (10^9) of one example from noise to latents."""
    network, latents = contestant.network, batch["latents"][:1]
    text = (fold(batch) if contestant.folded else batch)["text"][:1]
    tokens = latents.shape[-1] // network.config.patch_size
    places = (
        sync_rows(tokens, batch["sync"].shape[1], latents.device),
        visual_positions(tokens, batch["visual"].shape[1], latents.device),
    )
    dtype = next(network.parameters()).dtype
    text, visual, sync = (part[:1].to(dtype) for part in (text, batch["visual"], batch["sync"]))
    with torch.no_grad(), FlopCounterMode(display=False) as once:
        condition = network.condition(text, visual, sync, *places)
    with torch.no_grad(), FlopCounterMode(display=False) as step:
        now = network.time(torch.full((1,), 500.0, device=latents.device))
    with torch.no_grad(), FlopCounterMode(display=False) as each:
        network.denoise(latents.to(dtype), condition, now)
    per_pass = once.get_total_flops() + contestant.steps * each.get_total_flops()
    total = contestant.passes * per_pass + contestant.steps * step.get_total_flops()
    return float(total) / 1e9


def seconds(contestant: Contestant, trial: Trial) -> float:
    """Time of one example from noise to latents in PyTorch, the better of two runs."""
    batch = trial.longest()
    noise, took = torch.randn_like(batch["latents"]), []
    for _ in range(2):
        begin = time.perf_counter()
        float(contestant.make(batch, noise, trial.bf16).sum())  # waits for a GPU
        took.append(time.perf_counter() - begin)
    return min(took)


def curve_events(sync: Tensor, timed: bool) -> npt.NDArray[np.float64] | None:
    """Times (s) of the sure events of an event curve (S, 4); None where there is no such curve or event."""
    if not timed or sync.shape[-1] != 4:
        return None
    curve = sync[:, :2].reshape(-1).float().cpu().numpy()
    times = pick_peaks(curve, SURE, MIN_GAP_S, float(EVENT_RATE))
    return times if len(times) else None


def heard(wave: Wave) -> npt.NDArray[np.float64]:
    """Times (s) at which a sound's onsets are heard."""
    return onset_times(to_16k(wave)) + EARLY_S


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None of nothing."""
    return float(np.mean(values)) if len(values) else None


def shifted(items: Sequence[Item]) -> list[Item]:
    """Each item's successor, the last one's the first."""
    return [*items[1:], *items[:1]]


def onset_figures(
    waves: Sequence[Wave], reference: Sequence[Wave], events: Sequence[npt.NDArray[np.float64] | None]
) -> tuple[list[float], list[float], list[float]]:
    """F1 against the events, against the next example's events, and against the reference's onsets, of those
    examples of a batch that have events."""
    some = [i for i, times in enumerate(events) if times is not None]
    true = [times for times in events if times is not None]
    found = [heard(waves[i]) for i in some]
    others = [heard(reference[i]) for i in some]
    hit = [onset_f1(a, b, TOLERANCE_S) for a, b in zip(found, true, strict=True)]
    chance = [onset_f1(a, b, TOLERANCE_S) for a, b in zip(found, shifted(true), strict=True)]
    same = [onset_f1(a, b, TOLERANCE_S) for a, b in zip(found, others, strict=True)]
    return hit, chance if len(true) > 1 else [], same


def unwanted_agreement(made: Tensor, plain: Tensor, reference: Tensor, reference_plain: Tensor) -> Tensor:
    """Cosine (B,) of the changes that negatives make in a contestant's and in the reference's latents."""
    changes = (made - plain).flatten(1), (reference - reference_plain).flatten(1)
    return torch.nn.functional.cosine_similarity(*changes, dim=1)


@torch.no_grad()
def compare(contestants: Sequence[Contestant], trial: Trial, say: Callable[[str], None]) -> list[Row]:
    """One row of figures per contestant, the first being the reference of the others; see the module's
    text."""
    made = [[c.make(b, trial.noise(i), trial.bf16) for i, b in enumerate(trial.batches)] for c in contestants]
    sounds = [[_waves(trial.decode, latents) for latents in row] for row in made]
    plain = [_without_negatives(c, trial) for c in contestants] if contestants[0].passes == 2 else []
    rows = []
    for k, contestant in enumerate(contestants):
        say(f"measuring {contestant.name}")
        row: Row = {
            "name": contestant.name,
            "steps": contestant.steps,
            "guidance": contestant.guidance,
            "gflop": gflop(contestant, trial.longest()),
            "seconds": seconds(contestant, trial),
            **_latent_figures(made[k], made[0], trial.weights),
            **_sound_figures(sounds[k], sounds[0], trial.batches),
        }
        agreement: list[float] = []
        for i, batch in enumerate(trial.batches):
            if plain and "avoids" in batch:
                cosines = unwanted_agreement(made[k][i], plain[k][i], made[0][i], plain[0][i])
                agreement += cosines[batch["avoids"]].tolist()
        rows.append({**row, "unwanted": mean(agreement)})
    return rows


def _waves(decode: Decode | None, latents: Tensor) -> list[Wave]:
    if decode is None:
        return []
    return [decode(one[None])[0, 0].float().cpu().numpy() for one in latents]


def _without_negatives(contestant: Contestant, trial: Trial) -> list[Tensor]:
    """Final latents of the same noise with nothing to avoid."""
    return [
        contestant.make(without_negatives(b) if "avoids" in b else b, trial.noise(i), trial.bf16)
        for i, b in enumerate(trial.batches)
    ]


def _latent_figures(made: Sequence[Tensor], reference: Sequence[Tensor], weights: Tensor) -> Row:
    error = [float((weights * (a - b).square()).mean()) for a, b in zip(made, reference, strict=True)]
    change = [
        [float((weights * x.diff(dim=2).square()).mean()) for x in pair]
        for pair in zip(made, reference, strict=True)
    ]
    mine, theirs = np.sum(change, axis=0)
    return {"latent_rms": float(np.mean(error) ** 0.5), "detail": float((mine / max(theirs, 1e-12)) ** 0.5)}


def _sound_figures(
    waves: Sequence[Sequence[Wave]], reference: Sequence[Sequence[Wave]], batches: Sequence[Batch]
) -> Row:
    distance: list[float] = []
    onsets: tuple[list[float], list[float], list[float]] = ([], [], [])
    for own, true, batch in zip(waves, reference, batches, strict=True):
        distance += [log_mel_distance(a, b) for a, b in zip(own, true, strict=True)]
        events = [
            curve_events(sync, bool(flag))
            for sync, flag in zip(batch["sync"], batch["flags"][:, 1], strict=True)
        ]
        if own:
            for kept, more in zip(onsets, onset_figures(own, true, events), strict=True):
                kept += more
    names = ("onset_f1", "onset_chance", "onset_f1_ref")
    return {"log_mel_db": mean(distance), **{n: mean(v) for n, v in zip(names, onsets, strict=True)}}


@torch.no_grad()
def velocity_error(network: Transformer, trial: Trial) -> float:
    """Mean squared error of the plain velocity against noise - data, at noise levels spread evenly."""
    errors = []
    for i, batch in enumerate(trial.batches):
        data, noise = batch["latents"], trial.noise(i)
        sigma = (torch.arange(len(data), device=data.device) + 0.5) / len(data)
        at = sigma[:, None, None]
        made = velocity_of(network, batch, 1.0, trial.bf16)(at * noise + (1 - at) * data, sigma)
        errors.append(float((trial.weights * (made - (noise - data)).square()).mean()))
    return float(np.mean(errors))


COLUMNS: Final[Mapping[str, str]] = {
    "name": "", "steps": "d", "guidance": "g", "parameters_m": ".2f", "gflop": ".1f", "seconds": ".2f",
    "latent_rms": ".3f", "detail": ".3f", "log_mel_db": ".2f", "onset_f1": ".3f", "onset_chance": ".3f",
    "onset_f1_ref": ".3f", "unwanted": ".3f", "velocity_error": ".4f",
}  # fmt: skip


def as_text(rows: Sequence[Row]) -> str:
    """The table in columns of equal width; a figure that could not be had is a dash."""
    shown = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    cells = [shown] + [
        ["-" if row.get(name) is None else format(row[name], COLUMNS[name]) for name in shown] for row in rows
    ]
    widths = [max(len(line[k]) for line in cells) for k in range(len(shown))]
    lines = []
    for name, *figures in cells:
        aligned = [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    return "\n".join(lines)


def write_table(folder: Path, rows: Sequence[Row], trial: Trial, **about: Any) -> str:
    """``before_after.json`` and ``before_after.txt`` in a run's folder; returns the text."""
    longest = max(batch["latents"].shape[-1] for batch in trial.batches)
    card = {
        "examples": sum(len(batch["latents"]) for batch in trial.batches),
        "longest_latents": longest, "torch": torch.__version__, "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(), **about,
    }  # fmt: skip
    text = as_text(rows)
    write_whole(folder / "before_after.json", json.dumps({"about": card, "rows": rows}, indent=1) + "\n")
    write_whole(
        folder / "before_after.txt", text + "\n\n" + "\n".join(f"{k}: {v}" for k, v in card.items()) + "\n"
    )
    return text
