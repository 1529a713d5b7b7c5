"""``edgefoley bench``: its output, its report, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import Result

from edgefoley.bench import calibration
from edgefoley.bench import clip as study


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    """The drawn clip takes long to draw; a short one stands in for it."""
    monkeypatch.setattr(study, "study_clip", lambda folder: clip)


@pytest.fixture
def measured(run: Callable[..., Result], bundle: Path, small: None, tmp_path: Path) -> Result:
    how = ("--backend", "fake", "--repeat", "1", "--threads", "1,2", "--json")
    return run("bench", bundle, *how, "--report", tmp_path / "report")


def test_card_table_and_json(measured: Result, tmp_path: Path) -> None:
    assert measured.exit_code == 0
    lines = measured.stdout.splitlines()
    found = json.loads(lines[-1])
    assert found["kind"] == "bench" and found["prompt"] == study.PROMPT
    assert [case["threads"] for case in found["cases"]] == [1, 2]
    assert any(line.startswith("processor") for line in lines)
    assert re.search(r"^energy +(not measurable here|RAPL|INA3221|PMIC)", measured.stdout, re.MULTILINE)
    head = next(line for line in lines if line.startswith("case"))
    assert "warm s" in head and "anonymous MB" in head and "rtf" in head
    assert json.loads((tmp_path / "report" / "results.json").read_text())["cases"] == found["cases"]
    assert "round 1 of 1" in measured.stderr


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_report_stands_alone(measured: Result, tmp_path: Path) -> None:
    text = (tmp_path / "report" / "report.html").read_text()
    page = Links()
    page.feed(text)
    assert page.found == [] and "url(" not in text and "@import" not in text
    assert page.tags.count("svg") >= 4 and "table" in page.tags
    inside = re.search(r'<script type="application/json" id="results">(.*?)</script>', text, re.DOTALL)
    assert inside and json.loads(inside[1])["kind"] == "bench"


def test_a_report_is_not_replaced_without_leave(
    run: Callable[..., Result], bundle: Path, small: None, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("mine")
    result = run("bench", bundle, "--backend", "fake", "--report", tmp_path)
    assert result.exit_code == 3 and "overwrit" in result.stderr and "round" not in result.stderr
    assert (tmp_path / "report.html").read_text() == "mine"


def test_differences(run: Callable[..., Result], measured: Result, tmp_path: Path) -> None:
    both = tmp_path / "report" / "results.json"
    result = run("bench", "diff", both, both)
    assert result.exit_code == 0 and "second / first" in result.stdout
    one, two = (f"fake, fake, {words}" for words in ("1 thread", "2 threads"))
    result = run("bench", "diff", both, both, "--first", one, "--second", two, "--json")
    found = json.loads(result.stdout)
    cases = json.loads(both.read_text())["cases"]
    seconds = [case["runs"][0]["warm"]["seconds"] for case in cases]
    ratio = {one["measure"]: one for one in found["cases"][0]["ratios"]}["warm_s"]
    assert ratio["value"] == pytest.approx(seconds[1] / seconds[0])
    assert found["paired"] and ratio["low"] is None


def test_calibrating(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels as the reference has them, so that the test is quick; networks are really measured."""
    reference = calibration.read_calibration(calibration.REFERENCE)
    base = {name: getattr(reference.roofline, name) for name in ("call", "node", "bandwidth", "touch")}
    monkeypatch.setattr(
        calibration.kernels, "measure", lambda seconds: (list(reference.roofline.points), base)
    )
    monkeypatch.setattr(calibration, "rest_of_run", lambda clip: {"read": 0.1})
    monkeypatch.setattr(calibration, "study_clip", lambda folder: None)
    monkeypatch.setattr(calibration, "CHECKED", Fraction(1))
    path = tmp_path / "c.json"
    result = run("bench", "calibrate", "--rounds", "1", "-o", path, "--json")
    assert result.exit_code == 0 and "within 30 %" in result.stdout and "measured ms" in result.stdout
    found = calibration.read_calibration(path)
    assert {one.component.partition(" ")[0] for one in found.checked} > {"denoiser", "decoder"}
    assert json.loads(result.stdout.splitlines()[-1])["kind"] == "calibration"
    again = run("bench", "calibrate", "--rounds", "1", "-o", path / "inside-a-file.json")
    assert again.exit_code == 3 and "inside-a-file" in again.stderr


def test_projecting_says_that_it_is_projected(run: Callable[..., Result]) -> None:
    result = run("bench", "project", "--device", "raspberry-pi-4b", "--clip-length", "5")
    assert result.exit_code == 0
    assert "PROJECTED, not measured" in result.stdout and "5 s of 720p" in result.stdout
    assert "the package's reference" in result.stdout and "assumed" in result.stdout
    result = run("bench", "project", "nano", "--device", "pixel", "--json")
    assert result.exit_code == 2 and "phone-pixel-4" in result.stderr
    found = json.loads(run("bench", "project", "--device", "phone", "--json").stdout)
    assert found["projected"] is True and found["cases"][0]["device"] == "phone-pixel-4"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bench", "--threads", "0"], 2, "1,2,4"),
        (["bench", "--threads", "two"], 2, "1,2,4"),
        (["bench", "--power-start", "2026-01-01"], 2, "--power-csv"),
        (["bench", "nothing-of-this-name"], 4, "nothing-of-this-name"),
        (["bench", "--clip", "missing.mp4"], 3, "missing.mp4"),
        (["bench", "diff", "a.json", "b.json"], 2, "a.json"),
    ],
)
def test_refusals(
    run: Callable[..., Result], small: None, arguments: list[str], code: int, words: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code and words in result.stderr and result.stdout == ""


def test_the_default_command_is_run(run: Callable[..., Result]) -> None:
    assert "[BUNDLE]" in run("bench", "nano", "--help").stdout
    assert "diff" in run("bench", "--help").stdout
