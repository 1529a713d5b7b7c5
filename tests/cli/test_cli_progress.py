"""What a person sees while it works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgefoley.cli.progress import Course, reporter

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("read", "encode", "denoise", "decode", "level", "write")


def test_short_lines_where_there_is_no_terminal(generate, clip):
    lines = generate(clip, "--takes", "2").stderr.splitlines()
    once = [f"clip.mp4: {stage}" for stage in ("read", "encode")]
    takes = [f"clip.mp4: take {k}/2: {stage}" for k in (1, 2) for stage in STAGES[2:]]
    assert lines[0].startswith("clip.mp4: about ")  # what it will take
    assert lines[1:-2] == once + takes


@pytest.mark.parametrize("takes", [1, 3])
def test_the_course_only_goes_forward_and_reaches_the_end(takes):
    course, before = Course(takes, num_steps=4), 0.0
    for stage in [*STAGES[:2], *(STAGES[2:] * takes)]:
        for fraction in (0.0, 0.25, 0.5, 1.0):
            course.report(stage, fraction)
            assert before <= course.done <= 1
            before = course.done
    assert course.done == pytest.approx(1)
    assert course.take == takes


def test_labels():
    course = Course(2, num_steps=4)
    course.report("read", 0.0)
    assert course.label == "read"
    course.report("denoise", 0.75)
    assert course.label == "take 1/2: denoise 3/4"
    course.report("decode", 1.0)
    course.report("denoise", 0.25)  # without an output there is no writing between the takes
    assert course.label == "take 2/2: denoise 1/4"
    assert not course.report("denoise", 0.5)


def test_a_sound_without_video_has_nothing_to_read():
    course = Course(1, 4, reads=False)
    course.report("encode", 0.0)
    assert course.done == 0


def test_a_take_of_one_step_begins_the_next_take():
    course = Course(2, num_steps=1)
    for stage, fraction in [("denoise", 0.0), ("denoise", 1.0), ("denoise", 0.0)]:
        course.report(stage, fraction)
    assert course.take == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_bar_with_stages_and_time_left_on_a_terminal(bundle, clip):
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgefoley", "generate", clip, "--model", bundle, "--backend", "fake"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # Linux: the other end was closed
            pass
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0
    assert [Path(line).name for line in out.splitlines()] == ["clip.foley.wav", "clip.foley.mp4"]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "clip.mp4" in text and "left" in text
    assert re.search(r"write|level|decode|denoise \d/4", text)
    assert text.rstrip().splitlines()[-1].startswith("seed ")


def test_quiet_says_nothing(capsys):
    with reporter("x", Course(1, 4), quiet=True) as report:
        report("read", 0.5)
    assert capsys.readouterr() == ("", "")
