"""The drawn clip: its file, and that what is said to sound is seen to happen."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgefoley import media
from edgefoley.bench import clip
from edgefoley.bench.clip import EVENTS, RATE, STEP, study_clip, write_clip
from edgefoley.errors import OutputError


def test_the_file_is_what_its_text_says(tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    write_clip(path, Fraction(1, 2))
    info = media.probe(path)
    assert (info.size, info.frame_rate, info.video_codec) == ((1280, 720), 30, "h264")
    assert info.duration == Fraction(1, 2) and info.audio_codec is None


def test_the_same_pictures_every_time() -> None:
    first = [frame.copy() for frame in islice(clip.frames(), 40, 43)]
    again = [frame.copy() for frame in islice(clip.frames(), 40, 43)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[2])


def test_a_foot_comes_down_at_every_footstep() -> None:
    """At its event a foot touches the ground and stands still; just before it moves and is above."""
    falls = [time for time, what in EVENTS if what == "footstep"]
    assert len(falls) == 13 and falls[0] == STEP
    for number, time in enumerate(falls, 1):
        before, at, after = (clip._foot(number % 2, t) for t in (time - 0.1, time, time + 0.15))
        assert at[1] == pytest.approx(clip._GROUND) and after == pytest.approx(at)
        assert before[1] < clip._GROUND - 3 and before[0] < at[0] - 3


def test_the_door_moves_between_its_events() -> None:
    times = {what: time for time, what in EVENTS if what.startswith("door")}
    assert clip._opened(times["door opens"]) == 0 < clip._opened(times["door opens"] + 0.1)
    assert clip._opened(times["door closes"] - 0.05) > 0 == clip._opened(times["door closes"])


def test_only_what_is_said_to_move_moves() -> None:
    """After the door has closed nothing but the bird at the window changes."""
    frames = [frame.astype(int) for frame in (f.copy() for f in islice(clip.frames(), 242, 260))]
    change = np.abs(np.diff(frames, axis=0)).max(axis=(0, 3))
    rows, columns = np.nonzero(change)
    assert (
        len(rows) and rows.min() >= 190 and rows.max() < 300 and columns.min() >= 280 and columns.max() < 380
    )


def test_it_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(clip, "write_clip", lambda path: (drawn.append(path), path.write_bytes(b"x")))
    assert study_clip(tmp_path / "new") == study_clip(tmp_path / "new")
    assert len(drawn) == 1 and [p.name for p in (tmp_path / "new").iterdir()] == ["study-1.mp4"]


def test_nothing_partial_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(clip, "write_clip", fail)
    with pytest.raises(OutputError, match="disk full"):
        study_clip(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_events_lie_on_pictures() -> None:
    assert all((Fraction(time).limit_denominator(100) * RATE).denominator == 1 for time, _ in EVENTS)
