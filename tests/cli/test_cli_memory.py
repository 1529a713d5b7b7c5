"""``--memory-limit``: the plan is told before the run begins, nonsense and what cannot fit are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.backends.fake import FakeBackend
from tests.cli.conftest import names_in, samples_of
from tests.fake_bundle import make_fake_bundle, state_needs


@pytest.fixture(scope="module")
def frugal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fake model that states its needs: 2.6 GB with all networks open."""
    return state_needs(make_fake_bundle(tmp_path_factory.mktemp("frugal"))).folder


@pytest.fixture
def limited(run, frugal):
    """``generate`` or ``sound`` with that model and a limit."""

    def go(command, limit, *arguments):
        flags = ("--model", frugal, "--backend", "fake", "--seed", "1", "--memory-limit", limit)
        return run(command, *flags, *arguments)

    return go


def test_the_plan_is_the_first_line(limited, clip):
    for limit, words in (("8GB", "all networks stay open"), ("2.3GB", "opened and freed stage by stage")):
        result = limited("generate", limit, clip, "--overwrite")
        assert result.exit_code == 0, result.stderr
        first, expected, second = result.stderr.splitlines()[:3]
        assert first.startswith(f"clip.mp4: memory limit {float(limit[:-2]):.2f} GB; the run needs ")
        assert words in first and second == "clip.mp4: read"
        assert expected.startswith("clip.mp4: about ")
        assert "memory limit" not in result.stdout


def test_the_limit_changes_what_stays_open_and_not_the_sound(limited, clip, tmp_path, monkeypatch):
    opened, load = [], FakeBackend.load
    monkeypatch.setattr(
        FakeBackend, "load", lambda self, *args: opened.append(args[0].stem) or load(self, *args)
    )
    sounds, counts = [], []
    for name, limit in (("a", "8GB"), ("b", "2.3GB")):
        opened.clear()
        wav = tmp_path / f"{name}.wav"
        assert limited("generate", limit, clip, "--takes", "2", "-o", wav).exit_code == 0
        sounds.append([samples_of(wav).tolist(), samples_of(tmp_path / f"{name}.take2.wav").tolist()])
        counts.append((opened.count("denoiser"), opened.count("visual")))
    assert sounds[0] == sounds[1]
    assert counts == [(1, 1), (2, 1)]  # freed after the first take, opened again for the second


def test_quiet_says_no_plan_and_json_has_the_peak_of_every_stage(limited, clip):
    result = limited("generate", "8GB", clip, "-q", "--json")
    assert result.stderr == ""
    (take,) = json.loads(result.stdout)["takes"]
    assert list(take["stages"]) == ["read", "encode", "denoise", "decode", "level", "write"]
    assert all(stage["peak_rss_mb"] > 10 for stage in take["stages"].values())


def test_sound_takes_it_too(limited, tmp_path):
    wav = tmp_path / "rain.wav"
    result = limited("sound", "2.3GB", "-p", "rain", "--seconds", "1", "-o", wav)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].startswith("rain: memory limit 2.30 GB; the run needs ")
    assert samples_of(wav).size == 48000


@pytest.mark.parametrize("limit", ["4 bananas", "0", "-1", "-4GB", "GB", "1e9", ""])
@pytest.mark.parametrize("command", ["generate", "sound"])
def test_nonsense_is_refused(limited, clip, tmp_path, command, limit):
    arguments = (
        (clip,) if command == "generate" else ("-p", "rain", "--seconds", "1", "-o", tmp_path / "o.wav")
    )
    result = limited(command, limit, *arguments)
    assert result.exit_code == 2
    assert repr(limit) in result.stderr and "write for example 4GB" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


def test_what_cannot_fit_is_refused_before_it_starts(limited, clip, tmp_path):
    result = limited("generate", "300MB", clip, "--json")
    assert result.exit_code == 2
    for words in ("need at least", "the limit is 0.30 GB", "What would fit: a limit of"):
        assert words in result.stderr
    assert "clip.mp4: read" not in result.stderr  # nothing was decoded
    assert names_in(tmp_path) == ["clip.mp4"]
    assert json.loads(result.stdout)["error"]["exit_code"] == 2


def test_a_model_without_stated_needs(generate, clip, tmp_path):
    result = generate(clip, "--memory-limit", "4GB")
    assert result.exit_code == 2
    assert "model 'fake' does not state what memory its networks need" in result.stderr
    assert "Leave the memory limit out" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]
