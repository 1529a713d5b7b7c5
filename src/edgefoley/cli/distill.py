"""``edgefoley distill``: fewer steps, smaller networks. Needs the ``networks`` extra; docs/distillation.md.

Each command is a thin layer over a module of edgefoley.train, imported when the command runs. What these
commands and ``edgefoley prune`` share stands at the top: options, and what they make of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgefoley.errors import UsageError

if TYPE_CHECKING:
    from edgefoley.train.distill_run import Effort, Source
    from edgefoley.train.teachers import NetworkTeacher

FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)
PACKAGES = ("torch", "safetensors", "scipy", "cv2")
Command = TypeVar("Command", bound=Callable[..., Any])

EPILOG = """\b
Examples:
  edgefoley distill steps --teacher runs/transformer
  edgefoley distill student --teacher runs/transformer --out runs/small
  edgefoley distill features --teacher /data/hunyuan --out runs/xl-features
  edgefoley distill student --teacher /data/hunyuan --features runs/xl-features
"""
STEPS_EPILOG = """\b
Examples:
  edgefoley distill steps --teacher runs/transformer --compile
  edgefoley distill steps --teacher runs/transformer --levels 2 --teacher-steps 24 --out runs/two
  edgefoley distill steps --teacher runs/transformer --start runs/pruned --out runs/pruned-four
"""
STUDENT_EPILOG = """\b
Examples:
  edgefoley distill student --teacher runs/transformer --compile
  edgefoley distill student --teacher runs/transformer --config small.json --train-steps 8000
  edgefoley distill student --teacher runs/transformer --guidance 4 --from-data
  edgefoley distill student --teacher /data/hunyuan --features runs/xl-features --device cuda
"""
FEATURES_EPILOG = """\b
Examples:
  edgefoley distill features --teacher /data/hunyuan --out runs/xl-features
  edgefoley models random tiny -o /tmp/tiny && edgefoley distill features --teacher /tmp/tiny
"""


def effort_options(steps: int, rate: float) -> Callable[[Command], Command]:
    """Options that say how long and on what a run trains, with a command's own defaults."""
    options: Sequence[Callable[[Any], Any]] = (
        click.option(
            "--runs",
            type=FOLDER,
            default="runs",
            metavar="FOLDER",
            show_default=True,
            help="Holds codec, text and school that the teacher was trained with.",
        ),
        click.option("--train-steps", "steps", type=click.IntRange(0), default=steps, show_default=True,
                     metavar="N", help="Steps of training."),
        click.option("--batch", type=click.IntRange(1), default=8, show_default=True, metavar="N",
                     help="Ten-second examples a step; shorter ones are more."),
        click.option("--rate", type=click.FloatRange(0, min_open=True), default=rate, show_default=True,
                     metavar="R", help="Peak learning rate."),
        click.option("--minutes", type=click.FloatRange(0), default=0.0, metavar="M",
                     help="Stop after so much training; the same command goes on. 0: no limit."),
        click.option("--check", type=click.IntRange(1), default=4, show_default=True, metavar="N",
                     help="Held-out batches behind the table."),
        click.option("--device", default="auto", show_default=True, metavar="NAME",
                     help="cpu, cuda or another that PyTorch knows; auto: cuda if there is one."),
        click.option("--compile", "compiled", is_flag=True,
                     help="Needs a C++ compiler; minutes to begin, then quicker."),
        click.option("--float32", is_flag=True, help="Compute in float32 even where bfloat16 is quicker."),
    )  # fmt: skip

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def needed() -> None:
    """Raise UsageError with the install command when packages of training are missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"distillation and pruning need {', '.join(missing)} besides; install it with: "
            "pip install 'edgefoley[networks]'"
        )


def effort_of(device: str, float32: bool, **chosen: Any) -> Effort:
    """The effort that the options ask for. Raises UsageError for a device that PyTorch does not have."""
    from edgefoley.train.distill_run import Effort, device_of
    from edgefoley.train.precision import has_bf16_units

    found = device_of(device)
    return Effort(device=found, bf16=not float32 and has_bf16_units(found), **chosen)


def source_of(
    teacher: Path,
    network: NetworkTeacher,
    runs: Path,
    features: Path | None,
    effort: Effort,
    negatives: float,
) -> Source:
    """Where examples come from: ``features`` where they are given, else the lessons in ``runs``, as the
    ``network`` in ``teacher`` sees them."""
    from edgefoley.train.distill_run import LessonSource

    if features is None:
        return LessonSource(runs, effort, negatives, network.network)
    from edgefoley.convert.hunyuan import open_folder
    from edgefoley.train.features import FeatureSource
    from edgefoley.train.hunyuan_lessons import decoder_of
    from edgefoley.train.teachers import is_run

    decode = None if is_run(teacher) else decoder_of(open_folder(teacher), effort.device)
    return FeatureSource(features, effort.batch, effort.device, decode)


def opened(
    teacher: Path, guidance: float, effort: Effort, sync_guidance: float | None = None
) -> NetworkTeacher:
    """The teacher; tells its licence."""
    from edgefoley.train.teachers import open_teacher

    found = open_teacher(teacher, guidance, effort.device, effort.bf16, sync_guidance)
    say(f"licence of {teacher} and of what is made of it: {found.origin.licence}")
    return found


def say(text: str) -> None:
    """Talk goes to stderr."""
    click.echo(text, err=True)


def tell(work: Callable[[], str], out: Path) -> None:
    """Do a run: its table on stderr, where its log lines go as well, and its folder on stdout."""
    with redirect_stdout(sys.stderr):
        table = work()
    say(table)
    click.echo(str(out))


@click.group("distill", epilog=EPILOG)
def command() -> None:
    """Make a trained transformer faster: fewer steps, or a smaller network.

    Everything can be interrupted: the same command goes on where it stopped. Each run is one folder with a
    log, weights as the trainer writes them, and a table of before and after. What learns from a network
    inherits its licence; origin.json in the folder says which.
    """


@command.command("steps", epilog=STEPS_EPILOG)
@click.option("--teacher", type=THERE, required=True, metavar="RUN", help="Run of the transformer.")
@click.option("--out", type=FOLDER, default="runs/distilled", show_default=True, metavar="FOLDER",
              help="Where to write.")  # fmt: skip
@click.option("--levels", type=click.IntRange(1), default=4, show_default=True, metavar="N",
              help="Steps of the student.")  # fmt: skip
@click.option("--teacher-steps", type=click.IntRange(1), default=12, show_default=True, metavar="N",
              help="Steps of the teacher, a multiple of --levels.")  # fmt: skip
@click.option("--guidance", type=click.FloatRange(0), default=2.5, show_default=True, metavar="G",
              help="Of the teacher: what the student folds in.")  # fmt: skip
@click.option("--batches", type=click.IntRange(1), default=300, show_default=True, metavar="N",
              help="Batches that the teacher walks over; 8 ten-second examples make about 14.")  # fmt: skip
@click.option("--negatives", type=click.FloatRange(0, 1), default=0.25, show_default=True, metavar="SHARE",
              help="Of the examples: with a negative prompt.")  # fmt: skip
@click.option("--own", type=click.FloatRange(0, 1), default=0.5, show_default=True, metavar="SHARE",
              help="Of the training steps: the student's own end is judged as well.")  # fmt: skip
@click.option("--critic", type=click.FloatRange(0), default=0.1, show_default=True, metavar="WEIGHT",
              help="Of what judges it, beside the teacher's jumps.")  # fmt: skip
@click.option("--start", type=THERE, metavar="RUN", help="Begin with these weights, not the teacher's.")
@effort_options(steps=1500, rate=3e-4)
def steps_command(
    teacher: Path, out: Path, guidance: float, runs: Path, negatives: float, **chosen: Any
) -> None:
    """Fold many guided steps into a few unguided ones.

    The result is run with exactly --levels steps and guidance 1.
    """
    needed()
    from edgefoley.train.distill_steps import StepsPlan, distill_steps
    from edgefoley.train.teachers import is_run

    if not is_run(teacher):
        raise UsageError(
            f"{teacher} is no run of the transformer (train/transformer.py). Steps are distilled of runs; "
            "for other checkpoints there is: edgefoley distill student"
        )
    own = {
        name: chosen.pop(name) for name in ("levels", "teacher_steps", "batches", "own", "critic", "start")
    }
    effort = effort_of(**chosen)
    plan = StepsPlan(out, teacher, negatives=negatives, **own)
    plan.walks  # noqa: B018  # says at once when the numbers of steps do not fit
    network = opened(teacher, guidance, effort)
    source = source_of(teacher, network, runs, None, effort, negatives)
    tell(lambda: distill_steps(plan, network, source, effort, say), out)


@command.command("student", epilog=STUDENT_EPILOG)
@click.option("--teacher", type=THERE, required=True, metavar="RUN|FOLDER",
              help="Run of the transformer, or a folder of HunyuanVideo-Foley's weights.")  # fmt: skip
@click.option("--out", type=FOLDER, default="runs/student", show_default=True, metavar="FOLDER",
              help="Where to write.")  # fmt: skip
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="JSON",
              help="Sizes unlike the teacher's. Default: 3/4 of the heads, half of the blocks.")  # fmt: skip
@click.option("--guidance", type=click.FloatRange(0), default=1.0, show_default=True, metavar="G",
              help="Of the teacher; above 1 it is folded in.")  # fmt: skip
@click.option("--true", "true_share", type=click.FloatRange(0, 1), default=0.2, show_default=True,
              metavar="SHARE", help="Of the true velocity in what is learnt.")  # fmt: skip
@click.option("--from-data", is_flag=True,
              help="Learn the true velocity, and of the teacher what guidance adds.")  # fmt: skip
@click.option("--sync-guidance", type=click.FloatRange(0), metavar="G",
              help="The event curve's own guidance, folded in. Default: the same.")  # fmt: skip
@click.option("--negatives", type=click.FloatRange(0, 1), default=0.25, show_default=True, metavar="SHARE",
              help="Of the examples: with a negative prompt, where guidance is folded in.")  # fmt: skip
@click.option("--features", type=THERE, metavar="FOLDER",
              help="Examples for a teacher with latents of its own (distill features).")  # fmt: skip
@click.option("--start", type=THERE, metavar="RUN", help="Begin with another run's weights where they fit.")
@effort_options(steps=6000, rate=8e-4)
def student_command(
    teacher: Path,
    out: Path,
    config: Path | None,
    guidance: float,
    sync_guidance: float | None,
    **chosen: Any,
) -> None:
    """Teach a smaller network the velocities of a larger one.

    A student has its teacher's latents and features, and its licence.
    """
    needed()
    from edgefoley.train.distill_student import StudentPlan, distill_student
    from edgefoley.train.teachers import read_config, student_config

    own = {name: chosen.pop(name) for name in ("true_share", "start", "from_data")}
    runs, features, negatives = (chosen.pop(name) for name in ("runs", "features", "negatives"))
    effort = effort_of(**chosen)
    network = opened(teacher, guidance, effort, sync_guidance)
    sizes = student_config(network.config, {} if config is None else read_config(config))
    negatives = negatives if guidance > 1 else 0.0
    source = source_of(teacher, network, runs, features, effort, negatives)
    plan = StudentPlan(out, teacher, sizes, negatives=negatives, **own)
    tell(lambda: distill_student(plan, network, source, effort, say), out)


@command.command("features", epilog=FEATURES_EPILOG)
@click.option("--teacher", type=THERE, required=True, metavar="FOLDER",
              help="Folder of HunyuanVideo-Foley's weights.")  # fmt: skip
@click.option("--school", type=THERE, default="runs/school", show_default=True, metavar="FOLDER",
              help="Lessons with their sound (edgefoley train make-data).")  # fmt: skip
@click.option("--out", type=FOLDER, default="runs/features", show_default=True, metavar="FOLDER",
              help="Where to write.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="cpu, cuda, …")
def features_command(teacher: Path, school: Path, out: Path, device: str) -> None:
    """Encode lessons as HunyuanVideo-Foley sees and hears them, for a student of it."""
    needed()
    from edgefoley.convert.hunyuan import open_folder
    from edgefoley.train.distill_run import device_of
    from edgefoley.train.hunyuan_lessons import write_features

    for number in write_features(open_folder(teacher), school, out, device_of(device)):
        say(f"shard {number}")
    click.echo(str(out))
