"""What a recipe of the catalogue is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.sound import Array, Sound, count, event, texture

KINDS: Final = ("event", "swell", "texture")

# (generator of the thing, generator of the take, strength 0..1, seconds) -> sound
Make = Callable[[Generator, Generator, float, float], Sound]
Draft = Callable[[Generator, Generator, float, float], Array]
Bed = Callable[[Generator, Generator, int, float], Array]


@dataclass(frozen=True)
class Recipe:
    """How to make the sound of one concept.

    kind: "event" (nothing before the onset), "swell" (onset is the climax) or "texture" (continuous, onset
    0); seconds: shortest and longest take; make: draws the thing (material, size, build) from its first
    generator and how it sounds this time from the second, so that several takes of one thing are possible.
    """

    kind: str
    seconds: tuple[float, float]
    make: Make

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(KINDS)}")

    def __call__(self, rng: Generator, strength: float, seconds: float) -> Sound:
        """One take of a thing drawn from ``rng``; strength 0..1, about ``seconds`` long."""
        thing, take = (np.random.default_rng(int(seed)) for seed in rng.integers(0, 2**62, 2))
        return self.make(thing, take, strength, seconds)


def happening(shortest: float, longest: float, draft: Draft) -> Recipe:
    """An event whose draft begins at its onset."""
    return Recipe(
        "event",
        (shortest, longest),
        lambda thing, rng, strength, seconds: event(draft(thing, rng, strength, seconds), strength),
    )


def lasting(bed: Bed, shortest: float = 3.0, longest: float = 5.0) -> Recipe:
    """A texture of the given draft: (thing, take, samples, strength) -> (samples,)."""
    return Recipe(
        "texture",
        (shortest, longest),
        lambda thing, rng, strength, seconds: texture(bed(thing, rng, count(seconds), strength), strength),
    )
