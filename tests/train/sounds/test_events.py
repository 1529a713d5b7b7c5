"""Cutting recordings into events and placing them: on sounds whose onsets are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.train.sounds.events import fade, single_events
from edgefoley.train.sounds.recordings import high_pass
from edgefoley.train.sync_curve import degrade, draw_curve

RATE = 48_000


def clicks(times: list[float], seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    wave = 1e-4 * rng.standard_normal(int(seconds * RATE)).astype(np.float32)
    for time in times:
        begin = int(time * RATE)
        wave[begin : begin + 4800] += 0.5 * rng.standard_normal(4800) * np.exp(-np.arange(4800) / 600)
    return wave.astype(np.float32)


def test_single_events_begin_just_before_their_onsets() -> None:
    true = [0.3, 1.0, 1.45, 2.6]
    found = single_events(clicks(true, 3.5), gap_s=0.06)
    starts = np.array([start for start, _ in found]) / RATE
    assert len(found) == len(true)
    assert np.all((np.array(true) - starts >= 0) & (np.array(true) - starts < 0.013))


def test_close_events_join_when_the_gap_is_longer() -> None:
    assert len(single_events(clicks([0.3, 0.5, 2.0], 3.0), gap_s=0.4)) == 2


def test_silence_has_no_events_and_noise_is_one() -> None:
    noise = np.random.default_rng(1).standard_normal(RATE).astype(np.float32) * 0.1
    assert len(single_events(noise, 0.06)) == 1


def test_high_pass_removes_offset_and_keeps_sound() -> None:
    tone = 0.3 * np.sin(np.arange(RATE) * 2 * np.pi * 200 / RATE)
    out = high_pass((tone + 0.5).astype(np.float32))
    assert abs(out[5000:-5000].mean()) < 2e-3
    assert np.abs(out[9000:-9000] - tone[9000:-9000]).max() < 0.01


def test_fade_ends_at_zero() -> None:
    out = fade(np.ones(1000, np.float32), 100, 200)
    assert out[0] == 0 and out[500] == 1 and out[-1] < 1e-3


def test_curve_is_one_bump_per_event_at_its_place() -> None:
    feat = draw_curve(np.array([1.0]), np.array([0.8]), np.array([0.6]), np.zeros(100, np.float32), 50)
    assert feat.shape == (50, 4)
    assert feat[25, 0] == np.float32(0.8) and feat[25, 1] == feat[24, 1] == np.float32(0.2)
    assert feat[:, :2].sum() == pytest.approx(1.2) and feat[25, 2] == np.float32(0.6)


def test_degraded_events_stay_near_true_ones() -> None:
    rng = np.random.default_rng(0)
    true = np.arange(0.5, 9.5, 0.5)
    gaps, low = [], []
    for _ in range(200):
        times, heights, _ = degrade(true, np.full(len(true), 0.5), 10.0, rng)
        near = np.abs(times[:, None] - true).min(1)
        gaps += list(near[: len(true) - 4])
        low += [h for t, h in zip(near, heights, strict=True) if t > 0.06]
    assert np.std(gaps) < 0.05 and max(low) < 0.5
