"""``edgefoley advise``, and what ``generate`` says before it begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from edgefoley import expected


def test_in_words(run: Callable[..., Result]) -> None:
    result = run("advise", "--device", "raspberry-pi-4b", "--clip-length", "20")
    assert result.exit_code == 0
    for words in ("Raspberry Pi 4B, 20 s", "model      nano", "PROJECTED", "longest", "What will not work",
                  "edgefoley generate VIDEO --model nano", "or xl"):  # fmt: skip
        assert words in result.stdout


def test_as_json(run: Callable[..., Result]) -> None:
    found = json.loads(run("advise", "--device", "coral", "--json").stdout)
    assert found["kind"] == "advice" and found["device"] == "coral-dev-board-mini"
    assert found["chosen"]["model"] == "nano" and len(found["edge_tpu"]) == 7
    assert all(not verdict["possible"] and verdict["obstacles"] for verdict in found["edge_tpu"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--device", "toaster"], "raspberry-pi-5"), (["--quality", "nice"], "balanced"),
     (["--clip-length", "0"], "above 0"), (["--clip-length", "ten"], "ten")],
)  # fmt: skip
def test_refusals(run: Callable[..., Result], arguments: list[str], words: str) -> None:
    result = run("advise", *arguments)
    assert result.exit_code == 2 and words in result.stderr


def test_nothing_fits(run: Callable[..., Result], tmp_path: Path) -> None:
    from edgefoley.bench import devices

    path = tmp_path / "tiny.toml"
    text = (devices.FOLDER / "raspberry-pi-4b.toml").read_text()
    path.write_text(text.replace("ram_mb = { value = 4000", "ram_mb = { value = 600"))
    result = run("advise", "--device", path)
    assert result.exit_code == 1 and "does not fit" in result.stdout


def test_generate_tells_what_to_expect(
    generate: Callable[..., Result], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Very roughly at first; from the run before afterwards; nothing with -q."""
    monkeypatch.setattr(expected, "_path", lambda: tmp_path / "cache" / "runs.json")
    first = generate(clip, "-o", tmp_path / "a/")
    line = next(line for line in first.stderr.splitlines() if "MB of memory" in line)
    assert line.startswith("clip.mp4: about ") and "very roughly" in line
    second = generate(clip, "-o", tmp_path / "b/")
    line = next(line for line in second.stderr.splitlines() if "MB of memory" in line)
    assert "very roughly" not in line
    assert second.stderr.index("MB of memory") < second.stderr.index("read")
    assert "MB of memory" not in generate(clip, "-o", tmp_path / "c/", "-q").stderr
    stored = json.loads((tmp_path / "cache" / "runs.json").read_text())
    assert len(stored["runs"]) == 1


def test_a_video_that_cannot_be_read_is_told_once(generate: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    result = generate(path)
    assert result.exit_code == 3 and result.stderr.count("broken.mp4") <= 2
    assert "MB of memory" not in result.stderr
