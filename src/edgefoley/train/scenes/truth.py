"""What happens in a scene, independent of how it is drawn and of how it will sound.

Every renderer of this package returns a `Truth`; the mixer places recordings by it and the captions tell it.
Times are seconds from the clip's start, places are fractions of the picture (x to the right, y down; outside
0..1 means outside the picture), distances are metres from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

ACTIVITY_RATE: Final = 50  # values per second of Truth.activity

# What something is made of, as far as it can be heard. "" stands for none (a voice, a flame).
MATERIALS: Final = (
    "wood",
    "metal",
    "glass",
    "ceramic",
    "stone",
    "concrete",
    "plastic",
    "rubber",
    "cloth",
    "paper",
    "flesh",
    "earth",
    "grass",
    "gravel",
    "sand",
    "snow",
    "leaves",
    "ice",
    "water",
)

# What a source does. Contact actions sound at their contacts; stream actions sound as long as their activity
# is above 0; a few do both (a roll bumps, a pour begins with a splash, a door creaks and then slams).
CONTACT_ACTIONS: Final = (
    "drop",  # falls, lands, tumbles to rest
    "bounce",  # comes back up, again and again
    "roll",
    "slide",
    "stack",  # things put on each other; a stack that topples
    "collide",  # a moving thing meets things at rest
    "strike",  # a tool or stick hits something
    "hammer",
    "chop",
    "clap",  # hands, or two things in hands
    "punch",  # limbs hit a body or a bag
    "walk",
    "run",
    "jump",
    "gallop",  # four legs
    "keys",  # fingers press keys or buttons
    "door",
    "drawer",
    "scrape",  # rubs back and forth
    "shake",  # a held thing rattles
    "vocal",  # a mouth opens
    "burst",  # flash, recoil, explosion
    "break",  # something falls apart
    "flap",  # wings, cloth
)
STREAM_ACTIONS: Final = (
    "pour",
    "engine",  # vibrates in place or drives by
    "rotor",
    "flames",
    "rain",
    "waves",
    "flow",  # river, fountain, tap
    "wind",  # leaves, grass, cloth in the wind
    "crowd",
    "bubbles",
    "steam",
    "ambience",  # nothing in the picture moves for it
)
ACTIONS: Final = CONTACT_ACTIONS + STREAM_ACTIONS


@dataclass(frozen=True)
class Source:
    """One thing that sounds. action: one of ACTIONS; striker, struck: MATERIALS or ""; size: 0 (a coin) to 1
    (a wardrobe)."""

    action: str
    striker: str = ""
    struck: str = ""
    size: float = 0.5


@dataclass(frozen=True)
class Contact:
    """One sounding instant. time_s; strength 0..1 (how hard, as a listener would rank it); source: index
    into Truth.sources; place (x, y) in the picture; distance_m from the camera; impulse_ns: N s, nan where
    the motion was prescribed and not simulated."""

    time_s: float
    strength: float
    source: int = 0
    place: tuple[float, float] = (0.5, 0.5)
    distance_m: float = 2.0
    impulse_ns: float = float("nan")

    @property
    def visible(self) -> bool:
        """Whether the place is inside the picture."""
        return 0.0 <= self.place[0] <= 1.0 and 0.0 <= self.place[1] <= 1.0


@dataclass(frozen=True)
class Truth:
    """sources; contacts in time order; activity (len(sources), ceil(seconds * ACTIVITY_RATE)) float32 0..1,
    the loudness of each source's continuous sound; seconds."""

    sources: tuple[Source, ...]
    contacts: tuple[Contact, ...]
    activity: NDArray[np.float32]
    seconds: float

    def __post_init__(self) -> None:
        for source in self.sources:
            if source.action not in ACTIONS:
                raise ValueError(f"unknown action {source.action!r}; known: {', '.join(ACTIONS)}")
            for material in (source.striker, source.struck):
                if material and material not in MATERIALS:
                    raise ValueError(f"unknown material {material!r}; known: {', '.join(MATERIALS)}")
        if any(b.time_s < a.time_s for a, b in zip(self.contacts, self.contacts[1:], strict=False)):
            raise ValueError("contacts must be in time order")
        if any(not 0 <= c.source < len(self.sources) for c in self.contacts):
            raise ValueError("a contact names a source that is not there")
        if self.activity.ndim != 2 or len(self.activity) != len(self.sources):
            raise ValueError(f"activity needs one row per source, got shape {self.activity.shape}")


@dataclass(frozen=True)
class Film:
    """A drawn scene: frames (F, size, size, 3) uint8 RGB; timestamps (F,) float64 s, the first 0, each frame
    exposed around its timestamp; the truth; `look`: what was drawn, in words, for the contact sheet."""

    frames: NDArray[np.uint8]
    timestamps: NDArray[np.float64]
    truth: Truth
    look: dict[str, str] = field(default_factory=dict)
