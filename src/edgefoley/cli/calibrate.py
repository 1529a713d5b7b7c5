"""``edgefoley calibrate``: capture what a model's networks are fed, for ``edgefoley quantize``."""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import click

from edgefoley.bundle import open_bundle
from edgefoley.cli.options import Moment
from edgefoley.errors import UsageError
from edgefoley.settings import MAX_GUIDANCE, MAX_SEED

EPILOG = """\b
Examples:
  edgefoley calibrate nano --clips holiday/ -o set
  edgefoley calibrate nano --clips holiday/ -p footsteps -p "rain on a roof" --seconds 5 -o set
  edgefoley calibrate converted-xl --clips holiday/ --max-clips 2 --steps 10 -o xl-set
"""


def need_onnx() -> None:
    """Raise UsageError with the install command when the package is missing."""
    if find_spec("onnx") is None:
        raise UsageError("quantisation needs onnx; install it with: pip install 'edgefoley[quantize]'")


@click.command("calibrate", epilog=EPILOG)
@click.argument("bundle", metavar="BUNDLE")
@click.option("--clips", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="A folder of videos like those the model will see; four to eight are enough.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="SET",
              help="A folder for the set; must not exist yet.")  # fmt: skip
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT",
              help="Words for the clips, taken in turn. Default: the words of each file's name.")  # fmt: skip
@click.option("--max-clips", type=click.IntRange(1), metavar="N", help="Use the first N clips only.")
@click.option("--seconds", type=Moment(), default="10", show_default=True, metavar="S",
              help="The most of each clip that is used.")  # fmt: skip
@click.option("--times", type=click.IntRange(1), default=5, show_default=True, metavar="N",
              help="Noise levels at which the denoiser is captured.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1, 1000), metavar="N",
              help="Denoising steps. Default: what the model asks for.")  # fmt: skip
@click.option("--guidance", type=click.FloatRange(0, MAX_GUIDANCE), metavar="G",
              help="As in generate. Default: what the model asks for.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, metavar="S",
              help="Clip k has the seed S + k.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Compute threads.")
def command(
    bundle: str, clips: Path, output: Path, prompts: tuple[str, ...], max_clips: int | None,
    seconds: Fraction, times: int, steps: int | None, guidance: float | None, seed: int, threads: int | None,
) -> None:  # fmt: skip
    """Run a model on a few clips and keep what its networks are fed: the ranges of INT8 come from that.

    BUNDLE is a built-in model or the folder of a bundle. The denoiser is captured at several noise levels and
    in both guidance branches. The set belongs to the model's weights: another model refuses it.
    """
    from edgefoley.quant.calibrate import Options, calibrate, videos_in

    options = Options(prompts, seed, seconds, times, steps, guidance, threads)
    videos = videos_in(clips)[:max_clips]
    made = calibrate(open_bundle(bundle), videos, output, options, lambda line: click.echo(line, err=True))
    count = sum(len(each) for each in made.samples.values())
    click.echo(f"{count} runs of {len(made.samples)} networks, set {made.identity[:12]}", err=True)
    click.echo(click.format_filename(output))
