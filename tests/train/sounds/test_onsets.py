"""The onset measure and the cuts that have to be found by it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgefoley.train.sounds.cuts import RULES, event_cuts, event_wave, ranked, whole_cut
from edgefoley.train.sounds.onsets import EARLY_S, RATE, onset_times, onsets_alone, to_16k

HZ = 48_000
SCORE = Path(__file__).parents[4] / "shared" / "eval" / "score.py"


def decaying(rng: np.random.Generator, count: int, decay: float) -> np.ndarray:
    return rng.standard_normal(count) * np.exp(-np.arange(count) / decay)


def hits(times: list[float], seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Noise bursts of 100 ms at known times over faint noise."""
    rng = np.random.default_rng(seed)
    wave = 1e-4 * rng.standard_normal(int(seconds * rate))
    for time in times:
        begin, count = round(time * rate), rate // 10
        wave[begin : begin + count] += rng.uniform(0.2, 0.6) * decaying(rng, count, rate / 60)
    return wave.astype(np.float32)


def score_module() -> ModuleType:
    if not SCORE.exists():
        pytest.skip("the project's measure (shared/eval/score.py) is not here")
    pytest.importorskip("scipy")
    spec = importlib.util.spec_from_file_location("score", SCORE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_same_onsets_as_the_projects_measure() -> None:
    score = score_module()
    rng = np.random.default_rng(3)
    for seed in range(6):
        times = np.sort(rng.uniform(0.1, 7.8, 9)).tolist()
        sound = hits(times, 8.0, RATE, seed)
        sound += (0.02 * np.sin(np.arange(len(sound)) * rng.uniform(0.02, 0.5))).astype(np.float32)
        np.testing.assert_allclose(onset_times(sound), score.onsets(sound), atol=1e-9)


def test_onsets_of_hits_are_early_by_the_known_amount() -> None:
    true = np.array([0.507, 1.213, 2.0, 3.333])
    found = onset_times(hits(true.tolist(), 4.0, RATE))
    assert len(found) == 4
    assert abs(float(np.mean(true - found)) - EARLY_S) < 0.008
    assert np.abs(found - true).max() < 0.025


def test_silence_and_a_steady_tone_have_no_onsets() -> None:
    assert len(onset_times(np.zeros(RATE, np.float32))) == 0
    assert len(onset_times(np.sin(np.arange(2 * RATE) * 0.3).astype(np.float32))) == 0


def test_a_sound_alone_is_heard_once_in_every_setting() -> None:
    wave = decaying(np.random.default_rng(1), 9600, 1500).astype(np.float32)
    for times in onsets_alone(wave):
        assert len(times) == 1 and -0.022 < times[0] < 0


def test_cuts_of_hits_land_where_they_are_placed() -> None:
    """Every cut, laid alone at a time on silence or on faint noise, is found within 20 ms of it."""
    rng = np.random.default_rng(7)
    true = [0.4, 1.1, 1.75, 2.6, 3.05]
    wave = hits(true, 4.0, HZ)
    cuts = event_cuts(wave, RULES["sharp"])
    assert len(cuts) == len(true)
    for cut, time in zip(cuts, true, strict=True):
        assert abs((cut.start + cut.onset) / HZ - time) < 0.008
        part = event_wave(wave[cut.start : cut.stop], cut.onset)
        for level in (0.0, 3e-4):
            scene = (level * rng.standard_normal(6 * HZ)).astype(np.float32)
            at = int(rng.uniform(1.0, 4.0) * HZ)
            scene[at - cut.onset : at - cut.onset + len(part)] += part
            found = onset_times(to_16k(scene))
            assert np.abs(found - at / HZ).min() < 0.020


def test_a_cut_ends_before_the_second_hit() -> None:
    wave = hits([0.5, 0.62], 1.5, HZ)  # a key's press and release
    cuts = event_cuts(wave, RULES["sharp"])
    assert len(cuts) == 2
    assert cuts[0].stop / HZ <= 0.62 < cuts[1].start / HZ + 0.02
    for cut in cuts:
        assert all(
            len(times) == 1 for times in onsets_alone(event_wave(wave[cut.start : cut.stop], cut.onset))
        )


def test_cut_ends_do_not_click_and_level_is_right() -> None:
    rng = np.random.default_rng(2)
    wave = np.zeros(HZ, np.float32)
    wave[12_000:36_000] = 0.3 * rng.standard_normal(24_000)  # stops dead
    (cut,) = event_cuts(wave, RULES["call"])
    part = event_wave(wave[cut.start : cut.stop], cut.onset)
    assert part[0] == 0 and np.abs(part[-3:]).max() < 0.01
    assert cut.level_db == pytest.approx(20 * np.log10(0.3), abs=1.0)


def test_silence_has_no_cuts() -> None:
    assert event_cuts(np.zeros(HZ, np.float32), RULES["sharp"]) == []
    assert whole_cut(np.zeros(HZ, np.float32)) is None


def test_louder_and_brighter_is_harder() -> None:
    rng = np.random.default_rng(4)
    wave = np.zeros(3 * HZ, np.float32)
    for k, gain in enumerate((0.5, 0.05, 0.2)):
        wave[k * HZ + 9600 : k * HZ + 19_200] = gain * decaying(rng, 9600, 1500)
    cuts = event_cuts(wave, RULES["sharp"])
    intensities = [c.intensity for c in ranked(cuts, [c.level_db for c in cuts])]
    assert len(cuts) == 3
    assert intensities[1] < intensities[2] < intensities[0]
