"""Scores of event lists over a set of clips: agreement per clip, lags, chance, and 95 % bootstrap intervals.

Pure functions, NumPy only. Times and tolerances are seconds. An interval is a percentile bootstrap over clips
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) with a fixed seed, so the same
values always give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgefoley.metrics.onsets import Times, match_onsets, onset_f1

DRAWS = 10_000
LEVEL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Score:
    """How a found list agrees with a true one: counts, and ``f1``, ``precision``, ``recall`` 0..1. All three
    are 1 when both lists are empty; a ratio whose list is empty while the other is not is 0."""

    matches: int
    found: int
    true: int

    @property
    def f1(self) -> float:
        total = self.found + self.true
        return 2.0 * self.matches / total if total else 1.0

    @property
    def precision(self) -> float:
        return self.matches / self.found if self.found else float(not self.true)

    @property
    def recall(self) -> float:
        return self.matches / self.true if self.true else float(not self.found)


def score_events(found: ArrayLike, true: ArrayLike, tolerance_s: float) -> Score:
    """Largest one-to-one matching of two lists of times at most ``tolerance_s`` (inclusive) apart."""
    return Score(len(match_onsets(found, true, tolerance_s)), int(np.size(found)), int(np.size(true)))


def lags(found: ArrayLike, true: ArrayLike, tolerance_s: float) -> Times:
    """Found minus true (s, positive: too late) of every pair whose two times are each other's nearest and at
    most ``tolerance_s`` (inclusive) apart, in time order.

    The largest matching is not used here: where events are dense it prefers early partners to near ones.
    """
    a, b = np.sort(np.asarray(found, np.float64).ravel()), np.sort(np.asarray(true, np.float64).ravel())
    if not len(a) or not len(b):
        return np.zeros(0)
    distance = np.abs(a[:, None] - b[None])
    partner = distance.argmin(1)
    mutual = distance.argmin(0)[partner] == np.arange(len(a))
    near = distance[np.arange(len(a)), partner] <= tolerance_s + 1e-9
    kept: Times = (a - b[partner])[mutual & near]
    return kept


def chance_f1(
    found: Sequence[ArrayLike],
    true: Sequence[ArrayLike],
    seconds: Sequence[float],
    tolerance_s: float,
    within_s: float = 0.3,
    pictures: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """F1 that each clip's events reach without having seen the clip: against the true times of the other
    clips whose length differs by less than ``within_s`` (longer and shorter ones cannot match well), mean.

    One entry per clip in ``found``, ``true`` and ``seconds``; nan where no other clip is about as long.
    ``pictures[i]``: the clip whose pictures ``found[i]`` comes from (default i); it is left out as well.
    Raises ValueError when the lists' lengths differ.
    """
    source = range(len(found)) if pictures is None else pictures
    values = []
    for i, (times, seen) in enumerate(zip(found, source, strict=True)):
        others = [
            onset_f1(times, other, tolerance_s)
            for j, (other, length) in enumerate(zip(true, seconds, strict=True))
            if j not in (i, seen) and abs(length - seconds[i]) < within_s
        ]
        values.append(float(np.mean(others)) if others else float("nan"))
    return np.array(values, np.float64)


def thinned(times: ArrayLike, min_gap_s: float) -> Times:
    """The sorted times without those that come less than ``min_gap_s`` after the last one kept: what the most
    careful reader of a curve can find that takes no two events closer than that."""
    kept: list[float] = []
    for time in np.sort(np.asarray(times, np.float64).ravel()):
        if not kept or time - kept[-1] >= min_gap_s - 1e-9:
            kept.append(float(time))
    return np.array(kept, np.float64)


def _picks(count: int) -> NDArray[np.int64]:
    """(DRAWS, count): which clips each draw holds. Raises ValueError for no clips."""
    if not count:
        raise ValueError("an interval needs at least one clip")
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))


def _bounds(mean: float, draws: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.percentile(draws, LEVEL)
    return {"mean": mean, "low": float(low), "high": float(high)}


def interval(values: ArrayLike) -> dict[str, float]:
    """``mean`` of one finite value per clip, and ``low`` and ``high`` of its 95 % interval.

    Raises ValueError for no values and for values that are not finite.
    """
    array = np.asarray(values, np.float64).ravel()
    if not np.isfinite(array).all():
        raise ValueError("an interval needs finite values; leave out the clips that have none")
    drawn = array[_picks(len(array))].mean(1)
    return _bounds(float(array.mean()), drawn)


def ratio_interval(tops: ArrayLike, bottoms: ArrayLike) -> dict[str, float]:
    """sum(tops) / sum(bottoms) as ``mean``, with the 95 % interval over clips: events per second from events
    and seconds of each clip, a mean lag from the sum and number of each clip's lags.

    Raises ValueError when the two have different lengths, are empty, or all bottoms are 0.
    """
    top, bottom = np.asarray(tops, np.float64).ravel(), np.asarray(bottoms, np.float64).ravel()
    if len(top) != len(bottom) or not bottom.sum() > 0:
        raise ValueError(f"a ratio needs two equal lists and a positive sum, got {len(top)}, {len(bottom)}")
    picks = _picks(len(top))
    below = bottom[picks].sum(1)
    drawn = top[picks].sum(1)[below > 0] / below[below > 0]
    return _bounds(float(top.sum() / bottom.sum()), drawn)


def median_interval(groups: Sequence[ArrayLike]) -> dict[str, float]:
    """Median of all values of all clips as ``median``, with ``low`` and ``high`` of its 95 % interval when
    whole clips are drawn. ``groups[i]``: the values of clip i, possibly none. Raises ValueError without any
    value."""
    arrays = [np.asarray(group, np.float64).ravel() for group in groups]
    pooled = np.concatenate([*arrays, np.zeros(0)])
    if not len(pooled):
        raise ValueError("a median needs at least one value")
    drawn = []
    for row in _picks(len(arrays)):
        values = np.concatenate([arrays[i] for i in row])
        if len(values):
            drawn.append(np.median(values))
    bounds = _bounds(float(np.median(pooled)), np.array(drawn))
    return {"median": bounds["mean"], "low": bounds["low"], "high": bounds["high"]}
