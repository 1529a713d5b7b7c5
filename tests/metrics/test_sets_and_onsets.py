"""Distances between sets against closed forms; onsets of a sound against scipy's version and known times."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.metrics.set_distance import frechet_distance, kernel_change, kernel_distance
from edgefoley.metrics.sound_onsets import decimated, onset_strength, peaks, sound_onsets

RATE = 48_000


def test_frechet_distance_of_two_normal_sets_is_the_closed_form():
    """Diagonal covariances s and t, means apart by d: d² + sum((sqrt(s) - sqrt(t))²)."""
    random = np.random.default_rng(0)
    a = random.standard_normal((40_000, 3)) * (1.0, 2.0, 0.5)
    b = random.standard_normal((40_000, 3)) * (2.0, 2.0, 1.0) + (1.0, 0.0, -2.0)
    assert frechet_distance(a, b) == pytest.approx(5.0 + 1.0 + 0.25, rel=0.03)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_agrees_with_a_matrix_root():
    linalg = pytest.importorskip("scipy.linalg", reason="an independent implementation (extra: networks)")
    random = np.random.default_rng(1)
    a = random.standard_normal((60, 8)) @ random.standard_normal((8, 8))
    b = random.standard_normal((50, 8)) @ random.standard_normal((8, 8)) + 0.5
    x, y = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(x @ y).real
    apart = a.mean(0) - b.mean(0)
    assert frechet_distance(a, b) == pytest.approx(
        float(apart @ apart + np.trace(x + y - 2 * root)), rel=1e-6
    )


def test_kernel_distance_is_the_mean_over_pairs_of_different_clips():
    random = np.random.default_rng(2)
    a = [random.standard_normal((n, 5)) for n in (1, 3, 2, 4)]
    b = [random.standard_normal((n, 5)) + 0.7 for n in (2, 2, 1, 3)]

    def kernel(x, y):
        return np.mean([(float(p @ q) / 5 + 1) ** 3 for p in x for q in y])

    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    wanted = np.mean(
        [kernel(a[i], a[j]) + kernel(b[i], b[j]) - kernel(a[i], b[j]) - kernel(b[i], a[j]) for i, j in pairs]
    )
    found = kernel_distance(a, b)
    assert found["mean"] == pytest.approx(wanted) and found["low"] <= found["mean"] <= found["high"]


def test_kernel_distance_is_unbiased_and_grows():
    random = np.random.default_rng(3)
    same, far = [], []
    for _ in range(60):
        a = [random.standard_normal((3, 4)) for _ in range(6)]
        b = [random.standard_normal((3, 4)) for _ in range(6)]
        same.append(kernel_distance(a, b)["mean"])
        far.append(kernel_distance(a, [x + 1.5 for x in b])["mean"])
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60) and np.mean(far) > 1
    assert kernel_distance(a, a) == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_the_farther_side_is_told():
    random = np.random.default_rng(4)
    true = [random.standard_normal((4, 6)) for _ in range(10)]
    near, far = [x + 0.05 for x in true], [x + 2.0 for x in true]
    change = kernel_change(near, far, true)
    assert change["low"] > 0 and kernel_change(far, near, true)["high"] < 0
    assert kernel_change(near, near, true)["mean"] == 0.0


def test_sets_that_cannot_be_compared():
    two = np.zeros((2, 3))
    for a, b in ((two, np.zeros((2, 4))), (two[:1], two), (two[0], two)):
        with pytest.raises(ValueError, match="two sets"):
            frechet_distance(a, b)
    for lists in (([two], [two]), ([two, two], [two])):
        with pytest.raises(ValueError, match="two clips"):
            kernel_distance(*lists)


def scene(seed: int, seconds: float, times: list[float]) -> np.ndarray:
    """Noise bursts at known times over faint noise."""
    random = np.random.default_rng(seed)
    wave = 0.002 * random.standard_normal(round(seconds * RATE))
    for time in times:
        at = round(time * RATE)
        burst = random.standard_normal(9600) * np.exp(-np.arange(9600) / 1500)
        wave[at : at + 9600] += 0.3 * burst[: len(wave) - at]
    return wave


def test_onsets_of_known_bursts():
    times = [0.4, 0.9, 1.05, 2.3, 3.6]
    found = sound_onsets(scene(0, 4.5, times))
    assert len(found) == 5 and np.all(np.abs(found - np.array(times) + 0.01) < 0.02)


def test_the_same_as_with_scipy():
    pytest.importorskip("scipy", reason="an independent implementation (extra: networks)")
    from edgefoley.train.sounds import onsets

    random = np.random.default_rng(5)
    for seed in range(6):
        length = float(random.uniform(0.5, 6))
        times = sorted(random.uniform(0, length - 0.2, random.integers(0, 9)).tolist())
        wave = scene(seed, length, times).astype(np.float32)
        low = onsets.to_16k(wave)
        theirs = onsets.onset_strength(onsets.band_magnitudes(low))
        assert decimated(wave.astype(np.float64)) == pytest.approx(low, abs=1e-6)
        assert onset_strength(decimated(wave.astype(np.float64))) == pytest.approx(theirs, abs=1e-5)
        assert sound_onsets(wave) == pytest.approx(onsets.onset_times(low))


def test_no_onsets_in_silence_and_in_too_little():
    assert not len(sound_onsets(np.zeros(RATE))) and not len(sound_onsets(np.ones(1000)))
    assert not len(sound_onsets(np.zeros(0)))
    with pytest.raises(ValueError, match="mono"):
        sound_onsets(np.zeros((2, 100)))


def test_the_higher_of_two_close_peaks_stays():
    curve = np.zeros(40)
    curve[[5, 9, 20, 30]] = (1.0, 2.0, 0.5, 0.05)
    assert peaks(curve, 0.1).tolist() == [9, 20]
