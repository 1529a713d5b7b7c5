"""Arithmetic of one clip, counted from a model's graphs:
python benchmarks/flops.py [--model NAME|DIR] [--seconds 10]

Multiplications and additions of products and convolutions (a multiply-add counts as two) at the shapes that a
clip of so many seconds has (``edgefoley.bench.operations``). Prints a table and one last line of JSON.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from outcome import put_out

from edgefoley.bench.operations import count, count_run, work_of
from edgefoley.bench.workload import Workload
from edgefoley.bundle import open_bundle
from edgefoley.plan import Run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10))
    parser.add_argument("--words", type=int, default=8, help="tokens of the prompt")
    parser.add_argument("--steps", type=int, help="denoising steps; default: the model's")
    parser.add_argument("--guidance", type=float, help="above 1 two passes per step; default: the model's")
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.model)
    steps = bundle.defaults.steps if arguments.steps is None else arguments.steps
    guidance = bundle.defaults.guidance if arguments.guidance is None else arguments.guidance
    run = Run(arguments.seconds, True, (1280, 720), 2 if guidance > 1 else 1, steps)
    passes = Workload(bundle, "ort", run, arguments.words).passes()
    totals = {name: one.total / 1e9 for name, one in count_run(passes).items()}
    print(f"{bundle.name}, {float(arguments.seconds):g} s, {steps} steps, guidance {guidance:g}")
    print(f"{'graph':16} {'once':>8} {'times':>6} {'GFLOP':>8}")
    for one in passes:
        once = count(work_of(one)).total / 1e9
        print(f"{one.component:16} {once:8.3f} {one.times:6d} {one.times * once:8.2f}")
    print(f"{'all':16} {'':8} {'':6} {sum(totals.values()):8.2f}")
    result = {"model": f"{bundle.name} {bundle.version}", "seconds": float(arguments.seconds), "steps": steps,
              "guidance": guidance, "part_gflop": totals, "gflop": sum(totals.values())}  # fmt: skip
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()
