"""Mean ratings with intervals that hold for few listeners and few clips.

Every listener rates every clip (or most of them), so a rating is

    y[l, c] = mean + listener[l] + clip[c] + rest[l, c]

with all three parts random: the interval is for other listeners *and* other clips of the same kind. The
mean's variance is v_l / L + v_c / C + v_e / (L C) in a complete table. With the mean squares of the two-way
analysis of variance it is estimated by (MS_l + MS_c - MS_e) / (L C), and Student's t has the degrees of
freedom of Satterthwaite (1946, Biometrics Bulletin 2, 110-114):

    df = (MS_l + MS_c - MS_e)^2 / (MS_l^2 / (L - 1) + MS_c^2 / (C - 1) + MS_e^2 / ((L - 1)(C - 1)))

By chance MS_e may exceed one of the others; the estimate is then never taken below the larger of MS_l and
MS_c, whose own degrees of freedom count, and the degrees of freedom never below the smaller of L - 1 and
C - 1. Incomplete tables (a listener who stopped) use the moment estimates
of the three variances by Gao and Owen (2017, Electronic Journal of Statistics 11, 1235-1296), which are
those of the analysis of variance where the table is complete.

The alternative is bootstrap-t: listeners and clips drawn with replacement, independently (Owen's pigeonhole
bootstrap, 2007, Annals of Applied Statistics 1, 386-411), each draw divided by its own standard error, which
stands in for the t distribution (Efron and Tibshirani 1993, chapter 12). The simulation of both is
``benchmarks/listening_intervals.py``; t over listeners alone, the usual choice, is there to show what it
misses.

Pure functions, NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.listening.distributions import t_cdf, t_quantile

Table = npt.NDArray[np.float64]
DRAWS: Final = 1999


@dataclass(frozen=True)
class Estimate:
    """A mean rating. ``se``: its standard error, ``df`` its degrees of freedom; both None where there is no
    telling, and ``why`` says why. ``variances``: of listeners, clips and the rest, not below 0."""

    mean: float
    listeners: int
    clips: int
    ratings: int
    se: float | None = None
    df: float | None = None
    why: str = ""
    variances: tuple[float, float, float] | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Two-sided Student interval of ``level``, or None where there is no standard error."""
        if self.se is None or self.df is None:
            return None
        reach = t_quantile(0.5 + level / 2, self.df) * self.se
        return self.mean - reach, self.mean + reach

    def p_below(self, value: float) -> float | None:
        """One-sided p of "the true mean is ``value`` or less" against "more"."""
        if self.se is None or self.df is None:
            return None
        return 1.0 - t_cdf((self.mean - value) / self.se, self.df)

    def p_equal(self, value: float = 0.0) -> float | None:
        """Two-sided p of "the true mean is ``value``"."""
        if self.se is None or self.df is None:
            return None
        return 2.0 * t_cdf(-abs(self.mean - value) / self.se, self.df)


def estimate(table: npt.ArrayLike) -> Estimate:
    """The mean of ``table`` (listeners, clips), NaN where a rating is missing; rows and columns without any
    are left out. One clip alone: the interval is over listeners, for this clip. Raises ValueError for another
    shape or no rating."""
    values = _trimmed(table)
    rows, columns = values.shape
    count, mean = int(np.isfinite(values).sum()), float(np.nanmean(values))
    if rows < 2:
        return Estimate(mean, rows, columns, count, why="one listener tells nothing about others")
    if float(np.nanmax(values) - np.nanmin(values)) == 0.0:
        return Estimate(mean, rows, columns, count, why="all ratings are equal, so their spread is unknown")
    if columns == 1:
        spread = float(np.nanvar(values[:, 0], ddof=1))
        return Estimate(
            mean, rows, 1, count, math.sqrt(spread / rows), rows - 1.0, "one clip", (spread, 0.0, 0.0)
        )
    parts = _parts(values, np.ones((1, rows)), np.ones((1, columns)))
    se, df = float(parts.se[0]), float(parts.df[0])
    if not (math.isfinite(se) and se > 0 and math.isfinite(df)):
        return Estimate(mean, rows, columns, count, why="the listeners have too few clips in common")
    variances = tuple(max(0.0, float(v[0])) for v in (parts.listeners, parts.clips, parts.rest))
    return Estimate(mean, rows, columns, count, se, df, "", (variances[0], variances[1], variances[2]))


def bootstrap_interval(
    table: npt.ArrayLike, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """Two-sided bootstrap-t interval of the mean of ``table`` (see ``estimate``), the same for the same seed;
    None where ``estimate`` has no standard error or there is but one clip."""
    values = _trimmed(table)
    whole = estimate(values)
    if whole.se is None or whole.clips < 2:
        return None
    rows, columns = values.shape
    random = np.random.default_rng(seed)
    listeners = random.multinomial(rows, np.full(rows, 1 / rows), draws).astype(np.float64)
    clips = random.multinomial(columns, np.full(columns, 1 / columns), draws).astype(np.float64)
    parts = _parts(values, listeners, clips)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (parts.mean - whole.mean) / parts.se
    # A draw without spread has no ratio; dropping it would narrow the interval, so it counts as far out.
    wild = ~np.isfinite(ratios)
    ratios[wild] = np.where((np.arange(int(wild.sum())) % 2) == 0, np.inf, -np.inf)
    tail = (1.0 - level) / 2
    low, high = np.quantile(ratios, [tail, 1.0 - tail], method="inverted_cdf")
    return whole.mean - float(high) * whole.se, whole.mean - float(low) * whole.se


@dataclass(frozen=True)
class Parts:
    """Of each draw (n,): mean, standard error, degrees of freedom, moment estimates of the
    three variances (below 0 by chance at times)."""

    mean: Table
    se: Table
    df: Table
    listeners: Table
    clips: Table
    rest: Table


def _trimmed(table: npt.ArrayLike) -> Table:
    values = np.asarray(table, np.float64)
    if values.ndim != 2:
        raise ValueError(f"a table (listeners, clips) is wanted, got shape {values.shape}")
    known = np.isfinite(values)
    if not known.any():
        raise ValueError("a mean needs at least one rating")
    return values[known.any(1)][:, known.any(0)]


def _parts(values: Table, listeners: Table, clips: Table) -> Parts:
    """Moment estimates of draws from ``values`` (L, C), NaN where missing: each draw holds listener l
    ``listeners[draw, l]`` times and clip c ``clips[draw, c]`` times, as so many different ones."""
    known = np.isfinite(values).astype(np.float64)
    centre = np.nanmean(values)  # the sums of squares then lose no digits
    y = np.where(known > 0, values - centre, 0.0)
    per_row, per_column = clips @ known.T, listeners @ known  # (n, L) and (n, C): ratings of each
    total = (listeners * per_row).sum(-1)
    row_sums, column_sums = clips @ y.T, listeners @ y
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any rating
        mean = (listeners * row_sums).sum(-1) / total
        squares = (listeners * (clips @ np.square(y).T)).sum(-1) - total * np.square(mean)
    rows, columns = (listeners * (per_row > 0)).sum(-1), (clips * (per_column > 0)).sum(-1)
    off_row, off_column = row_sums - mean[:, None] * per_row, column_sums - mean[:, None] * per_column
    within_rows = squares - (listeners * np.square(off_row) / np.maximum(per_row, 1)).sum(-1)
    within_columns = squares - (clips * np.square(off_column) / np.maximum(per_column, 1)).sum(-1)
    # E of these: (v_c + v_e)(N - rows), (v_l + v_e)(N - columns), and squares: a v_l + b v_c + (N - 1) v_e.
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where listeners have nothing in common
        row_weight = (listeners * np.square(per_row)).sum(-1) / total
        column_weight = (clips * np.square(per_column)).sum(-1) / total
        a, b = total - row_weight, total - column_weight
        clip_rest = within_rows / (total - rows)
        listener_rest = within_columns / (total - columns)
        rest = (listener_rest * a + clip_rest * b - squares) / (a + b - total + 1)
        listener, clip = listener_rest - rest, clip_rest - rest
        square_l, square_c = rest + row_weight * listener, rest + column_weight * clip
        free = rows - 1.0, columns - 1.0, total - rows - columns + 1.0
        variance, df = _satterthwaite((square_l, square_c, rest), free)
        error = np.sqrt(variance / total)
    return Parts(mean + centre, error, df, listener, clip, rest)


def _satterthwaite(
    squares: tuple[Table, Table, Table], free: tuple[Table, Table, Table]
) -> tuple[Table, Table]:
    """Variance of the mean times the number of ratings, and its degrees of freedom."""
    listeners, clips, rest = squares
    floor = np.maximum(listeners, clips)
    sum_ = listeners + clips - rest
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.square(listeners) / free[0] + np.square(clips) / free[1] + np.square(rest) / free[2]
        df = np.square(sum_) / spread
    alone = np.where(listeners >= clips, free[0], free[1])
    bounded = sum_ < floor
    variance = np.where(bounded, floor, sum_)
    least = np.minimum(free[0], free[1])
    return variance, np.where(bounded, alone, np.maximum(df, least))
