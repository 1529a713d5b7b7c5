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

from edgefoley.bundle import sha256
from edgefoley.models.timbre import Timbre
from edgefoley.timbres import SILENT, TimbreTable
from edgefoley.train.timbre import Example, examples_in, lesson_shards, loudness_sign
from edgefoley.train.words.captions import CaptionFacts, caption
from edgefoley.train.words.concepts import LANGUAGES, LEVELS, Concept, load_concepts

Array = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]
Group = list[str]  # places of lessons (``Example``)

MOST: Final = 8  # examples of one concept: takes differ, and the table stays small
LEAST: Final = 0.6  # held-out phrases whose concept is found have more in 99 of 100 cases
SILENCE: Final = "silence"
_DRAWS: Final = 60


def school_table(
    module: Timbre, runs: Path, embed: Embed, groups: Mapping[str, Sequence[Group]] | None = None
) -> TimbreTable:
    """The table for a transformer's ``module`` from the lessons in ``runs``/school that it learnt from.
    ``groups``: see ``read_groups``."""
    shards = lesson_shards(runs / "school", last=False)
    examples = examples_in(shards, loudness_sign(runs / "codec"))
    return timbre_table(module, examples, load_concepts(), embed, groups)


def read_groups(path: Path, runs: Path) -> dict[str, list[Group]]:
    """Concept -> groups of examples, from a file of ``export.choose_timbres``. Raises SystemExit where it was
    made of another school than that in ``runs``; says so where it was made with another transformer."""
    made, now = json.loads(path.read_text()), origin_of(runs)
    if made["school"] != now["school"]:
        raise SystemExit(f"{path} is about other lessons than {runs / 'school'}: choose the timbres again")
    if made["transformer"] != now["transformer"]:
        print(f"note: {path} was chosen with another transformer than {runs / 'transformer'}")
    groups: dict[str, list[Group]] = made["groups"]
    return groups


def origin_of(runs: Path) -> dict[str, str]:
    """sha256 of the files in ``runs`` that a choice of examples depends on."""
    paths = {"school": "school/school.json", "transformer": "transformer/transformer.safetensors"}
    return {name: sha256(runs / path) for name, path in paths.items()}


def typical(parts: torch.Tensor, most: int) -> list[int]:
    """Indices of those of ``parts`` (n, P) nearest to their mean, nearest first."""
    return [int(i) for i in (parts - parts.mean(0)).square().sum(1).argsort()[:most]]


def timbre_table(
    module: Timbre,
    examples: Mapping[str, Sequence[Example]],
    concepts: Sequence[Concept],
    embed: Embed,
    groups: Mapping[str, Sequence[Group]] | None = None,
) -> TimbreTable:
    """``examples`` by concept. Those in ``groups`` (by concept) give one row for the mean of each group; of
    the others the most typical are taken. ``embed`` gives the sentence vectors (n, D) of n phrases."""
    texts = [[p for lang in LANGUAGES for p in concept.phrases(lang)] for concept in concepts]
    texts.append(silent_phrases())
    owner, rows, pooled = list[int](), list[Array](), list[Array]()
    with torch.no_grad():
        for index, concept in enumerate(concepts):
            own = examples.get(concept.id)
            if not own:
                continue
            parts = module.whiten(torch.from_numpy(np.stack([example.raw for example in own])))
            place = {example.place: i for i, example in enumerate(own)}
            taken = [[place[name] for name in group] for group in (groups or {}).get(concept.id, ())]
            taken = taken or [[i] for i in typical(parts, MOST)]
            row, gain = module(torch.stack([parts[group].mean(0) for group in taken]))
            owner += [index] * len(taken)
            rows.append(row.numpy())
            pooled.append(gain.numpy())
    keys = np.stack([_centre(embed(phrases)) for phrases in texts])
    names = (*(concept.id for concept in concepts), SILENCE)
    kinds = (*(concept.table_kind for concept in concepts), SILENT)
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
