"""``edgefoley evaluate``: two models, or two folders of sounds, measured against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefoley.cli.report import collected, echo_json

EPILOG = """\b
Examples:
  edgefoley evaluate nano-fp32 nano --clips holiday/
  edgefoley evaluate nano-fp32 nano --clips holiday/ -p "footsteps on gravel" --report report
  edgefoley evaluate out/before out/after --clips holiday/ --json
  edgefoley evaluate out/before out/after --clips holiday/ --tagger yamnet.onnx
"""


@click.command("evaluate", epilog=EPILOG)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--clips", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="A folder of videos. Their own sound, where they have one, is the true one.")  # fmt: skip
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT",
              help="Words for the clips, taken in turn, for models. Default: the words of each file's "
                   "name.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S",
              help="Of the first clip, the same for both models; clip k has S + k.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1, 1000), metavar="N",
              help="Denoising steps of models. Default: what the model asks for.")  # fmt: skip
@click.option("--guidance", type=click.FloatRange(0), metavar="G",
              help="Guidance of models. Default: what the model asks for.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N",
              help="Compute threads. Default: one for each core this process may use.")  # fmt: skip
@click.option("--tagger", type=click.Path(path_type=Path), metavar="ONNX",
              help="A network that embeds sound, for distances between sets of sounds. None is "
                   "shipped.")  # fmt: skip
@click.option("--tagger-output", metavar="NAME", help="Which output of it is the embedding.")
@click.option("--aisfx", type=click.Path(path_type=Path), metavar="DIR",
              help="Where cnn2d.py and checkpoint.pth of the package aisfx are. Default: the installed "
                   "package.")  # fmt: skip
@click.option("--no-predictors", is_flag=True,
              help="Leave out Zimtohrli and ViSQOL, which take seconds per clip.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR",
              help="Write a page with plots that plays both beside each other.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, not a table.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def command(
    a: str, b: str, clips: Path, report: Path | None, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """Compare A and B on a folder of clips: two models, two folders of sounds, or one of each.

    A and B are names or folders of models, or folders that hold a sound for every clip, named like it. Every
    mean has a 95 % interval over clips, and B minus A one of its own. What cannot be measured here is named
    with what would allow it. Predicted grades come from models of listeners; for listeners there is
    `edgefoley listen`.
    """
    from edgefoley.convert.folders import check_free
    from edgefoley.evaluation import report as reports
    from edgefoley.evaluation.comparison import Extras, compare
    from edgefoley.evaluation.sides import Options, clips_in, open_side

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if report is not None:
        check_free(report)
    options = Options(flags["prompts"], flags["seed"], flags["steps"], flags["guidance"], flags["threads"])
    extras = Extras(flags["aisfx"], flags["tagger"], flags["tagger_output"], not flags["no_predictors"])
    videos = clips_in(clips)
    with collected():
        found = compare(open_side(a), open_side(b), videos, options, extras, say)
        page = None if report is None else reports.write_report(found, videos, report)
    if as_json:
        echo_json(reports.to_json(found))
    else:
        click.echo("\n".join(reports.lines(found)))
    if page is not None:
        click.echo(click.format_filename(page), err=True)
