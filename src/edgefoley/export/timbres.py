"""The table of timbres of a bundle (``edgefoley.timbres``): examples from the school, as a transformer sees
them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from edgefoley.models.timbre import Timbre
from edgefoley.timbres import TimbreTable
from edgefoley.train.timbre import example_places, examples_in, lesson_shards, loudness_sign
from edgefoley.train.words.captions import CaptionFacts, caption
from edgefoley.train.words.concepts import LANGUAGES, LEVELS, Concept, load_concepts

Array = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]
Group = list[str]  # places of lessons (``example_places``)

MOST: Final = 8  # examples of one concept: takes differ, and the table stays small
LEAST: Final = 0.6  # held-out phrases whose concept is found have more in 99 of 100 cases
SILENCE: Final = "silence"
_DRAWS: Final = 60


def school_table(module: Timbre, runs: Path, embed: Embed, chosen: Path | None = None) -> TimbreTable:
    """The table for a transformer's ``module`` from the lessons in ``runs``/school that it learnt from.
    ``chosen``: a file of ``export.choose_timbres``. Raises SystemExit where it is about other lessons."""
    shards, concepts = lesson_shards(runs / "school", last=False), load_concepts()
    examples = examples_in(shards, loudness_sign(runs / "codec"))
    groups = {} if chosen is None else indexed(json.loads(chosen.read_text()), example_places(shards))
    return timbre_table(module, examples, concepts, embed, groups)


def indexed(
    chosen: Mapping[str, Sequence[Group]], places: Mapping[str, Sequence[str]]
) -> dict[str, list[list[int]]]:
    """Concept -> groups of indices of its examples. Raises SystemExit where a place is not among them."""
    found = {}
    for concept, groups in chosen.items():
        known = {place: i for i, place in enumerate(places.get(concept, ()))}
        missing = [place for group in groups for place in group if place not in known]
        if missing:
            raise SystemExit(
                f"{missing[0]} is no example of {concept} in this school: choose the timbres again"
            )
        found[concept] = [[known[place] for place in group] for group in groups]
    return found


def typical(parts: torch.Tensor, most: int) -> list[int]:
    """Indices of those of ``parts`` (n, P) nearest to their mean, nearest first."""
    return [int(i) for i in (parts - parts.mean(0)).square().sum(1).argsort()[:most]]


def timbre_table(
    module: Timbre,
    examples: Mapping[str, Sequence[Array]],
    concepts: Sequence[Concept],
    embed: Embed,
    groups: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> TimbreTable:
    """``examples``: concept -> raw timbres. Those in ``groups`` (concept -> groups of indices) give one row
    for the mean of each group; of the others the most typical are taken. ``embed`` gives the sentence vectors
    (n, D) of n phrases."""
    texts = [[p for lang in LANGUAGES for p in concept.phrases(lang)] for concept in concepts]
    texts.append(silent_phrases())
    owner, rows, pooled = list[int](), list[Array](), list[Array]()
    with torch.no_grad():
        for index, concept in enumerate(concepts):
            raw = examples.get(concept.id)
            if not raw:
                continue
            parts = module.whiten(torch.from_numpy(np.stack(raw)))
            own = (groups or {}).get(concept.id) or [[i] for i in typical(parts, MOST)]
            row, gain = module(torch.stack([parts[list(group)].mean(0) for group in own]))
            owner += [index] * len(own)
            rows.append(row.numpy())
            pooled.append(gain.numpy())
    keys = np.stack([_centre(embed(phrases)) for phrases in texts])
    names = (*(concept.id for concept in concepts), SILENCE)
    kinds = (*(concept.kind for concept in concepts), "")
    examples_of = np.concatenate(rows), np.concatenate(pooled)
    return TimbreTable(names, kinds, keys, np.array(owner), *examples_of, LEAST)


def silent_phrases() -> list[str]:
    """How captions ask for silence, in both languages."""
    facts, rng = CaptionFacts((), silent=True), np.random.default_rng(0)
    drawn = [
        caption(facts, lang, level, rng) for lang in LANGUAGES for level in LEVELS for _ in range(_DRAWS)
    ]
    return list(dict.fromkeys(drawn))


def _centre(vectors: Array) -> Array:
    """Unit vector of the mean direction of ``vectors`` (n, D)."""
    mean = (vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)).mean(0)
    centre: Array = (mean / np.linalg.norm(mean)).astype(np.float32)
    return centre
