"""Every bad or odd input: the message, the exit code, and that nothing partial remains."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley import media
from edgefoley.backends.fake import FakeBackend
from tests.cli.conftest import names_in, samples_of
from tests.clips import Sound, clicks, make_clip, make_sound_file

ROOT = Path(__file__).resolve().parents[2]


def corrupt(folder: Path) -> Path:
    path = folder / "bad.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + np.random.default_rng(0).bytes(20000))
    return path


def truncated(folder: Path) -> Path:
    path = make_clip(folder / "bad.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty(folder: Path) -> Path:
    path = folder / "bad.mp4"
    path.touch()
    return path


def no_pictures(folder: Path) -> Path:
    return make_sound_file(folder / "bad.wav", Sound(clicks(0.5, [0.1]), codec="pcm_s16le"))


def text(folder: Path) -> Path:
    path = folder / "bad.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def bare_folder(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "notes.txt").write_text("no video here")
    (folder / "bad" / "x.foley.mp4").write_bytes(b"ours")
    return folder / "bad"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (corrupt, "not a video that FFmpeg can read"),
        (truncated, "not a video that FFmpeg can read"),
        (empty, "is empty (0 bytes)"),
        (no_pictures, "holds only sound"),
        (text, "bad.mp4"),
        (missing, "there is no such file"),
        (bare_folder, "holds no videos (looked for"),
    ],
)
def test_unusable_inputs(generate, tmp_path, make, words):
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = generate(path)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith("Error: ") and words in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_no_permission_to_read(generate, clip, tmp_path, not_root):
    clip.chmod(0)
    result = generate(clip)
    assert result.exit_code == 3 and "no permission to read" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


def test_no_permission_for_the_folder_of_the_video(generate, clip, tmp_path, not_root):
    locked = tmp_path / "locked"
    locked.mkdir()
    clip.rename(locked / "clip.mp4")
    locked.chmod(0)
    try:
        for place in (locked, locked / "clip.mp4"):
            result = generate(place, "-o", tmp_path)
            assert result.exit_code == 3 and "read" in result.stderr and "Traceback" not in result.stderr
    finally:
        locked.chmod(0o700)
    assert names_in(tmp_path) == ["locked"]


def test_no_permission_to_write(generate, clip, tmp_path, not_root, monkeypatch):
    monkeypatch.setattr(media, "read_clip", lambda *_, **__: pytest.fail("work began"))
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    for place in (locked, locked / "a.wav", locked / "below"):
        result = generate(clip, "-o", place)
        assert result.exit_code == 3 and "no permission in" in result.stderr
    assert names_in(locked) == []


def test_missing_output_folder(generate, clip, tmp_path):
    for place in (tmp_path / "no" / "a.wav", tmp_path / "no" / "way"):
        result = generate(clip, "-o", place)
        assert result.exit_code == 3 and "create it first" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


def test_a_file_where_the_output_folder_should_be(generate, clip, tmp_path):
    (tmp_path / "out").write_text("a file")
    result = generate(clip, "-o", tmp_path / "out")
    assert result.exit_code == 3 and "is not a folder" in result.stderr
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_where_the_output_should_be(generate, clip, tmp_path):
    (tmp_path / "clip.foley.wav").mkdir()
    result = generate(clip, "--overwrite")
    assert result.exit_code == 3 and "is a folder" in result.stderr
    assert names_in(tmp_path) == ["clip.foley.wav", "clip.mp4"]


def test_the_input_is_never_overwritten(generate, clip, tmp_path):
    before = clip.read_bytes()
    result = generate(clip, "-o", clip, "--overwrite")
    assert result.exit_code == 2 and "is an input and is never overwritten" in result.stderr
    assert clip.read_bytes() == before and names_in(tmp_path) == ["clip.mp4"]


def test_two_inputs_with_one_result(generate, clip, tmp_path):
    shutil.copy(clip, tmp_path / "clip.mov")
    result = generate(clip, tmp_path / "clip.mov")
    assert result.exit_code == 2 and "would both write" in result.stderr
    assert names_in(tmp_path) == ["clip.mov", "clip.mp4"]


def test_several_inputs_and_one_output_file(generate, clip, tmp_path):
    result = generate(clip, tmp_path / "b.mp4", "-o", tmp_path / "x.mp4")
    assert result.exit_code == 2 and "give a folder" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("name", "size"), [("odd.mkv", (97, 63)), ("tiny.mkv", (2, 2)), ("flat.mkv", (322, 6))]
)
def test_odd_sizes(generate, tmp_path, name, size):
    clip = make_clip(tmp_path / name, codec="ffv1", count=10, size=size, pixel_format="bgr0")
    assert generate(clip).exit_code == 0
    assert samples_of(tmp_path / f"{clip.stem}.foley.wav").size == 19200
    (video,) = [
        path for path in tmp_path.iterdir() if path.suffix in (".mp4", ".mkv") and "foley" in path.name
    ]
    assert media.probe(video).size == size


def test_rotation_is_kept(generate, tmp_path):
    clip = make_clip(tmp_path / "turned.mp4", count=10, size=(96, 64), rotate=(90, False))
    assert media.probe(clip).rotation != 0
    assert generate(clip).exit_code == 0
    made = media.probe(tmp_path / "turned.foley.mp4")
    assert (made.rotation, made.size) == (media.probe(clip).rotation, (64, 96))


def test_variable_frame_rate(generate, tmp_path):
    times = [Fraction(n, 1000) for n in (0, 40, 50, 400, 410, 700, 960)]
    clip = make_clip(tmp_path / "vfr.mkv", times=times, count=len(times))
    assert generate(clip).exit_code == 0
    duration = media.probe(clip).duration
    assert duration > Fraction(96, 100)
    assert samples_of(tmp_path / "vfr.foley.wav").size == int(duration * 48000 + Fraction(1, 2))
    assert abs(media.probe(tmp_path / "vfr.foley.mp4").duration - duration) < Fraction(1, 100)


def test_a_clip_of_0_3_seconds(generate, tmp_path):
    clip = make_clip(tmp_path / "short.mp4", fps=10, count=3)
    assert generate(clip).exit_code == 0
    assert samples_of(tmp_path / "short.foley.wav").size == 14400
    assert abs(media.probe(tmp_path / "short.foley.mp4").duration - Fraction(3, 10)) < Fraction(1, 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("ending", "minutes"), [("wav", 10), ("mp4", 3)])  # AAC takes most of the time
def test_a_long_clip(generate, tmp_path, ending, minutes):
    seconds = 60 * minutes
    clip = make_clip(tmp_path / "long.mp4", fps=2, count=2 * seconds, size=(32, 32))
    result = generate(clip, "--json", "-o", tmp_path / f"out.{ending}")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["audio_seconds"] == seconds
    if ending == "wav":
        wave = samples_of(tmp_path / "out.wav")
        assert wave.size == seconds * 48_000
        assert all(np.abs(part).max() > 0 for part in np.split(wave, seconds))
    else:
        assert abs(media.probe(tmp_path / "out.mp4").duration - seconds) < 1


@pytest.mark.parametrize("at", [0, 2000, 30000])
def test_disk_full(generate, clip, tmp_path, monkeypatch, at):
    """The disk takes ``at`` bytes in all."""
    left, real_open = [at], Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            left[0] -= len(data)
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

    def open_on_it(path, mode="r", *more, **also):
        file = real_open(path, mode, *more, **also)
        return Full(file) if "w" in mode or "x" in mode else file

    monkeypatch.setattr(Path, "open", open_on_it)
    result = generate(clip, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "No space left on device" in result.stderr and "Traceback" not in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


def test_a_take_is_written_whole_or_not_at_all(generate, clip, tmp_path, monkeypatch):
    """The WAV of take 2 cannot be written: its video goes too, take 1 stays."""
    from edgefoley import output
    from edgefoley.errors import OutputError

    write = output.write_wav

    def fail(path, *more, **also):
        if "take2" in path.name:
            raise OutputError("the disk is full")
        return write(path, *more, **also)

    monkeypatch.setattr(output, "write_wav", fail)
    assert generate(clip, "--takes", "2").exit_code == 3
    assert names_in(tmp_path) == ["clip.foley.mp4", "clip.foley.wav", "clip.mp4"]


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle for the test to break."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.mark.parametrize("name", ["denoiser.json", "tokenizer.json"])
def test_a_wrong_weight_file(run, clip, broken, tmp_path, name):
    content = bytearray((broken / name).read_bytes())
    content[-2] ^= 1
    (broken / name).write_bytes(content)
    result = run("generate", clip, "--model", broken, "--backend", "fake")
    assert result.exit_code == 4
    assert name in result.stderr and "sha256" in result.stderr
    assert names_in(tmp_path) == ["bundle", "clip.mp4"]


def test_a_truncated_weight_file(run, clip, broken, tmp_path):
    path = broken / "decoder.json"
    path.write_bytes(path.read_bytes()[:-10])
    result = run("generate", clip, "--model", broken, "--backend", "fake")
    assert result.exit_code == 4
    assert "decoder.json" in result.stderr and "bytes" in result.stderr
    assert names_in(tmp_path) == ["bundle", "clip.mp4"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}'])
def test_a_broken_manifest(run, clip, broken, tmp_path, content):
    (broken / "manifest.json").write_text(content)
    result = run("generate", clip, "--model", broken, "--backend", "fake")
    assert result.exit_code == 4 and "manifest.json" in result.stderr
    assert names_in(tmp_path) == ["bundle", "clip.mp4"]


def test_nan_from_a_network(generate, clip, tmp_path, monkeypatch):
    from edgefoley.backends import fake

    monkeypatch.setitem(
        fake._FUNCTIONS, "denoiser", lambda x, sizes: {"velocity": x["latents"] * np.float32("nan")}
    )
    result = generate(clip)
    assert result.exit_code == 6 and "NaN or infinity" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


def test_an_unexpected_exception_is_a_bug_with_a_traceback(generate, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeBackend, "load", lambda *_: 1 / 0)
    result = generate(clip)
    assert result.exit_code == 70
    assert (
        "Traceback" in result.stderr
        and "This is a bug" in result.stderr
        and "ZeroDivisionError" in result.stderr
    )
    assert names_in(tmp_path) == ["clip.mp4"]


def test_ctrl_c(generate, clip, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeBackend, "load", interrupt)
    result = generate(clip, clip.with_name("other.mp4"), "-o", tmp_path / "out")
    assert result.exit_code == 130 and "Interrupted" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


SLOW_WRITER = """
import os, signal, sys, time
from edgefoley import output
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
real = os.replace
def slow(source, target):
    print("writing", flush=True)
    time.sleep(60)
    real(source, target)
output.os.replace = slow
from edgefoley.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX only")
@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, ""), (signal.SIGKILL, -signal.SIGKILL, "")],
)
def test_signals_while_a_file_is_being_written(bundle, clip, tmp_path, sent, code, words):
    """The file is complete under its hidden name and about to get its own when the signal arrives."""
    command = ["generate", str(clip), "--model", str(bundle), "--backend", "fake", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, *command],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "writing\n"
            process.send_signal(sent)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code
    assert words in err and "Traceback" not in err and out == ""
    left = names_in(tmp_path)
    if sent == signal.SIGKILL:  # nobody can tidy up after it, but what is left is hidden and no result
        left = [name for name in left if not (name.startswith(".") and name.endswith(".part"))]
    assert left == ["clip.mp4"]
