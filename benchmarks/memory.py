"""What opening and running each network of a bundle takes, against what ``edgefoley.plan`` counts with:
python benchmarks/memory.py --model DIR [--backend ort] [--seconds 10] [--only denoiser.06 sync]

Every graph is opened, run ``--repeats`` times with inputs of the length that ``--seconds`` of sound have, and
closed, one after the other in this process; the peaks of resident memory are those since each was opened.
``counted`` is the plan's weights and intermediate values together. Prints a card of the machine, the table,
and one last line of JSON. One thread. Linux only: elsewhere peaks cannot be told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from edgefoley._version import __version__
from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.graphs import Graphs
from edgefoley.memory import hold_little, peak_rss_mb, reset_peak_rss
from edgefoley.plan import Needs, Run
from edgefoley.types import TensorSpec


def inputs_of(specs: Iterator[TensorSpec], sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Arrays of the right shapes; what they hold does not change what a network costs."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for spec in specs:
        shape = [size if isinstance(size, int) else sizes[size] for size in spec.shape]
        if spec.dtype == "float32":
            made[spec.name] = random.standard_normal(shape, dtype=np.float32)
        else:  # rows and words: small enough for every table
            made[spec.name] = np.ones(shape, dtype=spec.dtype)
    return made


def measure(graphs: Graphs, name: str, sizes: dict[str, int], repeats: int) -> dict[str, Any]:
    """Megabytes before, at the peak of opening, at the peak of running, after closing; seconds of both."""
    specs = graphs.bundle.components[name].inputs
    feeds = inputs_of(iter(specs.values()), sizes)
    graphs.bundle.artefact(name, graphs.backend.name)  # hashing is not what is measured
    reset_peak_rss()
    before, start = peak_rss_mb(), time.process_time()
    graphs.run(name, feeds)
    opened, peak = time.process_time() - start, peak_rss_mb()
    start = time.process_time()
    for _ in range(repeats):
        graphs.run(name, feeds)
    ran = (time.process_time() - start) / repeats
    peak = max(peak, peak_rss_mb())
    graphs.close([name])
    reset_peak_rss()
    return {
        "graph": name, "before_mb": before, "peak_mb": peak - before, "left_mb": peak_rss_mb() - before,
        "first_cpu_s": opened, "run_cpu_s": ran,
    }  # fmt: skip


def names_of(bundle: Bundle, only: list[str]) -> list[str]:
    graphs = [name for name, component in bundle.components.items() if not component.parts]
    unknown = set(only) - set(graphs)
    if unknown:
        raise SystemExit(f"no graphs {sorted(unknown)}; there are: {', '.join(graphs)}")
    return [name for name in graphs if not only or name in only]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    bundle, backend = open_bundle(arguments.model), get_backend(arguments.backend)
    hold_little()
    graphs = Graphs(bundle, backend, LoadOptions(threads=1))
    needs = Needs(bundle, backend.name, Run(arguments.seconds))
    card = {
        "model": f"{bundle.name} {bundle.version}", "storage": bundle.manifest.get("quantization"),
        "backend": backend.name, "seconds": float(arguments.seconds), "edgefoley": __version__,
        "machine": platform.machine(), "system": platform.platform(), "load": os.getloadavg(),
    }  # fmt: skip
    for key in ("model", "backend", "seconds", "machine", "system", "load"):
        print(f"{key:10} {card[key]}")
    print(f"\n{'graph':14} {'peak MB':>8} {'counted':>8} {'left':>6} {'first run':>10} {'run, CPU s':>10}")
    rows = []
    for name in names_of(bundle, arguments.only):
        row = measure(graphs, name, needs.sizes_of(name), arguments.repeats)
        row["counted_mb"] = (needs.weights_of(name) + needs.activations_of(name)) / 1e6
        rows.append(row)
        print(
            f"{name:14} {row['peak_mb']:8.0f} {row['counted_mb']:8.0f} {row['left_mb']:6.0f} "
            f"{row['first_cpu_s']:10.2f} {row['run_cpu_s']:10.2f}",
            flush=True,
        )
    print(json.dumps({"card": card, "rows": rows}))


if __name__ == "__main__":
    main()
