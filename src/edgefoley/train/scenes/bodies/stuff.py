"""What the bodies are made of: how heavy, how lively, how rough.

Rough textbook figures. A body bounces with its own `bounce` times the ground's `firmness`; densities of
hollow things are scaled by their makers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Stuff:
    """density kg/m^3; bounce: restitution 0..1 on a firm ground; firmness: factor 0..1 on the restitution
    of what lands on it; friction coefficient."""

    density: float
    bounce: float
    firmness: float
    friction: float


STUFF: Final = {
    "wood": Stuff(650, 0.45, 0.90, 0.50),
    "metal": Stuff(7000, 0.50, 0.95, 0.40),
    "glass": Stuff(2500, 0.50, 0.95, 0.35),
    "ceramic": Stuff(2300, 0.42, 0.95, 0.45),
    "stone": Stuff(2600, 0.38, 0.95, 0.60),
    "concrete": Stuff(2300, 0.35, 0.95, 0.65),
    "plastic": Stuff(1000, 0.55, 0.85, 0.40),
    "rubber": Stuff(1100, 0.85, 0.80, 0.80),
    "cloth": Stuff(300, 0.08, 0.25, 0.75),
    "paper": Stuff(500, 0.20, 0.60, 0.50),
    "flesh": Stuff(1000, 0.20, 0.50, 0.60),
    "earth": Stuff(1500, 0.15, 0.30, 0.80),
    "grass": Stuff(1200, 0.20, 0.50, 0.70),
    "gravel": Stuff(1700, 0.15, 0.25, 0.80),
    "sand": Stuff(1600, 0.05, 0.10, 0.80),
    "snow": Stuff(300, 0.05, 0.10, 0.40),
    "leaves": Stuff(200, 0.10, 0.30, 0.60),
    "ice": Stuff(920, 0.35, 0.90, 0.08),
    "water": Stuff(1000, 0.05, 0.10, 0.30),
}
HARD: Final = ("wood", "metal", "glass", "ceramic", "stone", "plastic")
THINGS: Final = (*HARD, "rubber", "cloth", "paper")
GROUNDS: Final = ("wood", "concrete", "stone", "metal", "plastic", "cloth", "earth", "grass", "ceramic")
TRAILS: Final = ("wood", "concrete", "stone", "earth", "grass", "gravel", "sand", "snow", "leaves", "metal")


def choose(rng: Rng, asked: str, usual: tuple[str, ...]) -> str:
    """The material that was asked for, or one of the usual ones. Draws a number in both cases."""
    drawn = usual[int(rng.integers(len(usual)))]
    return asked if asked else drawn
