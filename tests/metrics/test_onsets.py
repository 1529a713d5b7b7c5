"""Onset matching against brute force, peak picking on curves with a known answer, the classical baseline on
a ball.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgefoley.metrics.onsets import classical_onsets, match_onsets, motion_rise, onset_f1, peaks, pick_peaks


def brute_force(found: list[float], true: list[float], tolerance: float) -> int:
    short, long = sorted((found, true), key=len)
    best = 0
    for chosen in itertools.permutations(range(len(long)), len(short)):
        pairs = zip(short, chosen, strict=True)
        best = max(best, sum(abs(a - long[i]) <= tolerance + 1e-9 for a, i in pairs))
    return best


def test_matching_is_the_largest_possible() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        found = rng.uniform(0, 1, rng.integers(0, 6)).tolist()
        true = rng.uniform(0, 1, rng.integers(0, 6)).tolist()
        pairs = match_onsets(found, true, 0.1)
        assert len(pairs) == brute_force(found, true, 0.1)
        assert all(abs(found[i] - true[j]) <= 0.1 + 1e-9 for i, j in pairs)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def test_f1_of_known_lists() -> None:
    assert onset_f1([], [], 0.1) == 1.0
    assert onset_f1([1.0], [], 0.1) == 0.0
    assert onset_f1([1.0, 2.0, 3.0], [1.05, 2.2], 0.1) == pytest.approx(2 / 5)
    assert onset_f1([1.1], [1.0], 0.1) == 1.0  # the tolerance itself counts
    assert onset_f1([1.11], [1.0], 0.1) == 0.0
    with pytest.raises(ValueError, match="tolerance"):
        match_onsets([1.0], [1.0], -0.1)


def test_peaks_refine_respect_threshold_and_gap() -> None:
    instants = np.arange(200) / 50
    curve = (
        -5
        + 6 * np.exp(-0.5 * ((instants - 1.013) / 0.05) ** 2)
        + 4 * np.exp(-0.5 * ((instants - 3.0) / 0.05) ** 2)
    )
    assert pick_peaks(curve, 0.0, 0.1) == pytest.approx([1.013], abs=0.002)
    assert pick_peaks(curve, -2.0, 0.1) == pytest.approx([1.013, 3.0], abs=0.002)
    near = np.array([0, 2, 0, 3, 0, 0, 0, 1, 0], float)
    assert len(pick_peaks(near, 0.5, 0.0)) == 3
    assert pick_peaks(near, 0.5, 0.06) == pytest.approx([0.06, 0.14])  # the higher of two close peaks stays
    assert len(pick_peaks(np.array([0, 1, 1, 1, 0.0]), 0.5, 0.1)) == 1  # a flat top counts once
    assert len(pick_peaks(np.zeros(0), 0.0, 0.1)) == 0
    with pytest.raises(ValueError, match="shape"):
        pick_peaks(np.zeros((2, 3)), 0.0, 0.1)


def test_classical_baseline_finds_a_sudden_move_and_nothing_in_a_still() -> None:
    frames = np.full((60, 112, 112), 90, np.uint8)
    for jump in (20, 40):
        frames[jump:, 30:60, 30:60] += 60
    times = np.arange(60) / 30
    assert classical_onsets(frames, times) == pytest.approx([20 / 30, 40 / 30], abs=0.03)
    assert motion_rise(frames).argmax() in (20, 40)
    assert len(classical_onsets(frames[:15], times[:15])) == 0
    with pytest.raises(ValueError, match="timestamps"):
        classical_onsets(frames, times[:-1])


def test_what_is_lower_never_displaces_a_higher_peak():
    """So peaks may be picked once and thresholds tried on their heights."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        curve = rng.normal(size=200)
        times, heights = peaks(curve, -9.0, 0.08)
        for threshold in (-1.0, 0.0, 0.7):
            assert np.array_equal(times[heights >= threshold], pick_peaks(curve, threshold, 0.08))
