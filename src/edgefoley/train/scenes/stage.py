"""What every renderer of scenes offers: the truth first, then pictures of any instant."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.truth import Truth


class Stage(Protocol):
    """A scene that is settled (its truth is known when the constructor returns) and can be drawn.

    A stage is made from a random generator, seconds, the picture's size, an action (one of truth.ACTIONS),
    and the materials of striker and struck ("": the renderer chooses). The same arguments give the same truth
    and the same pictures; the truth does not depend on whether anything is drawn.
    """

    truth: Truth
    look: dict[str, str]

    def expose(self, t: float) -> NDArray[np.uint8]:
        """The picture at time t in seconds, (size, size, 3) uint8 RGB; any t, in any order."""
        ...

    def close(self) -> None:
        """Free what the stage holds; it cannot be drawn afterwards."""
        ...
