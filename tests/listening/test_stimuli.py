"""What listeners are given: level, length, anchors, and that nothing tells systems apart."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest

from edgefoley.errors import MediaReadError
from edgefoley.listening.definition import ListeningError
from edgefoley.listening.stimuli import anchor_of, build, leveled, low_pass, sounds_of
from edgefoley.loudness import loudness_lufs, true_peak_dbtp
from edgefoley.sound_files import fitted, read_sound, sounds_in
from edgefoley.soundtrack import read_audio
from edgefoley.types import Audio
from tests.clips import Sound, clicks, make_clip, packets
from tests.listening.conftest import RATE, noise


def test_all_sounds_of_a_clip_are_equally_loud_and_none_is_raised(defined, tmp_path):
    definition = defined(method="mushra", reference="clips")
    made = list(build(definition, tmp_path / "media", "salt"))
    assert len(made) == 3 * 6
    for clip in definition.clips:
        here = [s for s in made if s.clip == clip]
        assert max(s.lufs for s in here) - min(s.lufs for s in here) < 0.1
        assert all(s.gain_db <= 1e-9 for s in here) and max(s.gain_db for s in here) > -6
        for stimulus in here:
            audio = read_audio(stimulus.path)
            assert audio.samples.shape == (2, round(1.2 * RATE))
            assert true_peak_dbtp(audio) <= -2.0 + 0.01


def test_pictures_are_copied_sound_is_lossless_and_names_tell_nothing(defined, tmp_path):
    definition = defined(silence=0)
    made = {(s.clip, s.system): s.path for s in build(definition, tmp_path / "media", "salt")}
    path = made["bird", "fp32"]
    assert packets(path) == packets(definition.clips["bird"])
    wave, original = read_audio(path).samples[0], read_sound(definition.systems["fp32"]["bird"]).samples[0]
    gain = float(wave @ original / (original @ original))
    assert np.abs(wave - gain * original).max() < 2**-22
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "flac"
        assert "fp32" not in str(container.metadata) + str(container.streams.audio[0].metadata)
    assert all(len(p.stem) == 32 and p.suffix == ".mp4" for p in made.values())
    before = {p: p.stat().st_ino for p in made.values()}
    again = {(s.clip, s.system): s.path for s in build(definition, tmp_path / "media", "salt")}
    assert again == made and {p: p.stat().st_ino for p in again.values()} == before
    other = {s.path.name for s in build(definition, tmp_path / "other", "pepper")}
    assert not other & {p.name for p in made.values()}


def test_silence_and_near_silence_do_not_set_the_level():
    loud, faint = noise(0), 2e-2 * noise(1)
    sounds = {"a": stereo(loud), "b": stereo(faint), "c": stereo(np.zeros_like(loud)), "d": stereo(loud / 2)}
    made, notes = leveled(sounds)
    assert loudness_lufs(made["a"][0]) == pytest.approx(loudness_lufs(made["d"][0]), abs=0.01)
    assert made["b"][1] == 0.0 and np.array_equal(made["b"][0].samples, sounds["b"].samples)
    assert len(notes) == 2 and "LU below the loudest" in notes[0] and "silent" in notes[1]
    assert not any(name in note for note in notes for name in ("a:", "b:"))
    nothing, _ = leveled({"c": sounds["c"]})
    assert not nothing["c"][0].samples.any()


def stereo(wave: np.ndarray) -> Audio:
    return fitted(Audio(wave, RATE), wave.shape[-1])


@pytest.mark.parametrize(("name", "cutoff"), [("@3.5 kHz", 3500.0), ("@7 kHz", 7000.0)])
def test_low_pass_anchors_as_the_recommendation_asks(name, cutoff):
    impulse = np.zeros((2, RATE), np.float32)
    impulse[:, RATE // 2] = 0.5
    made = anchor_of(Audio(impulse, RATE), name).samples[0].astype(np.float64)
    assert int(np.abs(made).argmax()) == RATE // 2  # no delay
    level = 20 * np.log10(np.abs(np.fft.rfft(made)) / 0.5 + 1e-9)  # 1 Hz a bin
    assert np.abs(level[20 : round(cutoff)]).max() < 0.1
    assert level[math.ceil(cutoff * 8 / 7) :].max() < -50


def test_the_late_anchor_is_a_quarter_of_a_second_late():
    wave = np.zeros((2, RATE), np.float32)
    wave[:, 10_000:10_200] = 0.5
    late = anchor_of(Audio(wave, RATE), "@250 ms late").samples
    assert np.array_equal(late[:, 22_000:22_200], wave[:, 10_000:10_200])


def test_short_long_mono_and_other_rates_come_to_one_form(defined):
    sounds = sounds_of(defined(), "door")  # int8: 2 s at 24 kHz
    assert {a.samples.shape for a in sounds.values()} == {(2, round(1.2 * RATE))}
    assert set(sounds) == {"fp32", "int8", "@silence"}
    short = fitted(Audio(np.ones(10, np.float32), RATE), 15).samples
    assert short.tolist() == [[1.0] * 10 + [0.0] * 5] * 2


def test_clips_that_a_browser_cannot_show(folder, defined, tmp_path):
    (tmp_path / "clips").mkdir()
    for clip in ("bird", "door", "walk"):
        make_clip(tmp_path / "clips" / f"{clip}.mp4", codec="mpeg4", count=30)
    definition = defined(clips=str(tmp_path / "clips"))
    with pytest.raises(ListeningError, match="browsers do not show mpeg4"):
        list(build(definition, tmp_path / "media", "salt"))


def test_sound_files_of_every_kind(tmp_path):
    make_clip(tmp_path / "a.mp4", sound=Sound(clicks(2.0, [0.5]), at=0))
    assert read_sound(tmp_path / "a.mp4").samples.shape == (1, 2 * RATE)
    make_clip(tmp_path / "mute.mp4")
    with pytest.raises(MediaReadError, match="holds no sound"):
        read_sound(tmp_path / "mute.mp4")
    (tmp_path / "b.wav").write_bytes(b"")
    with pytest.raises(MediaReadError, match="empty"):
        read_sound(tmp_path / "b.wav")
    (tmp_path / "c.wav").write_bytes(b"RIFF nonsense" * 50)
    with pytest.raises(MediaReadError):
        read_sound(tmp_path / "c.wav")
    assert list(sounds_in(tmp_path)) == ["a", "b", "c", "mute"]
    low = low_pass(Audio(np.ones((1, 5000), np.float32), RATE), 3500.0).samples
    assert low.shape == (1, 5000) and low[0, 2500] == pytest.approx(1.0, abs=1e-3)
