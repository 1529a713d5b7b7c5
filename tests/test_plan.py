"""Whether a run fits is computed from what the manifest states, before anything is opened; what is suggested
fits."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefoley.backends.fake import FakeBackend
from edgefoley.bundle import MANIFEST, Bundle, write_manifest
from edgefoley.errors import UsageError
from edgefoley.pipeline import Pipeline
from edgefoley.plan import ENGINES, Needs, Run, gigabytes, interpolated, make_plan, parse_size, plans
from edgefoley.velocity import Spans
from tests.fake_bundle import MILLIONS, make_clip, make_fake_bundle, state_needs

GB = 10**9
ENGINE = ENGINES["fake"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return state_needs(make_fake_bundle(tmp_path_factory.mktemp("whole")))


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return state_needs(make_fake_bundle(tmp_path_factory.mktemp("chained")), parts=3)


def test_the_first_plan_that_fits_is_taken(chained: Bundle) -> None:
    run = Run(Fraction(5), picture=(1280, 720))
    made = list(plans(chained, "fake", run))
    assert [(plan.keep, len(plan.streamed)) for plan in made] == [
        (True, 0),
        (False, 0),
        (False, 2),
        (False, 3),
    ]
    peaks = [plan.peak for plan in made]
    assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == 4
    for plan in made:
        assert make_plan(chained, "fake", run, plan.peak) == plan
    for plan, smaller in pairwise(made):
        assert make_plan(chained, "fake", run, plan.peak - 1) == smaller
    assert not make_plan(chained, "fake", run, 10**12, keep=False).keep


def test_weights_are_counted_by_hand(chained: Bundle) -> None:
    """What is open at the peak of the denoiser: everything, its three parts, two of them, or one."""
    each = ENGINE.weights["fp32"] * 10**6
    found = []
    for plan in plans(chained, "fake", Run(Fraction(5))):
        stage = max((s for s in plan.stages if s.name == "denoise"), key=lambda s: s.weights)
        found.append(stage.weights)
        assert stage.total == ENGINE.base + stage.weights + stage.activations + stage.data
    assert found == pytest.approx([each * count for count in (sum(MILLIONS.values()), 300, 200, 100)])


def test_weights_that_stay_integers_need_least_and_widened_ones_most(tmp_path: Path) -> None:
    """At ONNX Runtime: about a byte each, or four and what opening takes on the way."""
    needs = {}
    for kind in ("int8", "fp32", "int8 widened"):
        folder = make_fake_bundle(tmp_path / kind.replace(" ", "_"))
        state_needs(folder)
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest["components"]["text"]["attributes"]["weights"] = {kind: 10**8}
        counted = Needs(write_manifest(folder, manifest), "ort", Run(Fraction(5)))
        needs[kind] = counted.weights_of("text") + counted.activations_of("text")
    assert needs["int8"] < 3e8 < 5e8 < needs["fp32"] < needs["int8 widened"]
    assert needs["int8 widened"] >= 9e8


@pytest.mark.parametrize("seconds", ["0.3", "9.98", "10", "10.02", "35", "61.7", "600"])
@pytest.mark.parametrize("seed", range(4))
def test_no_division_at_cuts_makes_more_tokens_than_planned(whole: Bundle, seconds: str, seed: int) -> None:
    duration, random = Fraction(seconds), np.random.default_rng(seed)
    many = int(duration) // (1 + seed)
    cuts = [Fraction(int(c), 1000) for c in random.integers(0, 1000 * int(duration) + 300, many)]
    spans = Spans(whole, duration, cuts)
    needs = Needs(whole, "fake", Run(duration, branches=1))
    assert max(b - a for a, b in spans.spans) <= needs.tokens
    assert sum(b - a for a, b in spans.spans) <= needs.passes * needs.tokens


def test_memory_grows_with_length_by_what_belongs_to_the_clip(chained: Bundle) -> None:
    """Networks and their intermediate values cost the same for every clip beyond one window."""
    stages = [next(iter(plans(chained, "fake", Run(Fraction(s))))).stages for s in (60, 600)]
    for short, long in zip(*stages, strict=True):
        assert (short.base, short.weights, short.activations) == (long.base, long.weights, long.activations)
        assert short.data < long.data <= 10.5 * short.data


def test_what_does_not_fit_is_refused_with_what_would(chained: Bundle) -> None:
    run = Run(Fraction(600), picture=(640, 480))
    least = min(plan.peak for plan in plans(chained, "fake", run))
    short = min(plan.peak for plan in plans(chained, "fake", Run(Fraction(1), picture=(640, 480))))
    limit = (least + short) // 2
    with pytest.raises(UsageError) as refused:
        make_plan(chained, "fake", run, limit)
    words = str(refused.value)
    assert f"the limit is {gigabytes(limit)}" in words and "600.0 s" in words
    enough = re.search(r"a limit of ([\d.]+ GB) or more", words)
    length = re.search(r"a clip of up to ([\d.]+) s", words)
    assert enough is not None and length is not None
    make_plan(chained, "fake", run, parse_size(enough[1]))
    make_plan(chained, "fake", Run(Fraction(length[1]), picture=(640, 480)), limit)
    with pytest.raises(UsageError):
        make_plan(chained, "fake", Run(Fraction(length[1]) + Fraction(1, 10), picture=(640, 480)), limit)


def test_nothing_is_suggested_that_does_not_fit(chained: Bundle) -> None:
    with pytest.raises(UsageError) as refused:
        make_plan(chained, "fake", Run(Fraction(5)), 10**6)
    assert "a clip of up to" not in str(refused.value)
    assert "a limit of" in str(refused.value)


def test_without_needs_no_limit_can_be_kept(tmp_path: Path) -> None:
    folder = make_fake_bundle(tmp_path)
    with (
        Pipeline.open(folder, "fake", memory_limit="4GB") as pipeline,
        pytest.raises(UsageError, match="does not state what memory its networks need"),
    ):
        pipeline.generate(make_clip(folder, 1), "rain")
    with Pipeline.open(folder, "fake") as pipeline:  # without a limit it runs as ever
        assert not pipeline.plans_memory
        assert pipeline.prepare(Fraction(1)) is None


def test_a_refused_run_opens_nothing(whole: Bundle) -> None:
    backend, folder = FakeBackend(), whole.folder
    pipeline = Pipeline(whole, backend, memory_limit=10**6)
    with pytest.raises(UsageError, match="What would fit"):
        pipeline.generate(make_clip(folder, 1), "rain")
    assert backend.runs == {} and backend.open == []


def test_a_limit_frees_what_a_stage_needs_no_more(whole: Bundle) -> None:
    run = Run(Fraction(1), picture=(64, 48), branches=1, steps=4)
    keep, free = list(plans(whole, "fake", run))
    sounds = []
    for plan, left in ((keep, 7), (free, 0)):
        backend = FakeBackend()
        pipeline = Pipeline(whole, backend, memory_limit=plan.peak)
        told: list[Any] = []
        pipeline.on_plan = told.append
        sounds.append(pipeline.generate(make_clip(whole.folder, 1), "rain").audio.samples)
        assert len(backend.open) == left
        assert told == [plan]
    np.testing.assert_array_equal(*sounds)


def test_without_a_limit_the_machine_decides(whole: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Fraction(5), video=False, picture=(0, 0), branches=1, steps=4)
    for plan in plans(whole, "fake", run):
        monkeypatch.setattr("edgefoley.pipeline.available_bytes", lambda plan=plan: plan.peak)
        assert Pipeline(whole, FakeBackend()).prepare(Fraction(5)) == plan
    monkeypatch.setattr("edgefoley.pipeline.available_bytes", lambda: None)
    assert Pipeline(whole, FakeBackend()).prepare(Fraction(5)) is None


def test_between_measured_lengths_values_lie_on_straight_lines() -> None:
    table = [[10, 100], [20, 300], [40, 500]]
    assert [interpolated(table, n) for n in (1, 10, 15, 40, 80)] == [100, 100, 200, 500, 2000]


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * GB), ("4 gb", 4 * GB), ("3.5GiB", 7 * 2**29), ("800M", 8 * 10**8), ("1000", 1000),
     ("2kB", 2000), ("1TiB", 2**40), (123, 123)],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["4 bananas", "", "GB", "-1", "-4GB", "4,5GB", "4GBGB", "1e9", "nan", "0", "0GB", 0, -5, True, "0.1"],
)
def test_nonsense_sizes_are_refused_before_anything_is_opened(text: str | int) -> None:
    with pytest.raises(UsageError, match=r"write for example 4GB"):
        parse_size(text)
    with pytest.raises(UsageError, match=r"write for example 4GB"):
        Pipeline.open("nano", memory_limit=text)
