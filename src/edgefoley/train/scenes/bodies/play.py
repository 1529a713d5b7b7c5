"""`stage`: a scene of bodies in space for any of `ACTIONS`, with its contacts from physics or closed
forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.bodies import (
    falling,
    fights,
    gaits,
    hinges,
    keyboard,
    meeting,
    piles,
    rubs,
    surroundings,
    tools,
)
from edgefoley.train.scenes.bodies.camera import frame
from edgefoley.train.scenes.bodies.picture import Picture
from edgefoley.train.scenes.bodies.script import Script, heard
from edgefoley.train.scenes.bodies.stuff import Rng
from edgefoley.train.scenes.truth import Contact, Truth

Program = Callable[[Rng, float, str, str], Script]

_PROGRAMS: Final[dict[str, Program]] = {
    "drop": falling.drop,
    "bounce": falling.bounce,
    "roll": meeting.roll,
    "slide": meeting.slide,
    "collide": meeting.collide,
    "stack": piles.stack,
    "strike": tools.strike,
    "hammer": tools.hammer,
    "chop": tools.chop,
    "clap": fights.clap,
    "punch": fights.punch,
    "keys": keyboard.keys,
    "door": hinges.door,
    "drawer": hinges.drawer,
    "scrape": rubs.scrape,
    "shake": rubs.shake,
    "break": piles.shatter,
    "walk": gaits.walk,
    "run": gaits.run,
    "jump": gaits.jump,
    "gallop": gaits.gallop,
}
ACTIONS: Final = tuple(_PROGRAMS)


class BodyStage:
    """A settled scene; see stage.Stage. The engine that draws is started by the first expose()."""

    def __init__(self, rng: Rng, script: Script, seconds: float, size: int) -> None:
        self._size = size
        self._camera = frame(rng, script, seconds)
        self.actors = script.actors + surroundings.around(rng, script, self._camera, seconds)
        contacts = []
        for hit in heard(script.hits, seconds):
            place, distance = self._camera.place(hit.point, hit.time_s)
            contacts.append(
                Contact(hit.time_s, hit.strength, hit.source, place, distance, float(hit.impulse_ns))
            )
        self.truth = Truth(script.sources, tuple(contacts), script.activity, seconds)
        self.look = dict(script.words)
        self._seed = int(rng.integers(2**63))
        self._picture: Picture | None = None
        self._closed = False

    def _drawn(self) -> Picture:
        if self._closed:
            raise RuntimeError("this stage is closed; make another with the same arguments")
        if self._picture is None:
            self._picture = Picture(np.random.default_rng(self._seed), self.actors, self._camera, self._size)
        return self._picture

    def expose(self, t: float) -> NDArray[np.uint8]:
        """The picture at time t in seconds, (size, size, 3) uint8 RGB; any t, in any order."""
        return self._drawn().shoot(t)[0]

    def owners(self, t: float) -> NDArray[np.int64]:
        """Which of `actors` each pixel shows at time t, (size, size); -1: the backdrop."""
        return self._drawn().shoot(t)[1]

    def close(self) -> None:
        """Free the engine; the stage cannot be drawn afterwards."""
        if self._picture is not None:
            self._picture.close()
        self._picture, self._closed = None, True


def stage(rng: Rng, seconds: float, size: int, action: str, striker: str = "", struck: str = "") -> BodyStage:
    """A scene of `action` (one of ACTIONS) for pictures of size x size pixels. striker, struck: materials of
    truth.MATERIALS, "" for a random one. Raises ValueError for an unknown action or a clip shorter than 0.5
    s.
    """
    if action not in _PROGRAMS:
        raise ValueError(f"no bodies for action {action!r}; there are: {', '.join(ACTIONS)}")
    if not (math.isfinite(seconds) and seconds >= 0.5):
        raise ValueError(f"seconds must be at least 0.5, got {seconds}")
    script = _PROGRAMS[action](rng, seconds, striker, struck)
    return BodyStage(rng, script, seconds, size)
