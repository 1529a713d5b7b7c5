"""The drawn (2-D) engine: actions whose contact times are closed forms, under a moving camera with cuts.

`stage` gives a `stage.Stage`: what happens comes from the actions' own clocks (scenes.motion), never from the
pictures. Left out: perspective, shadows, and contacts between things that the action did not plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.animals import Animal, Person, Quiet
from edgefoley.train.scenes.bursts import Break, Burst
from edgefoley.train.scenes.contacts import Collide, Drop, Impact, Scrape
from edgefoley.train.scenes.draw import Affine, Canvas, Shot, affine, chain
from edgefoley.train.scenes.fields import Ambience, Crowd, Flames, Waves, Wind
from edgefoley.train.scenes.figures import Jump, Step
from edgefoley.train.scenes.motion import Rng
from edgefoley.train.scenes.objects import Door, Flap, Keys, Shake, Travel
from edgefoley.train.scenes.program import Cast, Program
from edgefoley.train.scenes.streams import Bubbles, Flow, Pour, Rain, Steam
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Contact, Source, Truth
from edgefoley.train.scenes.vehicles import Engine, Rotor

HALF_VIEW: Final = (
    0.47  # tangent of half the angle of view that distances are reckoned with (about 50 degrees)
)


def _voice(rng: Rng, seconds: float, cast: Cast) -> Program:
    return Person(rng, seconds, cast) if rng.random() < 0.4 else Animal(rng, seconds, cast)


_PROGRAMS: Final[dict[str, Callable[[Rng, float, Cast], Program]]] = {
    "drop": Drop,
    "bounce": Drop,
    "roll": Travel,
    "slide": Travel,
    "collide": Collide,
    "strike": Impact,
    "hammer": Impact,
    "chop": Impact,
    "clap": Impact,
    "punch": Impact,
    "walk": Step,
    "run": Step,
    "gallop": Step,
    "jump": Jump,
    "keys": Keys,
    "door": Door,
    "drawer": Door,
    "scrape": Scrape,
    "shake": Shake,
    "vocal": _voice,
    "burst": Burst,
    "break": Break,
    "flap": Flap,
    "pour": Pour,
    "engine": Engine,
    "rotor": Rotor,
    "flames": Flames,
    "rain": Rain,
    "waves": Waves,
    "flow": Flow,
    "wind": Wind,
    "crowd": Crowd,
    "bubbles": Bubbles,
    "steam": Steam,
    "ambience": Ambience,
}
ACTIONS: Final = tuple(_PROGRAMS)


@dataclass(frozen=True)
class _Part:
    """One action of a stage and where it stands beside the shot's own placement."""

    program: Program
    beside: Affine
    size: float


class FlatStage:
    """One or two actions, silent distractors and the shots that show them; see `stage.Stage`."""

    def __init__(self, rng: Rng, seconds: float, size: int, casts: list[Cast], silent: bool = False) -> None:
        self._parts = []
        for k, cast in enumerate(casts):
            program = _PROGRAMS[cast.action](rng, seconds, cast)
            beside, scale = _beside(rng, k, len(casts))
            down, shrink = program.fit
            self._parts.append(_Part(program, chain(beside, affine(0, down, shrink)), scale * shrink))
        some = int(rng.integers(1, 4 if silent else 3)) * bool(silent or rng.random() < 0.35)
        self._others = Quiet(rng, some) if some else None
        mute = _mute(rng, seconds) if rng.random() < (0.7 if silent else 0.1) else None
        self._mutes = [_Part(mute, *_beside(rng, 1, 1 if silent else 2))] if mute else []
        cuts = int(rng.integers(1, 4)) if rng.random() < 0.12 else 0
        self._starts = [0.0, *sorted(float(x) for x in rng.uniform(0.3, max(0.4, seconds), cuts))]
        lead = self._parts[0].program if self._parts else None
        wide, upright = (lead.wide, lead.upright) if lead else (False, False)
        self._shots = [self._aimed(rng, Shot(rng, wide, upright), wide, upright) for _ in self._starts]
        self._canvas: Canvas | None = Canvas(size)
        self._to_pixels = affine((size - 1) / 2, (size - 1) / 2, size / 2)
        self._kicks = sorted((m.time_s, m.strength) for p in self._parts for m in p.program.marks)
        self._times = [t for t, _ in self._kicks]
        self.truth = self._truth(seconds)
        names = [type(p.program).__name__.lower() for p in self._parts]
        kinds = [str(getattr(p.program, "kind", getattr(p.program, "style", ""))) for p in self._parts]
        self.look = {"drawn": " and ".join(names) or "quiet", "kind": " ".join(kinds)}

    def _aimed(self, rng: Rng, shot: Shot, wide: bool, upright: bool) -> Shot:
        """The shot, aimed again until most contacts are in the picture; a few tries, so some stay outside."""
        spots = [chain(p.beside, affine(*m.spot))[:, 2] for p in self._parts for m in p.program.marks]
        for _ in range(5):
            seen = np.array([shot.place[:, :2] @ spot + shot.place[:, 2] for spot in spots])
            if not spots or np.mean((np.abs(seen) < 0.93).all(1)) > 0.85:
                break
            shot.aim(rng, wide, upright)
        return shot

    def _truth(self, seconds: float) -> Truth:
        sources: list[Source] = []
        contacts: list[Contact] = []
        clock = np.arange(math.ceil(seconds * ACTIVITY_RATE)) / ACTIVITY_RATE
        activity = np.zeros((len(self._parts), len(clock)), np.float32)
        for k, part in enumerate(self._parts):
            sources.append(part.program.source)
            activity[k] = [part.program.activity(float(t)) for t in clock]
            for mark in part.program.marks:
                place, distance = self._seen(part, mark.spot, mark.time_s)
                contacts.append(Contact(mark.time_s, mark.strength, k, place, distance))
        contacts.sort(key=lambda c: c.time_s)
        return Truth(tuple(sources), tuple(contacts), activity, seconds)

    def _seen(self, part: _Part, spot: tuple[float, float], t: float) -> tuple[tuple[float, float], float]:
        """Where in the picture a point of an action is at time t, and how many metres from the camera."""
        shot = self._shot(t)
        view = chain(chain(shot.camera(t, self._jolt(t)), shot.place), part.beside)
        x, y = 0.5 + 0.5 * (view[:, :2] @ np.asarray(spot) + view[:, 2])
        zoom = shot.scale * part.size * math.exp(shot.zoom * t) * part.program.nearness(t)
        return (float(x), float(y)), float(part.program.metres / (zoom * HALF_VIEW))

    def _shot(self, t: float) -> Shot:
        return self._shots[max(0, int(np.searchsorted(self._starts, t, side="right")) - 1)]

    def _jolt(self, t: float) -> float:
        """How the newest contact still rings, about -1..1."""
        i = int(np.searchsorted(self._times, t, side="right")) - 1
        u = t - self._times[i] if i >= 0 else 1.0
        return self._kicks[i][1] * math.exp(-u / 0.06) * math.cos(50 * u) if u < 0.5 else 0.0

    def expose(self, t: float) -> NDArray[np.uint8]:
        """The picture at time t; see `stage.Stage`."""
        if self._canvas is None:
            raise RuntimeError("this stage was closed: make it again to draw it")
        shot, canvas = self._shot(t), self._canvas
        seen = shot.camera(t, self._jolt(t))
        camera = chain(self._to_pixels, seen)
        lead = self._parts[0].program if self._parts else None
        shift = lead.scroll(t) * shot.place[0, 0] * self._parts[0].size if lead else 0.0
        canvas.begin(shot.background, shot.cover, chain(camera, affine(-shift, 0)) if shift else camera)
        canvas.view = camera
        if self._others is not None:
            self._others.draw(canvas, t)
        for part in (*self._mutes, *self._parts):
            canvas.view = chain(chain(camera, shot.place), part.beside)
            part.program.draw(canvas, t)
        return canvas.image

    def close(self) -> None:
        """Free the canvas; the stage cannot be drawn afterwards."""
        self._canvas = None


def _beside(rng: Rng, index: int, count: int) -> tuple[Affine, float]:
    """Placement and size of one of `count` actions in a shot."""
    if count == 1:
        return affine(), 1.0
    side = -1.0 if index == 0 else 1.0
    size = float(rng.uniform(0.45, 0.8))
    x, y = side * float(rng.uniform(0.4, 0.75)), float(rng.uniform(-0.25, 0.25))
    return affine(x, y, size), size


def _mute(rng: Rng, seconds: float) -> Program:
    """Someone or something that could sound and does not: a closed mouth, a tool that only waves."""
    kind = rng.random()
    if kind < 0.35:
        return Animal(rng, seconds, Cast("vocal"), mute=True)
    if kind < 0.65:
        return Person(rng, seconds, Cast("vocal"), mute=True)
    return Impact(rng, seconds, Cast(("strike", "hammer", "chop")[int(rng.integers(3))]), mute=True)


def stage(rng: Rng, seconds: float, size: int, action: str, striker: str = "", struck: str = "") -> FlatStage:
    """A drawn stage of one action (one of ACTIONS).

    striker, struck: truth.MATERIALS or "" (the action chooses). Raises ValueError for an action that this
    engine cannot draw.
    """
    if action not in _PROGRAMS:
        raise ValueError(f"cannot draw {action!r} in 2-D; can: {', '.join(ACTIONS)}")
    return FlatStage(rng, seconds, size, [Cast(action, striker, struck)])


def duet(rng: Rng, seconds: float, size: int, first: Cast, second: Cast) -> FlatStage:
    """Two actions beside each other in one picture; sources 0 and 1 of its truth."""
    return FlatStage(rng, seconds, size, [first, second])


def quiet(rng: Rng, seconds: float, size: int) -> FlatStage:
    """A stage without a source: things move and nothing sounds."""
    return FlatStage(rng, seconds, size, [], silent=True)
