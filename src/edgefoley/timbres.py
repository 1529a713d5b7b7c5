"""What the sounds that words name are like: the table of timbres of a bundle.

A bundle may hold ``timbres.npz``: for every sound that its model learnt a vector of its names, and rows that
stand for examples of it. The rows of what a prompt names join the prompt's own (``text_feat``), so that the
denoiser, which is small, need not know by heart what every word sounds like. It is no recording, and none
could be made of it alone::

    schema  1
    least   a name fits a phrase from this cosine on
    names   (C,)    of the sounds; one without examples ("silence") is known and brings none
    kinds   (C,)    "lasting" for a continuous sound that goes on by itself (rain), "texture" for another one
                    (a scrape), "impact", "step", "vocal" or "burst" for events, "" for silence
    keys    (C, D)  unit vectors in the space of the text encoder's sentence vectors
    owner   (N,)    index of the sound that an example is of
    rows    (N, D)  a row for the attention to the text
    pooled  (N, D)  what the sentence vector gains

``keys`` are in 16 bits; ``rows`` and ``pooled`` in 8, each row symmetric around zero with the step in
``rows_step`` (N,) or ``pooled_step`` (N,).

Layer 1: numpy.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.errors import BundleIntegrityError
from edgefoley.events import ACTIVITY, draw_curve
from edgefoley.rhythms import natural_times
from edgefoley.types import FloatArray

SCHEMA: Final = 1
LASTING: Final = "lasting"
CONTINUOUS: Final = ("texture", LASTING)
SILENT: Final = ""
STEADY: Final = 0.7  # activity of a continuous sound
BESIDE_OTHERS: Final = 0.3  # of one that lasts, beside others, which would drown in it
CERTAIN: Final = 0.95  # height of an event's peak
MOST: Final = 2  # sounds of one prompt: as many as in training
_DRAW: Final = 77  # begins the seed of the choice of examples, so that it is not the noise's
_EXAMPLES: Final = ("rows", "pooled")
# Where one sound of a prompt ends and the next begins.
_JOINTS: Final = re.compile(
    r"[,.;:!?，。；：！？、\n]+|\s(?:and|while|then|followed by|plus)\s"
    "|和|与|同时|以及|还有|然后|伴随着|伴着",
    re.IGNORECASE,
)
# What stands behind one of these is not wanted.
_REFUSAL: Final = re.compile(r"\b(?:no|without)\b|没有|不要|无需|别有|并无", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class TimbreTable:
    """See the module's text. Raises ValueError where the parts do not fit together."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    keys: FloatArray
    owner: npt.NDArray[np.int64]
    rows: FloatArray
    pooled: FloatArray
    least: float

    def __post_init__(self) -> None:
        count, width = len(self.names), self.keys.shape[-1]
        if self.keys.shape != (count, width) or len(self.kinds) != count or not count:
            raise ValueError(f"keys are {self.keys.shape} for {count} names and {len(self.kinds)} kinds")
        for what, array in (("rows", self.rows), ("pooled", self.pooled)):
            if array.shape != (len(self.owner), width):
                raise ValueError(f"{what} are {array.shape}, there should be {(len(self.owner), width)}")
        if self.owner.size and not 0 <= self.owner.min() <= self.owner.max() < count:
            raise ValueError(f"an owner is outside 0 … {count - 1}")
        if not all(np.isfinite(array).all() for array in (self.keys, self.rows, self.pooled)):
            raise ValueError("a value is not finite")

    def named(self, prompt: str, sentence: Callable[[str], FloatArray]) -> tuple[int, ...]:
        """Indices of the sounds that ``prompt`` names, in its order, ``MOST`` at most; what stands behind a
        "no" or "without" is none. ``sentence(phrase)``: the sentence vector (D,) of a phrase."""
        phrases = [phrase for part in _JOINTS.split(prompt) if (phrase := part.strip())]
        found = [self._wanted(phrase, sentence) for phrase in phrases]
        if len(phrases) > 1 and not any(index is not None for index in found):
            found = [self._wanted(prompt, sentence)]
        return tuple(dict.fromkeys(index for index in found if index is not None))[:MOST]

    def _wanted(self, phrase: str, sentence: Callable[[str], FloatArray]) -> int | None:
        """What a phrase names. A refusal names silence ("no sound at all"), or what stands before it."""
        index, refusal = self._nearest(sentence(phrase)), _REFUSAL.search(phrase)
        if index is None or refusal is None or self.kinds[index] == SILENT:
            return index
        before = phrase[: refusal.start()].strip()
        return self._nearest(sentence(before)) if before else None

    def _nearest(self, vector: FloatArray) -> int | None:
        cosines = self.keys @ (vector / (np.linalg.norm(vector) + 1e-9))
        best = int(cosines.argmax())
        return best if cosines[best] >= self.least else None

    def beside(self, text_feat: FloatArray, sounds: Sequence[int], seed: int) -> FloatArray:
        """``text_feat`` (1, T, D) with one example of each of the ``sounds``, (1, T + sounds, D): which one
        is the seed's choice."""
        rng = np.random.default_rng([_DRAW, seed])
        # Every sound draws, in the order of the table: what else a prompt names does not change the choice.
        draws = rng.random(len(self.names))
        own = [(sound, np.flatnonzero(self.owner == sound)) for sound in sounds]
        chosen = [rows[int(draws[sound] * len(rows))] for sound, rows in own if len(rows)]
        if not chosen:
            return text_feat
        first = text_feat[:, :1] + self.pooled[chosen].mean(axis=0)
        return np.concatenate([first, self.rows[None, chosen], text_feat[:, 1:]], axis=1, dtype=np.float32)

    def rhythm(self, sound: int, duration: Fraction, frames: int, seed: int) -> FloatArray:
        """An event curve (1, ``frames``, 4) for a ``sound`` that nobody sees: events in its natural rhythm,
        the seed's choice, or steady activity if it is continuous; nothing for silence."""
        rng = np.random.default_rng([_DRAW, seed, 1])
        kind, none = self.kinds[sound], np.zeros(0)
        times, strengths = none, none
        if kind not in (*CONTINUOUS, SILENT):
            times, strengths = natural_times(self.names[sound], kind, float(duration), rng)
        activity = np.full(2 * frames, STEADY if kind in CONTINUOUS else 0.0, np.float32)
        return draw_curve(times, np.full(len(times), CERTAIN), strengths, activity, frames)[None]

    def lasting(
        self,
        curve: FloatArray,
        sounds: Sequence[int],
        told: npt.NDArray[np.bool_] | None = None,
        guessed: bool = False,
    ) -> FloatArray:
        """The event curve (1, S, 4) with at least the activity that the ``sounds`` of a prompt have by
        themselves (``least_activity``): rain does not pause because nothing in the picture moves. Frames that
        are ``told`` (S,) stay as they are. Of sounds that are ``guessed`` from a picture it is faint: a car
        may be parked."""
        least = least_activity([self.kinds[sound] for sound in sounds])
        least = min(least, BESIDE_OTHERS) if guessed else least
        if not least:
            return curve
        lasting = curve.copy()
        free = slice(None) if told is None else ~told
        lasting[0, free, ACTIVITY] = np.maximum(curve[0, free, ACTIVITY], np.float32(least))
        return lasting


def least_activity(kinds: Sequence[str]) -> float:
    """Activity, at least, of a clip of which sounds of these ``kinds`` are named: steady if all of them last
    by themselves, faint where others are among them, none where silence is."""
    if LASTING not in kinds or SILENT in kinds:
        return 0.0
    return STEADY if all(kind == LASTING for kind in kinds) else BESIDE_OTHERS


def write_timbre_table(table: TimbreTable, path: Path) -> None:
    """Examples are kept in 8 bits, keys in 16."""
    parts: dict[str, Any] = {"keys": table.keys.astype(np.float16)}
    for key in _EXAMPLES:
        exact = getattr(table, key)
        largest = np.abs(exact).max(axis=1)
        step = np.where(largest > 0, largest / 127, 1)
        parts[f"{key}_step"] = step.astype(np.float32)
        parts[key] = np.rint(exact / step[:, None]).astype(np.int8)
    np.savez_compressed(
        path,
        schema=SCHEMA,
        least=table.least,
        names=np.array(table.names),
        kinds=np.array(table.kinds),
        owner=table.owner,
        **parts,
    )


def read_timbre_table(path: Path) -> TimbreTable:
    """Read a ``timbres.npz``. Raises BundleIntegrityError where it cannot be read or is not one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            if int(data["schema"]) != SCHEMA:
                raise ValueError(f"schema {int(data['schema'])}, this version of edgefoley reads {SCHEMA}")
            wide = {key: _stepped(data, key) for key in _EXAMPLES}
            wide["keys"] = data["keys"].astype(np.float32)
            names, kinds = (tuple(str(text) for text in data[key]) for key in ("names", "kinds"))
            return TimbreTable(
                names, kinds, owner=data["owner"].astype(np.int64), least=float(data["least"]), **wide
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleIntegrityError(
            f"{path} is not a table of timbres: {error}. Make the bundle again, or install the package again."
        ) from error


def _stepped(data: Mapping[str, npt.NDArray[np.generic]], key: str) -> FloatArray:
    """The rows under ``key``, times their steps."""
    rows, step = data[key].astype(np.float32), data[f"{key}_step"].astype(np.float32)
    if step.shape != rows.shape[:1]:
        raise ValueError(f"{key} are {rows.shape} with {step.shape} steps")
    return rows * step[:, None]
