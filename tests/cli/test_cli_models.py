"""``edgefoley models``: the list, downloads (from a server on this machine), random weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgefoley.cli import models
from edgefoley.cli.main import cli
from edgefoley.convert import sources
from tests.cli.conftest import names_in
from tests.hub_server import FREE, STRICT, Hub, serve

CONTENT = b"weights" * 5000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server that publishes two small files as the model xl."""
    pytest.importorskip("huggingface_hub", reason="downloads go through huggingface_hub")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 5_000)
    with serve() as running:
        files = (running.add("big.pth", CONTENT, STRICT), running.add("text/tokenizer.json", b"{}", FREE))
        monkeypatch.setattr(sources, "SOURCES", {"xl": files})
        yield running


@pytest.fixture
def download(hub: Hub) -> Callable[..., Result]:
    return lambda *arguments, answers="": CliRunner().invoke(
        cli, ["models", "download", "xl", *map(str, arguments)], input=answers, catch_exceptions=False
    )


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "on_terminal", lambda: True)


def test_the_list_needs_no_command(run: Callable[..., Result]) -> None:
    result = run("models")
    assert result.exit_code == 0 and result.stdout.startswith("nano ")
    listed = json.loads(run("models", "--json").stdout)
    assert listed["name"] == "nano"


def test_json_is_the_lists_alone(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("models", "--json", "random", "tiny", "-o", tmp_path / "x")
    assert result.exit_code == 2 and "--json belongs to the list" in result.stderr
    assert not list(tmp_path.iterdir())


def test_every_command_has_examples_and_every_flag_a_text(run: Callable[..., Result]) -> None:
    for name, command in models.command.commands.items():
        text = run("models", name, "--help").stdout
        assert f"edgefoley models {name}" in text
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_list_imports_nothing_big(run: Callable[..., Result]) -> None:
    import subprocess

    code = (
        "import sys; from edgefoley.cli import models; import edgefoley.convert.sources;"
        "assert not {'torch', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_a_terminal_the_licence_has_to_be_accepted_by_flag(
    download: Callable[..., Result], hub: Hub, tmp_path: Path
) -> None:
    result = download("--dir", tmp_path / "d", "--mirror", hub.url, "--yes", answers="y\ny\n")
    assert result.exit_code == 2 and "--accept-licence" in result.stderr
    assert "Strict Licence 2.0" in result.stderr and "https://licences.example/strict" in result.stderr
    assert "NOT to be used in: Atlantis, Lemuria" in result.stderr
    assert result.stdout == "" and not hub.log and not list(tmp_path.iterdir())


def test_with_the_flag_nothing_is_asked(download: Callable[..., Result], hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    result = download("--dir", folder, "--mirror", hub.url, "--accept-licence")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{folder}\n"
    assert names_in(folder) == ["big.pth", "text"]
    assert (folder / "big.pth").read_bytes() == CONTENT
    assert "35.0 kB" in result.stderr  # what each file takes


def test_refusal_on_a_terminal(
    download: Callable[..., Result], hub: Hub, terminal: None, tmp_path: Path
) -> None:
    for answers, words in (("n\n", "were not accepted"), ("\n", "were not accepted"), ("y\nn\n", "stopped")):
        result = download("--dir", tmp_path / "d", "--mirror", hub.url, answers=answers)
        assert result.exit_code == 2 and words in result.stderr
        assert "none of: Atlantis, Lemuria?" in result.stderr
    assert not hub.log and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "answers"), [([], "y\ny\n"), (["-y"], "y\n"), (["--accept-licence"], "y\n")]
)
def test_consent_on_a_terminal(
    download: Callable[..., Result], hub: Hub, terminal: None, tmp_path: Path, flags: list[str], answers: str
) -> None:
    result = download("--dir", tmp_path / "d", "--mirror", hub.url, *flags, answers=answers)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'd'}\n"


def test_an_interrupted_download_goes_on(download: Callable[..., Result], hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    hub.cut, hub.status_after_cut = 10_000, 503
    result = download("--dir", folder, "--mirror", hub.url, "--accept-licence")
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    assert names_in(folder) == ["big.pth.part"] and result.stdout == ""
    hub.status = None
    result = download("--dir", folder, "--mirror", hub.url, "--accept-licence")
    assert result.exit_code == 0 and (folder / "big.pth").read_bytes() == CONTENT
    assert hub.log[-2][1] == 10_000


def test_a_local_folder(download: Callable[..., Result], hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "big.pth").write_bytes(CONTENT)
    result = download("--dir", tmp_path / "d", "--from", tmp_path / "disk", "--accept-licence")
    assert result.exit_code == 1 and "has no text/tokenizer.json" in result.stderr
    (tmp_path / "disk" / "tokenizer.json").write_bytes(b"{}")
    result = download("--dir", tmp_path / "d", "--from", tmp_path / "disk", "--accept-licence")
    assert result.exit_code == 0 and not hub.log
    assert names_in(tmp_path / "d") == ["big.pth", "text"]


def test_contradiction(download: Callable[..., Result], hub: Hub, tmp_path: Path) -> None:
    result = download("--mirror", hub.url, "--from", tmp_path, "--accept-licence")
    assert result.exit_code == 2 and "contradict" in result.stderr


def test_random_weights(run: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="random weights are made with torch")
    result = run("models", "random", "tiny", "-o", tmp_path / "tiny", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'tiny'}\n"
    assert names_in(tmp_path) == ["tiny"]
    assert json.loads((tmp_path / "tiny" / "stand-in.json").read_text())["seed"] == 3
    again = run("models", "random", "tiny", "-o", tmp_path / "tiny")
    assert again.exit_code == 3 and "not empty" in again.stderr


def test_random_weights_without_torch(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find_spec", lambda _: None)
    result = run("models", "random", "tiny", "-o", tmp_path / "tiny")
    assert result.exit_code == 2 and "edgefoley[convert]" in result.stderr
