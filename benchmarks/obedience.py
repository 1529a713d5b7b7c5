"""Do words give the right sound?
python benchmarks/obedience.py --aisfx DIR --sounds DIR... [--model BUNDLE...]

Made for choosing checkpoints, examples and guidance: it uses neither the evaluation's clips and prompts nor
its tagger. Every concept that has real recordings on both sides of the split is asked for by one of its
phrases in each language, as ``edgefoley sound`` asks; the sound is placed among the training recordings by
sound-effect embeddings (package aisfx, unpacked), and counts as right when the concept is the nearest (top-1)
or among the five nearest. The held-out recordings themselves, placed in the same way, are the ceiling; one
concept in so many is chance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgefoley.evaluation.embedders import Aisfx
from edgefoley.metrics.event_scores import interval
from edgefoley.pipeline import Pipeline
from edgefoley.train.likeness import SECONDS, SoundMap, recordings
from edgefoley.train.sounds.library import SoundLibrary

Array = np.ndarray


def summary(ranks: list[int]) -> dict[str, object]:
    """Shares of right answers with 95 % intervals, and the median rank."""
    at = np.array(ranks)
    return {
        "top1": interval([float(r < 1) for r in at]),
        "top5": interval([float(r < 5) for r in at]),
        "median_rank": float(np.median(at)),
        "sounds": len(at),
    }


def parse() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--aisfx", type=Path, required=True, help="folder with cnn2d.py and checkpoint.pth")
    parser.add_argument("--sounds", type=Path, nargs="+", required=True, help="folders with manifest.tsv")
    parser.add_argument("--library", type=Path, default=Path("runs/library"), help="cache of the cuts")
    parser.add_argument("--model", nargs="+", default=["nano"], help="names or folders of bundles")
    parser.add_argument("--guidance", type=float, nargs="+", default=[None], help="instead of the bundle's")
    parser.add_argument("--steps", type=int, help="instead of the bundle's")
    parser.add_argument("--languages", nargs="+", default=["en", "zh"])
    parser.add_argument("--seeds", type=int, default=1, help="takes of each phrase")
    parser.add_argument("--limit", type=int, help="so many concepts only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse()
    library = SoundLibrary.build(tuple(args.sounds), args.library)
    embed = Aisfx(args.aisfx)
    sides = lambda c: [any(True for _ in recordings(library, c, side)) for side in (False, True)]  # noqa: E731
    concepts = [c for c in library.concepts.values() if all(sides(c))][: args.limit]
    place = SoundMap(library, embed, concepts)
    ranks = [place.rank(w, c.id) for c in concepts for w in recordings(library, c, True)]
    result: dict[str, object] = {"concepts": len(concepts), "held-out recordings": summary(ranks)}
    print(json.dumps(result), flush=True)
    for name in args.model:
        with Pipeline.open(name, threads=args.threads) as model:
            for guidance in args.guidance:
                for language in args.languages:
                    ranks = [
                        place.rank(wave, concept.id)
                        for concept in concepts
                        for wave in takes(
                            model, concept.phrases(language)[0], args.seeds, args.steps, guidance
                        )
                    ]
                    key = f"{name}, {language}" + ("" if guidance is None else f", guidance {guidance:g}")
                    result[key] = summary(ranks)
                    print(json.dumps({key: result[key]}), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def takes(
    model: Pipeline, phrase: str, seeds: int, steps: int | None, guidance: float | None
) -> Iterator[Array]:
    """SECONDS of sound from ``phrase``, once per seed."""
    for seed in range(seeds):
        yield model.generate(
            None, phrase, seed=seed, num_steps=steps, guidance_scale=guidance, duration=Fraction(SECONDS)
        ).audio.samples


if __name__ == "__main__":
    main()
