"""``edgefoley sensitivity``: which layers a model loses most by when they are quantised."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefoley.bundle import open_bundle
from edgefoley.cli.calibrate import need_onnx
from edgefoley.cli.events import write_whole
from edgefoley.cli.report import echo_json
from edgefoley.errors import UsageError
from edgefoley.output import check_target

if TYPE_CHECKING:
    from edgefoley.quant.mixture import Mix
    from edgefoley.quant.sensitivity import Bench, Report, Row, Say

EPILOG = """\b
Examples:
  edgefoley sensitivity nano --calibration set
  edgefoley sensitivity nano --calibration set --modules-only --sound clip.mp4
  edgefoley sensitivity nano --calibration set --scheme w4a16 --plot layers.png
  edgefoley sensitivity nano --calibration set --min-sqnr 30 -o mine.toml
  edgefoley sensitivity nano --calibration set --max-bytes 12000000 -o mine.toml
  edgefoley quantize nano --recipe mine.toml --calibration set -o mine
"""


@click.command("sensitivity", epilog=EPILOG)
@click.argument("bundle", metavar="BUNDLE")
@click.option("--calibration", type=click.Path(path_type=Path), metavar="SET",
              help="What `edgefoley calibrate` made with this model. Needed.")  # fmt: skip
@click.option("--component", default="denoiser", show_default=True, metavar="NAME",
              help="The network that is looked at.")  # fmt: skip
@click.option("--recipe", default="int8-dynamic", show_default=True, metavar="NAME|FILE",
              help="Says what is done to a layer.")  # fmt: skip
@click.option("--scheme", metavar="NAME",
              help="Do this to every layer that can have it, instead of what the recipe says.")  # fmt: skip
@click.option("--module", "patterns", multiple=True, metavar="PATTERN",
              help="A module: layers whose COMPONENT/LAYER fits. Default: by what they are for.")  # fmt: skip
@click.option("--modules-only", is_flag=True, help="Not every layer; a mix is made of modules then.")
@click.option("--inputs", type=click.IntRange(1), default=2, show_default=True, metavar="N",
              help="Captured inputs used per noise level. A mix is checked on all.")  # fmt: skip
@click.option("--sound", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CLIP",
              help="Measure the sound of this video too, with each module quantised.")  # fmt: skip
@click.option("--max-bytes", type=click.IntRange(1), metavar="N",
              help="Choose the mix of least loss whose files have at most N bytes.")  # fmt: skip
@click.option("--min-sqnr", type=float, metavar="DB",
              help="Choose the smallest mix with at least this mean SQNR.")  # fmt: skip
@click.option("--keep", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True,
              help="How a mix stores the layers that it does not quantise.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the mix as a recipe (.toml).")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="Write a picture.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, not a table.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(bundle: str, calibration: Path | None, quiet: bool, as_json: bool, **flags: Any) -> None:
    """Measure what every layer and module of a network loses when only it is quantised, and choose a mix.

    BUNDLE is a built-in model or the folder of a bundle. The loss is the signal-to-noise ratio (SQNR) of the
    network's output on the captured inputs, of the denoiser by noise level; the most sensitive come first.
    With an aim the layers to quantise are chosen by it, and the mix is quantised and measured as a whole.
    """
    if calibration is None:
        raise UsageError(
            f"--calibration is needed; make a set with: edgefoley calibrate {bundle} --clips FOLDER -o SET"
        )
    _check(flags)
    need_onnx()
    from edgefoley.quant.calibrate import open_set
    from edgefoley.quant.sensitivity import Bench

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    source = open_bundle(bundle)
    samples = open_set(calibration, source)
    with tempfile.TemporaryDirectory(prefix="edgefoley-sensitivity-") as folder:
        bench = Bench(source, flags["component"], samples, Path(folder), flags["inputs"])
        report, mix = _work(bench, samples.identity, flags, say)
    if as_json:
        echo_json({**report.to_json(), **({} if mix is None else {"mix": mix.to_json()})})
    else:
        click.echo("\n".join(_table(report, mix)))


def _check(flags: dict[str, Any]) -> None:
    aims = flags["max_bytes"] is not None or flags["min_sqnr"] is not None
    output, plot = flags["output"], flags["plot"]
    if output is not None and not aims:
        raise UsageError("--output writes a mix; ask for one with --max-bytes or --min-sqnr.")
    for path, ending, what in ((output, ".toml", "recipe"), (plot, ".png", "picture")):
        if path is not None and path.suffix.lower() != ending:
            raise UsageError(f"a {what} is written to a file that ends in {ending}, not to {path}.")
        if path is not None:
            check_target(path, flags["overwrite"])


def _work(bench: Bench, identity: str, flags: dict[str, Any], say: Say) -> tuple[Report, Mix | None]:
    """Measure, choose, and write the files asked for."""
    from edgefoley.quant import sensitivity as s
    from edgefoley.quant.chart import plot_sensitivity
    from edgefoley.quant.mixture import Aim, find_mix, toml_of
    from edgefoley.quant.modules import chosen_recipe, modules_of, units_of
    from edgefoley.quant.recipe import load_recipe

    base = load_recipe(flags["recipe"])
    recipe = chosen_recipe(base, flags["scheme"])
    units = units_of(bench.layers, recipe)
    groups = modules_of(units, flags["patterns"])
    layers = [] if flags["modules_only"] else s.measure_units(bench, units, say)
    known = {row.unit.members: row for row in layers}
    fresh = s.measure_units(bench, [unit for unit in groups if unit.members not in known], say)
    known |= {row.unit.members: row for row in fresh}
    modules = [s.Row(unit, known[unit.members].saved, known[unit.members].sqnr) for unit in groups]
    if flags["sound"] is not None:
        modules = s.measure_sounds(bench, modules, flags["sound"], say)
    report = s.Report(
        bench.component.name, recipe.name, s.ranked(layers), s.ranked(modules), len(bench.few), identity
    )
    mix = None
    if flags["max_bytes"] is not None or flags["min_sqnr"] is not None:
        aim = Aim(flags["max_bytes"], flags["min_sqnr"], flags["keep"])
        mix = find_mix(bench, layers or modules, aim, base, say)
    if flags["plot"] is not None:
        write_whole(flags["plot"], plot_sensitivity(report), flags["overwrite"])
    if mix is not None and flags["output"] is not None:
        write_whole(flags["output"], toml_of(mix, bench, identity).encode(), flags["overwrite"])
    return report, mix


def _table(report: Report, mix: Mix | None) -> Iterator[str]:
    yield (
        f"{report.component}, {report.recipe}: SQNR in dB of the output when only that is quantised, "
        f"{report.inputs} inputs"
    )
    for title, rows in (("module", report.modules), ("layer", report.layers)):
        if rows:
            yield ""
            yield from _rows(title, rows)
    if mix is not None:
        from edgefoley.quant.sensitivity import decibels

        yield ""
        yield (
            f"mix: {len(mix.chosen)} quantised, {len(mix.kept)} kept in {mix.aim.keep}: {mix.bytes} bytes, "
            f"{decibels(mix.sqnr['mean'], ' dB')} on average, least {decibels(mix.sqnr['least'], ' dB')}, "
            "on all inputs"
        )
        for row in mix.kept:
            yield f"  kept: {row.unit.name}"


def _rows(title: str, rows: Sequence[Row]) -> Iterator[str]:
    from edgefoley.quant.sensitivity import decibels

    levels = list(rows[0].sqnr["by_level"])
    wide = max(len(title), *(len(row.unit.name) for row in rows))
    sound = any(row.log_mel_db is not None for row in rows)
    head = [f"{title:{wide}}", "layers", "     kB saved", "  mean", " least", *(f"{x:>7}" for x in levels)]
    yield " ".join([*head, *(["log-mel"] if sound else []), " scheme"])
    for row in rows:
        cells = [f"{row.unit.name:{wide}}", f"{len(row.unit.members):6}", f"{row.saved / 1e3:13.1f}"]
        cells += [f"{decibels(row.sqnr[key]):>6}" for key in ("mean", "least")]
        cells += [f"{decibels(row.sqnr['by_level'][level]):>7}" for level in levels]
        cells += [f"{row.log_mel_db:7.2f}"] if row.log_mel_db is not None else []
        yield " ".join([*cells, f" {row.unit.schemes}"])
