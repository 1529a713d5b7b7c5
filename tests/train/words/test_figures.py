"""The text encoder's figures: perfect, random and swapped vectors give the numbers they must."""

import numpy as np
import pytest
import torch

from edgefoley.train.words.corpus import Phrase
from edgefoley.train.words.figures import concept_centres, held_figures


@pytest.fixture
def phrases() -> list[Phrase]:
    return [
        Phrase(f"{concept} {number}", language, (concept,), str(concept), held=number > 1)
        for concept in range(120)
        for language in ("en", "zh")
        for number in range(4)
    ]


def test_perfect_vectors_score_one(phrases: list[Phrase]) -> None:
    perfect = torch.eye(120)[[p.concepts[0] for p in phrases]]
    figures = held_figures(phrases, perfect)
    assert figures.pop("held") == 480
    assert set(figures.values()) == {1.0}
    torch.testing.assert_close(concept_centres(phrases, perfect), torch.eye(120))


def test_random_vectors_score_by_chance(phrases: list[Phrase]) -> None:
    noise = torch.nn.functional.normalize(
        torch.randn(960, 64, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    figures = held_figures(phrases, noise)
    assert figures["retrieval"] < 0.05
    assert figures["concept_top1_en"] < 0.05


def test_second_best_counts_among_three(phrases: list[Phrase]) -> None:
    """Held-out phrases that lean to the next concept: never the nearest, always among three."""
    vectors = torch.eye(120)[[p.concepts[0] for p in phrases]]
    following = torch.eye(120)[[(p.concepts[0] + 1) % 120 for p in phrases]]
    held = torch.tensor([p.held for p in phrases])
    vectors[held] = (vectors + 1.2 * following)[held]
    figures = held_figures(phrases, torch.nn.functional.normalize(vectors, dim=-1))
    assert figures["concept_top1_zh"] == 0.0
    assert figures["concept_top3_zh"] == 1.0
    assert figures["retrieval"] == 1.0


def test_languages_are_scored_apart(phrases: list[Phrase]) -> None:
    rng = np.random.default_rng(0)
    vectors = torch.eye(120)[[p.concepts[0] for p in phrases]]
    for row, phrase in enumerate(phrases):
        if phrase.held and phrase.language == "zh":
            vectors[row] = torch.eye(120)[int(rng.integers(120))]
    figures = held_figures(phrases, vectors)
    assert figures["concept_top1_en"] == 1.0
    assert figures["concept_top1_zh"] < 0.1
