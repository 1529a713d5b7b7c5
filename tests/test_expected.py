"""What a run is told to take, before it begins."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgefoley import expected as module
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.expected import expected, remember, run_of
from edgefoley.plan import Run
from edgefoley.types import Stage, Stats
from tests.fake_bundle import make_fake_bundle, state_needs

RUN = Run(Fraction(10), True, (1280, 720), 2, 12)
STAGES = {"read": 1.0, "encode": 2.0, "denoise": 4.8, "decode": 0.5, "level": 0.2, "write": 0.3}
STATS = Stats(tuple(Stage(name, seconds, 300.0 + seconds) for name, seconds in STAGES.items()), 10.0)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(module, "_path", lambda: tmp_path / "cache" / "runs.json")
    return open_bundle(make_fake_bundle(tmp_path / "bundle"))


def test_the_same_run_takes_as_long_again(bundle: Bundle) -> None:
    remember(bundle, "ort", 2, RUN, STATS)
    found = expected(bundle, "ort", 2, RUN)
    assert found.known and found.seconds == pytest.approx(sum(STAGES.values()))
    assert found.memory_mb == pytest.approx(304.8) and found.words == "about 8.8 s and 305 MB of memory"


def test_other_work_is_told_from_it(bundle: Bundle) -> None:
    remember(bundle, "ort", 2, RUN, STATS)
    half = replace(RUN, duration=Fraction(5))
    assert expected(bundle, "ort", 2, half).seconds == pytest.approx(4.4)
    # Of 24 passes 0.2 s each are left 3.
    few = replace(RUN, steps=3, branches=1)
    assert expected(bundle, "ort", 2, few).seconds == pytest.approx(3 + 3 * 0.2 + 1.0)
    # What is read and encoded once serves all takes.
    assert expected(bundle, "ort", 2, RUN, takes=3).seconds == pytest.approx(3 + 3 * 5.8)


def test_another_engine_model_or_number_of_threads_is_not_known(bundle: Bundle, tmp_path: Path) -> None:
    remember(bundle, "ort", 2, RUN, STATS)
    changed = open_bundle(make_fake_bundle(tmp_path / "other", steps=5))
    state_needs(tmp_path / "other")
    assert not expected(bundle, "ov", 2, RUN).known and not expected(bundle, "ort", 1, RUN).known
    assert expected(changed, "ort", 2, RUN).known  # the same files: only the manifest differs
    (tmp_path / "bundle" / "denoiser.json").write_text("{}")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    from edgefoley.bundle import write_manifest

    assert not expected(write_manifest(tmp_path / "bundle", manifest), "ort", 2, RUN).known


def test_roughly_from_sizes(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, tmp_path: Path) -> None:
    """By hand: of MILLIONS of weights the denoiser's 300 meet 250 tokens in 24 passes, and so on."""
    stated = state_needs(tmp_path / "bundle")
    monkeypatch.setattr(module, "processor", lambda: ("x", {"fma"}))
    found = expected(stated, "ort", 1, RUN)
    pictures = 20 * 12 * 16 / 256 * 30e6 + 250 * 8 * 10 / 256 * 20e6
    again = 250 * 24 * 300e6 + 500 * 25e6
    assert found.seconds == pytest.approx(2 * (pictures + again) / 30e9 + 2.0)
    assert not found.known and "very roughly" in found.words
    assert found.memory_mb == pytest.approx(200 + 4.7 * 426)
    monkeypatch.setattr(module, "processor", lambda: ("x", {"asimd"}))
    assert expected(stated, "ort", 1, RUN).seconds > 4 * found.seconds


def test_nano_is_guessed_within_a_factor_of_four() -> None:
    """Counted operations against the rough ones, at one rate."""
    from edgefoley.bench.operations import count_run
    from edgefoley.bench.workload import Workload

    nano = open_bundle("nano")
    counted = sum(one.total for one in count_run(Workload(nano, "ort", RUN).passes()).values())
    rate = 60e9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "processor", lambda: ("x", {"avx512f"}))
        patch.setattr(module, "_entries", dict)
        rough = (expected(nano, "ort", 1, RUN).seconds - 2.0) * rate
    assert 1 / 4 < rough / counted < 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99, "runs": {}}', '{"schema": 1, "runs": 3}'])
def test_a_damaged_file_is_as_none(bundle: Bundle, tmp_path: Path, text: str) -> None:
    path = tmp_path / "cache" / "runs.json"
    path.parent.mkdir()
    path.write_text(text)
    assert not expected(bundle, "ort", 1, RUN).known
    remember(bundle, "ort", 1, RUN, STATS)
    assert expected(bundle, "ort", 1, RUN).known
    data = json.loads(path.read_text())
    next(iter(data["runs"].values()))["per_second"] = {"denoise": "slow"}
    path.write_text(json.dumps(data))
    assert not expected(bundle, "ort", 1, RUN).known


def test_a_cache_that_cannot_be_written_does_no_harm(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    remember(bundle, "ort", 1, RUN, STATS)
    assert not expected(bundle, "ort", 1, RUN).known


def test_the_file_stays_small(bundle: Bundle, tmp_path: Path) -> None:
    for threads in range(1, module.KEPT + 10):
        remember(bundle, "ort", threads, RUN, STATS)
    path = tmp_path / "cache" / "runs.json"
    assert len(json.loads(path.read_text())["runs"]) == module.KEPT
    assert expected(bundle, "ort", module.KEPT + 9, RUN).known and not expected(bundle, "ort", 1, RUN).known
    assert [p.name for p in path.parent.iterdir()] == ["runs.json"]


def test_runs_by_the_models_own_choices(bundle: Bundle) -> None:
    assert run_of(bundle, Fraction(3), (64, 48), None, None) == Run(Fraction(3), True, (64, 48), 1, 4)
    assert run_of(bundle, Fraction(3), None, 7, 2.0) == Run(Fraction(3), False, (0, 0), 2, 7)


def test_long_times_are_minutes() -> None:
    words = module.Expected(600.0, 5000.0, True).words
    assert words == "about 10 min and 5000 MB of memory"
