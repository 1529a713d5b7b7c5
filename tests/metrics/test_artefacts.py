"""The detectors against sounds whose faults were put there, and against sounds without."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.metrics.artefacts import added_pops, cancelled, clipped_runs, mono_loss_db, pops

RATE = 48_000
RNG = np.random.default_rng


def noise(seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return level * RNG(0).standard_normal(int(seconds * RATE))


def tone(frequency: float = 440.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)


def test_clipping_is_found_where_it_is() -> None:
    wave = tone(1000, 1.3)
    assert clipped_runs(tone(30, 0.95)) == []  # slow, and flat at its top by nature
    assert len(clipped_runs(np.clip(tone(30, 1.3), -0.9, 0.9))) == 60
    assert clipped_runs(tone(1000, 0.95)) == [] and clipped_runs(noise(level=0.2)) == []
    for top in (1.0, 0.7):
        runs = clipped_runs(np.clip(wave, -top, top))
        assert len(runs) == 2000  # two tops a period
        first, count = runs[0]
        assert np.all(np.abs(wave[first : first + count]) >= top - 1e-3)
    assert clipped_runs(np.clip(tone(level=0.4), -0.3, 0.3)) == []  # too soft to be the machine's fault
    assert clipped_runs(np.zeros(100)) == []


@pytest.mark.parametrize("base", [tone(), noise(level=0.02), tone(90) + noise(level=0.01), np.zeros(RATE)])
def test_pops_are_found_where_they_were_put(base: np.ndarray) -> None:
    assert len(pops(base)) == 0
    wave = base.copy()
    wave[12_000:] += 0.5  # a step
    wave[30_000] += 0.8  # a spike
    found = pops(wave)
    assert len(found) == 2
    assert np.abs(found - [12_000, 30_000]).max() <= 3


def test_pops_of_the_true_sound_are_not_held_against_the_made_one() -> None:
    true = noise(level=0.01)
    true[10_000] += 0.9
    made = np.roll(true, 40)
    made[40_000:] -= 0.4
    assert added_pops(made, true).tolist() == pytest.approx([40_000], abs=3)
    assert len(added_pops(true, true)) == 0


def test_a_faded_burst_is_no_pop() -> None:
    wave = np.zeros(RATE)
    n = np.arange(9600)
    wave[20_000:29_600] = 0.5 * RNG(1).standard_normal(9600) * (1 - np.exp(-n / 96)) * np.exp(-n / 2000)
    assert len(pops(wave)) == 0


def test_mono_loss_of_known_sounds() -> None:
    left, right = RNG(2).standard_normal((2, RATE))
    assert mono_loss_db(np.stack([left, left])) == pytest.approx(0, abs=1e-9)
    assert mono_loss_db(np.stack([left, right])) == pytest.approx(3, abs=0.1)
    assert mono_loss_db(np.stack([left, -left])) > 60
    delayed = np.stack([tone(500), np.roll(tone(500), 48)])  # half a period
    assert mono_loss_db(delayed) > 40
    assert mono_loss_db(np.zeros((2, 10))) == 0


def test_a_comb_cancels_and_other_noise_does_not() -> None:
    true = noise()
    comb = true - np.concatenate([np.zeros(12), true[:-12]])  # nothing left at 4, 8, 12, 16 kHz
    assert cancelled(true, true) == 0
    other = 0.1 * RNG(7).standard_normal(RATE)
    assert cancelled(other, true) < 0.002
    hole = true.copy()
    hole[10_000:20_000] *= 0.05
    assert 0.1 < cancelled(hole, true) < 0.21
    spectrum = np.fft.rfft(true)
    spectrum[3500:4600] *= 0.05
    assert 0.02 < cancelled(np.fft.irfft(spectrum), true) < 0.1
    assert cancelled(comb, true) >= 0
    assert cancelled(np.zeros(RATE), np.zeros(RATE)) == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="mono"):
        pops(np.zeros((2, 10)))
    with pytest.raises(ValueError, match="stereo"):
        mono_loss_db(np.zeros(10))
    with pytest.raises(ValueError, match="one length"):
        cancelled(np.zeros(10), np.zeros(11))
