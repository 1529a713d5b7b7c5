"""What each class of the image encoder sounds like, for a bundle's class table (``edgefoley.classes``).

Two owners. The text encoder proposes: a class gets the concepts whose phrases lie nearest to its name. That
finds "golden retriever" -> dog_bark, but words mislead at times (a carpenter's plane does not fly, a hot dog
does not bark), and things that make no sound get one. The hand-written ``class_sounds.tsv`` beside this file
corrects it: a row names classes and their sounds, the best first; without sounds they make none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.classes import ClassTable, Sound
from edgefoley.train.words.concepts import LANGUAGES, Concept, ConceptTableError, load_concepts

Embed = Callable[[Sequence[str]], NDArray[np.float32]]  # n texts -> sentence vectors (n, D)

PHRASES: Final = 10  # of each concept and language, from the first, that stand for it
NEAREST: Final = 3  # concepts of one class at most
LEAST: Final = 0.6  # cosine between a class's name and a concept
WITHIN: Final = 0.25  # of the nearest concept's cosine
HAND: Final = (1.0, 0.9, 0.8)  # weights of sounds from the hand-written table, in their order
# A concept's phrases begin with four bare words, which often name the thing and not its sound ("dog").
_SENTENCES: Final = slice(4, 9)
_TYPICAL: Final = 0.9  # cosine to its concept's centre of a phrase that says what the others say


def class_table(names: Sequence[str], temperature: float, embed: Embed) -> ClassTable:
    """The table for the classes ``names`` in the order of the logits; ``temperature`` as in the encoder.

    Raises ConceptTableError where the hand-written rows do not fit names and concepts.
    """
    concepts = load_concepts()
    centres, sounds = _centres(concepts, embed)
    weights = nearest(_unit(embed(names)) @ centres.T)
    place = {concept.id: i for i, concept in enumerate(concepts)}
    for name, ids in load_corrections(names).items():
        row = weights[names.index(name)]
        row[:] = 0
        for key, weight in zip(ids, HAND, strict=False):
            row[place[key]] = weight
    return ClassTable(tuple(names), sounds, weights, temperature)


def nearest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (classes, concepts) of ``cosines`` of the same shape: the cosine of the ``NEAREST`` concepts
    that reach ``LEAST`` and lie ``WITHIN`` the nearest one's, 0 elsewhere."""
    best = cosines.max(axis=1, keepdims=True)
    limit = -np.sort(-cosines, axis=1)[:, [min(NEAREST, cosines.shape[1]) - 1]]
    kept = (cosines >= LEAST) & (cosines >= best - WITHIN) & (cosines >= limit)
    return np.where(kept, np.minimum(cosines, 1), 0).astype(np.float32)


def load_corrections(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Class -> concept ids of the packaged ``class_sounds.tsv``. Raises ConceptTableError for a class that is
    not in ``names`` or stands twice, for an unknown concept, and for more than ``HAND`` has weights for."""
    text = files("edgefoley.train.words").joinpath("class_sounds.tsv").read_text(encoding="utf-8")
    known, classes = {concept.id for concept in load_concepts()}, set(names)
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines()[1:], start=2):
        where = f"class_sounds.tsv, line {number}"
        left, _, right = line.partition("\t")
        ids = tuple(key for key in right.split("|") if key)
        if unknown := sorted(set(ids) - known):
            raise ConceptTableError(f"{where}: there is no concept {unknown[0]!r}")
        if len(ids) > len(HAND):
            raise ConceptTableError(f"{where}: {len(ids)} sounds, at most {len(HAND)} are kept")
        for name in left.split("|"):
            if name not in classes:
                raise ConceptTableError(f"{where}: there is no class {name!r}")
            if name in found:
                raise ConceptTableError(f"{where}: the class {name!r} has a row already")
            found[name] = ids
    return found


def _centres(concepts: Sequence[Concept], embed: Embed) -> tuple[NDArray[np.float32], tuple[Sound, ...]]:
    """Unit vector of every concept (C, D), and how to ask for it."""
    texts = [text for c in concepts for language in LANGUAGES for text in c.phrases(language)[:PHRASES]]
    vectors, at = _unit(embed(texts)), 0
    centres, sounds = [], []
    for concept in concepts:
        phrases = {language: concept.phrases(language)[:PHRASES] for language in LANGUAGES}
        own = vectors[at : at + sum(map(len, phrases.values()))]
        at += len(own)
        centre = _unit(own.mean(axis=0))
        centres.append(centre)
        split = len(phrases["en"])
        en, zh = (
            _phrase(texts_of, part @ centre)
            for texts_of, part in ((phrases["en"], own[:split]), (phrases["zh"], own[split:]))
        )
        sounds.append(Sound(concept.id, concept.kind, en, zh))
    return np.stack(centres), tuple(sounds)


def _phrase(phrases: Sequence[str], cosines: NDArray[np.float32]) -> str:
    """The first of the sentences that is typical of its concept, else the most typical phrase of all."""
    typical = [p for p, c in list(zip(phrases, cosines, strict=True))[_SENTENCES] if c >= _TYPICAL]
    return typical[0] if typical else phrases[int(cosines.argmax())]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)
    return unit
