"""The mean of several stages of one training: ``python -m edgefoley.train.soup --runs runs/before runs/after
--out runs/mean``.

A network that learns on from other films gains there and loses elsewhere; the mean of its weights before and
after keeps most of both and costs nothing when it runs (Wortsman et al. 2022, "Model soups", arXiv
2203.05482). It only holds for runs of which one began with the other's weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from edgefoley.train.files import write_whole
from edgefoley.train.loop import averaged, save_atomic


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor of ``states``; what is no floating point (counters) is the last one's. Raises
    ValueError where names or shapes differ."""
    last = states[-1]
    for state in states:
        shapes = {k: v.shape for k, v in state.items()}
        if shapes != {k: v.shape for k, v in last.items()}:
            raise ValueError("runs of different networks have no mean: names or shapes of tensors differ")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in last.items()
    }


def write_mean(runs: list[Path], out: Path) -> None:
    """``out``/last.pt with the mean of the averaged weights of sync encoders' ``runs`` (``train.sync``), and
    sync.json with the last one's figures and calibration (``export.sync_pair`` fits its own). Raises
    SystemExit where ``out`` holds a run, and ValueError as ``mean`` does."""
    if (out / "last.pt").exists():
        raise SystemExit(f"{out}/last.pt exists: choose another --out")
    states = [averaged(run) for run in runs]
    about = json.loads((runs[-1] / "sync.json").read_text()) | {"mean_of": [run.name for run in runs]}
    made = mean(states)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "sync.json", json.dumps(about, indent=1) + "\n")
    save_atomic({"average": made}, out / "last.pt")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="two runs of train.sync or more")
    parser.add_argument("--out", type=Path, required=True, help="folder of the mean, as of a run")
    args = parser.parse_args()
    write_mean(args.runs, args.out)
    print(f"{args.out}: the mean of {len(args.runs)} runs")


if __name__ == "__main__":
    main()
