"""The entry point, and the one place where an exception becomes a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from edgefoley._version import __version__
from edgefoley.errors import EdgeFoleyError

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM

# Command -> module and what the overview says. The modules are imported when their command runs, so that
# `edgefoley --version` does not wait for the media library.
COMMANDS = {
    "generate": ("edgefoley.cli.generate", "Add sound effects to videos."),
    "sound": ("edgefoley.cli.sound", "Make a sound effect from words alone."),
    "events": ("edgefoley.cli.events", "Show when things happen in a video, as a list to edit."),
    "describe": ("edgefoley.cli.describe", "Show what the model sees in a video, and a fitting prompt."),
    "models": ("edgefoley.cli.models", "List the models that can be used."),
    "train": ("edgefoley.cli.train", "Make the training data of the built-in model."),
    "distill": ("edgefoley.cli.distill", "Make a trained transformer faster: fewer steps, smaller networks."),
    "prune": ("edgefoley.cli.prune", "Make a trained transformer smaller by what matters least."),
    "calibrate": ("edgefoley.cli.calibrate", "Capture what a model's networks are fed, for quantize."),
    "quantize": ("edgefoley.cli.quantize", "Store and compute a model in fewer bits, by a recipe."),
    "sensitivity": ("edgefoley.cli.sensitivity", "Measure which layers quantising costs most; choose a mix."),
    "evaluate": ("edgefoley.cli.evaluate", "Measure two models or two folders of sounds."),
    "listen": ("edgefoley.cli.listen", "Let people judge sounds in the browser; report what they said."),
    "bench": ("edgefoley.cli.bench", "Measure what models cost on this machine; compare results."),
    "advise": ("edgefoley.cli.advise", "Say what to use on a device, and what will not work there."),
    "doctor": ("edgefoley.cli.doctor", "Check this machine, the engines and the built-in models."),
}

EXAMPLES = """\b
Examples:
  edgefoley generate clip.mp4
  edgefoley generate clip.mp4 -p "footsteps on gravel"
  edgefoley sound -p "rain on a tin roof" --seconds 5
  edgefoley events clip.mp4 --plot events.png
  edgefoley doctor
"""


class Commands(click.Group):
    """A group that imports its commands lazily and turns exceptions into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command to ask for its short help.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(  # type: ignore[override]  # click overloads it on standalone_mode
        self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run, as click does; in stand-alone mode exit with the codes of ``edgefoley.errors``."""
        run = partial(super().main, args, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        sys.exit(exit_code_of(run))


def exit_code_of(work: Callable[[], Any]) -> int:
    """Run ``work``; tell on stderr what went wrong, if anything, and return the exit code."""
    try:
        result = work()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EdgeFoleyError as error:
        show_error(error)
        return error.exit_code
    except click.Abort as error:
        # click makes one of both Ctrl-C and EOFError; the latter is nothing that a user did here.
        if isinstance(error.__cause__, EOFError):
            show_bug(error.__cause__)
            return EXIT_BUG
        click.echo("Interrupted; nothing partial was kept.", err=True)
        return EXIT_INTERRUPTED
    except MemoryError:
        click.echo(
            "Error: not enough memory. Close other programs, or make less at once (--start, --end).", err=True
        )
        return 1
    except Exception as error:
        show_bug(error)
        return EXIT_BUG


def show_error(error: EdgeFoleyError, subject: str | None = None) -> None:
    """Print an expected error on stderr without a traceback; ``subject`` names the input it belongs to."""
    click.echo(f"Error: {subject}: {error}" if subject else f"Error: {error}", err=True)


def show_bug(error: BaseException) -> None:
    """Print an unexpected error on stderr with its traceback and say that it is ours."""
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(
        f"Error: {type(error).__name__}: {error}\n"
        f"This is a bug in edgefoley {__version__}. Please report it with the lines above "
        "and the command you ran.",
        err=True,
    )


@click.group(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgefoley", message="%(prog)s %(version)s")
def cli() -> None:
    """Add synchronised sound effects to a video, on this machine, without a download.

    Results (the paths of the files written) go to stdout, everything else to stderr.

    \b
    Exit codes: 0 done · 1 other error · 2 wrong use · 3 clip or output file · 4 model bundle
                5 inference engine · 6 NaN in the sound · 70 bug · 130 interrupted
    """


def main() -> NoReturn:
    """What the installed command runs."""
    listen()
    for stream in (sys.stdout, sys.stderr):
        # A file name or prompt that the terminal's encoding lacks must not end a finished run.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    cli.main()
    raise AssertionError("click's main returned")  # Commands.main always exits


def listen() -> None:
    """Turn SIGTERM into an exception, so that half-written files are removed on the way out."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _once_more


def _once_more(lost: Any) -> None:
    """An exit that came up inside a callback of the interpreter (a weak reference's, a destructor) is dropped
    there, and the program would go on: the signal is sent again, a moment later."""
    if isinstance(lost.exc_value, SystemExit):
        again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


def _terminate(signum: int, frame: FrameType | None) -> None:
    sys.exit(EXIT_TERMINATED)


if __name__ == "__main__":
    main()
