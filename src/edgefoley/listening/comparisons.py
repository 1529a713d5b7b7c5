"""Is one system rated better than another, or not worse by more than a margin, and how many listeners tell.

Systems are compared listener by listener and clip by clip: differences have the same crossed model as ratings
(``intervals``), and what listeners and clips have in common cancels. Several comparisons share Holm's
correction (1979, Scandinavian Journal of Statistics 6, 65-70). "Not worse" is a claim of its own, not a large
p of a difference: two one-sided tests against the margin (Schuirmann 1987, Journal of Pharmacokinetics and
Biopharmaceutics 15, 657-680), the lower of which is the test of non-inferiority.

Pure functions, NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from edgefoley.listening.distributions import noncentral_t_tail, t_quantile
from edgefoley.listening.intervals import Estimate, estimate

ALPHA: Final = 0.05
MOST_LISTENERS: Final = 10_000
Aim = Literal["not worse", "difference"]


def paired(first: npt.ArrayLike, second: npt.ArrayLike) -> Estimate | None:
    """``first`` minus ``second``, tables (listeners, clips) of one shape with NaN where a rating is missing:
    the mean difference over the cells that both have; None where there is none. Raises ValueError for
    different shapes."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"two tables of one shape are wanted, got {a.shape} and {b.shape}")
    difference = a - b
    return estimate(difference) if np.isfinite(difference).any() else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p of each test, in the order given: reject where it is at most alpha, and the chance of any
    false rejection is at most alpha. None (no test) stays None and does not count."""
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class Margins:
    """Two one-sided tests of a difference against -``margin`` and +``margin``: ``p_not_worse``,
    ``p_not_better``, and the ``interval`` of level 1 - 2 alpha whose ends decide both. None: no telling."""

    margin: float
    p_not_worse: float | None
    p_not_better: float | None
    interval: tuple[float, float] | None

    @property
    def not_worse(self) -> bool:
        """Shown to be not worse by more than the margin (non-inferior), at 5 %."""
        return self.p_not_worse is not None and self.p_not_worse < ALPHA

    @property
    def equivalent(self) -> bool:
        """Shown to differ by less than the margin in either direction, at 5 %."""
        return self.not_worse and self.p_not_better is not None and self.p_not_better < ALPHA


def against_margin(difference: Estimate, margin: float) -> Margins:
    """TOST of an estimated difference. ``margin`` in grades, above 0, or ValueError."""
    if not margin > 0:
        raise ValueError(f"a margin above 0 is wanted, got {margin}")
    above = difference.p_below(margin)
    return Margins(
        margin,
        difference.p_below(-margin),
        None if above is None else 1.0 - above,
        difference.interval(1 - 2 * ALPHA),
    )


@dataclass(frozen=True)
class Spread:
    """Standard deviations of differences between two systems: ``listeners``, of a listener's mean difference
    over the clips; ``clips``, of a clip's mean difference over all listeners, of which ``count`` are used
    (0: the test speaks for its own clips only)."""

    listeners: float
    clips: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        if not (self.listeners > 0 and math.isfinite(self.listeners)):
            raise ValueError(f"a standard deviation above 0 is wanted, got {self.listeners}")
        if self.clips < 0 or (self.clips > 0 and self.count < 2):
            raise ValueError("a standard deviation of clips is at least 0 and needs 2 clips or more")

    def of_mean(self, listeners: int) -> tuple[float, float]:
        """Standard error of the mean difference, and its degrees of freedom (Satterthwaite)."""
        parts = [(self.listeners**2 / listeners, listeners - 1)]
        if self.clips > 0:
            parts.append((self.clips**2 / self.count, self.count - 1))
        variance = sum(value for value, _ in parts)
        return math.sqrt(variance), variance**2 / sum(value**2 / free for value, free in parts)


def power(listeners: int, spread: Spread, margin: float, true: float = 0.0, aim: Aim = "not worse") -> float:
    """Chance (0 … 1) that ``listeners`` (2 or more) show the aim at 5 %.

    "not worse": that the difference is above -``margin`` when it really is ``true``. "difference": that there
    is one, two-sided, when it really is ``margin`` (``true`` is not used).
    """
    error, df = spread.of_mean(listeners)
    if aim == "not worse":
        return noncentral_t_tail(t_quantile(1 - ALPHA, df), df, (true + margin) / error)
    critical, shift = t_quantile(1 - ALPHA / 2, df), margin / error
    return noncentral_t_tail(critical, df, shift) + noncentral_t_tail(critical, df, -shift)


def listeners_needed(
    spread: Spread, margin: float, true: float = 0.0, aim: Aim = "not worse", wanted: float = 0.8
) -> int | None:
    """The fewest listeners (2 or more) whose ``power`` reaches ``wanted``; None where not even
    ``MOST_LISTENERS`` do, because the clips are too few or the true difference is beyond the margin."""
    if not (margin > 0 and 0 < wanted < 1):
        raise ValueError(f"a margin above 0 and a power between 0 and 1 are wanted, got {margin}, {wanted}")
    if power(MOST_LISTENERS, spread, margin, true, aim) < wanted:
        return None
    low, high = 1, 2
    while power(high, spread, margin, true, aim) < wanted:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, spread, margin, true, aim) >= wanted else (middle, high)
    return high
