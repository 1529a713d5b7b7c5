"""Which sounds the classes of the image encoder get, with words compared by the letters they share."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import pytest

from edgefoley.train.words.class_sounds import HAND, class_table, load_corrections, nearest
from edgefoley.train.words.concepts import ConceptTableError, load_concepts

NAMES = tuple(files("edgefoley.models").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())


def letters(texts: Sequence[str]) -> np.ndarray:
    """(n, 4096): how often each group of four letters occurs, hashed; no network, so a weak but honest
    measure."""
    rows = np.zeros((len(texts), 4096), np.float32)
    for row, text in zip(rows, texts, strict=True):
        padded = f"  {text.lower()}  "
        for i in range(len(padded) - 3):
            row[hash_of(padded[i : i + 4])] += 1
    return rows


def hash_of(text: str) -> int:
    value = 0
    for letter in text:
        value = (value * 1009 + ord(letter)) % 4096
    return value


@pytest.fixture(scope="module")
def table():
    return class_table(NAMES, 0.7, letters)


def sounds_of(table, name: str) -> dict[str, float]:
    row = table.weights[table.names.index(name)]
    return {table.sounds[i].id: float(row[i]) for i in np.argsort(-row) if row[i] > 0}


def test_the_table_has_every_class_and_every_concept(table) -> None:
    assert table.names == NAMES and len(NAMES) == 1000 and table.temperature == 0.7
    assert [sound.id for sound in table.sounds] == [concept.id for concept in load_concepts()]


def test_phrases_are_the_concepts_own(table) -> None:
    for sound, concept in zip(table.sounds, load_concepts(), strict=True):
        assert sound.en in concept.en and sound.zh in concept.zh and sound.kind == concept.kind


def test_the_hand_written_rows_win(table) -> None:
    assert sounds_of(table, "hot dog") == pytest.approx({"eating_crunch": 1.0, "sizzle_frying": 0.9})
    assert sounds_of(table, "website") == sounds_of(table, "carousel") == {}
    assert "airplane" not in sounds_of(table, "carpenter plane")
    corrected = load_corrections(NAMES)
    assert all(list(sounds_of(table, name)) == list(ids) for name, ids in corrected.items())


def test_the_others_get_what_their_name_is_near_to() -> None:
    cosines = np.array([[0.95, 0.65, 0.8, 0.75, 0.72], [0.59, 0.3, 0.2, 0.1, 0], [0.61, 0.5, 0.6, 0, 0]])
    expected = np.array([[0.95, 0, 0.8, 0.75, 0], [0] * 5, [0.61, 0, 0.6, 0, 0]], np.float32)
    assert np.array_equal(nearest(cosines.astype(np.float32)), expected)


def test_names_that_a_concept_holds_find_it() -> None:
    """A class that is called as a concept's phrases are gets that concept first."""
    corrected = load_corrections(NAMES)
    exact = {c.en[0]: c.id for c in load_concepts() if c.en[0] in NAMES and c.en[0] not in corrected}
    assert len(exact) > 10
    names = tuple(exact)
    own = {phrase: c.id for c in load_concepts() for phrase in (*c.en, *c.zh)}

    def by_concept(texts: Sequence[str]) -> np.ndarray:
        ids = [c.id for c in load_concepts()]
        return np.eye(len(ids), dtype=np.float32)[[ids.index(own.get(text, "dog_bark")) for text in texts]]

    table = class_table(NAMES, 1.0, by_concept)
    assert [next(iter(sounds_of(table, name))) for name in names] == list(exact.values())


def test_corrections_name_real_classes_once() -> None:
    found = load_corrections(NAMES)
    assert len(found) > 300 and max(map(len, found.values())) <= len(HAND)
    with pytest.raises(ConceptTableError, match="there is no class"):
        load_corrections(NAMES[:500])
