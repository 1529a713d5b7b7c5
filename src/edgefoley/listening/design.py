"""Who hears what, and in which order.

Every listener rates every system on every clip. A listener's trials are as many rounds as there are systems;
each round has every clip once, in an order of the listener's own, and never the same clip twice in a row.
Which system a clip has in which round comes from a Williams design (1949, Australian Journal of Scientific
Research A 2, 149-168): a Latin square in which every system also follows every other equally often. Listener
i and clip c take row i + c, so that over the rows each system is heard equally early, and after each other
one, by every clip. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgefoley.listening.definition import REFERENCE, SILENCE

GRADES: Final = (2, 4)  # what a trial may ask for: neither the ends, which a careless hand finds, nor 3


@dataclass(frozen=True)
class Slot:
    """One sound of a trial: what it is, and whether it is rated."""

    system: str
    rated: bool = True


@dataclass(frozen=True)
class Trial:
    """``kind``: "training", "rating", "silence" or "asked"; ``grade``: what an asked one wants."""

    kind: str
    clip: str
    slots: tuple[Slot, ...]
    grade: int | None = None


def williams(count: int) -> list[list[int]]:
    """Rows of orders of 0 … count - 1: ``count`` rows for an even count, twice as many for an odd one. Over
    the rows everything stands equally often in each place, and right after each other one equally often.
    Raises ValueError for no items."""
    if count < 1:
        raise ValueError("a design needs at least one item")
    zigzag = [0]
    for step in range(1, count):
        zigzag.append((step + 1) // 2 if step % 2 else count - step // 2)
    rows = [[(item + shift) % count for item in zigzag] for shift in range(count)]
    if count % 2 and count > 1:
        rows += [row[::-1] for row in rows]
    return rows


def trials_of(record: Mapping[str, Any], number: int) -> list[Trial]:
    """All trials of listener ``number`` (0, 1, …) of a test's ``Definition.record``, in order; the same for
    the same number."""
    random = np.random.default_rng([record["seed"], number])
    if record["method"] == "mushra":
        rated = _mushra(record, random)
    else:
        rated = _single(record, number, random)
        _put_checks(rated, record, random)
    return _training(record, random) + rated


def compared(record: Mapping[str, Any]) -> list[str]:
    """What is rated: the systems, without the one that is the reference of a comparison, and anchors."""
    systems = list(record["systems"])
    if record["method"] in ("dcr", "ccr"):
        return [name for name in systems if name != record["reference"]]
    if record["method"] == "mushra":
        # A system that is the reference is there already, as the hidden one.
        systems = [name for name in systems if name != record["reference"]] + [REFERENCE]
    return systems + list(record["anchors"])


def _slots(record: Mapping[str, Any], system: str, random: np.random.Generator) -> tuple[Slot, ...]:
    if record["method"] == "acr":
        return (Slot(system),)
    if record["method"] == "dcr":
        return Slot(REFERENCE, rated=False), Slot(system)
    pair = [REFERENCE, system]
    if random.integers(2):
        pair.reverse()
    return Slot(pair[0], rated=False), Slot(pair[1])


def _single(record: Mapping[str, Any], number: int, random: np.random.Generator) -> list[Trial]:
    items, clips = compared(record), list(record["clips"])
    rows = williams(len(items))
    # Which system is called 0 is drawn for the whole test, so that no name has a place of its own.
    names = [items[i] for i in np.random.default_rng([record["seed"]]).permutation(len(items))]
    trials: list[Trial] = []
    for place in range(len(items)):
        for index in _order(len(clips), trials, clips, random):
            system = names[rows[(number + index) % len(rows)][place]]
            trials.append(Trial("rating", clips[index], _slots(record, system, random)))
    return trials


def _order(
    count: int, before: Sequence[Trial], clips: Sequence[str], random: np.random.Generator
) -> list[int]:
    """An order of the clips that does not begin with the one heard last, if there is another."""
    order = random.permutation(count).tolist()
    if before and count > 1 and clips[order[0]] == before[-1].clip:
        place = int(random.integers(1, count))
        order[0], order[place] = order[place], order[0]
    return [int(i) for i in order]


def _mushra(record: Mapping[str, Any], random: np.random.Generator) -> list[Trial]:
    clips, trials = list(record["clips"]), []
    for index in random.permutation(len(clips)):
        trials.append(_side_by_side(record, clips[index], random))
    return trials


def _side_by_side(
    record: Mapping[str, Any], clip: str, random: np.random.Generator, kind: str = "rating"
) -> Trial:
    items = compared(record)
    shuffled = [Slot(items[i]) for i in random.permutation(len(items))]
    return Trial(kind, clip, (Slot(REFERENCE, rated=False), *shuffled))


def _put_checks(trials: list[Trial], record: Mapping[str, Any], random: np.random.Generator) -> None:
    """Lay the attention checks among the trials, never first."""
    clips, items = list(record["clips"]), compared(record)
    kinds = ["silence"] * record["silence"] + ["asked"] * record["asked"]
    for kind in kinds:
        clip = clips[random.integers(len(clips))]
        if kind == "silence":
            slots = _slots({**record, "method": "acr"}, SILENCE, random)
            if record["method"] != "acr":
                slots = (Slot(REFERENCE, rated=False), *slots)
            check = Trial(kind, clip, slots)
        else:
            slots = _slots(record, items[random.integers(len(items))], random)
            grade = int(random.choice(GRADES)) if record["method"] != "ccr" else int(random.choice((-2, 2)))
            check = Trial(kind, clip, slots, grade)
        trials.insert(int(random.integers(1, len(trials) + 1)), check)


def _training(record: Mapping[str, Any], random: np.random.Generator) -> list[Trial]:
    """Trials whose ratings do not count: as many different systems as fit."""
    clips = list(record["training_clips"] or record["clips"])
    items, trials = compared(record), []
    order = random.permutation(len(items)).tolist()
    for index in range(record["training"]):
        clip = clips[int(random.integers(len(clips))) if index >= len(clips) else index]
        if record["method"] == "mushra":
            trials.append(_side_by_side(record, clip, random, "training"))
        else:
            slots = _slots(record, items[order[index % len(items)]], random)
            trials.append(Trial("training", clip, slots))
    return trials
