"""Measuring in processes of their own, with the fake model; and a process that does not do as it should."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgefoley.bench import session
from edgefoley.bench.power import Sampler
from edgefoley.bench.session import Case, Subject, add_energy, bench, load
from edgefoley.bench.watch import WorkerError, status, watched
from edgefoley.errors import BundleError, UsageError
from tests.clips import make_clip
from tests.fake_bundle import make_fake_bundle


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(make_clip(tmp_path_factory.mktemp("clip") / "c.mp4", count=25), "rain")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_fake_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def found(model: str, subject: Subject) -> dict[str, Any]:
    cases = [Case(model, "fake"), Case(model, "fake", threads=1, num_steps=2)]
    heard: list[str] = []
    found = bench(cases, subject, 2, heard.append)
    return found | {"heard": heard}


def test_every_case_in_every_round_in_turn(found: dict[str, Any]) -> None:
    one, two = "fake, fake, threads by default", "fake, fake, 1 thread"
    assert [case["name"] for case in found["cases"]] == [one, two]
    assert [words.partition(": ")[2] for words in found["heard"]] == [one, two, two, one]
    assert [[run["num_steps"] for run in case["runs"]] for case in found["cases"]] == [[4, 4], [2, 2]]


def test_both_runs_have_all_stages_and_times(found: dict[str, Any]) -> None:
    for run in (run for case in found["cases"] for run in case["runs"]):
        assert set(run["warm"]["stages"]) == {"read", "encode", "denoise", "decode", "level", "write"}
        assert set(run["cold"]["stages"]) - set(run["warm"]["stages"]) == {"start"}
        for part in (run["cold"], run["warm"]):
            inside = sum(stage["seconds"] for stage in part["stages"].values())
            assert 0 < inside <= part["seconds"] * 1.05 + 0.05
            assert part["cpu_seconds"] > 0 and part["audio_seconds"] == pytest.approx(1)
        # A cold run is the whole process: start and imports too.
        assert run["cold"]["seconds"] > run["cold"]["run_seconds"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's memory")
def test_memory_of_each_stage(found: dict[str, Any]) -> None:
    for run in (run for case in found["cases"] for run in case["runs"]):
        stages = run["cold"]["stages"].values()
        for stage in (stage for stage in stages if "total_mb" in stage):
            assert 0 < stage["anonymous_mb"] < stage["total_mb"]
        assert run["cold"]["anonymous_mb"] > 10 and run["cold"]["peak_mb"] > run["cold"]["anonymous_mb"]


def test_results_are_json_with_a_card(found: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    found = {key: value for key, value in found.items() if key != "heard"}
    path.write_text("some talk\n" + json.dumps(found) + "\n")
    assert load(path) == found
    assert found["clip"]["width"] and found["card"]["edgefoley"] and len(found["clip"]["sha256"]) == 64
    assert found["cases"][0]["counted"] is None and "graph" in found["cases"][0]["not_counted"]


def test_energy_from_a_meters_file(found: dict[str, Any], tmp_path: Path) -> None:
    copy = json.loads(json.dumps(found))
    runs = [run for case in copy["cases"] for run in case["runs"]]
    begin, end = min(run["cold"]["begin"] for run in runs), max(run["warm"]["end"] for run in runs)
    path = tmp_path / "meter.csv"
    path.write_text(f"time,power\n{begin - 5},3\n{end + 5},3\n")
    add_energy(copy, path)
    for run in runs:
        warm = run["warm"]
        assert warm["joules"] == pytest.approx(3 * (warm["end"] - warm["begin"]), rel=1e-3)
        parts = [stage["joules"] for stage in run["cold"]["stages"].values() if "begin" in stage]
        assert sum(parts) == pytest.approx(run["cold"]["joules"], rel=1e-3)
    assert "meter" in copy["energy"]["source"]
    path.write_text("time,power\n1700000000,3\n1700000009,3\n")
    with pytest.raises(UsageError, match="covers no run"):
        add_energy(json.loads(json.dumps(found)), path)


class Steady:
    name, counts, period = "steady", False, 0.0

    def read(self) -> float:
        return 2.5


def test_a_machines_own_meter_is_read_meanwhile(
    monkeypatch: pytest.MonkeyPatch, model: str, subject: Subject
) -> None:
    monkeypatch.setattr(session, "find_reader", lambda: (Steady(), "steady"))
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.1)
    found = bench([Case(model, "fake")], subject, 1)
    warm = found["cases"][0]["runs"][0]["warm"]
    assert found["energy"] == {"source": "steady", "idle_watts": pytest.approx(2.5)}
    assert warm["joules"] == pytest.approx(2.5 * (warm["end"] - warm["begin"]), rel=0.01)


def test_an_unknown_model_is_told_before_any_work(subject: Subject) -> None:
    heard: list[str] = []
    with pytest.raises(BundleError, match="nothing"):
        bench([Case("nothing")], subject, 1, heard.append)
    assert heard == []


def test_a_failing_run_says_why(model: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "c.mp4", count=5)
    case = Case(model, "fake", num_steps=0)
    with pytest.raises(WorkerError, match=r"exit code 2.*num_steps"):
        bench([case], Subject(clip, "rain"), 1)


def test_a_process_that_crashes_says_what_it_said() -> None:
    with pytest.raises(WorkerError, match=r"exit code 3: .*about this"):
        watched([sys.executable, "-c", "import sys; print('about this', file=sys.stderr); sys.exit(3)"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's memory")
def test_memory_belongs_to_the_stage_that_took_it() -> None:
    code = """
import json, time
def say(**m): print(json.dumps({"time": time.time(), **m}), flush=True)
say(run="cold", stage="small"); time.sleep(0.2)
say(run="cold", stage="large"); block = bytearray(b"x") * 80_000_000; time.sleep(0.2)
del block
say(run="cold", stage="after"); time.sleep(0.2)
say(result={})
"""
    sampler = Sampler(Steady())
    seen = watched([sys.executable, "-c", code], sampler)
    peaks = {mark.stage: mark.peaks["anonymous_mb"] for mark in seen.marks}
    assert 75 < peaks["large"] - peaks["small"] < 90
    assert peaks["after"] < peaks["small"] + 5
    spans = {mark.stage: end - mark.begin for mark, end in seen.spans()}
    assert 0.15 < spans["small"] < 2
    joules = sampler.trace.between(sampler.trace.times[0], sampler.trace.times[-1])
    assert joules == pytest.approx(2.5 * (sampler.trace.times[-1] - sampler.trace.times[0]))


def test_nothing_is_told_of_a_process_that_is_gone() -> None:
    assert status(2**22 + 1) == {}


@pytest.mark.parametrize("text", ["", "words", "[1]", '{"kind": "bench"}', '{"kind": "other", "schema": 1}'])
def test_other_files_are_no_results(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json"):
        load(path)
    with pytest.raises(UsageError, match="missing"):
        load(tmp_path / "missing.json")
