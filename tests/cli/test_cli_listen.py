"""``edgefoley listen``: reports, power, and what is refused before a page is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.cli import listen
from edgefoley.listening.definition import define
from edgefoley.listening.store import Store, create
from edgefoley.output import write_wav
from edgefoley.types import Audio
from tests.clips import make_clip
from tests.listening.conftest import RATE, noise
from tests.listening.test_analysis import honest, rate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for clip in ("a", "b", "c"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        make_clip(tmp_path / "clips" / f"{clip}.mp4", count=10)
        for seed, system in enumerate(("fp32", "int8")):
            folder = tmp_path / "systems" / system
            folder.mkdir(parents=True, exist_ok=True)
            write_wav(folder / f"{clip}.foley.wav", Audio(noise(seed, 0.4), RATE), {})
    systems = {name: f"systems/{name}" for name in ("fp32", "int8")}
    record = define({"title": "Steps", "clips": "clips", "systems": systems}, tmp_path).record()
    return create(tmp_path / "r.sqlite", record)


def test_a_report_in_words_json_and_html(run, store, tmp_path):
    rate(store, 6, honest({"fp32": 4, "int8": 3}))
    result = run("listen", "report", store.path)
    assert result.exit_code == 0 and "MOS" in result.stdout and "6 listeners × 3 clips" in result.stdout
    result = run("listen", "report", store.path, "--json", "--margin", "0.5", "--html", tmp_path / "r.html")
    values = json.loads(result.stdout)
    assert values["margin"] == 0.5 and values["score"] == "MOS" and len(values["comparisons"]) == 3
    assert "<svg" in (tmp_path / "r.html").read_text(encoding="utf-8")
    again = run("listen", "report", store.path, "--html", tmp_path / "r.html")
    assert again.exit_code == 3 and "exists already" in again.stderr
    assert run("listen", "report", store.path, "--html", tmp_path / "r.html", "--overwrite").exit_code == 0


def test_a_report_without_listeners(run, store):
    result = run("listen", "report", store.path)
    assert result.exit_code == 0 and "Nobody has rated" in result.stdout and "MOS" not in result.stdout
    assert json.loads(run("listen", "report", store.path, "--json").stdout)["score"] is None


def test_failed_listeners_are_said_and_can_be_kept(run, store):
    rate(store, 3, honest({"fp32": 4, "int8": 3}))
    rate(store, 1, lambda number, kind, *_: 5)
    assert "3 of 4 listeners count" in run("listen", "report", store.path).stdout
    assert "4 of 4 listeners count" in run("listen", "report", store.path, "--keep-failed").stdout


def test_a_file_without_ratings_is_an_error(run, tmp_path):
    (tmp_path / "x.sqlite").write_text("no\n" * 100)
    result = run("listen", "report", tmp_path / "x.sqlite")
    assert result.exit_code == 1 and "not a database" in result.stderr and result.stdout == ""


def test_power(run):
    assert run("listen", "power", "--margin", "0.5", "--sd", "1").stdout.startswith("27 listeners")
    found = json.loads(
        run("listen", "power", "--margin", "0.5", "--sd", "1", "--difference", "--json").stdout
    )
    assert found["listeners"] == 34 and 0.8 <= found["power"] < 0.82
    few = run("listen", "power", "--margin", "0.3", "--sd", "0.5", "--clips", "6", "--sd-clips", "0.6")
    assert few.exit_code == 0 and "no number of listeners" in few.stdout
    more = run("listen", "power", "--margin", "0.5", "--sd", "1", "--power", "0.95", "--true", "-0.1")
    assert int(more.stdout.split()[0]) > 27
    for wrong in (("--clips", "4"), ("--sd-clips", "0.2"), ("--difference", "--true", "0.1")):
        assert run("listen", "power", "--margin", "0.3", "--sd", "0.5", *wrong).exit_code == 2


def test_run_says_what_is_missing_before_anything_is_made(run, tmp_path, monkeypatch):
    monkeypatch.setattr(listen, "find_spec", lambda name: None)
    result = run("listen", "run", tmp_path)
    assert result.exit_code == 2 and "pip install 'edgefoley[listen]'" in result.stderr
    monkeypatch.undo()
    pytest.importorskip("uvicorn", reason="the page's server (extra: listen)")
    result = run("listen", "run", tmp_path, "--port", "0", "--no-browser")
    assert result.exit_code == 1 and "needs a folder clips/" in result.stderr
    assert list(tmp_path.iterdir()) == []
