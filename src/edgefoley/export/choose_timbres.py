"""Choose the examples of a bundle's table of timbres by the sounds that the model makes of them:
``python -m edgefoley.export.choose_timbres --model runs/nano-float32 --aisfx DIR --sounds DIR...``

For every concept a sound is made from a phrase and each of its most typical examples, and placed among the
training recordings by sound embeddings (``train.likeness``). Then means of the best ones are tried beside
them, with other phrases and seeds, since a mean is less particular than one recording; the best few are kept.
Writes a file for ``export.nano --timbres``: concept -> groups of lessons, whose mean is one row of the table.

The weights have to be those that the bundle was exported from. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgefoley.encoders import read_timbres
from edgefoley.evaluation.embedders import Aisfx
from edgefoley.export.timbres import Group, typical
from edgefoley.models.timbre import Timbre
from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.pipeline import Pipeline
from edgefoley.timbres import TimbreTable
from edgefoley.timeline import grid_count
from edgefoley.train.likeness import SECONDS, SoundMap
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.timbre import example_places, examples_in, lesson_shards, loudness_sign
from edgefoley.train.words.concepts import LANGUAGES, Concept, load_concepts

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

    def sound(self, concept: Concept, language: str, parts: Tensor, seed: int) -> Wave:
        """From words alone, shown ``parts`` (P,) of a timbre."""
        c = self.pipeline.encode(None, concept.phrases(language)[0], duration=Fraction(SECONDS))
        index = self.table.names.index(concept.id)
        assert c.text_feat is not None
        with torch.no_grad():
            row, gain = (made.numpy() for made in self.module(parts[None]))
        one: TimbreTable = replace(self.table, owner=np.array([index]), rows=row, pooled=gain)
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


def choose(maker: Maker, heard: SoundMap, concept: Concept, parts: Tensor) -> list[list[int]]:
    """Groups of examples, best first, of ``parts`` (n, P) of all examples of a concept."""
    singles = [[int(i)] for i in typical(parts, SINGLES)]
    if len(singles) == 1:
        return singles

    def best(groups: Sequence[Sequence[int]], first_seed: int) -> list[list[int]]:
        scores = []
        for group in groups:
            mean = parts[list(group)].mean(0)
            takes = [
                maker.sound(concept, language, mean, first_seed + k) for k, language in enumerate(LANGUAGES)
            ]
            scores.append(np.mean([heard.margin(wave, concept.id) for wave in takes]))
        return [list(groups[i]) for i in np.argsort(-np.array(scores), kind="stable")]

    order = best(singles, FIRST_SEED)
    means = [[group[0] for group in order[:count]] for count in MEANS if count <= len(order)]
    return best([*order[:FINALISTS], *means], FIRST_SEED + len(LANGUAGES))[:KEPT]


def choose_all(
    maker: Maker,
    heard: SoundMap,
    concepts: Sequence[Concept],
    examples: Mapping[str, Sequence[npt.NDArray[np.float32]]],
    places: Mapping[str, Sequence[str]],
    out: Path,
) -> dict[str, list[Group]]:
    """``choose`` for every concept that has recordings to be heard as and several examples; the others keep
    the most typical ones. ``out`` is written after each."""
    chosen: dict[str, list[Group]] = json.loads(out.read_text()) if out.exists() else {}
    for concept in concepts:
        if concept.id in chosen or concept.id not in heard.ids or concept.id not in examples:
            continue
        parts = maker.module.whiten(torch.from_numpy(np.stack(examples[concept.id])))
        groups = choose(maker, heard, concept, parts)
        chosen[concept.id] = [[places[concept.id][i] for i in group] for group in groups]
        print(f"{concept.id}: {[len(group) for group in groups]} of {len(parts)} examples", flush=True)
        temporary = out.with_suffix(".part")
        temporary.write_text(json.dumps(chosen, indent=0) + "\n")
        os.replace(temporary, out)
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/timbres.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    concepts = load_concepts()
    heard = SoundMap(SoundLibrary.build(tuple(args.sounds), args.library), Aisfx(args.aisfx), concepts)
    shards = lesson_shards(args.runs / "school", last=False)
    examples = examples_in(shards, loudness_sign(args.runs / "codec"))
    with Pipeline.open(args.model, threads=args.threads) as pipeline:
        maker = Maker(pipeline, load_timbre(args.runs / "transformer"))
        choose_all(maker, heard, concepts, examples, example_places(shards), args.out)


def load_timbre(folder: Path) -> Timbre:
    """The part of a finished transformer that reads examples."""
    from safetensors.torch import load_file

    model = Transformer(TransformerConfig(**json.loads((folder / "transformer.json").read_text())))
    model.load_state_dict(load_file(folder / "transformer.safetensors"))
    return model.eval().timbre_in


if __name__ == "__main__":
    main()
