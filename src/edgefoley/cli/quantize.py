"""``edgefoley quantize``: a bundle with other numbers in it, by a recipe. See docs/quantization.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefoley.bundle import open_bundle
from edgefoley.cli.calibrate import need_onnx
from edgefoley.cli.report import echo_json
from edgefoley.errors import UsageError

EPILOG = """\b
Examples:
  edgefoley quantize --list
  edgefoley quantize nano --layers
  edgefoley quantize nano --recipe int8 --calibration set -o nano-int8
  edgefoley quantize nano --recipe w8a16 -o nano-small
  edgefoley quantize nano --recipe mine.toml --calibration set -o mine --json
"""


@click.command("quantize", epilog=EPILOG)
@click.argument("bundle", metavar="BUNDLE", required=False)
@click.option("--recipe", metavar="NAME|FILE", help="A packaged recipe (--list), or a .toml file.")
@click.option("--calibration", type=click.Path(path_type=Path), metavar="SET",
              help="What `edgefoley calibrate` made with this model.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT",
              help="A folder for the new bundle; must not exist yet.")  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="List the packaged recipes and stop.")
@click.option("--layers", is_flag=True, help="List the layers that a recipe can name and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object on stdout.")
def command(
    bundle: str | None, recipe: str | None, calibration: Path | None, output: Path | None,
    listed: bool, layers: bool, as_json: bool,
) -> None:  # fmt: skip
    """Store and compute a model in fewer bits, by a recipe, and prove what it cost.

    BUNDLE is a built-in model or the folder of a bundle. The new bundle is used like any other: edgefoley
    generate clip.mp4 --model OUT. A result that misses the recipe's gate, or that ONNX Runtime does not
    really compute in integers, is refused and nothing is written.
    """
    from edgefoley.quant.recipe import known_recipes, load_recipe

    if listed:
        for name in known_recipes():
            packaged = load_recipe(name)
            need = "needs calibration" if packaged.needs_calibration else "no calibration"
            click.echo(f"{name:14} {packaged.about} ({need})")
        return
    if bundle is None:
        raise UsageError("name a BUNDLE, for example: edgefoley quantize nano --layers")
    need_onnx()
    from edgefoley.quant.apply import layers_of, quantize

    source = open_bundle(bundle)
    if layers:
        for name, kind in layers_of(source):
            click.echo(f"{name}\t{kind}")
        return
    if recipe is None or output is None:
        raise UsageError("--recipe and --output are needed; --list shows the packaged recipes.")
    from edgefoley.quant.calibrate import open_set

    chosen = load_recipe(recipe)
    samples = None if calibration is None else open_set(calibration, source)
    made = quantize(source, chosen, samples, output, lambda line: click.echo(line, err=True))
    if as_json:
        echo_json({"output": str(output), "quantization": _brief(made.manifest["quantization"])})
    else:
        click.echo(click.format_filename(output))


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    """Without the layers; those are in the manifest."""
    components = {
        name: {key: value for key, value in entry.items() if key != "layers"}
        for name, entry in record["components"].items()
    }
    name, calibration = record["recipe"]["name"], record["calibration"]
    return {"recipe": name, "calibration": calibration, "components": components}
