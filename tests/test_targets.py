"""Names of the files to be written, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgefoley.errors import OutputError, UsageError
from edgefoley.targets import Target, check, folder_for, is_folder, is_own_output, plan, stem_of, videos_in


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("clip.foley.mp4", True),
        ("clip.foley.wav", True),
        ("clip.foley.take12.mkv", True),
        ("clip.foley.cut.mp4", False),
        ("foley.mp4", False),
        ("my.foley", False),
        ("clip.mp4", False),
    ],
)
def test_own_outputs(name, own):
    assert is_own_output(Path(name)) is own


def test_videos_in_a_folder(tmp_path):
    for name in ("b.MOV", "a.mp4", "c.webm", "a.foley.mp4", ".x.mp4", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    assert [path.name for path in videos_in(tmp_path)] == ["a.mp4", "b.MOV", "c.webm"]


def test_what_means_a_folder(tmp_path):
    assert is_folder(tmp_path) and is_folder("results") and is_folder("results.d/") and is_folder(".")
    assert not is_folder("a.wav") and not is_folder(tmp_path / "b.mp4")
    (tmp_path / "dotted.mp4").mkdir()
    assert is_folder(tmp_path / "dotted.mp4")


def test_plans(tmp_path):
    both = Target(tmp_path / "v.1.foley.wav", tmp_path / "v.1.foley.mp4")
    second = Target(tmp_path / "v.1.foley.take2.wav", tmp_path / "v.1.foley.take2.mp4")
    assert plan(tmp_path, "v.1", takes=2) == (both, second)
    assert plan(tmp_path, "rain", sound_only=True) == (Target(tmp_path / "rain.foley.wav", None),)
    assert plan(tmp_path / "x.y.WAV", "v") == (Target(tmp_path / "x.y.WAV", None),)
    assert plan(tmp_path / "x.mkv", "v", takes=2)[1] == Target(None, tmp_path / "x.take2.mkv")


@pytest.mark.parametrize(("output", "sound_only"), [("a.mp3", False), ("a.mp4", True)])
def test_impossible_plans(tmp_path, output, sound_only):
    with pytest.raises(UsageError, match="outputs end in"):
        plan(tmp_path / output, "v", sound_only=sound_only)


def test_a_plan_in_a_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="create it first"):
        plan(tmp_path / "no" / "a.wav", "v")


def test_stems():
    assert stem_of("Rain on a tin roof!") == "Rain_on_a_tin_roof"
    assert stem_of("敲门声，两下") == "敲门声_两下"
    assert stem_of("") == "sound"
    assert len(stem_of("word " * 50)) <= 40


def test_the_mkv_that_an_mp4_may_become_counts(tmp_path):
    (tmp_path / "v.foley.mkv").touch()
    planned = [(tmp_path / "v.avi", plan(tmp_path, "v"))]
    with pytest.raises(OutputError, match=r"v\.foley\.mkv exists already"):
        check(planned, overwrite=False)
    check(planned, overwrite=True)


def test_a_source_is_no_obstacle_for_the_other_container(tmp_path):
    """x.mkv -> x.mp4: the input itself is the .mkv of that name."""
    (tmp_path / "x.mkv").touch()
    check([(tmp_path / "x.mkv", plan(tmp_path / "x.mp4", "x"))], overwrite=False)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_the_source_is_the_source(tmp_path):
    (tmp_path / "x.mp4").touch()
    (tmp_path / "y.mp4").symlink_to(tmp_path / "x.mp4")
    with pytest.raises(UsageError, match="is an input"):
        check([(tmp_path / "x.mp4", plan(tmp_path / "y.mp4", "x"))], overwrite=True)


def test_many_existing_files_are_not_all_listed(tmp_path):
    targets = plan(tmp_path, "v", takes=5)
    for target in targets:
        target.wav.touch()
    with pytest.raises(OutputError, match=r"take3\.wav, … exist already"):
        check([(None, targets)], overwrite=False)


def test_a_new_folder_goes_away_after_a_failure_unless_it_is_used(tmp_path):
    (target,) = plan(tmp_path / "new", "v")
    with pytest.raises(KeyboardInterrupt), folder_for(target):
        raise KeyboardInterrupt
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError), folder_for(target):
        (tmp_path / "new" / "other").touch()
        raise ValueError
    assert (tmp_path / "new" / "other").exists()
