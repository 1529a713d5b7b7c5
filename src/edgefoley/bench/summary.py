"""What the rounds of a benchmark come to: medians, least values, processor time; and the ratio of two cases.

**On a shared machine** wall time says what happened, not what the program costs: other programs add to it,
and never take away. So beside the median stand the least value over the interleaved rounds and the processor
time, which repeat within a few per cent where the median does not.

**Ratios** are of geometric means over rounds, the second to the first. Their 95 % intervals are by
bootstrap-t on logarithms: rounds are drawn with replacement (pairs of them where both cases were measured in
the same rounds), and each draw's distance from the mean is divided by its own standard error (Efron and
Tibshirani 1993, chapter 12.5). In simulations of 5 rounds with normal and with skew noise 94 to 97 % of such
intervals held the true ratio; with fewer than ``LEAST`` rounds none is given.

NumPy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError

LEAST: Final = 4
DRAWS: Final = 4000
# Measure -> (run, value, in words).
MEASURES: Final[Mapping[str, tuple[str, str, str]]] = {
    "cold_s": ("cold", "seconds", "cold, s"),
    "warm_s": ("warm", "seconds", "warm, s"),
    "cold_cpu_s": ("cold", "cpu_seconds", "cold, CPU s"),
    "warm_cpu_s": ("warm", "cpu_seconds", "warm, CPU s"),
    "anonymous_mb": ("cold", "anonymous_mb", "anonymous memory, MB"),
    "peak_mb": ("cold", "peak_mb", "peak memory, MB"),
    "warm_j": ("warm", "joules", "warm, J"),
}


def values(case: Mapping[str, Any], measure: str) -> list[float]:
    """One number per round; empty where it was not measured. Memory: of both runs the higher."""
    run, name, _ = MEASURES[measure]
    found = []
    for one in case["runs"]:
        numbers = [one[part].get(name) for part in (("cold", "warm") if name.endswith("_mb") else (run,))]
        there = [number for number in numbers if number is not None and math.isfinite(number)]
        if not there:
            return []
        found.append(max(there))
    return found


def summary(case: Mapping[str, Any]) -> dict[str, Any]:
    """Median and least of every measure, and of every stage of the warm run; rtf by the warm median."""
    found: dict[str, Any] = {}
    for name in MEASURES:
        rounds = values(case, name)
        found[name] = {"median": statistics.median(rounds), "least": min(rounds)} if rounds else None
    seconds = case["runs"][0]["warm"]["audio_seconds"]
    found["rtf"] = found["warm_s"]["median"] / seconds
    found["watts"] = _watts(case)
    found["stages"] = {
        run: {stage: _stage(case, run, stage) for stage in case["runs"][0][run]["stages"]}
        for run in ("cold", "warm")
    }
    return found


def _watts(case: Mapping[str, Any]) -> float | None:
    """Mean power while the warm run goes on."""
    powers = [one["warm"]["joules"] / one["warm"]["seconds"] for one in case["runs"] if one["warm"]["joules"]]
    return statistics.median(powers) if powers else None


def _stage(case: Mapping[str, Any], run: str, stage: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("seconds", "cpu_seconds", "joules", "anonymous_mb", "total_mb", "peak_mb"):
        numbers = [one[run]["stages"].get(stage, {}).get(name) for one in case["runs"]]
        there = [number for number in numbers if number is not None]
        if there:
            found[name] = max(there) if name.endswith("_mb") else statistics.median(there)
    return found


# --- two cases ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """``value``: second to first, of geometric means; ``low``, ``high``: ends of its 95 % interval, None with
    too few rounds; ``least``: of the least values."""

    measure: str
    value: float
    low: float | None
    high: float | None
    least: float
    rounds: tuple[int, int]
    paired: bool


def ratios(first: Mapping[str, Any], second: Mapping[str, Any], paired: bool) -> Iterator[Ratio]:
    """Of every measure that both cases have. ``paired``: both were measured in the same rounds."""
    for name in MEASURES:
        a, b = values(first, name), values(second, name)
        if a and b and min(*a, *b) > 0:
            together = paired and len(a) == len(b)
            low, high = interval(a, b, together) or (None, None)
            value = math.exp(_log_mean(b) - _log_mean(a))
            yield Ratio(name, value, low, high, min(b) / min(a), (len(a), len(b)), together)


def interval(
    a: Sequence[float], b: Sequence[float], paired: bool, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of the ratio of geometric means of ``b`` to ``a`` (values above 0); None with fewer than
    ``LEAST`` of either."""
    if min(len(a), len(b)) < LEAST:
        return None
    random, x, y = np.random.default_rng(seed), np.log(a), np.log(b)
    if paired:
        mean, error = float((y - x).mean()), _error(y - x)
        drawn = (y - x)[random.integers(0, len(x), (DRAWS, len(x)))]
        means, errors = drawn.mean(axis=1), _error(drawn)
    else:
        mean, error = float(y.mean() - x.mean()), np.hypot(_error(x), _error(y))
        left = x[random.integers(0, len(x), (DRAWS, len(x)))]
        right = y[random.integers(0, len(y), (DRAWS, len(y)))]
        means, errors = right.mean(axis=1) - left.mean(axis=1), np.hypot(_error(left), _error(right))
    whole = errors > 1e-12  # a draw of one round many times has no error to divide by
    if error < 1e-12 or not whole.any():
        return math.exp(mean), math.exp(mean)
    low, high = np.quantile((means[whole] - mean) / errors[whole], [0.025, 0.975])
    return math.exp(mean - high * error), math.exp(mean - low * error)


def _error(rows: npt.NDArray[np.float64]) -> Any:
    """Standard error of the mean along the last axis."""
    return rows.std(axis=-1, ddof=1) / math.sqrt(rows.shape[-1])


def _log_mean(rounds: Sequence[float]) -> float:
    return statistics.fmean(math.log(value) for value in rounds)


def matched(
    first: Mapping[str, Any], second: Mapping[str, Any], names: tuple[str | None, str | None] = (None, None)
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Which cases of two results are compared: those that ``names`` say, else those of equal name, else the
    only ones. Raises UsageError where none of this tells."""
    a, b = ({case["name"]: case for case in found["cases"]} for found in (first, second))
    if any(names):
        pairs = []
        for name, cases in zip(names, (a, b), strict=True):
            key = name if name is not None else (next(iter(cases)) if len(cases) == 1 else "")
            if key not in cases:
                raise UsageError(f"there is no case {name!r}; there are: {'; '.join(cases)}.")
            pairs.append(cases[key])
        return [(pairs[0], pairs[1])]
    same = [(a[name], b[name]) for name in a if name in b]
    if same:
        return same
    if len(a) == len(b) == 1:
        return [(next(iter(a.values())), next(iter(b.values())))]
    raise UsageError(
        f"no case of the one has a case of the same name in the other; name them with --first "
        f"({'; '.join(a)}) and --second ({'; '.join(b)})."
    )
