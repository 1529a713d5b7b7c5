"""Choose the examples of a bundle's table of timbres by the sounds that the model makes of them:
``python -m edgefoley.export.choose_timbres --model runs/nano-float32 --aisfx DIR --sounds DIR...``

For every concept a sound is made from a phrase and each of its most typical examples, and placed among the
training recordings by sound embeddings (``train.likeness``). Then means of the best ones are tried beside
them, with other phrases and seeds, since a mean is less particular than one recording; the best few are kept.
Writes a file for ``export.nano --timbres``: concept -> groups of lessons, whose mean is one row of the table.
The first phrase of each concept is left for ``benchmarks/obedience.py``.

The bundle has to be made of the weights in --runs. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgefoley.encoders import read_timbres
from edgefoley.evaluation.embedders import Aisfx
from edgefoley.export.timbres import Group, origin_of, typical
from edgefoley.models.timbre import Timbre
from edgefoley.pipeline import Pipeline
from edgefoley.timeline import grid_count
from edgefoley.train.files import write_whole
from edgefoley.train.likeness import SECONDS, SoundMap
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.teachers import load_network
from edgefoley.train.timbre import Example, examples_in, lesson_shards, loudness_sign
from edgefoley.train.words.concepts import LANGUAGES, Concept, load_concepts
from edgefoley.types import Conditioning

Wave = npt.NDArray[np.float32]

SINGLES: Final = 12  # examples of one concept that are tried, the most typical ones
MEANS: Final = (2, 3, 4, 6)  # of so many of the best
FINALISTS: Final = 3  # examples that are tried again, beside the means
KEPT: Final = 3  # groups of one concept: takes differ
FIRST_SEED: Final = 1_000_000  # no user's first takes


class Maker:
    """Makes sounds of concepts with examples that it is given."""

    def __init__(self, pipeline: Pipeline, module: Timbre) -> None:
        table = read_timbres(pipeline.bundle)
        assert table is not None
        self.pipeline, self.module, self.table = pipeline, module, table

    def sound(self, concept: Concept, phrase: str, parts: Tensor, seed: int) -> Wave:
        """From words alone, shown ``parts`` (P,) of a timbre."""
        c = self.encoded(phrase)
        index = self.table.names.index(concept.id)
        assert c.text_feat is not None
        with torch.no_grad():
            row, gain = (made.numpy() for made in self.module(parts[None]))
        one = replace(self.table, owner=np.array([index]), rows=row, pooled=gain)
        frames = grid_count(c.duration, self.pipeline.bundle.timeline.sync_rate)
        told = replace(
            c,
            text_feat=one.beside(c.text_feat, (index,), seed),
            sync_feat=one.rhythm(index, c.duration, frames, seed),
            sync_always=True,
            timbres=(),  # it has them already
        )
        wave: Wave = self.pipeline.render(told, seed).audio.samples
        return wave

    @lru_cache(maxsize=4)  # noqa: B019 - there is one maker
    def encoded(self, phrase: str) -> Conditioning:
        """What the text encoder says; asked for again with every example."""
        return self.pipeline.encode(None, phrase, duration=Fraction(SECONDS))


def choose(maker: Maker, heard: SoundMap, concept: Concept, parts: Tensor) -> list[list[int]]:
    """Groups of examples, best first, of ``parts`` (n, P) of all examples of a concept."""
    singles = [[i] for i in typical(parts, SINGLES)]
    if len(singles) == 1:
        return singles

    def best(groups: Sequence[list[int]], turn: int) -> list[list[int]]:
        scores = []
        for group in groups:
            margins = []
            for k, language in enumerate(LANGUAGES):
                phrases = concept.phrases(language)[1:]
                wave = maker.sound(
                    concept, phrases[turn % len(phrases)], parts[group].mean(0), FIRST_SEED + 2 * turn + k
                )
                margins.append(heard.margin(wave, concept.id))
            scores.append(np.mean(margins))
        return [groups[i] for i in np.argsort(-np.array(scores), kind="stable")]

    order = best(singles, 0)
    means = [[group[0] for group in order[:count]] for count in MEANS if count <= len(order)]
    return best([*order[:FINALISTS], *means], 1)[:KEPT]


def choose_all(
    maker: Maker,
    heard: SoundMap,
    concepts: Sequence[Concept],
    examples: Mapping[str, Sequence[Example]],
    origin: Mapping[str, str],
    out: Path,
) -> dict[str, list[Group]]:
    """``choose`` for every concept that has recordings to be heard as, and examples; the others keep the most
    typical ones. ``out``, with its ``origin``, is written after each. Raises SystemExit where ``out`` exists
    and has another origin."""
    made: dict[str, Any] = {**origin, "groups": {}}
    if out.exists():
        made = json.loads(out.read_text())
    if {name: made.get(name) for name in origin} != origin:
        raise SystemExit(f"{out} was chosen with other weights or lessons: move it away")
    chosen: dict[str, list[Group]] = made["groups"]
    for concept in concepts:
        if concept.id in chosen or concept.id not in heard.ids or concept.id not in examples:
            continue
        own = examples[concept.id]
        parts = maker.module.whiten(torch.from_numpy(np.stack([example.raw for example in own])))
        groups = choose(maker, heard, concept, parts)
        chosen[concept.id] = [[own[i].place for i in group] for group in groups]
        print(f"{concept.id}: {[len(group) for group in groups]} of {len(own)} examples", flush=True)
        write_whole(out, json.dumps(made, indent=0) + "\n")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="the bundle that export.nano made of --runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds transformer, codec and school")
    parser.add_argument("--aisfx", type=Path, required=True, help="folder with cnn2d.py and checkpoint.pth")
    parser.add_argument("--sounds", type=Path, nargs="+", required=True, help="folders with manifest.tsv")
    parser.add_argument("--library", type=Path, default=Path("runs/library"), help="cache of the cuts")
    parser.add_argument("--concepts", nargs="+", help="ids; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/timbres.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    origin, concepts = origin_of(args.runs), load_concepts()
    shards = lesson_shards(args.runs / "school", last=False)
    with Pipeline.open(args.model, threads=args.threads) as pipeline:
        if (
            pipeline.bundle.manifest["source"]["weights"].get("transformer.safetensors")
            != origin["transformer"]
        ):
            raise SystemExit(f"{args.model} was not exported from {args.runs / 'transformer'}")
        heard = SoundMap(SoundLibrary.build(tuple(args.sounds), args.library), Aisfx(args.aisfx), concepts)
        examples = examples_in(shards, loudness_sign(args.runs / "codec"))
        maker = Maker(pipeline, load_network(args.runs / "transformer").timbre_in)
        wanted = [c for c in concepts if args.concepts is None or c.id in args.concepts]
        choose_all(maker, heard, wanted, examples, origin, args.out)


if __name__ == "__main__":
    main()
