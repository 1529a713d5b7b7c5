"""What the text encoder is taught: phrases in English and Chinese, and which of them mean the same.

The phrases are the concept table's, captions made of them with imagined facts, captions that refuse a sound
("rain without thunder", which is rain), object names, verbs and places (`nouns.tsv`) with a few frames each,
the 1000 class names of the image encoder, and common words of both languages (lexicon.py). The vector that
each should get is the business of targets.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np

from edgefoley.train.words.captions import CaptionFacts, caption
from edgefoley.train.words.claims import ROOMS, SoundFact
from edgefoley.train.words.concepts import LANGUAGES, Concept, held_phrases, load_concepts
from edgefoley.train.words.lexicon import chinese_words, english_words
from edgefoley.train.words.negatives import negatives

_FRAMES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "thing": (
        ("the sound of a {0}", "{0}的声音"),
        ("a {0} makes a noise", "{0}发出声音"),
        ("{0} sound", "{0}响"),
    ),
    "contact": (
        ("hitting a {0}", "敲打{0}"),
        ("someone taps the {0}", "有人轻敲{0}"),
        ("a stick scratches the {0}", "棍子刮{0}"),
        ("{0} drops on the floor", "{0}掉在地上"),
        ("{0} breaks", "{0}碎了"),
    ),
    "verb": (("{0} sound", "{0}声"), ("someone is {0}", "有人在{0}"), ("{0} loudly", "大声{0}")),
    "place": (("walking in the {0}", "走在{0}里"), ("the sound of the {0}", "{0}的环境声")),
    "material": (
        ("hitting {0}", "敲{0}"),
        ("{0} impact", "{0}撞击声"),
        ("footsteps on {0}", "走在{0}上"),
        ("scratching {0}", "刮{0}"),
        ("{0} breaking", "{0}断裂"),
    ),
    "person": (("a {0} is speaking", "{0}在说话"), ("a {0} walks", "{0}在走路")),
    "driving": (
        ("a {0} passes by", "{0}驶过"),
        ("the engine of a {0}", "{0}的引擎"),
        ("{0} starting", "{0}启动"),
    ),
    "playing": (("playing the {0}", "演奏{0}"), ("a {0} is played", "有人弹奏{0}"), ("{0} solo", "{0}独奏")),
    "sound": (("a {0}", "{0}的声音"), ("a loud {0}", "{0}的一声响"), ("{0}, {0}, {0}", "{0}，{0}，{0}")),
    "calling": (("a {0} calls", "{0}在叫"), ("{0} sound", "{0}的叫声"), ("the {0} is eating", "{0}在吃东西")),
}
_GROUP_FRAMES: Final[dict[str, str]] = {
    "animal": "calling", "tool": "contact", "vehicle": "driving", "instrument": "playing", "food": "contact",
    "household": "contact", "kitchen": "contact", "sport": "thing", "weapon": "thing", "nature": "thing",
    "material": "material", "surface": "material", "place": "place", "electronics": "thing", "verb": "verb",
    "person": "person", "clothing": "thing", "toy": "thing", "sound": "sound",
}  # fmt: skip

# How many of a group's frames, from the first, still name the sound that the bare word names.
_OWN_SOUND: Final = {"calling": 2, "driving": 2, "playing": 3, "thing": 3, "verb": 3}

# The image encoder names breeds and species; these ranges of class numbers (ILSVRC-2012 order) sound alike.
_CLASS_FAMILIES: Final[tuple[tuple[int, int, str], ...]] = (
    (7, 8, "rooster_crow"), (9, 24, "bird_song"), (30, 32, "frog_croak"), (52, 68, "snake_rattle"),
    (80, 96, "bird_song"), (97, 97, "duck_quack"), (98, 98, "duck_quack"), (99, 99, "goose_honk"),
    (127, 146, "bird_song"), (147, 148, "whale_call"), (150, 150, "sea_lion"), (151, 268, "dog_bark"),
    (269, 272, "wolf_howl"), (281, 285, "cat_meow"), (286, 293, "big_cat_growl"), (294, 297, "bear_growl"),
    (365, 384, "monkey_screech"), (385, 386, "elephant_trumpet"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phrase:
    """`text` in `language`; `concepts`: indices into the concept table of all sounds it names (may be empty);
    `key`: equal for phrases that mean the same; `held`: kept out of training, for evaluation; `kind`:
    "written" by a person (table, nouns), "composed" by rules, "refusing" another sound, or a "word" of the
    lexicon, which stands for nothing but itself."""

    text: str
    language: str
    concepts: tuple[int, ...]
    key: str
    held: bool = False
    kind: str = "written"


@dataclass(frozen=True)
class CorpusSizes:
    """`captions`: pairs of composed captions; `words`: words of the lexicon per language; `develop`: hold out
    one table phrase per concept and language, by which settings are chosen, in place of the phrases by the
    other writer, by which nothing is chosen."""

    captions: int = 5000
    words: int = 16000
    develop: bool = False


def split_concepts(concepts: Sequence[Concept], seed: int) -> tuple[list[Concept], list[Phrase]]:
    """Hold out one phrase per concept and language, never one of the two bare words in front.

    Returns the concepts without those phrases, and the held-out phrases (a concept's English one, then its
    Chinese).
    """
    rng = np.random.default_rng((seed, 1))
    kept, held = [], []
    for index, concept in enumerate(concepts):
        remaining: dict[str, tuple[str, ...]] = {}
        for language in LANGUAGES:
            phrases = concept.phrases(language)
            out = int(rng.integers(2, len(phrases)))
            held.append(Phrase(phrases[out], language, (index,), concept.id, held=True))
            remaining[language] = phrases[:out] + phrases[out + 1 :]
        kept.append(dataclasses.replace(concept, en=remaining["en"], zh=remaining["zh"]))
    return kept, held


def evaluation_phrases() -> list[Phrase]:
    """The other writer's phrases, for evaluation only."""
    order = {concept.id: index for index, concept in enumerate(load_concepts())}
    return [Phrase(text, lang, (order[name],), name, held=True) for name, lang, text in held_phrases()]


def load_nouns() -> tuple[tuple[str, str, str], ...]:
    """Rows (group, English, Chinese) of the packaged `nouns.tsv`."""
    lines = files("edgefoley.train.words").joinpath("nouns.tsv").read_text(encoding="utf-8").splitlines()
    rows = []
    for line in lines[1:]:
        group, english, chinese = line.split("\t")
        rows.append((group, english, chinese))
    return tuple(rows)


def class_names() -> tuple[str, ...]:
    """The image encoder's class names in its order."""
    return tuple(files("edgefoley.models").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())


class _Collector:
    """Distinct training phrases in the order they came; none that is kept for evaluation."""

    def __init__(self, held: Sequence[Phrase]) -> None:
        self.forbidden = {phrase.text.lower().strip(" .。") for phrase in held}
        self.inside: tuple[str, ...] = ()  # may not even be part of a text
        self.phrases: dict[tuple[str, str], Phrase] = {}

    def add(
        self, text: str, language: str, concepts: tuple[int, ...], key: str, kind: str = "written"
    ) -> None:
        lower = text.lower()
        if lower.strip(" .。") not in self.forbidden and not any(part in lower for part in self.inside):
            phrase = Phrase(text, language, concepts, key, kind=kind)
            self.phrases.setdefault((language, lower), phrase)


def build_corpus(seed: int, sizes: CorpusSizes) -> list[Phrase]:
    """All distinct phrases, the held-out ones last. UsageError without the packages of lexicon.py, if words
    are asked for."""
    concepts: Sequence[Concept] = load_concepts()
    held = evaluation_phrases()
    into = _Collector(held)
    if sizes.develop:
        concepts, held = split_concepts(concepts, seed)
        into.inside = tuple(phrase.text.lower() for phrase in held)
    known: dict[str, tuple[int, ...]] = {}
    for index, concept in enumerate(concepts):
        for language in LANGUAGES:
            for text in concept.phrases(language):
                known.setdefault(text.lower(), (index,))
                into.add(text, language, (index,), concept.id)
    _add_nouns(into, concepts, known)
    rng = np.random.default_rng((seed, 2))
    for number in range(sizes.captions):
        _add_captions(into, concepts, number, rng)
    for _ in range(sizes.captions // 2):
        _add_refusal(into, concepts, rng)
    if sizes.words:
        for language, words in (("en", english_words(sizes.words)), ("zh", chinese_words(sizes.words))):
            for word in words:
                into.add(word, language, (), f"word:{language}:{word}", "word")
    return [*into.phrases.values(), *held]


def _add_nouns(into: _Collector, concepts: Sequence[Concept], known: dict[str, tuple[int, ...]]) -> None:
    """Nouns and verbs with their frames, and the names of the image encoder's classes."""
    for group, english, chinese in load_nouns():
        indices = known.get(english, known.get(chinese, ()))
        key = concepts[indices[0]].id if indices else f"noun:{english}:{chinese}"
        into.add(english, "en", indices, key)
        into.add(chinese, "zh", indices, key)
        for number, (english_frame, chinese_frame) in enumerate(_FRAMES[_GROUP_FRAMES[group]]):
            # "a dog calls" is the dog's concept; "the dog is eating" or "hitting a drill" no longer is
            own = indices if number < _OWN_SOUND.get(_GROUP_FRAMES[group], 0) else ()
            frame_key = key if own else f"frame:{number}:{english}:{chinese}"
            into.add(english_frame.format(english), "en", own, frame_key, "composed")
            into.add(chinese_frame.format(chinese), "zh", own, frame_key, "composed")
    order = {concept.id: index for index, concept in enumerate(concepts)}
    for number, name in enumerate(class_names()):
        family = next((c for low, high, c in _CLASS_FAMILIES if low <= number <= high), None)
        indices = (order[family],) if family else known.get(name.lower(), ())
        into.add(name, "en", indices, f"class:{number}", "composed")


def imagine(concepts: Sequence[Concept], rng: np.random.Generator) -> CaptionFacts:
    """Facts that could be true of `concepts`, for captions without a scene: counts, strengths and distances
    at random, materials from the table."""
    sounds = []
    for position, concept in enumerate(concepts):
        stream = concept.kind == "texture"
        striker = str(rng.choice(concept.striker)) if concept.striker else ""
        struck = str(rng.choice(concept.struck)) if concept.struck else ""
        sounds.append(
            SoundFact(
                concept.id,
                count=0 if stream else int(rng.choice([1, 2, 3, 4, 5, 9, -1])),
                strength=float(rng.random()),
                rate_hz=float(rng.choice([0.0, 0.5, 1.5, 4.0])),
                distance_m=float(rng.choice([1.0, 4.0, 20.0])),
                onscreen=position == 0 or bool(rng.random() < 0.5),
                striker=striker,
                struck=struck if rng.random() < 0.7 else "",
            )
        )
    return CaptionFacts(tuple(sounds), room=str(rng.choice(ROOMS)))


def _add_captions(
    into: _Collector, concepts: Sequence[Concept], number: int, rng: np.random.Generator
) -> None:
    """One meaning told in both languages: one to three concepts, at times with a refusal behind it; or a
    refusal alone; or silence."""
    draw = rng.random()
    if draw < 0.03:
        silence = CaptionFacts((), silent=True)
        for language in LANGUAGES:
            into.add(
                caption(silence, language, int(rng.integers(3)), rng), language, (), "silence", "composed"
            )
        return
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    indices = tuple(int(i) for i in rng.choice(len(concepts), count, replace=False))
    facts = imagine([concepts[i] for i in indices], rng)
    if draw < 0.05:
        for language in LANGUAGES:
            into.add(negatives(facts, language, rng), language, (), "refusal", "composed")
        return
    key = concepts[indices[0]].id if count == 1 else f"caption:{number}"
    for language in LANGUAGES:
        text = caption(facts, language, int(rng.choice([0, 1, 2], p=[0.1, 0.35, 0.55])), rng, draw > 0.7)
        if rng.random() < 0.12:
            text = text.rstrip(".。") + (", " if language == "en" else "，") + negatives(facts, language, rng)
        into.add(text, language, indices, key, "composed")


# What is heard is {0}, what is not is {1}.
_REFUSING: Final[dict[str, tuple[str, ...]]] = {
    "en": ("{0} without {1}", "{0}, no {1}", "{0} but no {1}", "no {1}, only {0}", "not {1} but {0}",
           "{0} with no {1}", "just {0}, without any {1}"),
    "zh": ("{0}，没有{1}", "{0}但没有{1}", "没有{1}，只有{0}", "不要{1}，只要{0}", "不是{1}，而是{0}",
           "{0}，不带{1}", "只有{0}，没有{1}"),
}  # fmt: skip
_NEIGHBOURS: Final = 6


def _add_refusal(into: _Collector, concepts: Sequence[Concept], rng: np.random.Generator) -> None:
    """A sound without another, which means the sound alone. The other is often close by in the table, where
    related sounds stand together: those are the ones that users refuse."""
    index = int(rng.integers(len(concepts)))
    near = rng.random() < 0.6
    shift = int(rng.integers(1, _NEIGHBOURS + 1 if near else len(concepts)))
    other = concepts[(index + (shift if rng.random() < 0.5 else -shift)) % len(concepts)]
    for language in LANGUAGES:
        phrases = concepts[index].phrases(language)
        heard = phrases[int(rng.integers(2 if rng.random() < 0.5 else len(phrases)))]
        refused = other.phrases(language)[int(rng.integers(2))]
        text = str(rng.choice(_REFUSING[language])).format(heard, refused)
        into.add(text, language, (index,), concepts[index].id, "refusing")
