"""All figures of README: python benchmarks/run_all.py [--only speed flops evaluate]

Runs speed.py, flops.py and evaluate.py one after the other and writes benchmarks/results/NAME.json and
benchmarks/results/table.md, whose rows bear the names under which README and the model card quote them.
Parts that were not run now are taken from the results of an earlier run, if there are any. evaluate.py needs
the evaluation folder (../shared) and is left out without it, with a note.

On two cores about 10 minutes for speed.py (with the installation), seconds for flops.py and 10 minutes for
evaluate.py. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PARTS = ("speed", "flops", "evaluate")
CARD = (
    "processor",
    "cores",
    "threads",
    "system",
    "load_average",
    "model",
    "steps",
    "guidance",
    "onnxruntime",
)

# Name in the documents -> what it is, and where it stands: part, then the way to the value.
FIGURES: dict[str, tuple[str, str]] = {
    "install_mb": ("installed size, MB", "speed/install/install_mb"),
    "bundle_mb": ("model, MB", "speed/card/bundle_mb"),
    "warm_s": ("10 s 720p clip, warm, s", "speed/warm/seconds"),
    "cold_s": ("the same with process start, s", "speed/process/seconds"),
    "peak_rss_mb": ("peak memory, MB", "speed/process/peak_rss_mb"),
    "gflop": ("arithmetic for 10 s, GFLOP", "flops/gflop"),
    "onset_f1": ("onset F1 ±100 ms, sync core", "evaluate/clips/onset_f1"),
    "onset_chance": ("the same by chance", "evaluate/clips/onset_f1_chance"),
    "shuffled_f1": ("onset F1 with another clip's pictures", "evaluate/shuffled/onset_f1"),
    "shuffled_chance": ("the same by chance", "evaluate/shuffled/onset_f1_chance"),
    "matched_chance": ("chance among clips of the same length", "evaluate/clips/matched_chance"),
    "no_prompt_f1": ("onset F1 without words", "evaluate/no prompt/onset_f1"),
    "kl_yamnet": ("KL YAMNet (lower is better)", "evaluate/clips/kl_yamnet"),
    "cos_yamnet": ("cosine YAMNet", "evaluate/clips/cos_yamnet"),
    "hit_en": ("hits in the top five, English words alone", "evaluate/prompts/hit_en"),
    "hit_zh": ("the same in Chinese", "evaluate/prompts/hit_zh"),
    "hit_clip_en": ("hits over the example clip, English", "evaluate/example/hit_en"),
    "hit_clip_zh": ("the same in Chinese", "evaluate/example/hit_zh"),
}


def load(part: str) -> dict[str, Any]:
    """A part's results with its cases reachable by name; empty when there are none."""
    path = RESULTS / f"{part}.json"
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found |= {row["case"]: row for row in found.get("rows", ())}
    found |= found.get("cases", {})
    return found


def look_up(results: dict[str, Any], place: str) -> str | None:
    """The value at ``place``, written as the table shows it; None when it was not measured."""
    value: Any = results
    for step in place.split("/"):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    if isinstance(value, dict):
        return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table() -> str:
    """The figures in Markdown, with the machine they were measured on."""
    results = {part: load(part) for part in PARTS}
    lines = ["| name | figure | value |", "|---|---|---|"]
    for name, (words, place) in FIGURES.items():
        lines.append(f"| {name} | {words} | {look_up(results, place) or 'not measured'} |")
    card = results["speed"].get("card", {})
    about = [f"- {key}: {card[key]}" for key in CARD if key in card]
    return "\n".join(["Written by `python benchmarks/run_all.py`.", "", *lines, "", *about, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for part in arguments.only:
        command = [sys.executable, str(HERE / f"{part}.py"), "--json", str(RESULTS / f"{part}.json")]
        if part == "evaluate":
            if not (arguments.shared / "eval" / "score.py").exists():
                print(
                    f"evaluate is left out: there is no eval/score.py in {arguments.shared}", file=sys.stderr
                )
                continue
            command += ["--shared", str(arguments.shared)]
        print(f"\n== {part}", flush=True)
        done = subprocess.run(command)
        if done.returncode:
            sys.exit(done.returncode)
    (RESULTS / "table.md").write_text(table(), encoding="utf-8")
    print(f"\n{table()}")


if __name__ == "__main__":
    main()
