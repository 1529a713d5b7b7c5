"""Placing sounds: onsets on their times, level and brightness by strength, distance, loops, room."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.school import mixing
from edgefoley.train.school.mixing import Blow, Hit, Wave


def click(onset: int, length: int = 4800, seed: int = 0) -> Blow:
    """Silence, then decaying noise from ``onset`` on, peak 1."""
    noise = np.random.default_rng(seed).uniform(-1, 1, length - onset)
    noise *= np.exp(-np.arange(length - onset) / 400)
    noise[0] = 1.0
    return Blow(np.concatenate([np.zeros(onset), noise]).astype(np.float32), onset)


def first_loud(wave: Wave, share: float = 0.2) -> int:
    return int(np.argmax(np.abs(wave) > share * np.abs(wave).max()))


@pytest.mark.parametrize("onset", [0, 150, 700])
@pytest.mark.parametrize("time", [0.004, 0.5, 0.93])
def test_the_onset_falls_on_the_time_whatever_leads_it(onset: int, time: float) -> None:
    placed = mixing.place_hits([Hit(time, 0.9)], [click(onset)], SAMPLE_RATE, np.random.default_rng(1))
    assert abs(first_loud(placed) - time * SAMPLE_RATE) < 0.002 * SAMPLE_RATE


def centroid(wave: Wave) -> float:
    power = np.square(np.abs(np.fft.rfft(wave)))
    return float((power * np.arange(len(power))).sum() / power.sum())


def test_a_harder_hit_is_louder_and_brighter() -> None:
    def hit(strength: float) -> Wave:
        return mixing.place_hits([Hit(0.2, strength)], [click(0)], SAMPLE_RATE, np.random.default_rng(2))

    soft, hard = hit(0.2), hit(0.9)
    ratio = 20 * np.log10(np.abs(hard).max() / np.abs(soft).max())
    assert ratio == pytest.approx(0.7 * mixing.STRENGTH_RANGE_DB, abs=2.5)
    assert centroid(hard) > 1.3 * centroid(soft)


def test_one_pole_is_three_decibels_down_at_its_corner() -> None:
    impulse = np.zeros(SAMPLE_RATE, np.float32)
    impulse[0] = 1
    gain = np.abs(np.fft.rfft(mixing.one_pole(impulse, 1000)))  # 1 Hz per bin
    assert 20 * np.log10(gain[1000] / gain[0]) == pytest.approx(-3.01, abs=0.3)
    assert mixing.one_pole(impulse, 21_000) is impulse


def test_blows_follow_strength_and_vary() -> None:
    blows = [Blow(np.ones(10, np.float32), 0, x) for x in (0.0, 0.33, 0.66, 1.0)]
    hits = [Hit(0.1 * i, 0.95 if i % 2 else 0.05) for i in range(200)]
    chosen = np.array(mixing.choose_blows(hits, blows, np.random.default_rng(0)))
    assert blows[int(np.median(chosen[1::2]))].intensity > blows[int(np.median(chosen[::2]))].intensity
    assert (chosen[1:] == chosen[:-1]).mean() < 0.1


def test_a_voice_ends_before_its_next_call_but_a_bell_rings_on() -> None:
    long = Blow(np.ones(SAMPLE_RATE, np.float32), 0)
    hits = [Hit(0.1, 1.0), Hit(0.5, 1.0)]
    rng = np.random.default_rng
    cut = mixing.place_hits(hits, [long], 2 * SAMPLE_RATE, rng(0), voice=True)
    ring = mixing.place_hits(hits, [long], 2 * SAMPLE_RATE, rng(0))
    inside = slice(int(0.55 * SAMPLE_RATE), int(0.9 * SAMPLE_RATE))
    assert ring[inside].mean() > 1.7 * cut[inside].mean()


def test_distance_follows_the_inverse_law_and_dulls() -> None:
    assert mixing.distance_gain(4) == pytest.approx(0.5 * mixing.distance_gain(2))
    assert mixing.distance_gain(1000) == mixing.distance_gain(mixing.FARTHEST_M)
    assert mixing.distance_corner(5) > 20_000 > mixing.distance_corner(30) > mixing.distance_corner(60)


def test_sound_under_activity_follows_it_and_is_silent_at_zero() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
    activity = np.repeat(np.array([0, 0.5, 1, 0], np.float32), 50)
    wave = mixing.under_activity(noise, activity, 50)
    level = [
        float(np.sqrt(np.square(wave[int((k + 0.3) * 48000) : int((k + 0.7) * 48000)]).mean()))
        for k in range(4)
    ]
    assert level[0] == level[3] == 0
    assert 20 * np.log10(level[2] / level[1]) == pytest.approx(15, abs=4)
    assert level[2] == pytest.approx(0.1, rel=0.05)


def test_a_short_loop_is_extended_without_a_dip() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    long = mixing.extend(noise, 6 * SAMPLE_RATE, np.random.default_rng(0))
    assert len(long) == 6 * SAMPLE_RATE
    levels = np.sqrt(np.square(long[: 118 * 2400].reshape(-1, 2400)).mean(1))[12:]
    assert levels.min() > 0.07 and levels.max() < 0.13


def test_reverberation_is_convolution_with_the_direct_sound_kept() -> None:
    wave = np.zeros(1000, np.float32)
    wave[100] = 1
    response = np.zeros(500, np.float32)
    response[[0, 200]] = 1, 0.5
    wet = mixing.reverberate(wave, response, wet_db=-6.0206)
    np.testing.assert_allclose(wet[[100, 300]], [1, 0.25], atol=1e-4)
    assert np.abs(np.delete(wet, [100, 300])).max() < 1e-4


def test_finish_fills_without_clipping_and_keeps_silence() -> None:
    rng = np.random.default_rng(0)
    loud = mixing.finish(rng.normal(0, 3, 48000).astype(np.float32), rng)
    assert np.abs(loud).max() <= 0.951
    quiet = mixing.finish(rng.normal(0, 1e-3, 48000).astype(np.float32), rng)
    assert -23 < 20 * np.log10(np.sqrt(np.square(quiet).mean())) < -19
    assert not mixing.finish(np.full(480, 1e-7, np.float32), rng).any()


def test_nothing_to_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="blows"):
        mixing.place_hits([Hit(0, 1)], [], 10, np.random.default_rng(0))


def test_a_faster_sound_is_shorter_and_higher() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    fast = mixing.change_speed(tone, 1.1)
    assert len(fast) == pytest.approx(SAMPLE_RATE / 1.1, abs=2)
    peak = np.abs(np.fft.rfft(fast * np.hanning(len(fast)))).argmax() * SAMPLE_RATE / len(fast)
    assert peak == pytest.approx(1100, abs=2)
    assert mixing.change_speed(tone, 1.0) is tone


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_a_room_tone_has_its_level_and_slope(slope: float) -> None:
    """The level of octaves of a falling spectrum, by their energy and not by the filter that made it."""
    tone = mixing.room_tone(4 * SAMPLE_RATE, slope, np.random.default_rng(1))
    assert np.sqrt(np.square(tone, dtype=np.float64).mean()) == pytest.approx(1, abs=1e-3)
    power = np.square(np.abs(np.fft.rfft(tone)))
    at = np.fft.rfftfreq(len(tone), 1 / SAMPLE_RATE)
    density = [10 * np.log10(power[(at >= low) & (at < 2 * low)].mean()) for low in (500, 1000, 2000, 4000)]
    assert np.diff(density) == pytest.approx([-slope] * 3, abs=0.6)
