"""The entry point: help, version, exit codes, import costs, and the generated page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgefoley import errors
from edgefoley._version import __version__
from edgefoley.cli.docs import render
from edgefoley.cli.main import COMMANDS, cli, exit_code_of

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


def test_version(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"edgefoley {__version__}\n")


def test_python_dash_m():
    done = python("-m", "edgefoley", "--version")
    assert (done.returncode, done.stdout) == (0, f"edgefoley {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_and_every_flag_a_text(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout and f"edgefoley {name}" in result.stdout
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_overview_names_every_command(run):
    for arguments in ((), ("-h",)):
        result = run(*arguments)
        assert all(name in result.output for name in COMMANDS)
    assert run("-h").exit_code == 0


def test_unknown_command(run):
    result = run("genrate")
    assert result.exit_code == 2 and "genrate" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EdgeFoleyError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.NoVideoStreamError("x"), 3),
        (errors.BundleIntegrityError("x"), 4),
        (errors.BackendUnavailableError("x"), 5),
        (errors.NumericError("x"), 6),
        (ValueError("x"), 70),
        (MemoryError("x"), 1),
    ],
)
def test_exit_codes(capsys, error, code):
    def fail():
        raise error

    assert exit_code_of(fail) == code
    out, err = capsys.readouterr()
    assert out == "" and "Error: " in err
    assert ("Traceback" in err) is (code == 70)


def test_an_end_of_file_error_is_no_interrupt(run, monkeypatch):
    """click turns EOFError into Abort as it does with Ctrl-C."""

    def fail(*_):
        raise EOFError("the media library met the end of a file")

    monkeypatch.setattr("edgefoley.cli.models.list_models", fail)
    result = run("models")
    assert result.exit_code == 70 and "This is a bug" in result.stderr


def test_a_reader_that_goes_away(bundle):
    """`edgefoley ... | head`: no traceback."""
    command = f"{sys.executable} -m edgefoley generate --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src")})  # fmt: skip
    assert "Traceback" not in done.stderr


def test_docs_are_what_the_commands_say():
    page = ROOT / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == render(), "run: python -m edgefoley.cli.docs"


def test_docs_name_every_flag():
    page = render()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{option.opts[-1]}`" in page


SWALLOWED = """
import signal, time, weakref
from edgefoley.cli.main import listen

class Thing: pass

listen()
thing = Thing()
mark = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
try:
    del thing
    time.sleep(20)
    print("went on")
finally:
    print("cleaned up")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_that_arrives_in_a_callback_still_ends_the_program():
    done = python("-c", SWALLOWED)
    assert (done.returncode, done.stdout) == (143, "cleaned up\n")
    assert "Exception ignored" not in done.stderr
