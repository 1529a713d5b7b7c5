"""Distances of sounds whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.metrics.audio_quality import (
    attack_error,
    log_mel_distance,
    mel_filters,
    stft_distance,
    visqol_mos,
    zimtohrli_mos,
)  # fmt: skip

RATE = 48_000


def noise(seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(RATE)


def test_a_gain_is_its_decibels() -> None:
    true = noise()
    for gain in (0.5, 2.0):
        found = stft_distance(gain * true, true)
        assert found["convergence"] == pytest.approx(abs(gain - 1), abs=1e-6)
        assert found["log_db"] == pytest.approx(6.02, abs=0.8)  # the floor takes a little
        assert log_mel_distance(gain * true, true) == pytest.approx(6.02, abs=0.1)
    assert stft_distance(true, true) == {"convergence": 0, "log_db": 0}


def test_nothing_below_the_floor_counts() -> None:
    assert log_mel_distance(1e-8 * noise(), np.zeros(RATE)) < 0.01
    assert stft_distance(1e-8 * noise(), 1e-8 * noise(1))["log_db"] < 0.01


def test_mel_filters_take_a_tone_to_its_band() -> None:
    filters = mel_filters(2048, 128)
    assert np.allclose(filters.sum(0), 1)
    centres = (filters * np.fft.rfftfreq(2048, 1 / RATE)[:, None]).sum(0)
    assert np.all(np.diff(centres) > -1e-6)
    at = int(filters[round(3000 / RATE * 2048)].argmax())
    assert abs(centres[at] - 3000) < 100


def test_attack_error_of_a_moved_click_with_an_echo_before_it() -> None:
    true, made = np.zeros(RATE), np.zeros(RATE)
    true[24_000] = 1
    made[24_000 + 144] = 1
    made[23_000] = 0.01
    late, echo = attack_error(made, true)
    assert late == pytest.approx(0.003, abs=1e-4)
    assert echo == pytest.approx(-40, abs=0.5)
    assert attack_error(true, true) == (0.0, pytest.approx(-180, abs=1))


def test_listeners_models_tell_the_same_from_other_sound() -> None:
    pytest.importorskip("zimtohrli")
    pytest.importorskip("visqol")
    true = noise()[:24_000]
    worse = true + 0.1 * np.random.default_rng(5).standard_normal(24_000)
    for judge in (zimtohrli_mos, visqol_mos):
        assert judge(true, true) > 4.5
        assert judge(true, true) > judge(worse, true) + 0.3


def test_lengths_are_checked() -> None:
    with pytest.raises(ValueError, match="one length"):
        stft_distance(np.zeros(10), np.zeros(11))
