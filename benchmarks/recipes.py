"""What each recipe costs and keeps, for README: python benchmarks/recipes.py --model FLOAT --calibration SET

FLOAT is nano with weights as trained (`make nano` leaves it in runs/nano-float32), SET what `edgefoley
calibrate` made of it. Every recipe is made from these, then:

here       `edgefoley bench`, all recipes in turn, each round in a process of its own: a 10 s clip of 720p,
           warm and cold, memory, energy where the machine can tell; size of the bundle
elsewhere  projected, on the devices of the published study (study.toml), never measured
kept       the same clips, prompts and seed as benchmarks/evaluate.py, paired clip by clip with fp32: onset
           F1, KL, and the sound itself (Zimtohrli, if it is installed; log-mel distance). Left out without
           ../shared.

Prints one last line of JSON. README's tables are made of it by tables.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluate import ROOT, paired
from outcome import put_out
from quantization import made_bundles
from tables import study

from edgefoley import sound_files
from edgefoley.bench.clip import PROMPT, study_clip
from edgefoley.bench.projection import project
from edgefoley.bench.session import Case, Subject, bench
from edgefoley.bench.summary import summary
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.hub import cache_folder
from edgefoley.metrics.audio_quality import log_mel_distance, zimtohrli_mos
from edgefoley.metrics.event_scores import interval
from edgefoley.quant.calibrate import open_set

HERE = Path(__file__).resolve().parent
RECIPES = ("fp32", "int8-dynamic", "int8", "w8a16")  # the first is what the others are compared with
SCORES = ("onset_f1", "onset_f1_50", "kl_yamnet", "cos_yamnet")
DURATION = Fraction(10)


def here(bundles: dict[str, Bundle], rounds: int, threads: int | None) -> dict[str, Any]:
    """Time, memory and energy of every bundle on this machine, all in turn."""
    cases = [Case(str(bundle.folder), threads=threads) for bundle in bundles.values()]
    found = bench(
        cases,
        Subject(study_clip(cache_folder() / "bench"), PROMPT),
        rounds,
        lambda words: print(words, file=sys.stderr),
    )
    rows = {}
    for name, case in zip(bundles, found["cases"], strict=True):
        short = summary(case)
        rows[name] = {
            key: short[key] for key in ("warm_s", "cold_s", "warm_cpu_s", "peak_mb", "anonymous_mb")
        }
        rows[name] |= {"watts": short["watts"], "bytes": sum(f.bytes for f in bundles[name].files)}
    return {"card": found["card"], "energy": found["energy"], "clip": found["clip"], "rows": rows}


def elsewhere(bundles: dict[str, Bundle]) -> dict[str, Any]:
    """Seconds and memory of every bundle on the study's devices: projected."""
    return {
        device["profile"]: {
            name: project(str(bundle.folder), device["profile"], DURATION).to_json()
            for name, bundle in bundles.items()
        }
        for device in study()["device"]
    }


def scored(bundle: Bundle, folder: Path, shared: Path, limit: int | None) -> dict[str, Any]:
    """Sounds for the clips of the sync core in ``folder``, and score.py's scores of each."""
    command = [sys.executable, str(HERE / "evaluate.py"), "--model", str(bundle.folder), "--only", "clips"]
    command += ["--out", str(folder), "--shared", str(shared)]
    command += [] if limit is None else ["--limit", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"evaluate.py failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads((folder / "clips" / "scores.json").read_text(encoding="utf-8"))
    return found


def kept(bundles: dict[str, Bundle], work: Path, shared: Path, limit: int | None) -> dict[str, Any]:
    """Scores of the first bundle, and of each other one minus those, clip by clip."""
    measures: dict[str, Callable[[Any, Any], float]] = {"log_mel_db": log_mel_distance}
    if find_spec("zimtohrli") is not None:
        measures["zimtohrli"] = zimtohrli_mos
    scores = {name: scored(bundle, work / name, shared, limit) for name, bundle in bundles.items()}
    first, *others = scores
    clips = sorted(scores[first]["clips"])
    found: dict[str, Any] = {
        first: {key: interval([scores[first]["clips"][clip][key] for clip in clips]) for key in SCORES}
    }
    for name in others:
        found[name] = {key: paired(scores[name], scores[first], key) for key in SCORES}
        waves = [
            [sound_files.read_sound(work / n / "clips" / f"{clip}.wav").samples[0] for n in (name, first)]
            for clip in clips
        ]
        found[name] |= {
            key: interval([measure(*pair) for pair in waves]) for key, measure in measures.items()
        }
    return {"clips": len(clips), "reference": first, "rows": found}


def run(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    bundle = open_bundle(arguments.model)
    samples = open_set(arguments.calibration, bundle)
    bundles, refused = made_bundles(
        bundle, list(dict.fromkeys([RECIPES[0], *arguments.recipes])), samples, work
    )
    if refused:
        sys.exit("\n".join(f"{name}: {reason}" for name, reason in refused.items()))
    found: dict[str, Any] = {"here": here(bundles, arguments.rounds, arguments.threads)}
    found["elsewhere"] = elsewhere(bundles)
    if (arguments.shared / "eval" / "score.py").exists():
        found["kept"] = kept(bundles, work / "sounds", arguments.shared, arguments.limit)
    else:
        print(f"quality is left out: there is no eval/score.py in {arguments.shared}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="runs/nano-float32", help="weights as trained")
    parser.add_argument("--calibration", type=Path, default=Path("runs/calibration/set"), metavar="SET")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="holds eval/ and data/")
    parser.add_argument("--limit", type=int, help="only so many clips (a trial, not a figure)")
    parser.add_argument("--work", type=Path, help="keep bundles and sounds here, and use what is there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        put_out(run(arguments, work), arguments.json)


if __name__ == "__main__":
    main()
