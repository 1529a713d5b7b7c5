"""The concept table keeps its rules, and phrases kept for evaluation are in no training text."""

from importlib.resources import files
from pathlib import Path

import pytest

from edgefoley.train.scenes.truth import ACTIONS, MATERIALS
from edgefoley.train.words.concepts import (
    KINDS,
    LANGUAGES,
    ConceptTableError,
    held_phrases,
    load_concepts,
    parse_concepts,
    parse_held,
)

HEADER = "id\tkind\tshare\tlabels\tactions\tstriker\tstruck\ten\tzh\n"
ROW = "dog\tvocal\t4\tdog bark\tvocal\t\twood\ta|b|c|d\t甲|乙|丙|丁\n"
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
    """Of the recordings given, or of those in packages, whose labels may end in a part of the file name."""
    if not MANIFEST.exists():
        pytest.skip("the recordings' manifest is not on this machine")
    with MANIFEST.open(encoding="utf-8") as file:
        known = {line.split("\t")[1] for line in file}
    packages = files("edgefoley.train.sounds").joinpath("packages.tsv").read_text(encoding="utf-8")
    packaged = {line.split("\t")[5] for line in packages.splitlines()[1:]}
    patterns = tuple(start for label in packaged if "{" in label and (start := label.split("{")[0]))
    used = {label for concept in load_concepts() for label in concept.labels}
    assert not [x for x in used if x not in known | packaged and not x.startswith(patterns)]
    assert len(used & known) > 0.9 * len(known)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROW + ROW, "twice"),
        (ROW.replace("vocal", "noise", 1), "unknown"),
        (ROW.replace("bark\tvocal", "bark\tbarking"), "actions 'barking'"),
        (ROW.replace("\twood", "\ttimber"), "struck 'timber'"),
        (ROW.replace("|d\t", "\t"), "needs 4"),
        (ROW.replace("a|b", "a||b"), "empty"),
        (ROW.replace("a|b", "a|a"), "repeats"),
        (ROW.replace("\tdog bark", ""), "cells"),
        (ROW.replace("bark\tvocal\t", "bark\t\t"), "empty"),
        (ROW.replace("dog\t", "dog bark!\t", 1), "letters"),
        (ROW.replace("\t4\t", "\t-1\t"), "share '-1'"),
        (ROW.replace("\t4\t", "\t0\t"), "share '0'"),
    ],
)
def test_broken_rows_are_named(rows: str, told: str) -> None:
    with pytest.raises(ConceptTableError, match=told):
        parse_concepts(HEADER + rows)


def test_missing_header_is_named() -> None:
    with pytest.raises(ConceptTableError, match="header"):
        parse_concepts(ROW)


def test_actions_and_materials_come_from_the_scenes_vocabulary() -> None:
    concepts = load_concepts()
    assert all(concept.actions and set(concept.actions) <= set(ACTIONS) for concept in concepts)
    assert all({*concept.striker, *concept.struck} <= set(MATERIALS) for concept in concepts)
    assert {action for concept in concepts for action in concept.actions} == set(ACTIONS)
    assert sum(bool(concept.struck) for concept in concepts) >= 80


def test_phrases_are_many_and_of_one_concept() -> None:
    owner: dict[tuple[str, str], str] = {}
    for concept in load_concepts():
        for language in LANGUAGES:
            assert len(concept.phrases(language)) >= 16, concept.id
            for phrase in concept.phrases(language):
                assert owner.setdefault((language, phrase.lower()), concept.id) == concept.id, phrase
    assert all(phrase.isascii() for concept in load_concepts() for phrase in concept.en)


def test_held_phrases_cover_every_concept_and_are_no_training_phrases() -> None:
    held = held_phrases()
    ids = {concept.id for concept in load_concepts()}
    assert {name for name, _, _ in held} == ids
    assert {(name, language) for name, language, _ in held} == {(n, lang) for n in ids for lang in LANGUAGES}
    trained = {p.lower() for concept in load_concepts() for p in (*concept.en, *concept.zh)}
    assert not trained & {text.lower() for _, _, text in held}
    assert all(_is_chinese(text) == (language == "zh") for _, language, text in held)


def test_broken_held_phrases_are_named() -> None:
    assert parse_held("id\ten1\tzh1\ndog\ta dog\t狗") == (("dog", "en", "a dog"), ("dog", "zh", "狗"))
    with pytest.raises(ConceptTableError, match="columns"):
        parse_held("id\tfr1\ndog\tchien")
    with pytest.raises(ConceptTableError, match="line 2"):
        parse_held("id\ten1\tzh1\ndog\ta dog\t ")
