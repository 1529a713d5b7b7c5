"""Do a listening test's intervals hold? python benchmarks/listening_intervals.py [--tests N] [--json FILE]

Simulates tests of which the truth is known: a rating is a mean plus a listener's leaning, a clip's, and a
rest, all normal, rounded to a grade from 1 to 5. The truth is the expected grade, computed from the normal
distribution of the sum. For 5, 10 and 20 listeners and several spreads it counts how often each 95 % interval
holds the truth; 95 is right, and with 2,000 tests chance alone moves the share by 1.0 (two standard
deviations):

satterthwaite   what `edgefoley listen report` prints: t, listeners and clips random, Satterthwaite's degrees
                of freedom
bootstrap_t     its alternative: listeners and clips drawn with replacement, 999 draws
listeners_t     the usual choice, t over the listeners' means: right for the clips of the test, not for others

`difference` is about two systems rated by the same listeners on the same clips. The cases with both spreads
are what tests are like; `no clips`, `no listeners` and `rest alone` show what happens where one of them is
nothing, which nobody knows beforehand.

Prints a card, a table, and one last line of JSON. About ten minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from edgefoley.listening.distributions import t_quantile
from edgefoley.listening.intervals import bootstrap_interval, estimate

RESULT = Path(__file__).resolve().parent / "results" / "listening_intervals.json"
LISTENERS = (5, 10, 20)
METHODS = ("satterthwaite", "bootstrap_t", "listeners_t")


@dataclass(frozen=True)
class Case:
    """Standard deviations in grades; ``second``: mean of the other system, for differences."""

    name: str
    mean: float
    listeners: float
    clips: float
    rest: float
    count: int  # clips
    second: float | None = None


CASES = (
    Case("both", 3.6, 0.5, 0.4, 0.7, 8),
    Case("both, 16 clips", 3.6, 0.5, 0.4, 0.7, 16),
    Case("clips differ much", 3.6, 0.3, 0.7, 0.6, 8),
    Case("little rest", 3.0, 0.5, 0.5, 0.3, 8),
    Case("near the top", 4.3, 0.4, 0.3, 0.6, 8),
    Case("difference", 3.8, 0.3, 0.25, 0.6, 8, second=3.5),
    Case("no clips", 3.6, 0.5, 0.0, 0.7, 8),
    Case("no listeners", 3.6, 0.0, 0.4, 0.7, 8),
    Case("rest alone", 3.6, 0.0, 0.0, 0.8, 8),
)
REAL = tuple(case.name for case in CASES if case.listeners > 0 and case.clips > 0)


def expected(mean: float, spread: float) -> float:
    """The mean grade of a normal value rounded to 1 … 5."""
    normal = NormalDist(mean, spread)
    return 1.0 + sum(1.0 - normal.cdf(border) for border in (1.5, 2.5, 3.5, 4.5))


def graded(case: Case, mean: float, listeners: int, random: np.random.Generator) -> np.ndarray:
    """One table (listeners, clips) of grades."""
    value = (
        mean
        + case.listeners * random.standard_normal((listeners, 1))
        + case.clips * random.standard_normal((1, case.count))
        + case.rest * random.standard_normal((listeners, case.count))
    )
    return np.clip(np.rint(value), 1, 5)


def simulated(case: Case, listeners: int, random: np.random.Generator) -> tuple[np.ndarray, float]:
    """A table and its truth. Both systems of a difference have leanings of their own."""
    spread = math.sqrt(case.listeners**2 + case.clips**2 + case.rest**2)
    table, truth = graded(case, case.mean, listeners, random), expected(case.mean, spread)
    if case.second is None:
        return table, truth
    return table - graded(case, case.second, listeners, random), truth - expected(case.second, spread)


def intervals(table: np.ndarray, draws: int) -> dict[str, tuple[float, float] | None]:
    means = table.mean(1)
    reach = t_quantile(0.975, len(means) - 1.0) * means.std(ddof=1) / math.sqrt(len(means))
    return {
        "satterthwaite": estimate(table).interval(),
        "bootstrap_t": bootstrap_interval(table, draws=draws) if draws else None,
        "listeners_t": (float(means.mean() - reach), float(means.mean() + reach)),
    }


def measure(case: Case, listeners: int, tests: int, draws: int) -> dict[str, Any]:
    random = np.random.default_rng([listeners, CASES.index(case)])
    held = dict.fromkeys(METHODS, 0)
    widths: dict[str, list[float]] = {method: [] for method in METHODS}
    none = 0
    for _ in range(tests):
        table, truth = simulated(case, listeners, random)
        found = intervals(table, draws)
        none += found["satterthwaite"] is None
        for method, ends in found.items():
            if ends is not None:
                held[method] += ends[0] - 1e-12 <= truth <= ends[1] + 1e-12
                widths[method].append(ends[1] - ends[0])
    return {
        "case": case.name,
        "listeners": listeners,
        "clips": case.count,
        "coverage": {m: round(100 * held[m] / tests, 2) for m in METHODS if widths[m]},
        "half_width": {m: round(float(np.median(widths[m])) / 2, 3) for m in METHODS if widths[m]},
        "without_interval": none,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=int, default=2000, help="simulated tests per case")
    parser.add_argument("--draws", type=int, default=999, help="of the bootstrap; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=RESULT, help="write the result here")
    arguments = parser.parse_args()
    print(f"{arguments.tests} tests a case, {arguments.draws} draws, numpy {np.__version__}")
    print(f"{'case':18} {'n':>3} {'clips':>5}  " + "".join(f"{method:>22}" for method in METHODS))
    rows = []
    for case in CASES:
        for listeners in LISTENERS:
            row = measure(case, listeners, arguments.tests, arguments.draws)
            rows.append(row)
            cells = [
                f"{row['coverage'][m]:6.1f} % ±{row['half_width'][m]:.2f}" if m in row["coverage"] else "–"
                for m in METHODS
            ]
            print(f"{case.name:18} {listeners:3} {case.count:5}  " + "".join(f"{c:>22}" for c in cells),
                  flush=True)  # fmt: skip
    real = [row["coverage"] for row in rows if row["case"] in REAL]
    result = {
        "card": {"tests": arguments.tests, "draws": arguments.draws, "numpy": np.__version__},
        "range": {m: [min(c[m] for c in real), max(c[m] for c in real)] for m in real[0]},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
