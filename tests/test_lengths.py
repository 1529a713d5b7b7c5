"""Any length from 0.3 s to 10 min: the sound is as long as the video to the sample, and memory grows by no
more than the plan says."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefoley import api
from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ort import OrtBackend
from edgefoley.bundle import open_bundle
from edgefoley.media import probe
from edgefoley.memory import reset_peak_rss
from edgefoley.pipeline import Pipeline
from edgefoley.plan import Plan, Run, plans
from edgefoley.timeline import SAMPLE_RATE, Timeline
from tests.clips import make_clip
from tests.fake_bundle import make_fake_bundle, state_needs

ROOT = Path(__file__).resolve().parents[1]
LONG = Timeline(window=Fraction(15), overlap=Fraction(3))
# Seconds -> frames per second and frames that make up exactly these.
FILMS = {
    "0.3": (10, 3), "0.301": (Fraction(1000, 43), 7), "14.99": (100, 1499), "15": (25, 375),
    "15.04": (25, 376), "61.7": (10, 617),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return state_needs(make_fake_bundle(tmp_path_factory.mktemp("fake"), timeline=LONG)).folder


def film(path: Path, seconds: str) -> Path:
    fps, count = FILMS[seconds]
    make_clip(path, fps=fps, count=count)
    assert probe(path).duration == Fraction(seconds)
    return path


@pytest.mark.parametrize("seconds", FILMS)
def test_the_sound_is_as_long_as_the_video_to_the_sample(folder: Path, tmp_path: Path, seconds: str) -> None:
    with Pipeline.open(folder, "fake") as pipeline:
        (take,) = api.generate(
            film(tmp_path / "film.mp4", seconds), "rain", seed=1, num_steps=1, model=pipeline, output=tmp_path
        )
    wanted = int(Fraction(seconds) * SAMPLE_RATE + Fraction(1, 2))
    assert take.foley.audio.samples.shape == (wanted,)
    assert np.abs(take.foley.audio.samples[-min(2000, wanted // 2) :]).max() > 0  # it sounds to the end
    assert take.wav is not None
    assert abs(take.wav.stat().st_size - 3 * wanted) < 1000


LONG_RUN = """
import json, sys
from edgefoley import api
from edgefoley.memory import peak_rss_mb
from edgefoley.pipeline import Pipeline

model, video = sys.argv[1:]
with Pipeline.open(model, "fake", memory_limit="8GB") as pipeline:
    plans = []
    pipeline.on_plan = plans.append
    (take,) = api.generate(video, "rain", seed=1, num_steps=1, model=pipeline)
stages = {stage.name: stage.peak_rss_mb for stage in take.foley.stats.stages}
counted = {stage.name: stage.data / 1e6 for stage in plans[0].stages}
print(json.dumps([take.foley.audio.samples.size, stages, counted]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_ten_minutes_take_no_more_memory_than_planned(folder: Path, tmp_path: Path) -> None:
    """In every stage, 600 s against 20 s. The fake networks cost nothing, so all growth is the clip's."""
    if not reset_peak_rss():
        pytest.skip("this system does not let a process reset its peak")
    found = []
    for seconds in (20, 600):
        video = make_clip(tmp_path / f"{seconds}.mp4", fps=2, count=2 * seconds)
        command = [sys.executable, "-c", LONG_RUN, str(folder), str(video)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        samples, stages, counted = json.loads(done.stdout)
        assert samples == seconds * SAMPLE_RATE
        found.append((stages, counted))
    (short, planned_short), (long, planned_long) = found
    for name in ("encode", "denoise", "decode"):
        assert long[name] - short[name] <= planned_long[name] - planned_short[name] + 20, name
    assert long["level"] - short["level"] <= planned_long["write"] - planned_short["write"] + 20
    assert long["level"] > short["level"] + 100  # the check above can fail


class Watched(OrtBackend):
    """Knows the largest number of the denoiser's parts that were open together, and what was open last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.most = 0

    def load(self, path: Path, options: LoadOptions) -> Any:
        session, opened = super().load(path, options), self.open
        opened.append(path.stem)
        self.most = max(self.most, sum(name.startswith("denoiser") for name in opened))
        freed = session.close

        def noted() -> None:
            opened.remove(path.stem)
            freed()

        session.close = noted  # type: ignore[method-assign]
        return session


def test_every_plan_of_a_converted_model_gives_the_same_sound(tiny_bundle: Path, tmp_path: Path) -> None:
    """17 s: two windows, two pieces, two branches. Kept open, freed, read in pieces, streamed: bit by bit."""
    seconds, bundle = Fraction(17), open_bundle(tiny_bundle)
    video = make_clip(tmp_path / "film.mp4", fps=25, count=int(25 * seconds))
    run = Run(seconds, True, probe(video).size, 2, 2)
    sounds, seen = [], []
    for plan in plans(bundle, "ort", run):
        backend = Watched()
        pipeline = Pipeline(bundle, backend, LoadOptions(threads=1))
        decide: Any = partial(_apply, pipeline, plan)
        pipeline.prepare = decide  # type: ignore[method-assign]
        (take,) = api.generate(video, "rain", seed=3, num_steps=2, guidance_scale=2.0, model=pipeline)
        sounds.append(take.foley.audio.samples)
        seen.append((plan.keep, plan.pieces, backend.most, backend.open == []))
    assert len(bundle.components["denoiser"].parts) == 3
    wanted = [(True, False, 3, False)]
    wanted += [(False, pieces, together, True) for together in (3, 2, 1) for pieces in (False, True)]
    assert seen == wanted
    assert sounds[0].size == 17 * SAMPLE_RATE and np.abs(sounds[0]).max() > 0
    for one, other in pairwise(sounds):
        np.testing.assert_array_equal(one, other)


def _apply(pipeline: Pipeline, plan: Plan, *_: Any) -> Plan:
    """What ``prepare`` does once it has decided."""
    pipeline.graphs.keep, pipeline.graphs.streamed = plan.keep, plan.streamed
    return plan


@pytest.mark.parametrize("seconds", ["0.3", "0.301", "15.04"])
def test_a_converted_model_holds_the_last_frame_and_trims(
    tiny_bundle: Path, tmp_path: Path, seconds: str
) -> None:
    """0.3 s are 8 frames, half of the sync encoder's segment."""
    video = film(tmp_path / "film.mp4", seconds)
    with Pipeline.open(tiny_bundle, threads=1) as pipeline:
        (take,) = api.generate(video, "rain", seed=1, num_steps=1, guidance_scale=1, model=pipeline)
    samples = take.foley.audio.samples
    assert samples.size == int(Fraction(seconds) * SAMPLE_RATE + Fraction(1, 2))
    assert np.isfinite(samples).all() and np.abs(samples).max() > 0
