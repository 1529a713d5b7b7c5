"""What a picture shows, and what sounds that suggests: the class table of a bundle.

An image encoder that puts out ``class_logits`` knows a fixed list of things. Their names, and for each the
sounds that go with it, are in the bundle's optional file ``classes.json``::

    schema       1
    temperature  the logits are divided by it before the softmax, as inside the encoder
    sounds       ID -> {kind, en, zh}: a sound and how to ask for it in English and in Chinese
    classes      NAME -> {ID: weight}, in the order of the logits. The weight, above 0 and up to 1, says how
                 well the sound fits; a thing that makes none, or none that the model knows, has no sounds

Layer 1: numpy.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.errors import BundleIntegrityError
from edgefoley.types import FloatArray

SCHEMA = 1

LEAST = 0.2  # score of the weakest sound that is suggested
PARTNER = 0.5  # and of a second one, as a share of the first's
MOST = 2  # sounds in one suggestion

CHANGE = 0.2  # probability that something gains or loses where a new stretch begins
_SHORTEST = 2  # pictures in a stretch
# Least gain of a cut, in squared probability summed over pictures: one picture that shows something else is
# no new stretch, two are.
_GAIN = 1.0
_VISIBLE = 0.05  # what is never more probable than that changes nothing
_JOINTS = {"en": ", ", "zh": "，"}


@dataclass(frozen=True)
class Sound:
    """A sound that the model knows: ``id`` and ``kind`` of its concept, and a phrase in each language."""

    id: str
    kind: str
    en: str
    zh: str


@dataclass(frozen=True, eq=False)
class ClassTable:
    """``names`` of the classes in the order of the logits, ``sounds``, and the ``weights`` (classes, sounds)
    0 … 1 between them, 0 where a sound does not go with a class; ``temperature`` above 0.

    Raises ValueError where these do not fit together.
    """

    names: tuple[str, ...]
    sounds: tuple[Sound, ...]
    weights: FloatArray
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.weights.shape != (len(self.names), len(self.sounds)):
            raise ValueError(
                f"weights are {self.weights.shape}, there are {len(self.names)} classes and "
                f"{len(self.sounds)} sounds"
            )
        if not self.weights.size:
            raise ValueError("there must be at least one class and one sound")
        if not ((self.weights >= 0) & (self.weights <= 1)).all():
            raise ValueError("a weight is outside 0 … 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature} is not above 0")
        for what, items in (("class", self.names), ("sound", [sound.id for sound in self.sounds])):
            if len(set(items)) != len(items):
                raise ValueError(f"a {what} is named twice")

    def probabilities(self, logits: npt.ArrayLike) -> FloatArray:
        """(M, classes) of ``class_logits`` (M, classes): each row sums to 1."""
        scaled = np.asarray(logits, np.float64) / self.temperature
        powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)

    def top(self, probabilities: FloatArray, count: int) -> list[tuple[str, float]]:
        """The ``count`` most probable classes of ``probabilities`` (classes,), with their probability."""
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.names[i], float(probabilities[i])) for i in order]

    def suggest(self, probabilities: FloatArray, most: int = MOST) -> list[tuple[Sound, float]]:
        """Up to ``most`` sounds for ``probabilities`` (classes,), the best first, each with a score 0 … 1:
        the probability of the things that sound so, weighted by how well the sound fits them.

        What made one sound likely does not speak for the next: a dog barks, and does not whine beside it.
        None where nothing that the model can name a sound of is probable enough.
        """
        left, found = probabilities.astype(np.float64), list[tuple[Sound, float]]()
        while len(found) < most:
            scores = left @ self.weights
            best = int(scores.argmax())
            if scores[best] < (max(LEAST, PARTNER * found[0][1]) if found else LEAST):
                break
            found.append((self.sounds[best], float(scores[best])))
            left = np.where(self.weights[:, best] > 0, 0.0, left)
        return found

    def stretches(self, probabilities: FloatArray) -> list[tuple[int, int]]:
        """Cut pictures (M, classes) into stretches [first, stop) that show different things.

        Classes of the same main sound count as one thing, so that a dog does not change with its breed.
        Binary segmentation (Scott and Knott, Biometrics 30, 1974): cut where the means of both sides differ
        most, and again on either side, as long as a side gains ``CHANGE``.
        """
        main = np.where(self.weights.any(axis=1), self.weights.argmax(axis=1), -1)
        thing = np.where(main >= 0, main, len(self.sounds) + np.arange(len(self.names)))
        order = np.argsort(thing, kind="stable")
        begins = np.flatnonzero(np.diff(thing[order], prepend=-1))
        shown = np.add.reduceat(probabilities[:, order], begins, axis=1)
        return _segments(shown[:, shown.max(axis=0, initial=0.0) > _VISIBLE].astype(np.float64))

    def to_json(self) -> dict[str, Any]:
        """The content of ``classes.json``; ``read_class_table`` reads it back."""
        return {
            "schema": SCHEMA,
            "temperature": self.temperature,
            "sounds": {s.id: {"kind": s.kind, "en": s.en, "zh": s.zh} for s in self.sounds},
            "classes": {
                name: {self.sounds[i].id: round(float(row[i]), 3) for i in np.argsort(-row) if row[i] > 0}
                for name, row in zip(self.names, self.weights, strict=True)
            },
        }


def read_class_table(path: Path) -> ClassTable:
    """Read a ``classes.json``. Raises BundleIntegrityError where it cannot be read or is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}, this version of edgefoley reads {SCHEMA}")
        sounds = tuple(Sound(key, **{k: str(v) for k, v in of.items()}) for key, of in data["sounds"].items())
        place = {sound.id: i for i, sound in enumerate(sounds)}
        weights = np.zeros((len(data["classes"]), len(sounds)), np.float32)
        for row, entry in zip(weights, data["classes"].values(), strict=True):
            for key, weight in entry.items():
                row[place[key]] = weight
        return ClassTable(tuple(data["classes"]), sounds, weights, float(data["temperature"]))
    except OSError as error:
        raise BundleIntegrityError(f"{path} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleIntegrityError(
            f"{path} is not a class table: {type(error).__name__}: {error}. Make the bundle again."
        ) from error


def prompts(sounds: list[tuple[Sound, float]]) -> dict[str, str]:
    """Language ("en", "zh") -> one prompt for all ``sounds`` of ``ClassTable.suggest``; "" for none."""
    return {
        language: joint.join(getattr(sound, language) for sound, _ in sounds)
        for language, joint in _JOINTS.items()
    }


def _segments(shown: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """[first, stop) of stretches of rows with about the same mean."""
    sums = np.concatenate([np.zeros((1, shown.shape[1])), np.cumsum(shown, axis=0)])
    found, open_ = [], [(0, len(shown))]
    while open_:
        first, stop = open_.pop()
        cut = _cut(sums[first : stop + 1])
        if cut is None:
            found.append((first, stop))
        else:
            open_ += [(first, first + cut), (first + cut, stop)]
    return sorted(found)


def _cut(sums: npt.NDArray[np.float64]) -> int | None:
    """Where to cut a stretch, given by the running sums before each of its rows and after the last."""
    count = len(sums) - 1
    places = np.arange(_SHORTEST, count - _SHORTEST + 1)
    if not len(places):
        return None
    before = (sums[places] - sums[0]) / places[:, None]
    after = (sums[-1] - sums[places]) / (count - places)[:, None]
    gains = places * (count - places) / count * np.square(after - before).sum(axis=1)
    best = int(gains.argmax())
    changed = np.abs(after[best] - before[best]).max(initial=0.0)
    return int(places[best]) if gains[best] >= _GAIN and changed >= CHANGE else None
