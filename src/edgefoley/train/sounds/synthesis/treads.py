"""Recipes of steps and landings."""

from __future__ import annotations

from typing import Final

from numpy.random import Generator

from edgefoley.train.sounds.synthesis import steps
from edgefoley.train.sounds.synthesis.modal import elsewhere
from edgefoley.train.sounds.synthesis.recipe import Draft, Recipe, happening
from edgefoley.train.sounds.synthesis.sound import Array, draw


def stepping(material: str, sole: tuple[float, float], boom: float) -> Draft:
    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        floor = steps.floor_body(thing, material)
        return steps.hard_step(rng, elsewhere(rng, floor, 0.4), draw(thing, *sole), strength, seconds, boom)

    return make


def treading(ground: str) -> Draft:
    return lambda thing, rng, strength, seconds: steps.loose_step(thing, rng, ground, strength, seconds)


RECIPES: Final[dict[str, Recipe]] = {
    "dirt_hit": happening(0.4, 0.8, treading("earth")),
    "jump_land": happening(0.4, 0.7, stepping("wood", (4.0, 12.0), 0.7)),
    "footsteps_wood": happening(0.4, 0.7, stepping("wood", (1.5, 6.0), 0.45)),
    "footsteps_concrete": happening(0.35, 0.6, stepping("concrete", (0.8, 4.0), 0.35)),
    "footsteps_metal": happening(0.5, 1.0, stepping("metal", (1.5, 6.0), 0.5)),
    "footsteps_ice": happening(0.35, 0.6, stepping("ice", (1.0, 3.0), 0.3)),
    "footsteps_barefoot": happening(0.3, 0.5, stepping("wood", (8.0, 20.0), 0.6)),
    "high_heels": happening(0.3, 0.5, stepping("concrete", (0.35, 0.8), 0.2)),
    "stairs": happening(0.4, 0.7, stepping("wood", (1.0, 5.0), 0.6)),
    **{
        f"footsteps_{ground}": happening(0.45, 0.7, treading(ground))
        for ground in ("gravel", "snow", "grass", "leaves", "sand")
    },
    "footsteps_water": happening(
        0.6, 1.0, steps.wet_step
    ),
}  # fmt: skip
