"""How well the text encoder names sounds that it was told of in words it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgefoley.train.words.concepts import LANGUAGES
from edgefoley.train.words.corpus import Phrase

GALLERY: Final = 100
_DRAWS: Final = 50


def concept_centres(phrases: Sequence[Phrase], vectors: Tensor) -> Tensor:
    """Unit vectors (C, D): the mean of each concept's training phrases among `vectors` (N, D)."""
    count = 1 + max(phrase.concepts[0] for phrase in phrases if phrase.held)
    centres = torch.zeros(count, vectors.shape[1])
    for row, phrase in enumerate(phrases):
        if not phrase.held and len(phrase.concepts) == 1:
            centres[phrase.concepts[0]] += vectors[row]
    return F.normalize(centres, dim=-1)


def held_figures(phrases: Sequence[Phrase], vectors: Tensor) -> dict[str, float]:
    """Figures on held-out phrases, from unit `vectors` of all phrases (N, D).

    `concept_top1_en` and so on: share of a language's held-out phrases whose own concept is the nearest (or
    among the three nearest) of all concept centres. `retrieval_en_zh`: share of English held-out phrases
    whose nearest of GALLERY Chinese ones, one per concept, names the same concept, over 50 seeded draws of
    concepts and phrases; `retrieval_zh_en` the other way; `retrieval` their mean. `held`: number of phrases.
    """
    centres = concept_centres(phrases, vectors)
    figures: dict[str, float] = {}
    rows_of: dict[str, dict[int, list[int]]] = {}
    for language in LANGUAGES:
        rows = [row for row, p in enumerate(phrases) if p.held and p.language == language]
        own = torch.tensor([phrases[row].concepts[0] for row in rows])
        best = (vectors[rows] @ centres.T).topk(min(3, len(centres)), dim=-1).indices
        figures[f"concept_top1_{language}"] = float((best[:, 0] == own).float().mean())
        figures[f"concept_top3_{language}"] = float((best == own[:, None]).any(-1).float().mean())
        by_concept: dict[int, list[int]] = {}
        for row in rows:
            by_concept.setdefault(phrases[row].concepts[0], []).append(row)
        rows_of[language] = by_concept
    rng, right = np.random.default_rng(0), []
    shared = sorted(set(rows_of["en"]) & set(rows_of["zh"]))
    for _ in range(_DRAWS):
        some = rng.choice(shared, min(GALLERY, len(shared)), replace=False)
        english, chinese = ([int(rng.choice(rows_of[lang][int(c)])) for c in some] for lang in LANGUAGES)
        table = vectors[english] @ vectors[chinese].T
        aim = torch.arange(len(some))
        right.append([float((t.argmax(-1) == aim).float().mean()) for t in (table, table.T)])
    there, back = np.mean(right, axis=0)
    figures |= {"retrieval_en_zh": float(there), "retrieval_zh_en": float(back)}
    return figures | {"retrieval": float((there + back) / 2), "held": float(sum(p.held for p in phrases))}
