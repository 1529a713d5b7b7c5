"""``edgefoley evaluate`` as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.output import write_wav
from edgefoley.types import Audio
from tests.clips import Sound, make_clip
from tests.evaluation.conftest import RATE, TIMES, bursts


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("clips", "a", "b"):
        (tmp_path / name).mkdir()
    for number, clip in enumerate(("door", "tap")):
        own = Sound(bursts(TIMES[clip], 9)[None], codec="pcm_s16le")
        make_clip(tmp_path / "clips" / f"{clip}.mov", count=40, sound=own)
        for side in ("a", "b"):
            wave = bursts(TIMES[clip], number + (side == "b"))
            write_wav(tmp_path / side / f"{clip}.wav", Audio(wave, RATE), {})
    return tmp_path


def test_a_table_json_and_a_page(run, here):
    common = (here / "a", here / "b", "--clips", here / "clips", "--no-predictors")
    result = run("evaluate", *common)
    assert result.exit_code == 0 and "onset_f1" in result.stdout and "measured: door" in result.stderr
    assert "nobody listened" in result.stdout
    result = run("evaluate", *common, "--json", "-q", "--report", here / "report")
    values = json.loads(result.stdout)
    assert values["summary"]["log_mel_db"]["n"] == 2 and values["clips"]["door"]["a"]["onset_f1"] == 1.0
    assert "measured:" not in result.stderr and str(here / "report" / "index.html") in result.stderr
    again = run("evaluate", *common, "--report", here / "report")
    assert again.exit_code == 3 and "not empty" in again.stderr and again.stdout == ""


def test_what_is_wrong_is_said(run, here):
    assert run("evaluate", here / "a", here / "b").exit_code == 2
    assert "holds no video" in run("evaluate", here / "a", here / "b", "--clips", here / "a").stderr
    result = run("evaluate", here / "a", "nano-int9", "--clips", here / "clips")
    assert result.exit_code == 2 and "neither a folder of sounds nor a model" in result.stderr
    wrong = run("evaluate", here / "a", here / "b", "--clips", here / "clips", "--tagger", here / "t.onnx")
    assert wrong.exit_code == 2 and "there is no tagger" in wrong.stderr
    wrong = run("evaluate", here / "a", here / "b", "--clips", here / "clips", "--aisfx", here)
    assert wrong.exit_code == 2 and "checkpoint.pth" in wrong.stderr
