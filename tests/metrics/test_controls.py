"""Figures on a generator's controls, on sounds whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgefoley.metrics.controls import (
    FLOOR,
    Faults,
    faults,
    heard,
    likeness,
    lufs,
    relative_change,
    rms_dbfs,
    take_distances,
)

RATE = 48_000


def sine(amplitude: float, seconds: float = 1.0, frequency: float = 997.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


def test_levels_of_a_sine_and_of_silence() -> None:
    # BS.1770: a full-scale sine of 997 Hz has -3.01 LUFS, and its mean power is -3.01 dB.
    assert lufs(sine(0.1)) == pytest.approx(-23.01, abs=0.05)
    assert rms_dbfs(sine(0.1)) == pytest.approx(-23.01, abs=0.01)
    assert lufs(np.zeros(RATE)) == rms_dbfs(np.zeros(RATE)) == rms_dbfs(np.zeros(0)) == FLOOR
    # Below the meter's gate loudness knows only silence; the power still tells how deep it is.
    assert lufs(sine(1e-5)) == FLOOR and rms_dbfs(sine(1e-5)) == pytest.approx(-103.01, abs=0.01)


def test_a_good_sound_has_no_faults() -> None:
    good = faults(sine(0.05), sine(0.1))
    assert good == Faults(False, False, 0, 0) and not good.broken


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_is_judged_by_what_the_model_made(level: float) -> None:
    found = faults(sine(level), sine(0.1))
    assert found.silent and found.broken


def test_values_that_are_not_finite() -> None:
    wave = sine(0.1)
    wave[100] = math.nan
    assert faults(wave, wave) == Faults(False, True, 0, 0) and faults(wave, wave).broken
    assert faults(sine(0.1), np.full(10, np.inf)).not_finite


def test_clipping_and_pops_are_looked_for_in_what_is_heard() -> None:
    flat = np.clip(sine(1.5, frequency=200.0), -0.9, 0.9)
    assert faults(sine(0.1), flat).clipped > 100 and faults(flat, sine(0.1)).clipped == 0
    popped = sine(0.1, frequency=200.0) * np.linspace(0, 1, RATE, dtype=np.float32)
    popped[24_000] += 0.5
    found = faults(sine(0.1), popped)
    assert found.pops == 1 and not found.broken


def test_takes_are_compared_within_and_between_prompts_never_at_one_seed() -> None:
    """Each take is one number: 10 per prompt, 1 per seed. Between prompts the seeds differ by one or two."""
    takes = [[np.array([10.0 * p + s], np.float32) for s in range(3)] for p in range(2)]
    seen = []

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        seen.append(tuple(round(float(x[0])) for x in (a, b)))
        return abs(float(a[0] - b[0]))

    within, between = take_distances(takes, distance)
    assert within == pytest.approx([(1 + 2 + 1) / 3] * 2)
    assert between == pytest.approx([(11 + 11 + 8) / 3, (9 + 9 + 12) / 3])
    assert all(a % 10 != b % 10 for a, b in seen)


def test_equal_takes_have_no_variety() -> None:
    takes = [[np.full(4, float(p), np.float32)] * 2 for p in range(3)]
    within, between = take_distances(takes, lambda a, b: float(np.abs(a - b).mean()))
    assert within == [0, 0, 0] and between == pytest.approx([1.5, 1, 1.5])


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (0, 0)])
def test_too_few_takes(shape: tuple[int, int]) -> None:
    takes = [[np.zeros(2, np.float32)] * shape[1]] * shape[0]
    with pytest.raises(ValueError, match="two prompts"):
        take_distances(takes, lambda a, b: 0.0)
    with pytest.raises(ValueError, match="two prompts"):
        take_distances([[np.zeros(2, np.float32)] * n for n in (2, 3)], lambda a, b: 0.0)


def test_relative_change() -> None:
    assert relative_change([[3.0, 4.0]], [[3.0, 0.0]]) == pytest.approx(4 / 3)
    assert relative_change([1.0], [1.0]) == 0
    for wrong in (([1.0], [0.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="one shape"):
            relative_change(*wrong)


def test_what_a_tagger_hears() -> None:
    labels = ["Speech", "Music", "Dog", "Rain"]
    scores = [[0.1, 0.2, 0.9, 0.8], [0.5, 0.9, 0.1, 0.2]]
    assert heard(scores, labels, ["Speech"], top=2) == [False, True]
    assert heard(scores, labels, ["Speech", "Rain"], top=2) == [True, True]
    assert heard(scores, labels, ["Speech"], top=4) == [True, True]
    with pytest.raises(ValueError, match="no label 'Cat'"):
        heard(scores, labels, ["Dog", "Cat"])
    with pytest.raises(ValueError, match="shape"):
        heard(scores[0], labels, ["Dog"])


def test_likeness_is_to_the_nearest_reference_seen_from_the_centre() -> None:
    centre = [10.0, 10.0]
    references = [[11.0, 10.0], [10.0, 12.0]]
    assert likeness([10.0, 13.0], references, centre) == pytest.approx(1)
    assert likeness([9.0, 9.0], references, centre) == pytest.approx(-math.sqrt(0.5))
    assert likeness(centre, references, centre) == 0
