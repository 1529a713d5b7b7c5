"""Loops repeat without a seam, and what stands out is not repeated."""

from __future__ import annotations

import numpy as np

from edgefoley.train.sounds.fingerprint import correlation, fingerprint, same_sounds
from edgefoley.train.sounds.loops import loop_cuts, loop_wave
from edgefoley.train.sounds.onsets import RATE, to_16k

HZ = 48_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * HZ)).astype(np.float32)


def test_a_steady_sound_is_a_loop_of_even_level() -> None:
    wave = noise(5.0)
    cuts = loop_cuts(wave)
    assert sum(c.stop - c.start for c in cuts) > 4 * HZ
    for cut in cuts:
        twice = np.tile(loop_wave(wave[cut.start : cut.stop]), 2)
        level = np.square(twice[: len(twice) // 960 * 960].reshape(-1, 960)).mean(1) ** 0.5
        assert level.min() > 0.07 and level.max() < 0.13


def test_a_tone_goes_on_over_the_seam() -> None:
    wave = (0.3 * np.sin(np.arange(3 * HZ) * 2 * np.pi * 441.7 / HZ)).astype(np.float32)
    (cut,) = loop_cuts(wave)
    body = loop_wave(wave[cut.start : cut.stop])
    step = np.abs(np.diff(np.tile(body, 2)))
    assert step.max() < 1.1 * np.abs(np.diff(wave)).max()
    twice = np.tile(body, 2)
    envelope = np.abs(twice[: len(twice) // 480 * 480].reshape(-1, 480)).max(1)
    assert envelope.min() > 0.27 and envelope.max() < 0.33


def test_a_shout_over_rain_is_in_no_loop() -> None:
    wave = noise(6.0)
    wave[3 * HZ : 3 * HZ + 9600] += 10 * noise(0.2, 1)
    for cut in loop_cuts(wave):
        assert cut.stop < 3.01 * HZ or cut.start > 3.19 * HZ


def test_a_rising_sound_and_a_short_one_are_no_loops() -> None:
    ramp = noise(3.0) * np.geomspace(1e-3, 1, 3 * HZ).astype(np.float32)
    assert all(c.stop - c.start < 1.2 * HZ for c in loop_cuts(ramp))
    assert loop_cuts(noise(0.5)) == []


def test_copies_are_found_and_takes_are_not() -> None:
    rng = np.random.default_rng(0)
    shape = np.exp(-np.arange(RATE) / 3000)
    base = [(rng.standard_normal(RATE) * shape).astype(np.float32) for _ in range(3)]
    quiet = 0.05 * np.concatenate([np.zeros(700, np.float32), base[0][:12_000]])  # later, shorter, softer
    coarse = np.round(base[1] * 40).astype(np.float32) / 40  # as a coarse codec would
    sounds = [*base, quiet.astype(np.float32), coarse]
    prints = np.stack([fingerprint(s) for s in sounds])
    sets = same_sounds(prints, [len(s) / RATE for s in sounds], lambda i: sounds[i])
    assert sorted(sets) == [[0, 3], [1, 4]]
    assert correlation(base[0], base[2]) < 0.2


def test_a_resampled_copy_is_found() -> None:
    from scipy.signal import resample_poly

    wave = noise(1.0) * np.exp(-np.arange(HZ) / 9000).astype(np.float32)
    back = resample_poly(resample_poly(wave, 147, 160), 160, 147)[:HZ].astype(np.float32)
    a, b = to_16k(wave), to_16k(back)
    assert float(fingerprint(a) @ fingerprint(b)) > 0.98
    assert correlation(a, b) > 0.95
