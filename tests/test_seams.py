"""Where the windows of a long clip meet, the packaged model is neither louder nor changes its sound more than
at neighbouring moments inside a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgefoley.media import read_clip
from edgefoley.pipeline import Pipeline
from edgefoley.timeline import DECODE_CHUNK, SAMPLE_RATE, chunks
from edgefoley.types import Conditioning, FloatArray
from edgefoley.velocity import Spans
from tests.clips import make_clip
from tests.test_shots import shot

SECONDS = 35
BESIDE = SAMPLE_RATE // 5  # samples on each side of a moment that are compared
CUTS = (Fraction(9), Fraction(35, 2), Fraction(26))


@pytest.fixture(scope="module")
def nano() -> Pipeline:
    return Pipeline.open("nano", threads=2)


@pytest.fixture(scope="module")
def still(nano: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Conditioning:
    """One picture for all of the time, so that nothing but a seam can make a moment special."""
    pictures, path = [shot(1, 1)[0]] * (2 * SECONDS), tmp_path_factory.mktemp("film") / "still.mp4"
    make_clip(path, fps=2, count=len(pictures), size=(112, 112), pictures=pictures)
    return nano.encode(read_clip(path, nano.bundle.views()), "heavy rain")


@pytest.fixture(scope="module")
def rain(nano: Pipeline, still: Conditioning) -> FloatArray:
    """Sound to it in windows that overlap."""
    assert still.cuts == ()
    return nano.render(still, seed=1).audio.samples


def bands(wave: FloatArray) -> FloatArray:
    """Level in 24 bands, dB."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::256] * np.hanning(1024)
    power = np.square(np.abs(np.fft.rfft(frames))).mean(0)
    edges = np.geomspace(2, len(power) - 1, 25).astype(int)
    level = np.array([power[a : max(b, a + 1)].mean() for a, b in pairwise(edges)])
    return np.asarray(10 * np.log10(level + 1e-9), dtype=np.float32)


def changes(wave: FloatArray, moments: Sequence[float]) -> np.ndarray:
    """At each moment: level (dB, of the louder side), step of the level (dB), log-spectral distance (dB)
    between the 200 ms before and after."""
    rows = []
    for moment in moments:
        at = round(moment * SAMPLE_RATE)
        before, after = wave[at - BESIDE : at], wave[at : at + BESIDE]
        levels = [10 * np.log10(np.square(side).mean() + 1e-9) for side in (before, after)]
        apart = np.sqrt(np.square(bands(before) - bands(after)).mean())
        rows.append((max(levels), abs(levels[0] - levels[1]), apart))
    return np.array(rows)


def seams_of(nano: Pipeline, cuts: Sequence[Fraction]) -> list[float]:
    """Seconds of the middle of what neighbouring windows share."""
    spans = Spans(nano.bundle, Fraction(SECONDS), cuts)
    return [float((a[1] + b[0]) / 2 / spans.per_second) for a, b in pairwise(spans.spans)]


def beside(seams: Sequence[float]) -> list[float]:
    """Moments 1 to 3 s away from a seam."""
    return [seam + side * away for seam in seams for side in (-1, 1) for away in np.arange(1, 3.01, 0.25)]


def special(here: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Of each kind of change: whether it is larger at the seams than beside them, by more than chance (three
    standard errors of the mean of so few; which of them is the largest differs between processors)."""
    return here.mean(axis=0) > near.mean(axis=0) + 3 * near.std(axis=0) / np.sqrt(len(here))


def test_rain_does_not_pause_because_nothing_moves(rain: FloatArray) -> None:
    """Levels of 200 ms. It had gaps of three seconds, 15 dB deep and more."""
    pieces = rain[: rain.size // BESIDE * BESIDE].reshape(-1, BESIDE)
    levels = 10 * np.log10(np.square(pieces).mean(axis=1) + 1e-9)
    assert np.median(levels) - levels.min() < 8


def test_a_seam_that_is_heard_would_be_found(nano: Pipeline, rain: FloatArray) -> None:
    """The same sound, every other window 12 dB louder."""
    wave, seams = rain.copy(), seams_of(nano, ())
    for begin, end in pairwise([*seams, SECONDS]):
        if seams.index(begin) % 2 == 0:
            wave[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)] *= 4.0
    found = special(changes(wave, seams), changes(wave, beside(seams)))
    assert found[1] and found[2]


@pytest.mark.parametrize("cuts", [(), CUTS], ids=["windows overlap", "windows meet at cuts"])
def test_seams_are_moments_like_others(
    nano: Pipeline, still: Conditioning, rain: FloatArray, cuts: tuple[Fraction, ...]
) -> None:
    wave = nano.render(replace(still, cuts=cuts), seed=1).audio.samples if cuts else rain
    assert wave.size == SECONDS * SAMPLE_RATE
    seams = seams_of(nano, cuts)
    assert len(seams) == (3 if cuts else 4)
    if cuts:
        assert seams == pytest.approx([float(cut) for cut in cuts], abs=0.041)
    here, near = changes(wave, seams), changes(wave, beside(seams))
    assert not special(here, near).any(), (here, near.mean(axis=0), near.std(axis=0))
    assert (np.median(here, axis=0) <= np.quantile(near, 0.9, axis=0)).all()


def test_chunks_of_the_decoder_change_over_without_a_click(nano: Pipeline, rain: FloatArray) -> None:
    """nano's decoder chooses phases for all of what it gets. A click shows where it is on one side only."""
    count = nano.bundle.timeline.latents(Fraction(SECONDS))
    ends = [stop / 50 for _, stop, _, _ in chunks(count, DECODE_CHUNK, 0)][:-1]
    assert ends == [8.76, 17.5, 26.24]
    near = changes(rain, beside(ends))
    for away in (-0.1, 0, 0.1):
        assert not special(changes(rain, [end + away for end in ends]), near).any()


def test_the_measure_sees_sounds_that_do_not_belong_together(nano: Pipeline) -> None:
    waves = [
        nano.generate(None, prompt, seed=1, num_steps=4, duration=Fraction(8)).audio.samples
        for prompt in ("heavy rain", "a dog barks")
    ]
    at = 4 * SAMPLE_RATE
    joined = np.concatenate([waves[0][:at], waves[1][at:]])
    (here,), near = changes(joined, [4.0]), changes(waves[0], beside([4.0]))
    assert here[2] > 2 * near.max(axis=0)[2]
