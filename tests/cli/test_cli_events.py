"""`edgefoley events`, and what `generate` does with an edited list and an offset."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from edgefoley import mix, plot
from edgefoley.event_files import parse_csv, parse_json
from edgefoley.output import read_wav_tags
from tests.cli.conftest import names_in, samples_of
from tests.clips import make_clip

EXAMPLE = Path(__file__).parents[2] / "examples" / "bouncing_ball.mp4"
LIST = {"format": "edgefoley-events", "version": 1, "events": [{"time_s": 0.5}]}


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    """The example clip in the test's own folder."""
    path = tmp_path / "ball.mp4"
    path.write_bytes(EXAMPLE.read_bytes())
    return path


@pytest.fixture
def events(run, ball):
    """``edgefoley events`` on the first two seconds of the example clip, with the packaged model."""
    pytest.importorskip("onnxruntime")
    return lambda *arguments: run("events", ball, "--end", "2", "--threads", "1", *arguments)


# --- what is printed and written


def test_the_table_lists_the_contacts(events, ball, tmp_path):
    result = events()
    assert result.exit_code == 0
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header == ["time_s", "strength", "confidence"]
    times = [float(time) for time, _, confidence in rows if float(confidence) > 0.3]
    for contact in (0.8736, 1.5744):  # as the renderer computed them
        assert min(abs(time - contact) for time in times) < 0.04
    told = re.fullmatch(
        r"(\d+) events between 0\.00 s and 2\.00 s, (\d+) of them likely \(confidence (0\.\d+) or more\)",
        result.stderr.splitlines()[-1],
    )
    assert told is not None and int(told[1]) == len(rows)
    above = [sum(float(c) >= float(told[3]) + rounded for *_, c in rows) for rounded in (0.005, -0.005)]
    assert above[0] <= int(told[2]) <= above[1] and int(told[2]) >= 2
    assert names_in(tmp_path) == ["ball.mp4"]


def test_json_csv_and_threshold_are_the_same_list(events, tmp_path):
    found = parse_json(events("--json").stdout)
    assert (found.start_s, found.duration_s, found.activity) == (0, 2, None)
    assert parse_csv(events("--csv").stdout).events == found.events
    middle = sorted(event.confidence for event in found.events)[len(found.events) // 2] - 6e-4
    likely = parse_csv(events("--csv", "--threshold", middle).stdout)
    assert likely.events == tuple(e for e in found.events if e.confidence >= middle)
    assert 0 < len(likely.events) < len(found.events)
    nothing = events("--csv", "--threshold", "1")
    assert nothing.stdout == "time_s,strength,confidence\n" and "0 events between" in nothing.stderr


def test_curves_are_at_50_hz(events, ball):
    data = json.loads(events("--json", "--curves").stdout)
    assert (data["video"], data["model"]) == ("ball.mp4", "nano")
    for name in ("probability", "strength", "activity"):
        assert len(data[name]) == 100 and 0 <= min(data[name]) <= max(data[name]) <= 1
    for event in data["events"]:
        place = round(event["time_s"] * 50)
        assert data["probability"][place] == event["confidence"]


def test_an_excerpt_counts_in_the_videos_time(run, ball):
    pytest.importorskip("onnxruntime")
    result = run("events", ball, "--json", "--start", "1.2", "--end", "1.9", "--threads", "1")
    data = json.loads(result.stdout)
    assert (data["start_s"], data["duration_s"]) == (1.2, 0.7)
    assert all(1.19 < event["time_s"] < 1.92 for event in data["events"])


def test_the_ending_of_the_file_chooses_the_form(events, tmp_path):
    for name, parse in (("e.json", parse_json), ("e.csv", parse_csv)):
        result = events("-o", tmp_path / name, "-q")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{tmp_path / name}\n"
        assert parse((tmp_path / name).read_text()).events
    assert names_in(tmp_path) == ["ball.mp4", "e.csv", "e.json"]


def png_of(path: Path) -> np.ndarray:
    """A PNG (h, w, 3) as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_plot(events, tmp_path):
    result = events("--plot", tmp_path / "e.png")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'e.png'}\n")
    picture = png_of(tmp_path / "e.png")
    height, width, _ = picture.shape
    assert width > 1400 and height > 350
    assert picture[0, 0].tolist() == [255, 255, 255]
    blue = (picture[..., 2] > 150) & (picture[..., 0] < 60)
    # The probability; where it is nothing it lies under the axis.
    tops = np.where(blue.any(axis=0), blue.argmax(axis=0), np.flatnonzero(blue.any(axis=1))[-1])
    seconds = (np.arange(width) - 150) / (width - 184) * 2
    for time in (0.874, 1.574):  # it rises where the ball touches the ground
        assert tops[np.abs(seconds - time) < 0.05].min() < np.median(tops) - 40


def test_plot_with_sound_has_one_more_row_and_a_list_stays_a_list(events, run, ball, tmp_path):
    both = events("--plot", tmp_path / "a.png", "--json")
    assert parse_json(both.stdout).events and str(tmp_path / "a.png") in both.stderr
    assert run("generate", ball, "--seed", "1", "--steps", "1", "-p", "knock", "-q").exit_code == 0
    sounding = tmp_path / "ball.foley.mp4"
    assert run("events", sounding, "--plot", tmp_path / "b.png", "--threads", "1").exit_code == 0
    assert png_of(tmp_path / "b.png").shape[0] >= png_of(tmp_path / "a.png").shape[0] + 96


def test_the_picture_of_a_tall_short_clip_of_no_events(run, tmp_path):
    pytest.importorskip("onnxruntime")
    clip = make_clip(tmp_path / "tall.mp4", count=3, size=(36, 96))
    result = run("events", clip, "--plot", tmp_path / "tall.png", "--threads", "1", "--threshold", "1")
    assert result.exit_code == 0 and png_of(tmp_path / "tall.png").shape[1] > 1400


def test_the_png_is_whole(events, tmp_path):
    events("--plot", tmp_path / "e.png")
    data = (tmp_path / "e.png").read_bytes()
    at, names = 8, []
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        names.append(data[at + 4 : at + 8])
        (check,) = struct.unpack_from(">I", data, at + 8 + size)
        assert check == zlib.crc32(data[at + 4 : at + 8 + size])
        at += 12 + size
    assert names == [b"IHDR", b"IDAT", b"IEND"]


# --- what is refused


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--json", "--csv"), 2, "contradict"),
        (("--json", "-o", "e.csv"), 2, "contradict"),
        (("-o", "e.txt"), 2, ".json or .csv"),
        (("--plot", "e.jpg"), 2, "must end in .png"),
        (("--curves",), 2, "--json"),
        (("--threshold", "2"), 2, "--threshold"),
        (("--start", "100"), 2, "outside"),
        (("-o", "no/e.json"), 3, "no folder"),
        (("--plot", "no/e.png"), 3, "no folder"),
        (("--model", "nanoo"), 4, "no model 'nanoo'"),
    ],
)
def test_senseless_flags(run, clip, tmp_path, monkeypatch, flags, code, words):
    monkeypatch.chdir(tmp_path)
    result = run("events", clip, *flags)
    assert result.exit_code == code and words in result.stderr
    assert result.stdout == "" and names_in(tmp_path) == ["clip.mp4"]


def test_existing_files_and_the_input_are_not_replaced(events, ball, tmp_path):
    path = tmp_path / "e.json"
    path.write_text("precious")
    refused = events("-o", path)
    assert refused.exit_code == 3 and "--overwrite" in refused.stderr and path.read_text() == "precious"
    assert events("-o", path, "--overwrite").exit_code == 0
    assert parse_json(path.read_text()).events


def test_a_failure_while_drawing_leaves_nothing(events, ball, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(plot.Canvas, "png", fail)
    result = events("-o", tmp_path / "e.json", "--plot", tmp_path / "e.png")
    assert result.exit_code == 1 and names_in(tmp_path) == ["ball.mp4"]


def test_missing_video(run, tmp_path):
    result = run("events", tmp_path / "missing.mp4")
    assert result.exit_code == 3 and "there is no such file" in result.stderr


def test_a_model_without_event_curve(run, generate, bundle, clip, tmp_path):
    result = run("events", clip, "--model", bundle, "--backend", "fake")
    assert result.exit_code == 2 and "'fake' has no event curve" in result.stderr
    (tmp_path / "e.json").write_text(json.dumps(LIST))
    result = generate(clip, "--events", tmp_path / "e.json")
    assert result.exit_code == 2 and "has no event curve" in result.stderr and "--offset-ms" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4", "e.json"]


# --- generate --events


@pytest.fixture
def made(run, ball, tmp_path):
    """``made(flags...)``: samples and comment of the first two seconds' sound by the packaged model."""
    count = 0

    def make(*flags):
        nonlocal count
        count += 1
        wav = tmp_path / f"sound{count}.wav"
        given = ("--end", "2", "--seed", "1", "--steps", "4", "--threads", "1", "-p", "a stick hits a box")
        result = run("generate", ball, "-o", wav, *given, *flags)
        assert result.exit_code == 0, result.stderr
        return samples_of(wav), read_wav_tags(wav)["comment"]

    return make


def test_an_unedited_list_gives_the_same_sound_and_an_edited_one_another(events, made, tmp_path):
    plain, comment = made()
    assert "events" not in comment
    for name in ("e.json", "e.csv"):
        events("-o", tmp_path / name)
        same, comment = made("--events", tmp_path / name)
        assert np.array_equal(same, plain) and comment.endswith(f"; events: {name}")
    data = json.loads((tmp_path / "e.json").read_text())
    data["events"] = [event for event in data["events"] if event["time_s"] < 1.4]
    (tmp_path / "e.json").write_text(json.dumps(data))
    edited, _ = made("--events", tmp_path / "e.json")
    # The ball touches the ground at 1.574 s. Loudness is set anew: compare with the rest of the sound.
    there, rest = slice(int(1.57 * 48000), int(1.65 * 48000)), slice(0, int(1.4 * 48000))
    level = lambda wave: 20 * np.log10(np.std(wave[there]) / np.std(wave[rest]))  # noqa: E731
    assert level(edited) < level(plain) - 12


def test_json_output_and_takes(run, ball, tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "e.json"
    path.write_text(json.dumps(LIST))
    flags = ("--events", path, "--takes", "2", "--offset-ms", "-12.5", "--steps", "1", "--seed", "1")
    result = run("generate", ball, "--end", "1", "--json", "-q", *flags, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["events"], data["offset_ms"], len(data["takes"])) == (str(path), -12.5, 2)
    for mark in ("", ".take2"):
        comment = read_wav_tags(tmp_path / "out" / f"ball.foley{mark}.wav")["comment"]
        assert comment.endswith("; events: e.json; offset: -12.5 ms")


def test_one_list_for_several_videos_is_refused(generate, clip, master, tmp_path):
    (tmp_path / "other.mp4").write_bytes(master.read_bytes())
    (tmp_path / "e.json").write_text(json.dumps(LIST))
    for inputs in ((clip, tmp_path / "other.mp4"), (tmp_path,)):
        result = generate(*inputs, "--events", tmp_path / "e.json", "-o", tmp_path / "out")
        assert result.exit_code == 2 and "one by one" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4", "e.json", "other.mp4"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file"),
        ("{", "not valid JSON"),
        (json.dumps({**LIST, "events": [{"time_s": -1}]}), "event 1 of 1: time_s is -1"),
        (json.dumps({**LIST, "events": [{"time_s": 9}]}), "beyond the end of ball.mp4, which lasts 6.000 s"),
        (json.dumps({**LIST, "duration_s": 1.5}), "the clip goes from 0.000 s to 6.000 s"),
    ],
)
def test_faulty_lists(run, ball, tmp_path, text, words):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "e.json"
    if text is not None:
        path.write_text(text)
    result = run("generate", ball, "--events", path)
    assert result.exit_code == 2 and words in result.stderr and str(path) in result.stderr
    assert set(names_in(tmp_path)) <= {"ball.mp4", "e.json"}


# --- generate --offset-ms


@pytest.mark.parametrize(("offset", "count"), [("40", 1920), ("-40", -1920), ("12.51", 600), ("-0.02", -1)])
def test_the_offset_moves_the_sound_exactly(generate, clip, tmp_path, offset, count):
    """The same samples so much later, but for the gain that sets the loudness and 2 ms at the cuts."""
    quiet = ("--loudness", "-45")  # far from the limiter
    assert generate(clip, "-o", tmp_path / "a.wav", *quiet).exit_code == 0
    assert generate(clip, "-o", tmp_path / "b.wav", *quiet, "--offset-ms", offset).exit_code == 0
    before, after = (samples_of(tmp_path / f"{name}.wav").astype(np.float64) for name in "ab")
    assert before.size == after.size == 48000
    later, earlier = max(count, 0), max(-count, 0)
    kept, shown = before[earlier : 48000 - later], after[later : 48000 - earlier]
    assert not after[:later].any() and not after[48000 - earlier :].any()
    kept, shown = kept[96:-96], shown[96:-96]
    gain = (kept @ shown) / (kept @ kept)
    assert gain == pytest.approx(1, abs=0.05)
    assert np.abs(shown - gain * kept).max() <= 2  # of 2^23
    assert f"; offset: {float(offset):g} ms" in read_wav_tags(tmp_path / "b.wav")["comment"]


def test_the_loudness_holds_with_an_offset(generate, clip, tmp_path):
    assert generate(clip, "-o", tmp_path / "a.wav", "--offset-ms", "700", "--loudness", "-30").exit_code == 0
    wave = samples_of(tmp_path / "a.wav") / 2**23
    assert mix.loudness_lufs(mix.Audio(wave.astype(np.float32), 48000)) == pytest.approx(-30, abs=0.5)


@pytest.mark.parametrize(
    ("offset", "words"),
    [("1000", "out of the clip, which lasts 1.000 s"), ("-2000", "out of the clip"), ("nan", "milliseconds"),
     ("soon", "--offset-ms")],
)  # fmt: skip
def test_senseless_offsets(generate, clip, tmp_path, offset, words):
    result = generate(clip, "--offset-ms", offset)
    assert result.exit_code == 2 and words in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]
