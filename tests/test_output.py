from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgefoley import media, mix, output
from edgefoley.errors import MediaReadError, NumericError, OutputError, UsageError
from edgefoley.mux import Track, encode_aac
from edgefoley.types import Audio, View
from tests.clips import Sound, clicks, packets
from tests.clips import make_clip as new_clip

F = Fraction

RATE = 48000
VIEW = View(F(25), (48, 48), "gray")
TAGS = {
    "title": "walk",
    "comment": "Machine-generated sound",
    "software": "edgefoley 0.1.0",
    "model": "nano",
    "prompt": "脚步声, footsteps; “gravel”",
    "seed": "17",
}


def sound(seconds=2.0, at=(0.5, 1.5), channels=1) -> Audio:
    return Audio(clicks(seconds, at, channels=channels), RATE)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def streams(path):
    """(type, codec, title, default) of every stream."""
    with av.open(str(path)) as container:
        return [
            (
                s.type,
                s.codec_context.name,
                s.metadata.get("title") or s.metadata.get("name") or "",
                bool(s.disposition & av.stream.Disposition.default),
            )
            for s in container.streams
        ]


def track_samples(path, which=0):
    """What a player hears of one sound track, on the pictures' clock: (channels, n)."""
    with av.open(str(path)) as container:
        zero = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        stream = container.streams.audio[which]
        frames = list(container.decode(stream))
        first = round((float(frames[0].pts * frames[0].time_base) - zero) * stream.rate)
        stated = stream.duration
        joined = np.concatenate(
            [f.to_ndarray().reshape(1, -1) if not f.format.is_planar else f.to_ndarray() for f in frames], 1
        )
    return first, joined, stated


def lag(heard, meant):
    size = 1 << (heard.size + meant.size).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(meant, size)), size)
    best = int(np.argmax(product))
    return best if best < size // 2 else best - size


# --- WAV ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("shape", [(1001,), (1, 1000), (2, 999)])
def test_wav_holds_every_sample(tmp_path, subtype, bits, shape):
    samples = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    path = output.write_wav(tmp_path / "a.wav", Audio(samples, RATE), TAGS, subtype=subtype)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth() * 8, file.getframerate()) == (
            len(np.atleast_2d(samples)),
            bits,
            RATE,
        )
        assert file.getnframes() == shape[-1]
        raw = np.frombuffer(file.readframes(shape[-1]), dtype=np.uint8).reshape(-1, bits // 8)
    wide = np.zeros((len(raw), 4), dtype=np.uint8)
    wide[:, 4 - bits // 8 :] = raw
    got = wide.view("<i4").reshape(shape[-1], -1).T / float(1 << 31)
    np.testing.assert_allclose(got, np.atleast_2d(samples), atol=0.51 / (1 << (bits - 1)))


def test_wav_float_is_exact_and_read_by_others(tmp_path):
    samples = np.random.default_rng(0).normal(0, 2, (2, 777)).astype(np.float32)
    path = output.write_wav(tmp_path / "a.wav", Audio(samples, 44100), TAGS, subtype="FLOAT")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "pcm_f32le"
        assert container.streams.audio[0].rate == 44100
        got = np.concatenate([f.to_ndarray().reshape(-1, 2) for f in container.decode(audio=0)])
        assert container.metadata["comment"].startswith("Machine-generated sound\nmodel: nano")
    np.testing.assert_array_equal(got.T, samples)


def test_wav_is_read_by_libsndfile(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 501)).astype(np.float32)
    path = output.write_wav(tmp_path / "a.wav", Audio(samples, RATE), TAGS)
    info = soundfile.info(path)
    assert (info.frames, info.channels, info.subtype, info.extra_info.count("error")) == (501, 2, "PCM_24", 0)
    np.testing.assert_allclose(soundfile.read(path)[0].T, samples, atol=1e-7)
    with soundfile.SoundFile(path) as file:
        assert file.comment.startswith("Machine-generated sound")
        assert file.title == "walk"


def test_wav_clips_instead_of_wrapping(tmp_path):
    path = output.write_wav(
        tmp_path / "a.wav", Audio(np.float32([2.0, -2.0, 1.0, -1.0]), RATE), {}, subtype="PCM_16"
    )
    with wave.open(str(path)) as file:
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [32767, -32768, 32767, -32768]


def test_wav_tags_come_back(tmp_path):
    path = output.write_wav(tmp_path / "a.wav", sound(), TAGS)
    tags = output.read_wav_tags(path)
    assert tags["title"] == "walk"
    assert tags["software"] == "edgefoley 0.1.0"
    assert tags["comment"].splitlines() == [
        "Machine-generated sound",
        "model: nano",
        "prompt: 脚步声, footsteps; “gravel”",
        "seed: 17",
    ]
    with pytest.raises(MediaReadError, match="not a WAV"):
        output.read_wav_tags(Path(__file__))


def test_same_sound_same_bytes(tmp_path):
    first = output.write_wav(tmp_path / "a.wav", sound(), TAGS).read_bytes()
    assert output.write_wav(tmp_path / "b.wav", sound(), TAGS).read_bytes() == first


# --- nothing partial, nothing overwritten -------------------------------------------------------------------


def writers(tmp_path):
    """Both ways of writing into ``path``."""
    source = new_clip(tmp_path / "source.mp4", count=50)

    def wav(path, **options):
        return output.write_wav(path.with_suffix(".wav"), sound(), TAGS, **options)

    def video(path, **options):
        return output.write_video(path.with_suffix(".mp4"), source, [Track(sound())], TAGS, False, **options)

    return {"wav": wav, "mp4": video}


@pytest.fixture(params=["wav", "mp4"])
def writer(request, tmp_path):
    (tmp_path / "in").mkdir()
    return request.param, writers(tmp_path / "in")[request.param]


def test_existing_file_is_kept_unless_told(writer, tmp_path):
    ending, write = writer
    target = tmp_path / f"a.{ending}"
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        write(target)
    assert target.read_bytes() == b"precious"
    assert write(target, overwrite=True) == target
    assert target.stat().st_size > 5000
    assert left_in(tmp_path) == [f"a.{ending}", "in"]


def test_folder_missing_or_a_file_or_the_target_itself_a_folder(writer, tmp_path):
    ending, write = writer
    with pytest.raises(OutputError, match="there is no folder"):
        write(tmp_path / "none" / "a")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        write(tmp_path / "file" / "a")
    (tmp_path / f"b.{ending}").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write(tmp_path / "b", overwrite=True)
    assert left_in(tmp_path) == sorted(["in", "file", f"b.{ending}"])


def test_no_permission(writer, tmp_path, not_root):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    with pytest.raises(OutputError, match="no permission"):
        writer[1](locked / "a")


def full_disk_after(monkeypatch, limit, code=errno.ENOSPC):
    """Files opened for writing fail after ``limit`` bytes."""
    real = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if self.file.tell() + len(data) > limit:
                raise OSError(code, os.strerror(code))
            return self.file.write(data)

    def opened(self, mode="r", *arguments, **options):
        file = real(self, mode, *arguments, **options)
        return Full(file) if "w" in mode else file

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("limit", [0, 3000])
@pytest.mark.parametrize("existing", [False, True])
def test_full_disk(writer, tmp_path, monkeypatch, limit, existing):
    ending, write = writer
    if existing:
        (tmp_path / f"a.{ending}").write_bytes(b"precious")
    full_disk_after(monkeypatch, limit)
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        write(tmp_path / "a", overwrite=existing)
    monkeypatch.undo()
    assert left_in(tmp_path) == ([f"a.{ending}"] if existing else []) + ["in"]
    if existing:
        assert (tmp_path / f"a.{ending}").read_bytes() == b"precious"


def test_device_error_on_the_last_byte_of_a_video(tmp_path, monkeypatch):
    """The index is written last, when the muxer closes: an error there must not pass for success."""
    (tmp_path / "in").mkdir()
    write = writers(tmp_path / "in")["mp4"]
    size = write(tmp_path / "a").stat().st_size
    full_disk_after(monkeypatch, size - 100, errno.EIO)
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "b")
    assert left_in(tmp_path) == ["a.mp4", "in"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "hidden"), [(signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_a_process_stopped_in_the_middle_leaves_no_target(tmp_path, number, hidden):
    program = (
        "import signal, sys, time, pathlib; from edgefoley import output\n"
        # ignored in a shell's background job
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with output._growing(pathlib.Path(sys.argv[1]), False) as file:\n"
        "    file.write(b'half'); file.flush(); print('half', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "a.wav"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        time.sleep(0.05)
        process.send_signal(number)
        process.wait(timeout=20)
    rest = left_in(tmp_path)
    assert len(rest) == hidden
    assert all(name.startswith(".a.wav.") and name.endswith(".part") for name in rest)


def test_nan_is_never_written(tmp_path):
    with pytest.raises(NumericError, match="NaN"):
        output.write_wav(tmp_path / "a.wav", Audio(np.float32([0, np.nan]), RATE), {})
    assert left_in(tmp_path) == []


def test_unknown_subtype_and_ending(tmp_path):
    with pytest.raises(UsageError, match="PCM_16, PCM_24, FLOAT"):
        output.write_wav(tmp_path / "a.wav", sound(), {}, subtype="MP3")
    with pytest.raises(UsageError, match=r"\.mp4, \.m4v, \.mov or \.mkv"):
        output.write_video(tmp_path / "a.gif", tmp_path / "none.mp4", [], {}, False)


def test_a_wav_too_long_for_its_header_is_refused(tmp_path):
    endless = np.broadcast_to(np.float32(0), (2, 1 << 30))  # 8 hours of stereo that take no memory
    with pytest.raises(OutputError, match="4 GiB"):
        output.write_wav(tmp_path / "a.wav", Audio(endless, RATE), {})
    assert left_in(tmp_path) == []


# --- video --------------------------------------------------------------------------------------------------


@pytest.fixture
def source(make_clip):
    original = Sound(clicks(2.0, [0.25], rate=44100, channels=2), rate=44100)
    return make_clip("source.mp4", count=50, sound=original, options={"bf": "2", "preset": "veryfast"})


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_pictures_are_copied_and_the_new_sound_comes_first(source, tmp_path, ending):
    tracks = [Track(sound(), "Foley", True), Track(sound(at=(1.0,)), "Foley take 2", False)]
    path = output.write_video(tmp_path / f"a.foley.{ending}", source, tracks, TAGS, keep_original=True)
    assert path == tmp_path / f"a.foley.{ending}"
    assert packets(path) == packets(source)
    assert packets(path, "audio", 2) == packets(source, "audio")
    codec = "flac" if ending == "mkv" else "aac"
    kinds = streams(path)
    assert [kind[:2] for kind in kinds] == [
        ("video", "h264"),
        ("audio", codec),
        ("audio", codec),
        ("audio", "aac"),
    ]
    assert [kind[2] for kind in kinds[1:3]] == ["Foley", "Foley take 2"]
    assert [kind[3] for kind in kinds] == [True, True, False, False]
    np.testing.assert_array_equal(
        media.read_clip(path, {"v": VIEW}).views["v"].frames,
        media.read_clip(source, {"v": VIEW}).views["v"].frames,
    )
    assert left_in(tmp_path) == sorted(["source.mp4", path.name])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_without_the_original_or_without_new_tracks(source, tmp_path, ending):
    path = output.write_video(tmp_path / f"a.{ending}", source, [Track(sound())], TAGS, keep_original=False)
    assert [kind[0] for kind in streams(path)] == ["video", "audio"]
    path = output.write_video(tmp_path / f"b.{ending}", source, [], TAGS, keep_original=True)
    assert [(kind[0], kind[3]) for kind in streams(path)] == [("video", True), ("audio", True)]
    assert packets(path, "audio") == packets(source, "audio")


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("keep", [True, False])
def test_new_sound_is_on_time_and_exactly_as_long(source, tmp_path, ending, keep):
    meant = Audio(np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32), RATE)
    path = output.write_video(tmp_path / f"a.{ending}", source, [Track(meant)], TAGS, keep)
    first, heard, stated = track_samples(path)
    assert lag(heard[0], meant.samples) + first == 0
    if ending == "mkv":
        assert heard.shape[1] == 2 * RATE
    else:
        assert stated == 2 * RATE
    if keep:
        first, heard, _ = track_samples(path, 1)
        was_first, was, _ = track_samples(source)
        allowed = 45 if ending == "mkv" else 0  # Matroska's clock ticks in milliseconds
        assert abs(lag(heard[0], was[0]) + first - was_first) <= allowed


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4", "late.mov"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sources_whose_clock_begins_later(make_clip, tmp_path, name, ending):
    times = [F(7, 2) + F(n, 25) for n in range(50)]
    source = make_clip(name, times=times, sound=Sound(clicks(2.0, [1.0]), at=F(3), codec="aac"))
    meant = sound()
    path = output.write_video(tmp_path / f"a.{ending}", source, [Track(meant)], {}, True)
    first, heard, _ = track_samples(path)
    assert abs(lag(heard[0], meant.samples) + first) <= 48
    own, new = media.read_audio(source), track_samples(path, 1)
    assert abs(lag(new[1][0], own.samples[0]) + new[0]) <= 96
    assert media.probe(path).duration == pytest.approx(float(media.probe(source).duration), abs=0.002)


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_rotation_is_kept(make_clip, tmp_path, turn, ending):
    source = make_clip(count=10, rotate=(turn, False))
    path = output.write_video(tmp_path / f"a.{ending}", source, [], {}, False)
    assert media.probe(path).rotation == media.probe(source).rotation == 360 - turn


def test_metadata_comes_back(source, tmp_path):
    for ending in ("mp4", "mov", "mkv"):
        path = output.write_video(tmp_path / f"a.{ending}", source, [Track(sound())], TAGS, True)
        with av.open(str(path)) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
        assert tags["title"] == "walk"
        for line in (
            "Machine-generated sound",
            "model: nano",
            "prompt: 脚步声, footsteps; “gravel”",
            "seed: 17",
        ):
            assert line in tags["comment"].splitlines()
        assert "made with: edgefoley 0.1.0" in tags["comment"]


def decorated(path: Path) -> Path:
    """A Matroska file with chapters, subtitles, a comment, an attachment."""
    plain = new_clip(path.with_name("plain.mkv"), count=50, sound=Sound(clicks(2.0, [0.5])))
    with av.open(str(plain)) as given, av.open(str(path), "w") as out:
        targets = {s.index: out.add_stream_from_template(s, opaque=True) for s in given.streams}
        words = out.add_mux_stream("subrip")
        words.metadata["language"] = "zho"
        out.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font")
        out.metadata["comment"] = "holiday"
        out.metadata["artist"] = "me"
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 1000, "time_base": F(1, 1000), "metadata": {"title": "first"}},
             {"id": 2, "start": 1000, "end": 2000, "time_base": F(1, 1000), "metadata": {"title": "second"}}]
        )  # fmt: skip
        out.start_encoding()
        packet = av.Packet("你好".encode())
        packet.pts = packet.dts = 500
        packet.duration, packet.time_base, packet.stream = 400, F(1, 1000), words
        out.mux(packet)
        for packet in given.demux():
            if packet.size:
                packet.stream = targets[packet.stream_index]
                out.mux(packet)
    plain.unlink()
    return path


def test_subtitles_chapters_attachments_and_tags_are_kept(tmp_path):
    source = decorated(tmp_path / "full.mkv")
    path = output.write_video(tmp_path / "a.mp4", source, [Track(sound())], TAGS, True)
    assert path == tmp_path / "a.mkv"  # MP4 cannot hold these subtitles
    assert left_in(tmp_path) == ["a.mkv", "full.mkv"]
    assert packets(path) == packets(source)
    assert packets(path, "subtitles") == packets(source, "subtitles") == ["你好".encode()]
    with av.open(str(path)) as container:
        assert [(c["start"], c["end"], c["metadata"]["title"]) for c in container.chapters()] == [
            (0, 10**9, "first"),
            (10**9, 2 * 10**9, "second"),
        ]
        assert [s.data for s in container.streams.attachments] == [b"not really a font"]
        assert container.streams.subtitles[0].language in ("chi", "zho")
        tags = {name.lower(): value for name, value in container.metadata.items()}
        assert tags["artist"] == "me"
        assert tags["comment"].startswith("Machine-generated")
        assert tags["comment"].endswith("holiday")


@pytest.mark.parametrize(
    ("name", "codec", "ending"),
    [
        ("a.webm", "libvpx", "mkv"),
        ("a.webm", "libvpx-vp9", "mp4"),
        ("a.avi", "mpeg4", "mp4"),
    ],
)
def test_matroska_takes_over_where_mp4_cannot(make_clip, tmp_path, name, codec, ending):
    source = make_clip(name, codec=codec, count=50)
    path = output.write_video(tmp_path / "out.mp4", source, [Track(sound())], TAGS, True)
    assert path == tmp_path / f"out.{ending}"
    assert left_in(tmp_path) == sorted([name, path.name])
    assert packets(path) == packets(source)


def test_pictures_that_no_container_takes(make_clip, tmp_path):
    source = make_clip("a.avi", codec="ffvhuff", count=50)
    for ending in ("mp4", "mkv"):
        with pytest.raises(
            OutputError, match="neither MP4 nor MKV can hold a video stream in ffvhuff; convert"
        ):
            output.write_video(tmp_path / f"out.{ending}", source, [Track(sound())], TAGS, True)
    assert left_in(tmp_path) == ["a.avi"]


def test_the_fallback_does_not_overwrite_either(make_clip, tmp_path):
    source = make_clip("a.webm", codec="libvpx", count=50)
    (tmp_path / "out.mkv").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"out\.mkv exists already"):
        output.write_video(tmp_path / "out.mp4", source, [Track(sound())], TAGS, True)
    assert (tmp_path / "out.mkv").read_bytes() == b"precious"
    assert left_in(tmp_path) == ["a.webm", "out.mkv"]


@pytest.mark.parametrize("codec", ["libopus", "flac", "libmp3lame", "pcm_s16le"])
def test_original_sound_of_other_kinds_is_copied(make_clip, tmp_path, codec):
    source = make_clip("a.mkv", count=50, sound=Sound(clicks(2.0, [0.5]), codec=codec))
    path = output.write_video(tmp_path / "out.mp4", source, [Track(sound())], TAGS, True)
    got, was = packets(path, "audio", 1), packets(source, "audio")
    if codec == "pcm_s16le":  # containers cut PCM into packets as they like
        got, was = [b"".join(got)], [b"".join(was)]
    assert got == was


def test_the_input_is_never_overwritten(source):
    before = source.read_bytes()
    with pytest.raises(OutputError, match="is the input itself"):
        output.write_video(source, source, [Track(sound())], TAGS, True, overwrite=True)
    assert source.read_bytes() == before


def test_hevc_keeps_the_tag_that_apple_plays(make_clip, tmp_path):
    source = make_clip("a.mp4", codec="libx265", count=10, options={"x265-params": "log-level=none"})
    apple = tmp_path / "apple.mp4"
    with av.open(str(source)) as given, av.open(str(apple), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0], opaque=True)
        stream.codec_context.codec_tag = "hvc1"
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    path = output.write_video(tmp_path / "b.mp4", apple, [], {}, False)
    assert b"hvc1" in path.read_bytes()
    assert b"hev1" not in path.read_bytes()


# --- excerpts and levels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_of_an_excerpt_stands_at_its_place_in_the_whole_video(make_clip, tmp_path, ending):
    source = make_clip(count=100)
    rng = np.random.default_rng(0)
    meant = Audio(rng.normal(0, 0.1, RATE).astype(np.float32), RATE)
    path = output.write_video(tmp_path / f"a.{ending}", source, [Track(meant)], {}, True, F(5, 4), F(9, 4))
    assert packets(path) == packets(source)
    first, heard, _ = track_samples(path)
    assert first + lag(heard[0], meant.samples) == 60000
    near = 2048 if ending == "mp4" else 0  # AAC rings within its window
    assert np.abs(heard[0][: 60000 - near]).max() < 1e-4
    assert np.abs(heard[0][108000 + near :]).max() < 1e-4


def test_a_track_of_another_length_is_refused(source, tmp_path):
    with pytest.raises(UsageError, match="96001 samples long, the excerpt 96000"):
        output.write_video(
            tmp_path / "a.mp4", source, [Track(Audio(np.zeros(96001, np.float32), RATE))], {}, True
        )
    with pytest.raises(UsageError, match="outside"):
        output.write_video(tmp_path / "a.mp4", source, [Track(sound())], {}, True, F(3))
    assert left_in(tmp_path) == ["source.mp4"]


@pytest.mark.parametrize("channels", [1, 2])
def test_true_peak_holds_after_lossy_coding(make_clip, tmp_path, channels):
    """Loud hits at the ceiling: plain AAC would overshoot it."""
    rng = np.random.default_rng(4)
    hits = np.zeros((channels, 2 * RATE))
    for at in range(3000, 90000, 7000):
        length = int(rng.integers(20, 3000))
        hits[:, at : at + length] = 0.3 * rng.standard_normal((channels, length))
    loud = mix.normalise(Audio(hits.astype(np.float32), RATE), -8.0)
    assert -1.3 < mix.true_peak_dbtp(loud) <= -1.0
    unbounded = Track(loud, ceiling_dbtp=20.0)
    path = tmp_path / "plain.m4a"
    path.write_bytes(encode_aac(unbounded))
    with av.open(str(path)) as container:
        plain = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert mix.true_peak_dbtp(Audio(plain, RATE)) > -1.0
    for ending in ("mp4", "mkv"):
        result = output.write_video(
            tmp_path / f"a.{ending}", make_clip(f"s_{ending}.mp4"), [Track(loud)], {}, False
        )
        heard = media.read_audio(result)
        assert -4 < mix.true_peak_dbtp(heard) <= -1.0
