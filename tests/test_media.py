from __future__ import annotations

import os
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgefoley import media
from edgefoley.errors import MediaReadError, NoVideoStreamError, UsageError
from edgefoley.types import View
from tests.clips import Sound, clicks, make_sound_file, number_picture, shown_number

F = Fraction

SYNC = View(F(25), (48, 48), "gray")
VISUAL = View(F(2), (60, 64), "rgb")
RATES = [F(12), F(25), F(30000, 1001), F(60)]


def numbers(view) -> list[int]:
    return [shown_number(frame) for frame in view.frames]


def expected(times, view, start, end):
    """The rule, the slow way: (numbers, ages)."""
    picked = []
    k = 0
    while start + k / view.rate < end:
        instant = start + k / view.rate
        if view.rule == "at_or_before":
            index = max([i for i, t in enumerate(times) if t <= instant], default=0)
        else:
            index = min([i for i, t in enumerate(times) if t >= instant], default=len(times) - 1)
        picked.append((index, float(instant - times[index])))
        k += 1
    return [n for n, _ in picked], np.array([a for _, a in picked], dtype=np.float32)


# --- which frame stands where -------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", RATES)
def test_constant_rate_picks_the_right_frames(make_clip, fps):
    clip = media.read_clip(make_clip(fps=fps, count=int(8 * fps)), {"sync": SYNC, "visual": VISUAL})
    times = [n / fps for n in range(int(8 * fps))]
    assert clip.info.frame_rate == fps
    assert clip.duration == int(8 * fps) / fps
    for name, view in (("sync", SYNC), ("visual", VISUAL)):
        wanted, ages = expected(times, view, F(0), clip.duration)
        assert numbers(clip.views[name]) == wanted
        np.testing.assert_allclose(clip.views[name].ages, ages, atol=1e-6)
    assert clip.views["sync"].frames.shape == (200, 48, 48)
    assert clip.views["visual"].frames.shape == (16, 60, 64, 3)
    assert clip.views["sync"].frames.dtype == np.uint8


@pytest.mark.parametrize("fps", RATES)
def test_the_other_rule(make_clip, fps):
    view = View(F(8), (48, 48), "gray", "at_or_after")
    clip = media.read_clip(make_clip(fps=fps, count=30), {"view": view})
    wanted, ages = expected([n / fps for n in range(30)], view, F(0), clip.duration)
    assert numbers(clip.views["view"]) == wanted
    np.testing.assert_allclose(clip.views["view"].ages, ages, atol=1e-6)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv", "vfr.mov"])
@pytest.mark.parametrize("rule", ["at_or_before", "at_or_after"])
def test_variable_frame_rate(make_clip, name, rule):
    steps = [F(40, 1000), F(17, 1000), F(150, 1000), F(33, 1000), F(500, 1000), F(20, 1000)] * 5
    times = [sum(steps[:i], F(0)) for i in range(len(steps))]
    view = View(F(25), (48, 48), "gray", rule)
    clip = media.read_clip(make_clip(name, times=times), {"view": view})
    wanted, ages = expected(times, view, F(0), clip.duration)
    assert numbers(clip.views["view"]) == wanted
    np.testing.assert_allclose(clip.views["view"].ages, ages, atol=1e-4)
    assert abs(clip.duration - times[-1]) < F(6, 10)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts", "late.mov"])
def test_a_clock_that_does_not_begin_at_zero(make_clip, name):
    times = [F(7, 2) + F(n, 25) for n in range(40)]
    clip = media.read_clip(make_clip(name, times=times), {"view": SYNC})
    assert numbers(clip.views["view"]) == list(range(40))
    assert clip.duration == F(40, 25)
    assert np.abs(clip.views["view"].ages).max() < 1e-3


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mov", "b.ts"])
def test_b_frames_come_in_order(make_clip, name):
    path = make_clip(name, count=60, options={"bf": "3", "preset": "medium", "g": "20"})
    with av.open(str(path)) as container:
        stamps = [p.pts for p in container.demux(video=0) if p.size]
    assert stamps != sorted(stamps)  # the file really has them
    clip = media.read_clip(path, {"view": SYNC})
    assert numbers(clip.views["view"]) == list(range(60))
    assert clip.duration == F(60, 25)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mkv", "ffv1", "yuv444p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.mp4", "libsvtav1", "yuv420p"),
        ("a.mov", "mjpeg", "yuvj420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
    ],
)
def test_containers_and_codecs(make_clip, name, codec, pixel_format):
    best = {"mjpeg": {"qmin": "1", "q": "1"}, "mpeg4": {"qmin": "1", "qmax": "2"}, "libsvtav1": {"crf": "10"}}
    path = make_clip(name, codec=codec, pixel_format=pixel_format, count=20, options=best.get(codec, {}))
    clip = media.read_clip(path, {"view": SYNC, "rgb": VISUAL})
    assert numbers(clip.views["view"]) == list(range(20))
    assert numbers(clip.views["rgb"]) == [0, 12]
    assert abs(clip.duration - F(20, 25)) < F(1, 500)


def test_colours_and_full_range(make_clip):
    patch = np.zeros((64, 96, 3), dtype=np.uint8)
    patch[:, :32], patch[:, 32:64], patch[:, 64:] = (255, 255, 255), (200, 40, 60), (0, 0, 0)
    clip = media.read_clip(make_clip(pictures=[patch] * 3, count=3), {"rgb": VISUAL, "gray": SYNC})
    row = clip.views["rgb"].frames[0][30]
    np.testing.assert_allclose(row[[5, 32, 60]], [[255] * 3, [200, 40, 60], [0] * 3], atol=6)
    gray = clip.views["gray"].frames[0][24]
    np.testing.assert_allclose(gray[[4, 44]], [255, 0], atol=3)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("name", ["turned.mp4", "turned.mov"])
def test_rotation_and_mirror(make_clip, turn, mirror, name):
    stored = np.zeros((64, 96), dtype=np.uint8)
    stored[:32, :48], stored[:32, 48:], stored[32:, :48], stored[32:, 48:] = 20, 90, 160, 230
    path = make_clip(name, pictures=[stored] * 5, count=5, rotate=(turn, mirror))
    upright = np.rot90(stored[:, ::-1] if mirror else stored, turn // 90)  # numpy and PyAV: counter-clockwise
    if mirror and turn % 180:
        upright = np.rot90(stored, turn // 90)[:, ::-1]
    info = media.probe(path)
    assert info.size == (upright.shape[1], upright.shape[0])
    if not mirror:
        assert info.rotation == (360 - turn) % 360
    frame = media.read_clip(path, {"view": View(F(1), (40, 60), "gray")}).views["view"].frames[0]
    corners = [frame[5, 5], frame[5, -5], frame[-5, 5], frame[-5, -5]]
    np.testing.assert_allclose(
        corners, [upright[5, 5], upright[5, -5], upright[-5, 5], upright[-5, -5]], atol=4
    )


@pytest.mark.parametrize("size", [(161, 97), (97, 161), (33, 17)])
def test_odd_sizes(make_clip, size):
    path = make_clip("odd.mkv", size=size, count=10, pixel_format="yuv444p")
    clip = media.read_clip(path, {"view": SYNC, "rgb": VISUAL})
    assert clip.info.size == size
    assert numbers(clip.views["view"]) == list(range(10))


# --- excerpts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.ts"])
@pytest.mark.parametrize("span", [(F(0), F(1)), (F(123, 100), F(3)), (F(9), None), (F(37, 10), F(371, 100))])
def test_excerpt_shows_what_the_whole_shows_there(make_clip, name, span):
    path = make_clip(
        name, fps=F(30000, 1001), count=330, options={"g": "100", "bf": "2", "preset": "veryfast"}
    )
    times = [n / F(30000, 1001) for n in range(330)]
    if name.endswith("mkv"):  # its clock ticks in milliseconds
        times = [F(int(time * 1000 + F(1, 2)), 1000) for time in times]
    clip = media.read_clip(path, {"view": SYNC}, start=span[0], end=span[1])
    stop = clip.info.duration if span[1] is None else span[1]
    assert (clip.start, clip.duration) == (span[0], stop - span[0])
    wanted, ages = expected(times, SYNC, span[0], stop)
    assert numbers(clip.views["view"]) == wanted
    np.testing.assert_allclose(clip.views["view"].ages, ages, atol=1e-4)


def test_the_excerpt_is_not_searched_from_the_beginning(make_clip, monkeypatch):
    path = make_clip(fps=25, count=500, options={"g": "25"})
    seen = []
    real = media._frames

    def counting(*arguments):
        for item in real(*arguments):
            seen.append(item[0])
            yield item

    monkeypatch.setattr(media, "_frames", counting)
    clip = media.read_clip(path, {"view": SYNC}, start=F(15), end=F(16))
    assert numbers(clip.views["view"]) == list(range(375, 400))
    assert len(seen) < 60


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (F(-1), None, "start -1 s is outside"),
        (F(2), None, "start 2 s is outside"),
        (F(1), F(1), "must be after start"),
        (F(1), F(1, 2), "must be after start"),
        (F(0), F(3), "end 3 s is outside"),
    ],
)
def test_senseless_excerpts(make_clip, start, end, words):
    path = make_clip(count=50)
    for read in (
        lambda: media.read_clip(path, {"view": SYNC}, start, end),
        lambda: media.read_audio(path, 48000, start, end),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            read()
        assert "2.000 s" in str(caught.value) or "after" in words


def test_the_printed_length_may_be_typed_back(make_clip):
    path = make_clip(fps=F(30000, 1001), count=70)
    duration = media.probe(path).duration
    typed = F(f"{float(duration):.3f}") + F(1, 2000)
    assert typed > duration
    assert media.read_clip(path, {"view": SYNC}, end=typed).duration == duration


# --- what costs or saves ------------------------------------------------------------------------------------


def test_only_wanted_frames_are_scaled(make_clip, monkeypatch):
    scaled = []
    real = media._Grid.take
    monkeypatch.setattr(media._Grid, "take", lambda self, i, frame: (scaled.append(i), real(self, i, frame)))
    media.read_clip(make_clip(fps=60, count=240), {"sync": SYNC, "visual": VISUAL})
    assert len(scaled) == 4 * 25 + 4 * 2


def test_max_height_changes_what_is_seen(make_clip):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (128, 192), dtype=np.uint8) for _ in range(4)]
    path = make_clip(pictures=noise, count=4, size=(192, 128), options={"crf": "35", "preset": "veryfast"})
    fine = media.read_clip(path, {"view": SYNC}).views["view"].frames.astype(int)
    same = media.read_clip(path, {"view": SYNC}, max_height=128).views["view"].frames.astype(int)
    quick = media.read_clip(path, {"view": SYNC}, max_height=100).views["view"].frames.astype(int)
    blurred = media.read_clip(path, {"view": SYNC}, max_height=16).views["view"].frames.astype(int)
    np.testing.assert_array_equal(fine, same)
    assert 0 < np.abs(quick - fine).mean() < 8
    assert blurred.std() < 0.7 * fine.std()
    with pytest.raises(UsageError, match="max_height 8"):
        media.read_clip(path, {"view": SYNC}, max_height=8)


def test_threads_do_not_change_the_frames(make_clip):
    path = make_clip(fps=30, count=45, options={"bf": "2"})
    one, four = (media.read_clip(path, {"view": SYNC}, threads=n).views["view"].frames for n in (1, 4))
    np.testing.assert_array_equal(one, four)


# --- bad input ----------------------------------------------------------------------------------------------


def both(path):
    """probe and read_clip must say the same."""
    errors = []
    for read in (media.probe, lambda p: media.read_clip(p, {"view": SYNC}), media.read_audio):
        with pytest.raises((MediaReadError, NoVideoStreamError)) as caught:
            read(path)
        errors.append(caught.value)
    assert len({(type(error), str(error)) for error in errors}) == 1
    return errors[0]


def test_missing(tmp_path):
    error = both(tmp_path / "none.mp4")
    assert type(error) is MediaReadError
    assert "none.mp4: there is no such file" in str(error)


def test_folder(tmp_path):
    assert "is a folder" in str(both(tmp_path))


def test_empty(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "is empty (0 bytes)" in str(both(tmp_path / "empty.mp4"))


@pytest.mark.parametrize("name", ["text.mp4", "text.txt", "text.ans", "text.srt", "data.mkv"])
def test_text_is_no_video(tmp_path, name):
    (tmp_path / name).write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n" * 50)
    error = both(tmp_path / name)
    assert any(words in str(error) for words in ("not a video", "no pictures"))


def test_random_bytes(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert "not a video that FFmpeg can read" in str(both(tmp_path / "noise.mp4"))


def test_null_byte_in_the_name():
    assert any(words in str(both(Path("a\0b.mp4"))) for words in ("cannot be read", "no such file"))


def test_no_permission(make_clip, not_root):
    path = make_clip()
    path.chmod(0)
    assert "no permission to read" in str(both(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is not a regular file" in str(both(tmp_path / "pipe.mp4"))


def test_sound_only(tmp_path):
    path = make_sound_file(tmp_path / "song.m4a", Sound(clicks(1.0, [0.5])))
    error = both(path)
    assert type(error) is NoVideoStreamError
    assert "only sound" in str(error)


def test_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        voice = out.add_stream("aac", rate=48000)
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(clicks(1.0, [0.5], channels=2), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, F(1, 48000)
        out.mux(voice.encode(frame))
        out.mux(voice.encode(None))
        picture = av.VideoFrame.from_ndarray(number_picture(1, (96, 64)), "gray").reformat(format="yuvj420p")
        picture.pts, picture.time_base = 0, F(1)
        out.mux(cover.encode(picture))
        out.mux(cover.encode(None))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1  # FFmpeg does call it one
    assert type(both(path)) is NoVideoStreamError


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_still_picture(tmp_path, ending):
    path = tmp_path / f"still.{ending}"
    picture = av.VideoFrame.from_ndarray(number_picture(1, (96, 64)), "gray")
    codec = av.CodecContext.create({"png": "png", "jpg": "mjpeg"}[ending], "w")
    codec.width, codec.height, codec.time_base = 96, 64, F(1, 25)
    codec.pix_fmt = {"png": "gray", "jpg": "yuvj420p"}[ending]
    packets = codec.encode(picture.reformat(format=codec.pix_fmt)) + codec.encode(None)
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    error = both(path)
    assert type(error) is NoVideoStreamError
    assert "still picture" in str(error)


def test_truncated_mp4_without_its_index(make_clip):
    path = make_clip(count=100)
    path.write_bytes(path.read_bytes()[:-3000])
    assert "damaged or cut off" in str(both(path))


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv"])
def test_truncated_file_gives_what_is_there(make_clip, name):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)
    pictures = [np.where(np.arange(64)[:, None] < 12, noise, number_picture(n, (96, 64))) for n in range(100)]
    path = make_clip(
        name,
        pictures=pictures,
        count=100,
        container_options={"movflags": "faststart"} if "mp4" in name else {},
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", media.MediaWarning)
        clip = media.read_clip(path, {"view": SYNC})
    count = len(clip.views["view"].frames)
    assert 30 < count < 90
    assert clip.duration == F(count, 25)
    assert numbers(clip.views["view"])[:-2] == list(range(count - 2))


def test_damaged_frames_are_skipped_with_a_warning(make_clip):
    path = make_clip(
        "hurt.avi", codec="mjpeg", pixel_format="yuvj420p", count=30, options={"qmin": "1", "q": "1"}
    )
    with av.open(str(path)) as container:
        spot = {i: (p.pos, p.size) for i, p in enumerate(container.demux(video=0)) if p.size}
    data = bytearray(path.read_bytes())
    for i in (10, 11):
        at, size = spot[i]
        start = data.index(b"\xff\xd8", at)
        data[start : start + size] = bytes(size)
    path.write_bytes(bytes(data))
    with pytest.warns(media.MediaWarning, match=r"2 damaged frame\(s\) skipped"):
        clip = media.read_clip(path, {"view": SYNC})
    assert numbers(clip.views["view"]) == [*range(10), 9, 9, *range(12, 30)]
    np.testing.assert_allclose(clip.views["view"].ages[9:13], [0, 0.04, 0.08, 0], atol=1e-6)


def test_nothing_decodes(make_clip):
    path = make_clip("hurt.avi", codec="mjpeg", pixel_format="yuvj420p", count=3)
    with av.open(str(path)) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for at, size in spots:
        data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(bytes(data))
    assert "damaged" in str(both(path))


# --- the sound that is there --------------------------------------------------------------------------------


def first_click(samples: np.ndarray) -> int:
    return int(np.argmax(np.abs(samples) > 0.05))


def test_no_sound(make_clip):
    path = make_clip()
    assert media.read_audio(path) is None
    assert media.probe(path).audio_codec is None


@pytest.mark.parametrize("at", [F(0), F(1, 4), F(1)])
@pytest.mark.parametrize(
    ("name", "codec"), [("s.mov", "pcm_s16le"), ("s.mkv", "pcm_s16le"), ("s.mp4", "aac")]
)
def test_sound_is_on_the_pictures_clock(make_clip, name, codec, at):
    sound = Sound(clicks(1.5, [0.5]), at=at, codec=codec)
    path = make_clip(name, count=75, sound=sound)
    audio = media.read_audio(path)
    assert audio.samples.shape == (1, 3 * 48000)
    assert audio.samples.dtype == np.float32
    quiet = first_click(sound.samples[0])
    close = 60 if codec == "aac" else 0  # AAC smears a burst's first sample; PCM is exact
    assert abs(first_click(audio.samples[0]) - (quiet + round(at * 48000))) <= close


def test_sound_that_began_before_the_pictures(make_clip):
    times = [F(1, 2) + F(n, 25) for n in range(50)]
    path = make_clip("s.mkv", times=times, sound=Sound(clicks(2.0, [1.0]), codec="pcm_s16le"))
    audio = media.read_audio(path)
    assert audio.samples.shape == (1, 2 * 48000)
    assert (
        abs(first_click(audio.samples[0]) - first_click(clicks(2.0, [0.5])[0])) <= 48
    )  # 1 ms: Matroska's clock


def test_short_sound_is_followed_by_silence_and_long_sound_is_cut(make_clip):
    tone = 0.3 * np.ones((1, 48000), dtype=np.float32)
    path = make_clip("s.mov", count=50, sound=Sound(tone, codec="pcm_f32le"))
    samples = media.read_audio(path).samples[0]
    np.testing.assert_array_equal(samples, np.concatenate((tone[0], np.zeros(48000, dtype=np.float32))))
    path = make_clip("l.mov", count=10, sound=Sound(tone, codec="pcm_f32le"))
    assert media.read_audio(path).samples.shape == (1, 19200)


def test_resampling_keeps_time_and_pitch(make_clip):
    seconds = np.arange(2 * 44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    path = make_clip("s.mov", count=50, sound=Sound(np.stack([tone, -tone]), rate=44100, codec="pcm_s16le"))
    audio = media.read_audio(path)
    assert audio.samples.shape == (2, 96000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(96000) / 48000)
    np.testing.assert_allclose(audio.samples[0, 500:-500], wanted[500:-500], atol=2e-3)
    np.testing.assert_allclose(audio.samples[1, 500:-500], -wanted[500:-500], atol=2e-3)
    assert media.read_audio(path, rate=16000).samples.shape == (2, 32000)


@pytest.mark.parametrize(("name", "codec"), [("s.mov", "pcm_s16le"), ("s.mp4", "aac"), ("s.mkv", "flac")])
def test_sound_of_an_excerpt_is_a_piece_of_the_whole(make_clip, name, codec):
    seconds = np.arange(6 * 48000) / 48000
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 150 * seconds) * seconds)
    path = make_clip(name, count=150, sound=Sound(np.stack([sweep, sweep**2]), codec=codec))
    whole = media.read_audio(path).samples
    piece = media.read_audio(path, 48000, F(7, 2), F(9, 2)).samples
    assert piece.shape == (2, 48000)
    tolerance = 1e-4 if codec == "aac" else 0
    np.testing.assert_allclose(piece, whole[:, 168000:216000], atol=tolerance)


def test_a_hole_in_the_sound_stays_a_hole(tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        voice = out.add_stream("pcm_s16le", rate=48000)
        voice.codec_context.layout = "mono"
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(number_picture(i, (96, 64)), "gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, F(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for at in (0, 96000):
            block = np.full((1, 24000), 16000, dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, F(1, 48000)
            out.mux(voice.encode(frame))
        out.mux(voice.encode(None))
    samples = media.read_audio(path).samples[0]
    loud = np.abs(samples) > 0.1
    np.testing.assert_array_equal(np.flatnonzero(np.diff(loud.astype(int))), [23999, 95999, 119999])


@pytest.mark.parametrize(
    ("picture", "scaled"),
    [
        ((1920, 1080), (398, 224)),
        ((1080, 1920), (224, 398)),
        ((64, 64), (224, 224)),
        ((853, 480), (398, 224)),
    ],
)
def test_covering_keeps_the_aspect_ratio(picture, scaled):
    """The published encoder's rule: the shorter side becomes 224, the longer int(224 * long / short)."""
    assert media.covering(*picture, 224, 224) == scaled
    short, long = sorted(picture)
    assert max(scaled) == int(224 * long / short)


@pytest.mark.parametrize("extra", range(6))
def test_the_middle_is_torchvisions(extra):
    """CenterCrop begins at int(round(rest / 2)), where Python rounds halves to even."""
    picture = np.arange(8 + extra)[None].repeat(9, axis=0)
    kept = media.middle(picture, (8, 8))
    assert kept.shape == (8, 8)
    assert kept[0, 0] == round(extra / 2.0)


@pytest.mark.parametrize("rotate", [(0, False), (90, False), (180, True)])
def test_cropped_frames_are_the_scaled_middle(make_clip, rotate):
    """Against torch's antialiased bicubic scaling of the decoded frame, then the central square."""
    torch = pytest.importorskip("torch")
    y, x = np.mgrid[0:90, 0:160] / 16
    colours = [128 + 100 * np.sin(x), 128 + 100 * np.cos(y + x / 3), 40 + 1.1 * (x + y) * 8]
    picture = np.stack(colours, axis=-1).clip(0, 255).astype(np.uint8)
    path = make_clip(size=(160, 90), count=2, pictures=[picture] * 2, rotate=rotate)
    crop = View(F(1), (56, 56), "rgb", fit="crop", interpolation="bicubic")
    upright = (160, 90) if rotate[0] == 90 else (90, 160)
    views = media.read_clip(path, {"crop": crop, "whole": View(F(1), upright)}).views
    whole = torch.from_numpy(views["whole"].frames[0].astype(np.float32)).permute(2, 0, 1)[None]
    size = [56 * side // 90 for side in upright]
    scaled = torch.nn.functional.interpolate(whole, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    top, left = (round((side - 56) / 2) for side in size)
    wanted = scaled[top : top + 56, left : left + 56].numpy()
    frame = views["crop"].frames[0].astype(np.float32)
    assert frame.shape == (56, 56, 3)
    assert np.abs(frame - wanted).mean() < 1.5
    off = scaled[:56, :56].numpy() if left else scaled[top - 4 : top + 52, :56].numpy()
    assert np.abs(frame - off).mean() > 5  # the wrong part of the picture would be seen
