"""Clauses that name tool and thing claim the two materials and nothing else."""

import numpy as np
import pytest

from edgefoley.train.words.blows import BLOWS, THINGS, TOOLS, VERBS, blow
from edgefoley.train.words.captions import CaptionFacts, SoundFact, caption
from edgefoley.train.words.claims import claims
from edgefoley.train.words.concepts import LANGUAGES, load_concepts


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_claims_another_material(language: str) -> None:
    for table in (TOOLS, THINGS):
        for material, words in table[language].items():
            for word in words:
                said = claims(word, language)
                assert said <= {material}, (word, said)
                assert said or table is TOOLS, word
    assert not any(claims(verb, language) for verb in VERBS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_plain_blow_has_words(language: str) -> None:
    table = {concept.id: concept for concept in load_concepts()}
    for name in BLOWS:
        for striker in table[name].striker:
            for struck in table[name].struck:
                assert blow(striker, struck, language, np.random.default_rng(1)), (striker, struck)
    assert blow("water", "wood", language, np.random.default_rng(1)) == ""


def test_captions_name_tool_and_thing_at_times() -> None:
    facts = CaptionFacts((SoundFact("metal_hit", 3, 0.6, 1.0, 2.0, True, "wood", "metal"),))
    told = [caption(facts, "en", 1, np.random.default_rng(seed)) for seed in range(60)]
    named = [text for text in told if any(thing in text for thing in THINGS["en"]["metal"])]
    assert 10 < len(named) < 40
