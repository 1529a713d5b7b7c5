"""Every flag of `generate` and `sound` changes something real."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley import mix
from edgefoley.backends.fake import FakeBackend
from edgefoley.types import Audio
from tests.cli.conftest import names_in, samples_of
from tests.fake_bundle import make_fake_bundle


@pytest.fixture
def made(generate, clip, tmp_path):
    """``made(flags...)``: the samples that these flags give."""
    count = 0

    def make(*flags):
        nonlocal count
        count += 1
        path = tmp_path / f"sound{count}.wav"
        result = generate(clip, "-o", path, *flags)
        assert result.exit_code == 0, result.stderr
        return samples_of(path)

    return make


@pytest.mark.parametrize(
    ("flags", "others"),
    [
        (("-p", "rain"), ("-p", "wind")),
        (("--prompt", "rain"), ()),
        (("--steps", "2"), ("--steps", "7")),
        (("--guidance", "3"), ("--guidance", "1")),
        (("--guidance", "3", "--negative", "music"), ("--guidance", "3", "--negative", "speech")),
        (("--seed", "3"), ("--seed", "4")),
        (("--loudness", "-30"), ("--loudness", "-25")),
    ],
)
def test_the_flag_changes_the_sound(made, flags, others):
    one, other = made(*flags), made(*others)
    assert one.size == other.size
    assert not np.array_equal(one, other)


def test_negative_without_guidance_is_an_error_and_not_ignored(generate, clip, tmp_path):
    result = generate(clip, "--negative", "music")
    assert result.exit_code == 2
    assert "guidance is 1" in result.stderr and "--guidance" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("lufs", [-40.0, -23.0, -16.0])
def test_loudness(made, lufs):
    sound = made("--loudness", str(lufs)) / 2**23
    assert mix.loudness_lufs(Audio(sound.astype(np.float32), 48000)) == pytest.approx(lufs, abs=0.5)


def test_model(run, clip, tmp_path):
    """Another bundle of other defaults: another number of steps."""
    sounds = []
    for steps in (1, 5):
        folder = make_fake_bundle(tmp_path / f"steps{steps}", steps=steps)
        wav = tmp_path / f"{steps}.wav"
        run("generate", clip, "--model", folder, "--backend", "fake", "--seed", "1", "-o", wav)
        sounds.append(samples_of(wav))
    assert not np.array_equal(*sounds)


def test_unknown_model_lists_the_known(run, clip):
    result = run("generate", clip, "--model", "nanoo")
    assert result.exit_code == 4
    assert "no model 'nanoo'" in result.stderr and "Built-in models:" in result.stderr


def test_unknown_backend_lists_the_known(run, clip, bundle):
    result = run("generate", clip, "--model", bundle, "--backend", "cuda")
    assert result.exit_code == 2
    assert "unknown back end 'cuda'; known: ort" in result.stderr


def test_backend_decides_which_files_of_the_model_are_used(run, clip, bundle, tmp_path):
    result = run("generate", clip, "--model", bundle, "--backend", "ort")
    assert result.exit_code == 4
    assert "for the back end 'ort'" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize(("flags", "threads"), [((), None), (("--threads", "3"), 3)])
def test_threads_reach_the_engine(made, monkeypatch, flags, threads):
    seen, load = set(), FakeBackend.load
    monkeypatch.setattr(
        FakeBackend, "load", lambda self, path, options: seen.add(options) or load(self, path, options)
    )
    made(*flags)
    assert {options.threads for options in seen} == {threads}


@pytest.mark.parametrize(("flags", "height"), [((), None), (("--max-height", "32"), 32)])
def test_max_height_reaches_the_reader(made, monkeypatch, flags, height):
    from edgefoley import media

    seen, read = [], media.read_clip

    def spy(*args, max_height, **kwargs):
        seen.append(max_height)
        return read(*args, max_height=max_height, **kwargs)

    monkeypatch.setattr(media, "read_clip", spy)
    assert made(*flags).size == 48000
    assert seen == [height]


def test_start_and_end_cut_the_sound(made):
    assert made("--start", "0.25").size == 36000
    assert made("--end", "0:00.5").size == 24000
    assert made("--start", "0.1", "--end", "0.3").size == 9600


def test_overwrite(generate, clip, tmp_path):
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    assert generate(clip, "-o", target).exit_code == 3
    assert target.read_bytes() == b"old"
    assert generate(clip, "-o", target, "--overwrite").exit_code == 0
    assert samples_of(target).size == 48000


def test_quiet(generate, clip):
    result = generate(clip, "-q")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 2
    assert generate(clip, "--overwrite").stderr != ""


def test_quiet_still_shows_errors(generate, tmp_path):
    result = generate(tmp_path / "missing.mp4", "-q")
    assert result.exit_code == 3 and result.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", "0"), "--steps"),
        (("--takes", "0"), "--takes"),
        (("--guidance", "-1"), "--guidance"),
        (("--guidance", "nan"), "guidance"),
        (("--seed", "-1"), "--seed"),
        (("--loudness", "-4"), "-70"),
        (("--loudness", "nan"), "loudness"),
        (("--threads", "0"), "--threads"),
        (("--max-height", "8"), "--max-height"),
        (("--original", "loud"), "duck"),
        (("--start", "soon"), "1:02.5"),
        (("--start", "1:75"), "1:02.5"),
        (("--start", "-1"), "start"),
        (("--start", "5"), "lasts 1.000 s"),
        (("--end", "5"), "lasts 1.000 s"),
        (("--start", "0.5", "--end", "0.5"), "after start"),
        (("-o", "x.mp3"), ".wav, .mp4"),
        (("--original", "mix", "-o", "x.wav"), "writes none"),
        (("--bogus",), "--bogus"),
    ],
)
def test_senseless_values(generate, clip, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    result = generate(clip, *flags)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert names_in(tmp_path) == ["clip.mp4"]
