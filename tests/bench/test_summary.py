"""Medians, least values, and ratios of rounds with their intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgefoley.bench.summary import interval, matched, ratios, summary, values
from edgefoley.errors import UsageError


def case(
    name: str, warm: list[float], cold: list[float] | None = None, **more: list[float]
) -> dict[str, Any]:
    def part(index: int, seconds: float) -> dict[str, Any]:
        extra = {key: numbers[index] for key, numbers in more.items()}
        return {"seconds": seconds, "cpu_seconds": seconds / 2, "audio_seconds": 10.0, "joules": None,
                "stages": {"read": {"seconds": seconds, "peak_mb": 100 + index}}, **extra}  # fmt: skip

    cold = cold or [2 * seconds for seconds in warm]
    runs = [{"cold": part(i, c), "warm": part(i, w)} for i, (c, w) in enumerate(zip(cold, warm, strict=True))]
    return {"name": name, "runs": runs}


def test_summary_by_hand() -> None:
    found = summary(case("a", [3.0, 1.0, 2.0], peak_mb=[10.0, 30.0, 20.0], joules=[6.0, 2.0, 8.0]))
    assert found["warm_s"] == {"median": 2.0, "least": 1.0} and found["cold_s"]["median"] == 4.0
    assert found["rtf"] == pytest.approx(0.2) and found["peak_mb"]["median"] == 20
    assert found["warm_j"]["median"] == 6 and found["watts"] == pytest.approx(2)
    assert found["stages"]["warm"]["read"] == {"seconds": 2.0, "peak_mb": 102}
    assert found["anonymous_mb"] is None


def test_what_one_round_lacks_is_not_measured() -> None:
    one = case("a", [1.0, 1.0], joules=[1.0, 1.0])
    one["runs"][1]["warm"]["joules"] = None
    assert values(one, "warm_j") == []


def test_ratio_by_hand() -> None:
    first, second = case("a", [1.0, 4.0]), case("b", [3.0, 3.0])
    found = {one.measure: one for one in ratios(first, second, paired=True)}
    assert found["warm_s"].value == pytest.approx(3 / math.sqrt(4))
    assert found["warm_s"].least == 3 and found["warm_s"].low is None  # two rounds are too few


def test_equal_rounds_give_a_point() -> None:
    low, high = interval([2.0] * 5, [3.0] * 5, paired=True) or (0, 0)
    assert low == pytest.approx(1.5) and high == pytest.approx(1.5)


def test_pairs_take_off_what_both_share() -> None:
    """The machine slows down over the rounds; both cases alike."""
    drift = np.array([1.0, 1.5, 2.2, 3.1, 4.0])
    a, b = drift * [1, 1.01, 0.99, 1, 1.02], 1.3 * drift * [1.01, 1, 1, 0.99, 1]
    paired, apart = interval(a, b, True), interval(a, b, False)
    assert paired and apart
    assert paired[0] < 1.3 < paired[1] and paired[1] / paired[0] < 1.1 < apart[1] / apart[0]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", ["normal", "skew"])
def test_intervals_cover(paired: bool, kind: str) -> None:
    """Of 400 simulated comparisons of five rounds about 95 % hold the true ratio."""
    random, held = np.random.default_rng(3), 0
    for number in range(400):
        noise = random.standard_normal((2, 5)) * 0.05
        if kind == "skew":  # now and then another program gets in the way
            noise = noise / 3 + random.exponential(0.1, (2, 5))
        shared = random.standard_normal(5) * 0.2 if paired else 0
        a, b = np.exp(noise[0] + shared), 1.5 * np.exp(noise[1] + shared)
        found = interval(a, b, paired, seed=number)
        assert found is not None
        held += found[0] <= 1.5 <= found[1]
    assert 0.92 <= held / 400 <= 0.99


def test_cases_find_each_other() -> None:
    one, two, other = case("x", [1.0]), case("y", [1.0]), case("z", [1.0])
    assert matched({"cases": [one, two]}, {"cases": [two, other]}) == [(two, two)]
    assert matched({"cases": [one]}, {"cases": [other]}) == [(one, other)]
    assert matched({"cases": [one, two]}, {"cases": [one, two]}, ("x", "y")) == [(one, two)]
    assert matched({"cases": [one]}, {"cases": [two, other]}, (None, "z")) == [(one, other)]
    with pytest.raises(UsageError, match="--second"):
        matched({"cases": [one, two]}, {"cases": [other]})
    with pytest.raises(UsageError, match=r"'w'.*x; y"):
        matched({"cases": [one, two]}, {"cases": [other]}, ("w", None))
