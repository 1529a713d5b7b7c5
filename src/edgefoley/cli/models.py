"""``edgefoley models``: which models can be used."""

from __future__ import annotations

from dataclasses import asdict

import click

from edgefoley.api import list_models
from edgefoley.cli.report import echo_json

EPILOG = """\b
Examples:
  edgefoley models
  edgefoley models --json
"""


@click.command(name="models", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model.")
def command(as_json: bool) -> None:
    """List the built-in models: name, version, size, licence and engines.

    Any other bundle is used by its folder: edgefoley generate clip.mp4 --model path/to/bundle
    """
    models = list_models()
    if not models:
        click.echo("No models are built in; give the folder of a bundle with --model.", err=True)
    for model in models:
        if as_json:
            echo_json(asdict(model))
            continue
        size = f"{model.bytes / 1e6:.1f} MB"
        engines = ", ".join(model.backends)
        click.echo(f"{model.name}  {model.version}  {size}  {model.licence}  engines: {engines}")
        click.echo(f"  {model.problem or model.description}")
