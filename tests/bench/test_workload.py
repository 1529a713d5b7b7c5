"""What is counted to run against what the pipeline really runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from edgefoley.bench.workload import Workload
from edgefoley.bundle import open_bundle
from edgefoley.graphs import Graphs
from edgefoley.pipeline import Pipeline
from edgefoley.plan import Run
from tests.fake_bundle import make_clip

pytest.importorskip("onnx", reason="the model of this test is written with onnx (extra: dev)")
pytest.importorskip("onnxruntime")
from tests.onnx_bundle import make_chained_bundle, make_onnx_bundle

Runs = Counter[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]]


@contextmanager
def recorded(patch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """Graph and shapes of what it is fed, for every run of every graph."""
    runs: Runs = Counter()
    run_graph = Graphs._run_graph

    def run(self, component, feeds, constants):
        everything = {**(constants or {}), **feeds}
        taken = self.bundle.components[component].inputs
        key = tuple(sorted((name, array.shape) for name, array in everything.items() if name in taken))
        runs[component, key] += 1
        return run_graph(self, component, feeds, constants)

    with patch.context() as patched:
        patched.setattr(Graphs, "_run_graph", run)
        yield runs


def counted(model: str | Path, run: Run, words: int) -> Runs:
    found: Runs = Counter()
    for one in Workload(open_bundle(model), "ort", run, words).passes():
        found[one.component, tuple(sorted((name, tuple(shape)) for name, shape in one.shapes.items()))] += (
            one.times
        )
    return found


@pytest.mark.parametrize("seconds", ["0.7", "10", "12", "31"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_clips_of_all_lengths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str, guidance: float
) -> None:
    folder = make_onnx_bundle(tmp_path / "bundle")
    clip = make_clip(folder, seconds)
    with recorded(monkeypatch) as runs, Pipeline.open(folder, "ort", 1) as pipeline:
        pipeline.generate(clip, "voice", num_steps=3, guidance_scale=guidance)  # as long as "noise"
    run = Run(Fraction(seconds), True, (64, 48), 1 if guidance <= 1 else 2, 3)
    assert counted(folder, run, words=6) == runs


def test_sound_without_a_video_and_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_chained_bundle(tmp_path / "bundle")
    with recorded(monkeypatch) as runs, Pipeline.open(folder, "ort", 1) as pipeline:
        pipeline.generate(None, "voice", duration=Fraction(13), num_steps=2, guidance_scale=2)
    assert counted(folder, Run(Fraction(13), False, (0, 0), 2, 2), words=6) == runs


def test_the_packaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its prompt and negative prompt have unlike lengths, so text is left out of the comparison."""
    bundle = open_bundle("nano")
    clip = make_clip(bundle.folder, "2.2")
    with recorded(monkeypatch) as runs, Pipeline.open("nano", "ort", 1) as pipeline:
        pipeline.generate(clip, "rain", num_steps=2, guidance_scale=2)

    def textless(found: Runs) -> Runs:
        left: Runs = Counter()
        for (component, shapes), times in found.items():
            if component != "text":
                left[component, tuple(one for one in shapes if not one[0].startswith("text"))] += times
        return left

    expected = counted("nano", Run(Fraction("2.2"), True, (64, 48), 2, 2), words=4)
    assert textless(expected) == textless(runs)
