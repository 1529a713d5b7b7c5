"""``edgefoley models convert``: published weights become a bundle.

Everything that needs torch is imported when the command runs.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefoley.errors import OutputError, UsageError

if TYPE_CHECKING:
    from edgefoley.convert.hunyuan import Folder

NEEDED = ("torch", "onnx", "onnxscript", "safetensors")
EPILOG = """\b
Examples:
  edgefoley models convert ~/.cache/edgefoley/hunyuan --model xl
  edgefoley generate clip.mp4 --model xl
  edgefoley models convert /data/hunyuan -o /data/xl-bundle --storage fp16
  edgefoley models convert /data/hunyuan/hunyuanvideo_foley_xl.pth -o /data/xl-bundle
  edgefoley models convert /data/random-xl -o /data/random-xl-bundle
"""


@click.command("convert", epilog=EPILOG)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="A new folder. Default: edgefoley/models/NAME in the user's data folder, where --model NAME finds "
    "it.",
)
@click.option("--model", type=click.Choice(["xl", "xxl"]), help="Which one, where PATH has both.")
@click.option(
    "--storage",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    default="bf16",
    show_default=True,
    help="How the transformer's matrices are stored. bf16 is exact, since they are published so; fp32 too, "
    "in twice the room. Arithmetic is float32.",
)
@click.option(
    "--group",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="Blocks in one file of the transformer. Fewer need less memory under a memory limit.",
)
def command(path: Path, output: Path | None, model: str | None, storage: Any, group: int) -> None:
    """Turn downloaded weights into a bundle, which runs without PyTorch.

    PATH: the folder that `models download` (or `models random`) printed, or the transformer's file in it.
    Every tensor is checked, every network compared with PyTorch. Takes less than 3 GB of memory. The bundle
    appears when it is complete. Prints its folder.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"converting needs {', '.join(NEEDED)}; missing: {', '.join(missing)}. Install them with: pip "
            "install 'edgefoley[convert]'"
        )
    from edgefoley.convert.hunyuan import open_folder
    from edgefoley.export.hunyuan import build, name_of

    source = open_folder(path, model)
    target = default_output(name_of(source)) if output is None else output
    remind(source)
    build(source, target, storage=storage, group=group, say=lambda line: click.echo(line, err=True))
    name = click.format_filename(target) if output is not None else name_of(source)
    click.echo(f"Use it with: edgefoley generate clip.mp4 --model {name}", err=True)
    click.echo(click.format_filename(target))


def default_output(name: str) -> Path:
    """The folder in which ``name`` is found by ``--model``. Raises OutputError."""
    from edgefoley.hub import models_folder

    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error}). Name another place with -o.") from error
    return folder / name


def remind(source: Folder) -> None:
    """On stderr: whose terms the bundle will be under, and where it may not be used."""
    from edgefoley.convert.sources import TENCENT

    if source.stand_in is not None:
        click.echo("These weights are random: what comes of them makes noise.", err=True)
        return
    click.echo(f"{source.model}: {TENCENT.name}, {TENCENT.url}", err=True)
    click.echo(
        f"  NOT to be used in: {', '.join(TENCENT.excluded)}. The agreement covers the bundle too.", err=True
    )
