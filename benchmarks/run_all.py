"""All figures of README: python benchmarks/run_all.py [--only speed flops evaluate recipes]

Runs speed.py, flops.py, evaluate.py and recipes.py one after the other, keeps benchmarks/results/NAME.json,
and writes README's tables from them (tables.py). Parts that were not run now keep the results of an earlier
run, if there are any. Two parts are left out, with a note, where what they need is missing: evaluate.py
without the evaluation folder (../shared), recipes.py without the model's float32 weights (--float32, a bundle
that `make nano` leaves) and their calibration set.

On two cores about 10 minutes for speed.py (with the installation), seconds for flops.py, 7 minutes for
evaluate.py and 10 for recipes.py. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tables import PARTS

HERE = Path(__file__).resolve().parent


def options_of(part: str, arguments: argparse.Namespace) -> list[str] | str:
    """What a part is called with, or why it has to be left out."""
    shared = arguments.shared
    if part == "evaluate":
        missing = not (shared / "eval" / "score.py").exists()
        return f"there is no eval/score.py in {shared}" if missing else ["--shared", str(shared)]
    if part == "recipes":
        for path in (arguments.float32 / "manifest.json", arguments.calibration / "set.json"):
            if not path.exists():
                return f"there is no {path}"
        return ["--model", str(arguments.float32), "--calibration", str(arguments.calibration),
                "--shared", str(shared)]  # fmt: skip
    return []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared")
    parser.add_argument("--float32", type=Path, default=Path("runs/nano-float32"), metavar="BUNDLE")
    parser.add_argument("--calibration", type=Path, default=Path("runs/calibration/set"), metavar="SET")
    arguments = parser.parse_args()
    for part in arguments.only:
        options = options_of(part, arguments)
        if isinstance(options, str):
            print(f"{part} is left out: {options}", file=sys.stderr)
            continue
        print(f"\n== {part}", flush=True)
        result = HERE / "results" / f"{part}.json"
        done = subprocess.run([sys.executable, str(HERE / f"{part}.py"), "--json", str(result), *options])
        if done.returncode:
            sys.exit(done.returncode)
    sys.exit(subprocess.run([sys.executable, str(HERE / "tables.py")]).returncode)


if __name__ == "__main__":
    main()
