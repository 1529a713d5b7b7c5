"""The vector that each phrase should get from the text encoder: what the teachers know, sharpened by the
concept table.

Teachers keep languages apart (two English sentences are closer than a sentence and its translation) and spend
much of their space on what no sound tells. So their vectors are centred per language, joined, and whitened by
the covariance within concepts (within-class covariance normalisation, Hatch et al. 2006, "Within-class
covariance normalization for SVM-based speaker recognition"): directions in which phrases of one concept
differ shrink, those that tell concepts apart grow. Then each phrase is pulled towards what its translations
and its concept's other phrases share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.words.concepts import LANGUAGES
from edgefoley.train.words.corpus import Phrase

FloatArray = NDArray[np.float32]

# Chosen on development phrases; see docs/LOG.md.
E5_WEIGHT: Final = 1.4
SHRINKAGE: Final = 0.2
# How much of its own vector a phrase keeps, by its kind. Teachers think of the refused sound as well.
OWN: Final[dict[str, float]] = {"written": 0.5, "word": 0.5, "composed": 0.3, "refusing": 0.0}


def unit(x: NDArray[np.floating]) -> FloatArray:
    """Rows scaled to length 1; a zero row stays zero."""
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8)).astype(np.float32)


def project(
    phrases: Sequence[Phrase], teachers: Sequence[FloatArray], dim: int, shrinkage: float = SHRINKAGE
) -> FloatArray:
    """Join the teachers' unit vectors, each (N, D_i) and already weighted, to (N, dim) unit vectors. A
    teacher that did not read a phrase has a row of zeros for it.

    Everything is measured on written training phrases: the mean of each language, the covariance within
    concepts (`shrinkage` of its mean added to its diagonal), the `dim` principal components.
    """
    language = np.array([phrase.language for phrase in phrases])
    fitted = np.array([not phrase.held and phrase.kind == "written" for phrase in phrases])
    centred = []
    for teacher in teachers:
        read = np.any(teacher != 0, axis=1)
        part = teacher.astype(np.float64)
        for name in LANGUAGES:
            rows = read & (language == name)
            part[rows] -= part[rows & fitted].mean(axis=0)
        centred.append(part)
    joined = np.concatenate(centred, axis=1)
    within = np.zeros((joined.shape[1],) * 2)
    count = 0
    for rows in _rows_of_concepts(phrases):
        spread = joined[rows] - joined[rows].mean(axis=0)
        within += spread.T @ spread
        count += len(rows)
    within /= max(1, count)
    within += (shrinkage * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    values, axes = np.linalg.eigh(within)
    whitened = unit(joined @ (axes * values**-0.5)).astype(np.float64)
    _, components = np.linalg.eigh(whitened[fitted].T @ whitened[fitted])
    return unit(whitened @ components[:, ::-1][:, :dim])


def _rows_of_concepts(phrases: Sequence[Phrase]) -> list[list[int]]:
    rows: dict[int, list[int]] = {}
    for row, phrase in enumerate(phrases):
        if len(phrase.concepts) == 1 and not phrase.held and phrase.kind == "written":
            rows.setdefault(phrase.concepts[0], []).append(row)
    return list(rows.values())


def make_targets(phrases: Sequence[Phrase], projected: FloatArray) -> FloatArray:
    """The vector each phrase should get, (N, dim), unit length.

    OWN parts of the phrase's own vector (its adjectives, places, counts) and one part of what it shares:
    the mean of its concepts' vectors, else the mean over both languages of phrases with the same key. A
    concept's vector is the mean of its training phrases, each language weighing the same.
    """
    count = 1 + max((index for phrase in phrases for index in phrase.concepts), default=-1)
    rows_of: dict[tuple[object, str], list[int]] = {}
    for row, phrase in enumerate(phrases):
        if not phrase.held:
            rows_of.setdefault((phrase.key, phrase.language), []).append(row)
            if len(phrase.concepts) == 1 and phrase.kind != "refusing":
                rows_of.setdefault((phrase.concepts[0], phrase.language), []).append(row)

    def shared(name: object) -> FloatArray:
        means = [projected[rows_of[name, lang]].mean(axis=0) for lang in LANGUAGES if (name, lang) in rows_of]
        return unit(np.mean([unit(mean) for mean in means], axis=0))

    of_concept = [shared(index) for index in range(count)]
    of_key = {name: shared(name) for name in {phrase.key for phrase in phrases if not phrase.held}}
    common = [
        unit(np.sum([of_concept[index] for index in phrase.concepts], axis=0))
        if phrase.concepts
        else of_key[phrase.key]
        for phrase in phrases
    ]
    own = np.array([OWN[phrase.kind] for phrase in phrases])[:, None]
    return unit(own * projected + np.stack(common))


def rotation_onto(vectors: FloatArray, reference: FloatArray) -> FloatArray:
    """The rotation R (D, D), possibly with a reflection, that makes `vectors` @ R (N, D) closest to
    `reference` (orthogonal Procrustes, Schoenemann 1966)."""
    left, _, right = np.linalg.svd(vectors.T.astype(np.float64) @ reference.astype(np.float64))
    return (left @ right).astype(np.float32)
