"""Scores of event lists against cases worked out by hand, intervals against normal theory."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.metrics.event_scores import (
    Score,
    chance_f1,
    interval,
    lags,
    median_interval,
    ratio_interval,
    score_events,
    thinned,
)


def test_score_of_known_lists() -> None:
    # 1.04 and 3.0 match; 2.2 is 0.2 from 2.0, so one is false and two (2.0, 4.0) are missed.
    score = score_events([1.04, 2.2, 3.0], [1.0, 2.0, 3.0, 4.0], 0.1)
    assert (score.matches, score.found, score.true) == (2, 3, 4)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 4)
    assert score.f1 == pytest.approx(4 / 7)
    assert score_events([1.04, 2.2, 3.0], [1.0, 2.0, 3.0, 4.0], 0.03).matches == 1


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [(0, 0, (1.0, 1.0, 1.0)), (0, 3, (0.0, 0.0, 0.0)), (3, 0, (0.0, 0.0, 0.0))],
)
def test_score_of_empty_lists(found: int, true: int, expected: tuple[float, float, float]) -> None:
    score = Score(0, found, true)
    assert (score.f1, score.precision, score.recall) == expected


def test_lags_are_found_minus_true_of_near_pairs() -> None:
    late = lags([2.99, 1.03, 7.0], [1.0, 3.0, 5.0], 0.1)
    assert late == pytest.approx([0.03, -0.01])  # in time order; 7.0 is near nothing
    assert lags([1.1], [1.0], 0.1) == pytest.approx([0.1])  # the tolerance itself counts
    assert len(lags([1.11], [1.0], 0.1)) == 0
    assert len(lags([], [1.0], 0.1)) == len(lags([1.0], [], 0.1)) == 0


def test_lags_pair_the_nearest_where_events_are_dense() -> None:
    # A largest matching in time order would pair 1.00 with 0.95 and 1.06 with 1.01: lags of +0.05 each.
    assert lags([1.0, 1.06], [0.95, 1.01], 0.1) == pytest.approx([-0.01])
    # Two found times for one true one: only the nearer counts.
    assert lags([0.97, 1.01], [1.0], 0.1) == pytest.approx([0.01])


def test_chance_is_the_mean_over_other_clips_of_the_same_length() -> None:
    true = [[1.0], [1.0, 1.5], [3.0], [1.0]]
    seconds = [4.0, 4.2, 4.1, 8.0]
    found = [[1.0], [9.0], [1.5], [1.0]]
    values = chance_f1(found, true, seconds, 0.1)
    # clip 0 against clips 1 (F1 2/3) and 2 (0); clip 1 matches nothing; clip 2 against 0 (0) and 1 (2/3);
    # clip 3 is alone with its length.
    assert values[:3] == pytest.approx([1 / 3, 0.0, 1 / 3])
    assert np.isnan(values[3])
    # Clip 0's events come from the pictures of clip 1, which is left out as well: only clip 2 remains.
    assert chance_f1(found, true, seconds, 0.1, pictures=[1, 0, 0, 2])[0] == 0.0
    assert chance_f1(found, true, seconds, 0.1, within_s=5.0)[3] == pytest.approx((1 + 2 / 3 + 0) / 3)
    with pytest.raises(ValueError, match="zip"):
        chance_f1(found, true, seconds[:3], 0.1)


def test_chance_of_random_events_is_their_f1() -> None:
    """Events that know nothing of their clip score on it what they score on the others."""
    rng = np.random.default_rng(3)
    found = [np.sort(rng.uniform(0, 8, 12)) for _ in range(60)]
    true = [np.sort(rng.uniform(0, 8, 12)) for _ in range(60)]
    own = [score_events(f, t, 0.1).f1 for f, t in zip(found, true, strict=True)]
    gain = np.array(own) - chance_f1(found, true, [8.0] * 60, 0.1)
    found_gain = interval(gain)
    assert found_gain["low"] < 0 < found_gain["high"]


def test_thinned_keeps_the_first_of_close_times() -> None:
    assert thinned([1.1, 1.0, 1.05, 1.08, 2.0], 0.08) == pytest.approx([1.0, 1.08, 2.0])
    assert thinned([1.0, 1.0, 2.0], 0.08) == pytest.approx([1.0, 2.0])
    assert len(thinned([], 0.08)) == 0


def test_interval_has_the_width_of_normal_theory() -> None:
    values = np.random.default_rng(1).normal(0.4, 0.2, 200)
    found = interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found["mean"] == pytest.approx(values.mean())
    assert found["high"] - found["mean"] == pytest.approx(half, rel=0.06)
    assert found["mean"] - found["low"] == pytest.approx(half, rel=0.06)
    assert interval(values) == found  # the seed is fixed


def test_interval_of_simple_values() -> None:
    assert interval([0.25]) == {"mean": 0.25, "low": 0.25, "high": 0.25}
    # Of four clips of which one scores 1: a draw holds none of it with (3/4)^4 = 32 %, so 0 is the bound.
    found = interval([0, 0, 0, 1])
    assert (found["mean"], found["low"], found["high"]) == (0.25, 0.0, 0.75)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_interval_refuses_what_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="interval needs"):
        interval(values)


def test_ratio_weighs_clips_by_their_length() -> None:
    found = ratio_interval([10, 0], [10.0, 30.0])  # 10 events in 40 s
    assert found["mean"] == pytest.approx(0.25)
    assert (found["low"], found["high"]) == (0.0, 1.0)  # both draws of one clip alone are common
    one = ratio_interval([3, 6], [1.0, 2.0])
    assert one == {"mean": 3.0, "low": 3.0, "high": 3.0}
    # A clip without a single pair adds nothing to a mean lag, and a draw of it alone does not divide by 0.
    assert ratio_interval([0.0, 5.0], [0, 2]) == {"mean": 2.5, "low": 2.5, "high": 2.5}
    for tops, bottoms in (([1], [0]), ([1, 2], [1]), ([], [])):
        with pytest.raises(ValueError, match="ratio"):
            ratio_interval(tops, bottoms)


def test_median_draws_whole_clips() -> None:
    found = median_interval([[1.0, 2.0, 9.0], [], [3.0]])
    assert found["median"] == 2.5
    assert (found["low"], found["high"]) == (2.0, 3.0)  # only the first clip, only the third
    assert median_interval([[4.0], [4.0]]) == {"median": 4.0, "low": 4.0, "high": 4.0}
    with pytest.raises(ValueError, match="at least one value"):
        median_interval([[], []])
