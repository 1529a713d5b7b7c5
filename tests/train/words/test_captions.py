"""Captions never contradict their facts: what a caption claims is read back from its words, by tables written
here and not by the package's."""

import math
import re

import numpy as np
import pytest

from edgefoley.train.words.captions import CaptionFacts, caption, plain_facts
from edgefoley.train.words.claims import SAY, SoundFact, agrees, claims, supported
from edgefoley.train.words.concepts import LANGUAGES, load_concepts
from edgefoley.train.words.negatives import negatives

CONCEPTS = {concept.id: concept for concept in load_concepts()}

# Independent reading: count -> words that say so.
COUNT_WORDS = {
    "en": {1: ("once", "one time", "a single time"), 2: ("twice", "two times"), 3: ("three times", "thrice"),
           4: ("four times",), 5: ("five times",)},
    "zh": {1: ("就一下", "只响了一下", "仅一次"), 2: ("两下", "两次", "两声"), 3: ("三下", "三次", "三声"),
           4: ("四下", "四次"), 5: ("五下", "五次")},
}  # fmt: skip
SOFT_WORDS = {"en": ("softly", "gently", "quietly", "faintly"), "zh": ("轻轻的", "声音很轻", "微弱")}
HARD_WORDS = {"en": ("loudly", "violently", "with great force"), "zh": ("声音很大", "震耳欲聋", "猛烈")}
FAR_WORDS = {"en": ("in the distance", "far away", "distant"), "zh": ("远处", "远方", "离得很远")}
NEAR_WORDS = {"en": ("close up", "close by", "right next to the camera"), "zh": ("近在耳边", "离镜头很近")}
OFF_SCREEN = {"en": ("off screen", "out of view", "outside the picture"), "zh": ("画面外", "看不见声源")}


def _says(text: str, words: tuple[str, ...], language: str) -> bool:
    if language == "en":
        return any(re.search(rf"\b{re.escape(word)}\b", text.lower()) for word in words)
    return any(word in text for word in words)


def _draw(rng: np.random.Generator) -> SoundFact:
    concept = CONCEPTS[list(CONCEPTS)[int(rng.integers(len(CONCEPTS)))]]
    return SoundFact(
        concept.id,
        count=int(rng.choice([0, 1, 2, 3, 4, 5, 9])),
        strength=float(rng.choice([0.1, 0.5, 0.9])),
        rate_hz=float(rng.choice([0.4, 1.5, 5.0])),
        distance_m=float(rng.choice([1.0, 4.0, 30.0])),
        onscreen=bool(rng.random() < 0.5),
        striker=str(rng.choice(concept.striker)) if concept.striker else "",
        struck=str(rng.choice(concept.struck)) if concept.struck else "",
    )


def _name(fact: SoundFact, language: str) -> str:
    """The words that a concept's own name brings, which no fact can forbid."""
    return " / ".join(CONCEPTS[fact.concept].phrases(language)[:2])


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_sound_is_told_without_contradiction(language: str) -> None:
    rng = np.random.default_rng(1)
    remarked = 0
    for _ in range(400):
        fact = _draw(rng)
        room = str(rng.choice(["", "small room", "hall", "outdoors"]))
        sound_only = bool(rng.random() < 0.3)
        level = int(rng.integers(3))
        text = caption(CaptionFacts((fact,), room), language, level, rng, sound_only)
        name = _name(fact, language)
        for count, words in COUNT_WORDS[language].items():
            if _says(text, words, language) and not _says(name, words, language):
                assert fact.count == count, (text, fact)
                remarked += 1
        for words, true in (
            (SOFT_WORDS, fact.strength < 0.3),
            (HARD_WORDS, fact.strength > 0.7),
            (FAR_WORDS, fact.distance_m > 8),
            (NEAR_WORDS, fact.distance_m < 2),
            (OFF_SCREEN, not fact.onscreen and not sound_only),
        ):
            if _says(text, words[language], language) and not _says(name, words[language], language):
                assert true, (text, fact)
                remarked += 1
    assert remarked > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_materials_are_those_of_the_facts(language: str) -> None:
    words = {"en": ("glass", "gravel", "snow", "plastic"), "zh": ("玻璃", "砾石", "雪", "塑料")}[language]
    rng = np.random.default_rng(2)
    told = 0
    for seed in range(300):
        fact = SoundFact("object_drop", 1, 0.5, 0.0, 3.0, True, "metal", "wood" if seed % 2 else "stone")
        text = caption(CaptionFacts((fact,)), language, 2, rng)
        assert not any(word in text for word in words), text
        told += {"en": ("metal", "wood", "stone"), "zh": ("金属", "木", "石")}[language][
            seed % 2 or 2
        ] in text
    assert told > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_many_sounds_claim_what_some_sound_supports(language: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        facts = CaptionFacts(tuple(_draw(rng) for _ in range(3)), "hall")
        text = caption(facts, language, 2, rng)
        allowed = set().union(*(supported(fact, "hall") for fact in facts.sounds))
        for fact in facts.sounds:
            # a name is heard as a whole, and where no material is known, phrases may name one
            allowed |= claims(_name(fact, language), language)
            if not fact.striker and not fact.struck:
                allowed |= {m for c in CONCEPTS[fact.concept].phrases(language) for m in claims(c, language)}
            for other in ("en", "zh"):
                allowed |= claims(_name(fact, other), other)
        assert claims(text, language) <= allowed, text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_captions_repeat_vary_and_keep_their_language(language: str, level: int) -> None:
    facts = CaptionFacts((SoundFact("dog_bark", 3, 0.9), SoundFact("rain", 0, onscreen=False)), "outdoors")
    drawn = [caption(facts, language, level, np.random.default_rng(seed)) for seed in range(40)]
    again = [caption(facts, language, level, np.random.default_rng(seed)) for seed in range(40)]
    assert drawn == again
    assert len(set(drawn)) > (10 if level else 2)
    assert all(any("\u4e00" <= c <= "\u9fff" for c in text) == (language == "zh") for text in drawn)
    assert all(text and "  " not in text and "，，" not in text for text in drawn)


def test_most_concepts_are_told_in_both_languages() -> None:
    rng = np.random.default_rng(4)
    distinct = {
        language: {caption(plain_facts([concept]), language, 1, rng) for concept in load_concepts()}
        for language in LANGUAGES
    }
    assert all(len(texts) >= 120 for texts in distinct.values())


def test_what_is_heard_is_told_without_the_picture() -> None:
    rng = np.random.default_rng(5)
    facts = CaptionFacts((SoundFact("glass_break", 1, 0.9), SoundFact("cat_meow", 1, onscreen=False)))
    for _ in range(100):
        english, chinese = (caption(facts, language, 2, rng, sound_only=True) for language in LANGUAGES)
        assert not re.search(r"\b(screen|video|clip|scene|picture)\b", english.lower()), english
        assert not any(word in chinese for word in ("画面", "视频", "镜头")), chinese
        short = [caption(facts, language, 1, rng, sound_only=True) for language in LANGUAGES]
        assert short[0].startswith("the sound of ")
        assert all(
            part.endswith(("声", "声音", "叫", "鸣", "响")) for part in re.split("，还有|，伴着|，", short[1])
        )


def test_unknown_facts_are_not_told() -> None:
    said = set().union(*(words for words in SAY["en"].values()))
    rng = np.random.default_rng(6)
    for concept in load_concepts():
        text = caption(plain_facts([concept]), "en", 2, rng)
        phrases = " / ".join(concept.en).lower()
        assert not [w for w in said if _says(text, (w,), "en") and not _says(phrases, (w,), "en")], text


def test_phrases_that_contradict_are_recognised() -> None:
    once = SoundFact("dog_bark", 1, 0.1, 0.0, 30.0)
    assert agrees("a dog barks", "en", once, "")
    assert agrees("a dog barks softly in the distance", "en", once, "")
    assert not agrees("a dog barks twice", "en", once, "")
    assert not agrees("loud barking", "en", once, "")
    assert not agrees("近处的狗叫", "zh", once, "")
    assert not agrees("狗叫在大厅里回荡", "zh", once, "outdoors")
    assert claims("踩在水泥地上", "zh") == {"concrete"}
    assert math.isnan(SoundFact("dog_bark").strength)
    assert supported(SoundFact("dog_bark"), "") == frozenset()


@pytest.mark.parametrize("language", LANGUAGES)
def test_negatives_never_name_what_sounds(language: str) -> None:
    families = {
        "en": {"bird": ("bird_song", "owl_hoot", "crow_caw"), "music": ("piano", "guitar", "drum_kit"),
               "rain": ("rain", "heavy_rain", "thunderstorm"), "footsteps": ("footsteps_wood", "running"),
               "engine": ("car_engine", "motorcycle", "chainsaw"), "bark": ("dog_bark", "dog_growl")},
        "zh": {"鸟": ("bird_song", "owl_hoot", "crow_caw"), "音乐": ("piano", "guitar", "drum_kit"),
               "雨": ("rain", "heavy_rain", "thunderstorm"), "脚步": ("footsteps_wood", "running"),
               "引擎": ("car_engine", "motorcycle", "chainsaw"), "狗": ("dog_bark", "dog_growl")},
    }[language]  # fmt: skip
    rng = np.random.default_rng(7)
    drawn = set()
    for name, members in families.items():
        for member in members:
            for _ in range(40):
                text = negatives(CaptionFacts((SoundFact(member),)), language, rng)
                assert name not in text, (member, text)
                drawn.add(text)
    assert len(drawn) > 50
    assert all(_says(text, ("no", "without"), "en") or text[0] in "不没无" for text in drawn)


def test_every_concept_leaves_something_to_refuse() -> None:
    rng = np.random.default_rng(8)
    for concept in load_concepts():
        assert negatives(plain_facts([concept]), "en", rng)


@pytest.mark.parametrize("language", LANGUAGES)
def test_silence(language: str) -> None:
    rng = np.random.default_rng(9)
    words = {"en": ("silen", "no sound", "nothing", "quiet"), "zh": ("静", "无声", "没有")}[language]
    for level in range(3):
        text = caption(CaptionFacts((), silent=True), language, level, rng).lower()
        assert any(word in text for word in words)


def test_nonsense_is_refused() -> None:
    rng = np.random.default_rng(0)
    facts = CaptionFacts((SoundFact("dog_bark"),))
    for call in (
        lambda: caption(facts, "fr", 1, rng),
        lambda: caption(facts, "en", 3, rng),
        lambda: negatives(facts, "fr", rng),
        lambda: claims("x", "fr"),
        lambda: CaptionFacts(()),
        lambda: CaptionFacts((SoundFact("dog_bark"),), silent=True),
        lambda: CaptionFacts((SoundFact("unicorn"),)),
        lambda: CaptionFacts((SoundFact("dog_bark"),), room="attic"),
        lambda: SoundFact("dog_bark", striker="jelly"),
    ):
        with pytest.raises(ValueError, match=r"unknown|silent"):
            call()
