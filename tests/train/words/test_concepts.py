"""The concept table keeps its rules, and captions are a pure function of their draws."""

from pathlib import Path

import numpy as np
import pytest

from edgefoley.train.words.concepts import (
    KINDS,
    LANGUAGES,
    NEGATIVE_PHRASES,
    Concept,
    ConceptTableError,
    caption,
    load_concepts,
    parse_concepts,
)

HEADER = "id\tkind\tlabels\ten\tzh\n"
ROW = "dog\tvocal\tdog bark\ta|b|c|d\t甲|乙|丙|丁\n"
MANIFEST = Path("/work/shared/data/sfx/manifest.tsv")


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def test_table_is_large_and_of_every_kind() -> None:
    concepts = load_concepts()
    assert len(concepts) >= 150
    assert {concept.kind for concept in concepts} == set(KINDS)


def test_phrases_are_in_their_language() -> None:
    for concept in load_concepts():
        assert not any(_is_chinese(phrase) for phrase in concept.en), concept.id
        assert all(_is_chinese(phrase) for phrase in concept.zh), concept.id


def test_labels_exist_among_the_recordings() -> None:
    if not MANIFEST.exists():
        pytest.skip("the recordings' manifest is not on this machine")
    with MANIFEST.open(encoding="utf-8") as file:
        known = {line.split("\t")[1] for line in file}
    used = {label for concept in load_concepts() for label in concept.labels}
    assert used <= known
    assert len(used) > 0.9 * len(known)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROW + ROW, "twice"),
        (ROW.replace("vocal", "noise"), "unknown"),
        (ROW.replace("|d\t", "\t"), "needs 4"),
        (ROW.replace("a|b", "a||b"), "empty"),
        (ROW.replace("a|b", "a|a"), "repeats"),
        (ROW.replace("\tdog bark", ""), "cells"),
        (ROW.replace("dog\t", "dog bark!\t", 1), "letters"),
    ],
)
def test_broken_rows_are_named(rows: str, told: str) -> None:
    with pytest.raises(ConceptTableError, match=told):
        parse_concepts(HEADER + rows)


def test_missing_header_is_named() -> None:
    with pytest.raises(ConceptTableError, match="header"):
        parse_concepts(ROW)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_caption_depends_only_on_its_draws(language: str, level: int) -> None:
    concepts = load_concepts()[:3]
    drawn = [caption(concepts, language, np.random.default_rng(seed), level) for seed in range(20)]
    again = [caption(concepts, language, np.random.default_rng(seed), level) for seed in range(20)]
    assert drawn == again
    assert len(set(drawn)) > 5
    assert all(_is_chinese(text) == (language == "zh") for text in drawn)


def test_caption_names_every_concept() -> None:
    table = parse_concepts(HEADER + ROW + ROW.replace("dog\t", "cow\t", 1).replace("a|b|c|d", "e|f|g|h"))
    for seed in range(20):
        bare = caption(table, "en", np.random.default_rng(seed), 0)
        assert bare[0] in "ab"
        assert bare[-1] in "ef"


@pytest.mark.parametrize(
    ("count", "language", "level", "told"),
    [(0, "en", 0, "1 to 3"), (4, "en", 0, "1 to 3"), (1, "fr", 0, "language"), (1, "en", 3, "level")],
)
def test_caption_refuses_nonsense(count: int, language: str, level: int, told: str) -> None:
    one = Concept("dog", "vocal", ("dog bark",), ("a", "b", "c", "d"), ("甲", "乙", "丙", "丁"))
    with pytest.raises(ValueError, match=told):
        caption([one] * count, language, np.random.default_rng(0), level)


def test_negative_phrases_exist_in_both_languages() -> None:
    assert all(len(NEGATIVE_PHRASES[language]) >= 4 for language in LANGUAGES)
