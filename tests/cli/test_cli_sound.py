"""`edgefoley sound`: words in, sound out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgefoley.output import read_wav_tags
from tests.cli.conftest import names_in, samples_of


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("length", "count"), [("--seconds 0.3", 14400), ("--seconds 0:01.5", 72000), ("", 8 * 48000)]
)
def test_length_to_the_sample(sound, here, length, count):
    result = sound("-p", "rain on tin", *length.split())
    assert result.exit_code == 0
    assert result.stdout == "rain_on_tin.foley.wav\n"
    assert samples_of(here / "rain_on_tin.foley.wav").size == count


@pytest.mark.parametrize(
    ("prompt", "name"), [("敲门声！", "敲门声"), ("../../etc/passwd", "etc_passwd"), ("?", "sound")]
)
def test_the_file_is_named_after_the_prompt(sound, here, prompt, name):
    assert sound("-p", prompt, "--seconds", "0.2").exit_code == 0
    assert names_in(here) == [f"{name}.foley.wav"]
    assert f"prompt: {prompt};" in read_wav_tags(here / f"{name}.foley.wav")["comment"]


@pytest.mark.parametrize(
    ("flags", "others"),
    [
        ("-p rain", "-p wind"),
        ("-p rain --steps 2", "-p rain --steps 3"),
        ("-p rain --guidance 3", "-p rain"),
        ("-p rain --guidance 3 --negative a", "-p rain --guidance 3 --negative b"),
        ("-p rain --loudness -30", "-p rain"),
    ],
)
def test_the_flag_changes_the_sound(sound, here, flags, others):
    for name, arguments in (("a.wav", flags), ("b.wav", others)):
        assert sound("--seconds", "0.5", "-o", name, *arguments.split()).exit_code == 0
    assert not np.array_equal(samples_of(here / "a.wav"), samples_of(here / "b.wav"))


@pytest.mark.parametrize("words", [("rain on tin",), ("rain", "on", "tin")])
def test_a_prompt_needs_no_flag(sound, here, words):
    assert sound("-p", "rain on tin", "--seconds", "0.3", "-o", "flag.wav").exit_code == 0
    assert sound(*words, "--seconds", "0.3").stdout == "rain_on_tin.foley.wav\n"
    assert np.array_equal(samples_of(here / "flag.wav"), samples_of(here / "rain_on_tin.foley.wav"))


def test_takes_folder_and_json(sound, here):
    result = sound("-p", "a dog", "--seconds", "0.2", "--takes", "2", "-o", "dogs/", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["input"] is None
    assert [take["wav"] for take in found["takes"]] == ["dogs/a_dog.foley.wav", "dogs/a_dog.foley.take2.wav"]
    assert list(found["takes"][0]["stages"]) == ["encode", "denoise", "decode", "level", "write"]
    assert names_in(here / "dogs") == ["a_dog.foley.take2.wav", "a_dog.foley.wav"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "what is to be heard"),
        (("--seconds", "1"), 2, "what is to be heard"),
        (("rain", "-p", "rain", "--seconds", "1"), 2, "what is to be heard"),
        (("-p", "rain", "--seconds", "0"), 2, "above 0"),
        (("-p", "rain", "--seconds", "3601"), 2, "up to 3600"),
        (("-p", " ", "--seconds", "1"), 2, "neither a clip nor a prompt"),
        (("-p", "rain", "--seconds", "1", "-o", "x.mp4"), 2, "outputs end in .wav"),
        (("-p", "rain", "--seconds", "1", "-o", "no/x.wav"), 3, "create it first"),
        (("-p", "rain", "--seconds", "1", "--negative", "x"), 2, "guidance"),
        (("-p", "rain", "--seconds", "1", "--start", "0"), 2, "--start"),
    ],
)
def test_senseless_values(sound, here, arguments, code, words):
    result = sound(*arguments)
    assert result.exit_code == code
    assert words in result.stderr and result.stdout == ""
    assert names_in(here) == []


def test_existing_output_is_refused(sound, here):
    (here / "rain.foley.wav").write_bytes(b"old")
    assert sound("-p", "rain", "--seconds", "0.2").exit_code == 3
    assert (here / "rain.foley.wav").read_bytes() == b"old"
    assert sound("-p", "rain", "--seconds", "0.2", "--overwrite").exit_code == 0
    assert samples_of(here / "rain.foley.wav").size == 9600


def test_quiet(sound):
    assert sound("-p", "rain", "--seconds", "0.2", "-q").stderr == ""
