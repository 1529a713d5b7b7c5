"""How well the sound fits: python benchmarks/evaluate.py [--only CASE ...] [--limit N]

Generates with one fixed seed, no best-of, everything in one process, and scores with `score.py` of the
evaluation folder (which is not part of this project; without it this script cannot run):

clips       every clip of the sync core with its own pictures, prompt = what is seen and heard
shuffled    the same prompts with another clip's pictures, scored against the clip's own sound: onset F1 must
            fall to chance. Pairs are a fixed permutation without fixed points. Pictures that last too long
            are cut, too short ones begin again.
no prompt   own pictures, no words
prompts     single sounds from words alone, in English and Chinese: share of hits in YAMNet's top five
example     the same words over the pictures of examples/bouncing_ball.mp4

`onset_f1_chance` is score.py's: against the true sound of every other clip, shorter and longer ones too,
which cannot match well. `matched_chance` counts only other clips of about the same length (within 0.3 s of
what is scored): the level to which shuffled pictures must fall.

95 % intervals: percentile bootstrap over clips or prompts, 10 000 draws. `gain` is onset F1 minus chance,
clip by clip. Every sound and every clip's scores stay in --out; the summary (--json, last line) holds means
and intervals only, since clips and prompts must not be copied into the project.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from outcome import put_out

from edgefoley import media, mix, output
from edgefoley.metrics.event_scores import interval
from edgefoley.metrics.onsets import onset_f1
from edgefoley.pipeline import Pipeline
from edgefoley.timeline import grid_count
from edgefoley.types import Clip, Conditioning, FrameView

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "bouncing_ball.mp4"
LOUDNESS = -23.0  # LUFS, as the command line's default
SCORED = 8.0  # seconds of a sound that score.py looks at
CASES = ("clips", "shuffled", "no prompt", "prompts", "example")
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Reference:
    """One clip to be scored: its file and what is seen and heard in it."""

    path: Path
    prompt: str


class Maker:
    """Encodes and renders with one model, seed and setting; writes what a user would get as WAV."""

    def __init__(self, pipeline: Pipeline, arguments: argparse.Namespace) -> None:
        self.pipeline, self.arguments, self.views = pipeline, arguments, pipeline.bundle.views()
        self.made, self.seconds = 0, 0.0

    def read(self, path: Path) -> Clip:
        return media.read_clip(path, self.views)

    def write(self, conditioning: Conditioning, path: Path) -> None:
        a, begin = self.arguments, time.perf_counter()
        foley = self.pipeline.render(conditioning, a.seed, a.steps, a.guidance)
        output.write_wav(path, mix.normalise(foley.audio, LOUDNESS), {}, overwrite=True)
        self.made, self.seconds = self.made + 1, self.seconds + time.perf_counter() - begin
        if self.made % 10 == 0:
            print(f"{self.made} sounds, {self.seconds / self.made:.2f} s each", file=sys.stderr, flush=True)


def derangement(count: int, seed: int = 0) -> list[int]:
    """A fixed permutation in which nothing keeps its place: one cycle through all in random order."""
    order = np.random.default_rng(seed).permutation(count)
    partner = np.empty(count, dtype=int)
    partner[order] = np.roll(order, -1)
    return [int(i) for i in partner]


def with_length(clip: Clip, duration: Fraction, views: Any) -> Clip:
    """The clip's pictures for exactly ``duration`` seconds: cut, or begun again as often as needed."""
    made = {}
    for name, view in clip.views.items():
        rows = np.arange(grid_count(duration, views[name].rate)) % len(view.frames)
        made[name] = FrameView(view.frames[rows], view.ages[rows])
    return replace(clip, duration=duration, views=made)


def make_clips(maker: Maker, references: list[Reference], folder: Path, case: str) -> None:
    partners = derangement(len(references)) if case == "shuffled" else range(len(references))
    for reference, partner in zip(references, partners, strict=True):
        clip = maker.read(references[partner].path)
        if case == "shuffled":
            clip = with_length(clip, media.probe(reference.path).duration, maker.views)
        words = "" if case == "no prompt" else reference.prompt
        maker.write(maker.pipeline.encode(clip, words), folder / f"{reference.path.stem}.wav")


def make_prompts(maker: Maker, table: Path, folder: Path, case: str) -> None:
    """One sound per row and language; the example's pictures are encoded once for all of them."""
    seen = None
    if case == "example":
        seen = maker.pipeline.encode(maker.read(EXAMPLE), "")
    duration = Fraction(maker.arguments.seconds) if seen is None else seen.duration
    for name, words in prompts(table, maker.arguments.limit):
        spoken = maker.pipeline.encode(None, words, duration=duration)
        if seen is not None:
            spoken = replace(seen, text_feat=spoken.text_feat, prompt=words)
        maker.write(spoken, folder / f"{name}.wav")


def prompts(table: Path, limit: int | None) -> Iterator[tuple[str, str]]:
    """("01-en", English), ("01-zh", Chinese), … of the evaluation's table."""
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines()[1:][:limit], 1):
        for language, words in zip(LANGUAGES, line.split("\t"), strict=False):
            yield f"{number:02d}-{language}", words


def sync_core(clips: Path, limit: int | None) -> list[Reference]:
    with (clips / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["sync_core"] == "yes"]
    return [Reference(clips / row["name"], row["seen_heard"]) for row in rows[:limit]]


def score(shared: Path, folder: Path, *against: str) -> dict[str, Any]:
    """Run the ruler on a folder of sounds; returns what it wrote."""
    result = folder / "scores.json"
    command = [sys.executable, str(shared / "eval" / "score.py"), "--generated", str(folder), *against]
    done = subprocess.run([*command, "--json", str(result)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"score.py failed:\n{done.stderr}{done.stdout}")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def matched_chance(clips: dict[str, Any], seconds: dict[str, float]) -> list[float]:
    """Onset F1 (100 ms) of each sound against the true sounds of other clips of about its length; clips
    without such a neighbour are left out."""
    values = []
    for name, row in clips.items():
        others = [o for o in clips if o != name and abs(seconds[o] - seconds[name]) < 0.3]
        made = np.array(row["made"])
        if others:
            values.append(float(np.mean([onset_f1(made, np.array(clips[o]["true"]), 0.1) for o in others])))
    return values


def clip_summary(scores: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    rows = scores["clips"].values()
    found: dict[str, Any] = {"n": len(rows), "fd_yamnet": scores["total"]["fd_yamnet"]}
    for key in (
        "onset_f1",
        "onset_f1_chance",
        "onset_f1_50",
        "onset_f1_50_chance",
        "kl_yamnet",
        "cos_yamnet",
    ):
        found[key] = interval([row[key] for row in rows])
    matched = matched_chance(scores["clips"], seconds)
    if matched:
        found["matched_chance"] = interval(matched)
    found["gain"] = interval([row["onset_f1"] - row["onset_f1_chance"] for row in rows])
    return found


def prompt_summary(scores: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for language in LANGUAGES:
        hits = [float(row["hit"]) for name, row in scores["clips"].items() if name.endswith(language)]
        found["n"], found[f"hit_{language}"] = len(hits), interval(hits)
    return found


def paired(first: dict[str, Any], second: dict[str, Any], key: str = "onset_f1") -> dict[str, float]:
    """A score of one set of sounds minus that of another, clip by clip."""
    names = first["clips"].keys() & second["clips"].keys()
    return interval([first["clips"][n][key] - second["clips"][n][key] for n in sorted(names)])


def run_cases(maker: Maker, arguments: argparse.Namespace) -> dict[str, Any]:
    shared, scored, found = arguments.shared, {}, {}
    clips, table = shared / "data" / "clips", shared / "eval" / "prompts.tsv"
    references = sync_core(clips, arguments.limit)
    seconds = {r.path.stem: min(SCORED, float(media.probe(r.path).duration)) for r in references}
    for case in arguments.only:
        folder = arguments.out / case.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.wav"):  # or a sound of an earlier, longer run would be scored too
            old.unlink()
        if case in ("prompts", "example"):
            make_prompts(maker, table, folder, case)
            scored[case] = score(shared, folder, "--prompts", str(table))
            found[case] = prompt_summary(scored[case])
        else:
            make_clips(maker, references, folder, case)
            scored[case] = score(shared, folder, "--reference", str(clips))
            found[case] = clip_summary(scored[case], seconds)
        show_case(case, found[case])
    if "clips" in scored and "shuffled" in scored:
        found["clips minus shuffled"] = paired(scored["clips"], scored["shuffled"])
        print(f"{'own minus other pictures, onset F1':36} {words_of(found['clips minus shuffled'])}")
    return found


def words_of(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def show_case(case: str, found: dict[str, Any]) -> None:
    print(f"\n{case} (n = {found['n']})")
    for key, value in found.items():
        if key != "n":
            print(
                f"  {key:20} {words_of(value) if isinstance(value, dict) else format(value, '.3f')}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evaluate"), help="folder for sounds and scores"
    )
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="holds eval/ and data/")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--limit", type=int, help="only so many clips and prompts (a trial, not a figure)")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int, help="default: what the model asks for")
    parser.add_argument("--guidance", type=float, help="default: what the model asks for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=6, help="length of the sounds from words alone")
    parser.add_argument("--json", type=Path, help="write the summary here too")
    arguments = parser.parse_args()
    if not (arguments.shared / "eval" / "score.py").exists():
        sys.exit(f"there is no eval/score.py in {arguments.shared}; name the evaluation folder with --shared")
    with Pipeline.open(arguments.model, arguments.backend, arguments.threads) as pipeline:
        defaults = pipeline.bundle.defaults
        about = {
            "model": f"{pipeline.bundle.name} {pipeline.bundle.version}",
            "steps": defaults.steps if arguments.steps is None else arguments.steps,
            "guidance": defaults.guidance if arguments.guidance is None else arguments.guidance,
            "seed": arguments.seed,
            "seconds": arguments.seconds,
            "limit": arguments.limit,
        }
        for key, value in about.items():
            print(f"{key:10} {value}")
        result = {"card": about, "cases": run_cases(Maker(pipeline, arguments), arguments)}
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()
