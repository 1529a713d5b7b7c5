"""What the tests of the command line share: a fake model, a short clip, and a way to run a command."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgefoley.cli.main import cli
from tests.clips import Sound, clicks, make_clip
from tests.fake_bundle import make_fake_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for the fake back end."""
    return make_fake_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of pictures with one second of sound of its own."""
    path = tmp_path_factory.mktemp("master") / "clip.mp4"
    return make_clip(path, count=25, sound=Sound(clicks(1.0, [0.25, 0.75])))


@pytest.fixture
def clip(master: Path, tmp_path: Path) -> Path:
    """A copy of ``master`` in the test's own folder, which holds nothing else."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(master.read_bytes())
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command line as the shell would; an exception that is not an exit fails the test."""

    def go(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)

    return go


@pytest.fixture
def generate(run: Callable[..., Result], bundle: Path) -> Callable[..., Result]:
    """``edgefoley generate`` with the fake model; seed 1 unless the test says otherwise."""

    def go(*arguments: str | Path) -> Result:
        seed = [] if "--seed" in arguments else ["--seed", "1"]
        return run("generate", "--model", bundle, "--backend", "fake", *seed, *arguments)

    return go


@pytest.fixture
def sound(run: Callable[..., Result], bundle: Path) -> Callable[..., Result]:
    """``edgefoley sound`` with the fake model and seed 1."""
    return lambda *arguments: run("sound", "--model", bundle, "--backend", "fake", "--seed", "1", *arguments)


def samples_of(path: Path) -> np.ndarray:
    """Samples (n,) of a 24-bit mono WAV file, as integers."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 3, 48000)
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype=np.uint8).reshape(-1, 3)
    return (
        raw[:, 0].astype(np.int32)
        | raw[:, 1].astype(np.int32) << 8
        | raw[:, 2].astype(np.int8).astype(np.int32) << 16
    )


def names_in(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
