"""``edgefoley prune``: leave out what matters least, and train what is left. See docs/distillation.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefoley.cli.distill import (
    FOLDER,
    THERE,
    effort_of,
    effort_options,
    needed,
    opened,
    say,
    source_of,
    tell,
)

EPILOG = """\b
Examples:
  edgefoley prune runs/transformer --heads 4 --mlp 0.75
  edgefoley prune runs/transformer --single 3 --out runs/shallow --compile
  edgefoley prune runs/transformer --mlp 0.5 --train-steps 0
"""


@click.command("prune", epilog=EPILOG)
@click.argument("run", type=THERE, metavar="RUN")
@click.option("--out", type=FOLDER, default="runs/pruned", show_default=True, metavar="FOLDER",
              help="Where to write.")  # fmt: skip
@click.option("--two-stream", type=click.IntRange(1), metavar="N", help="Two-stream blocks to keep.")
@click.option("--single", type=click.IntRange(1), metavar="N", help="Single-stream blocks to keep.")
@click.option("--heads", type=click.IntRange(1), metavar="N", help="Heads to keep in every place.")
@click.option("--mlp", type=click.FloatRange(0, 1, min_open=True), metavar="SHARE",
              help="Of the width of every MLP to keep.")  # fmt: skip
@click.option("--true", "true_share", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              metavar="SHARE", help="Of the true velocity in what it heals by.")  # fmt: skip
@click.option("--features", type=THERE, metavar="FOLDER",
              help="Examples for a network with latents of its own (distill features).")  # fmt: skip
@effort_options(steps=2000, rate=4e-4)
def command(run: Path, out: Path, true_share: float, **chosen: Any) -> None:
    """Make a trained transformer smaller: whole heads, MLP channels and blocks go, the least important first.

    RUN is a run of the transformer, or a folder of HunyuanVideo-Foley's weights. What is left then heals for
    --train-steps steps; with 0 it is written as cut. Importance is measured: how much the velocity changes
    when a unit is masked. Everything can be interrupted: the same command goes on where it stopped.
    """
    needed()
    from edgefoley.train.prune import PrunePlan, Smaller, prune, smaller_config

    wanted = Smaller(*(chosen.pop(name) for name in ("two_stream", "single", "heads", "mlp")))
    runs, features = chosen.pop("runs"), chosen.pop("features")
    effort = effort_of(**chosen)
    network = opened(run, 1.0, effort)
    smaller_config(network.config, wanted)  # says at once when nothing would go
    source = source_of(run, network, runs, features, effort, 0.0)
    plan = PrunePlan(out, run, wanted, true_share)
    tell(lambda: prune(plan, network, source, effort, say), out)
