"""``edgefoley train``: the commands make what they say, and refuse what cannot work, with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.cli.main import cli

RC_USAGE = 2


def run(*args: object) -> int:
    """Exit code of a command line."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in args])
    return int(stop.value.code or 0)


def test_make_data_writes_shards_and_a_page(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "school"
    small = ("--lessons", 1, "--films", 1, "--per-shard", 2, "--seconds", 2, "--rooms", 3, "--page", 1)
    assert run("train", "make-data", "--sounds", sounds, "--out", out, *small) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(out / "page" / "index.html"), str(out)]
    rows = json.loads((out / "lessons_0000.json").read_text(encoding="utf-8"))
    page = (out / "page" / "index.html").read_text(encoding="utf-8")
    assert rows[0]["captions"]["zh"]["levels"][0] in page
    assert (out / "films_0000.jpegs").stat().st_size > 10_000


def test_a_folder_without_manifest_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "make-data", "--sounds", tmp_path, "--out", tmp_path / "x") == RC_USAGE
    assert "fetch-sounds" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_codec_that_is_not_there_is_refused(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("train", "make-data", "--sounds", sounds, "--out", tmp_path / "x")
    assert run(*asked, "--codec", tmp_path) == RC_USAGE
    assert "codec.safetensors" in capsys.readouterr().err
    assert run(*asked, "--drop-sound") == RC_USAGE
    assert "--codec" in capsys.readouterr().err


def test_an_unknown_package_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "fetch-sounds", "--out", tmp_path, "--only", "nosuch") != 0
    message = capsys.readouterr().err
    assert "nosuch" in message and "sonic-pi-samples" in message
