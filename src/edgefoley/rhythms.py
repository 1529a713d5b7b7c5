"""When something sounds that nobody sees: typing comes in bursts, a clock ticks evenly, knocks in threes.

What is heard as typing is as much the rhythm as the key. Where a picture is shown, its contacts are the
rhythm; this module is for sounds without one: those of lessons in training, and those made from words alone.

Layer 1: numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

ALONE: Final = 0.25  # share of lessons in which a thing with a rhythm does not keep it
LAST_S: Final = 0.05  # nothing begins so near the end


@dataclass(frozen=True)
class Rhythm:
    """``period``: range in s from one hit to the next; ``jitter``: standard deviation of a hit from its
    place, as a share of the period; ``run``: range of hits in a run, (0, 0) without pauses; ``pause``: range
    in s between runs."""

    period: tuple[float, float]
    jitter: float = 0.06
    run: tuple[int, int] = (0, 0)
    pause: tuple[float, float] = (0.0, 0.0)

    def times(self, seconds: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Times in [0, ``seconds`` - LAST_S), ascending. A run keeps its period."""
        period = float(rng.uniform(*self.period))
        now, left, found = float(rng.uniform(0.05, 0.8)), self._run(rng), []
        while now < seconds - LAST_S:
            found.append(now)
            left -= 1
            step = period * max(0.3, 1 + self.jitter * float(rng.standard_normal()))
            if left == 0:
                step, left = float(rng.uniform(*self.pause)), self._run(rng)
            now += step
        return np.array(found)

    def _run(self, rng: np.random.Generator) -> int:
        """Hits of the next run; -1: as many as fit."""
        return -1 if self.run == (0, 0) else int(rng.integers(self.run[0], self.run[1] + 1))


STEPS: Final = Rhythm((0.38, 0.75), 0.06)
EVEN: Final = Rhythm((0.18, 0.9), 0.05)  # a row of anything
RHYTHMS: Final[dict[str, Rhythm]] = {
    "typing": Rhythm((0.08, 0.2), 0.35, (4, 24), (0.25, 1.0)),
    "mouse_click": Rhythm((0.12, 0.25), 0.1, (1, 2), (0.4, 2.0)),
    "door_knock": Rhythm((0.15, 0.32), 0.06, (2, 5), (0.8, 3.0)),
    "hammer_nail": Rhythm((0.3, 0.8), 0.06, (3, 10), (0.8, 2.0)),
    "anvil": Rhythm((0.4, 0.9), 0.06, (3, 8), (0.8, 2.0)),
    "wood_chop": Rhythm((0.7, 1.6), 0.1),
    "pickaxe": Rhythm((0.8, 1.6), 0.1),
    "digging": Rhythm((1.0, 2.2), 0.15),
    "knife_chop": Rhythm((0.15, 0.5), 0.08, (4, 16), (0.4, 1.2)),
    "scissors": Rhythm((0.25, 0.6), 0.12, (2, 8), (0.4, 1.5)),
    "hand_clap": Rhythm((0.25, 0.7), 0.04),
    "heart_beat": Rhythm((0.65, 1.1), 0.02),
    "woodpecker": Rhythm((0.045, 0.08), 0.03, (8, 20), (1.0, 4.0)),
    "clock_tick": Rhythm((0.5, 1.0), 0.003),
    "ball_bounce": Rhythm((0.35, 0.8), 0.05),
    "drum_kit": Rhythm((0.12, 0.35), 0.03),
    "dishes": Rhythm((0.15, 0.6), 0.5, (2, 8), (0.3, 1.5)),
    "keys_jingle": Rhythm((0.1, 0.3), 0.4, (3, 10), (0.3, 1.5)),
    "horse_walk": Rhythm((0.2, 0.34), 0.06),
    "running": Rhythm((0.24, 0.38), 0.05),
    "stairs": Rhythm((0.3, 0.6), 0.06),
    "dancing": Rhythm((0.2, 0.5), 0.1),
    "horse_gallop": Rhythm((0.12, 0.3), 0.2, (3, 4), (0.15, 0.3)),
}


def natural_times(
    sound: str, kind: str, seconds: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times (s) and strengths (0 … 1) of a sound without a picture: its rhythm if it has one, else from a
    single hit to an even row. ``sound``: the id of its concept, ``kind``: the concept's kind ("impact",
    "step", "vocal", "burst" or "texture")."""
    rhythm = RHYTHMS.get(sound, STEPS if kind == "step" else None)
    if rhythm is not None and rng.random() >= ALONE:
        times = rhythm.times(seconds, rng)
    elif kind == "step" or (kind == "impact" and rng.random() < 0.5):
        times = EVEN.times(seconds, rng)
    else:
        times = np.sort(rng.uniform(0.05, max(0.06, seconds - 0.5), int(rng.integers(1, 7))))
    level = float(rng.uniform(0.4, 1.0))
    return times, np.clip(level + rng.normal(0, 0.15, len(times)), 0.1, 1)
