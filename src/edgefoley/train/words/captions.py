"""What a scene's truth says in words: captions in English and Chinese that never claim more than the facts.

A caption is built of the concept table's phrases (only those that agree with the facts, `claims.agrees`) and
of remarks that the facts support: how often, how fast, how hard, how near, in what room, on what material,
and whether the source is seen. Three levels: bare words, a short phrase, one or two sentences. Left out:
pronouns and inflection; a Chinese or English sentence is clauses joined by words that fit any clause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np

from edgefoley.train.scenes.truth import MATERIALS
from edgefoley.train.words.blows import BLOWS, blow
from edgefoley.train.words.claims import (
    BEFORE,
    FAR_M,
    MATERIAL_WORDS,
    ROOMS,
    SAY,
    SAY_STEPS,
    SoundFact,
    agrees,
    claims,
    inherent,
    supported,
)
from edgefoley.train.words.concepts import LANGUAGES, LEVELS, Concept, load_concepts

_T = TypeVar("_T")

MAX_SOUNDS: Final = 3
NAMED: Final = 0.4  # share of plain blows of which tool and thing are named
_COUNTS: Final = ("once", "twice", "three", "four", "five", "several", "many", "continuous")
_MOODS: Final = (_COUNTS, ("slow", "fast"), ("soft", "hard"), ("near", "far"))

_SILENCE: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "en": (
        ("silence", "no sound", "quiet"),
        ("complete silence", "no sound at all", "nothing to hear", "total silence"),
        ("nothing makes a sound, silence", "It is completely silent.", "Nothing can be heard.",
         "There is no sound at all.", "not a single sound, only silence"),
    ),
    "zh": (
        ("寂静", "无声", "安静"),
        ("一片寂静", "没有声音", "鸦雀无声", "完全安静"),
        ("没有东西发出声音，一片寂静", "没有任何声音。", "周围静悄悄的，什么都听不见。",
         "一点声音也没有，十分安静"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CaptionFacts:
    """What may be said. `sounds`: the loudest or most important first; `room`: one of ROOMS ("": not known);
    `seconds`: the clip's length; `silent`: nothing sounds at all."""

    sounds: tuple[SoundFact, ...]
    room: str = ""
    seconds: float = 10.0
    silent: bool = False

    def __post_init__(self) -> None:
        if self.room not in ROOMS:
            raise ValueError(f"unknown room {self.room!r}; known: {', '.join(ROOMS)}")
        if self.silent == bool(self.sounds):
            raise ValueError("facts are either silent or hold at least one sound")
        for fact in self.sounds:
            if fact.concept not in _table():
                raise ValueError(f"unknown concept {fact.concept!r}")


def plain_facts(concepts: Sequence[Concept]) -> CaptionFacts:
    """Facts that know which concepts sound and nothing else of them."""
    return CaptionFacts(tuple(SoundFact(concept.id) for concept in concepts))


def caption(
    facts: CaptionFacts, language: str, level: int, rng: np.random.Generator, sound_only: bool = False
) -> str:
    """Words a user might type for `facts`; of many sounds, the first MAX_SOUNDS are told.

    `level` 0: bare words; 1: a short phrase; 2: one or two sentences. `language`: "en" or "zh".
    `sound_only`: describe what is heard, without the picture (bare words never tell the picture). The result
    depends only on the arguments and on the draws from `rng`. ValueError for an unknown language or level.
    """
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
    if level not in LEVELS:
        raise ValueError(f"unknown caption level {level!r}; known: {LEVELS}")
    if facts.silent:
        return _pick(rng, _SILENCE[language][level])
    sounds = facts.sounds[:MAX_SOUNDS]
    if level == 0:
        separator = " " if language == "en" and rng.random() < 0.3 else _COMMA[language]
        return separator.join(_bare(fact, language, rng) for fact in sounds)
    if level == 1:
        joiner = _pick(rng, _SHORT_JOINS[language])
        if sound_only:
            nouns = joiner.join(_noun(fact, facts.room, language, rng) for fact in sounds)
            return f"the sound of {nouns}" if language == "en" else nouns
        remarks = 1 if rng.random() < 0.5 else 0
        return joiner.join(_clause(fact, facts.room, language, rng, remarks) for fact in sounds)
    nominal = sound_only and rng.random() < 0.5
    told = _tell(sounds, facts.room, language, rng, sound_only, nominal)
    if nominal:
        told = f"the sound of {told}" if language == "en" else told
    elif sound_only or rng.random() < 0.2:
        frame = _pick(rng, _FRAMES[language][int(sound_only)])
        told = frame.format(told, _bare(sounds[0], language, rng))
    return _punctuate(told, language, rng)


_COMMA: Final = {"en": ", ", "zh": "，"}
_SHORT_JOINS: Final = {"en": (", ", " and ", " with "), "zh": ("，", "，还有", "，伴着")}


@lru_cache(maxsize=1)
def _table() -> dict[str, Concept]:
    return {concept.id: concept for concept in load_concepts()}


def _bare(fact: SoundFact, language: str, rng: np.random.Generator) -> str:
    return _pick(rng, _table()[fact.concept].phrases(language)[:2])


def _phrase(fact: SoundFact, room: str, language: str, rng: np.random.Generator) -> str:
    """A phrase of the table that agrees with the facts; the bare noun where none does. Of a plain blow, at
    times the tool and the thing by name."""
    if fact.concept in BLOWS and rng.random() < NAMED:
        named = blow(fact.striker, fact.struck, language, rng)
        if named:
            return named
    fitting = [p for p in _table()[fact.concept].phrases(language) if agrees(p, language, fact, room)]
    return _pick(rng, fitting) if fitting else _bare(fact, language, rng)


def _clause(fact: SoundFact, room: str, language: str, rng: np.random.Generator, remarks: int) -> str:
    """A phrase with up to `remarks` remarks that it does not make already, or a qualified noun."""
    if remarks and rng.random() < 0.25:
        return _noun(fact, room, language, rng)
    text = _phrase(fact, room, language, rng)
    return _COMMA[language].join([text, *_remarks(text, fact, language, rng, remarks)])


def _noun(fact: SoundFact, room: str, language: str, rng: np.random.Generator) -> str:
    """A noun for the sound, with an adjective where the facts support one."""
    true = supported(fact, room) - inherent()[fact.concept]
    before = [word for claim, words in BEFORE[language].items() if claim in true for word in words]
    noun = _bare(fact, language, rng)
    if language == "zh" and not noun.endswith(_SOUNDING):
        noun += "的声音"
    if not before or rng.random() < 0.3:
        return noun
    return _pick(rng, before) + (" " if language == "en" else "") + noun


# A Chinese word with one of these endings names a sound; any other needs 的声音 behind it.
_SOUNDING: Final = ("声", "叫", "鸣", "吼", "响", "声音")


def _remarks(text: str, fact: SoundFact, language: str, rng: np.random.Generator, most: int) -> list[str]:
    """Up to `most` true remarks in their usual order: material, count, tempo, force, distance."""
    true, said = supported(fact, ""), claims(text, language) | inherent()[fact.concept]
    options: list[str] = []
    material = _material(fact, language, rng)
    if material and not said & frozenset(MATERIALS):
        options.append(material)
    words = SAY[language] | (SAY_STEPS[language] if _table()[fact.concept].kind == "step" else {})
    for mood in _MOODS:
        open_claims = [claim for claim in mood if claim in true]
        if open_claims and not said & frozenset(mood):
            options.append(_pick(rng, words[_pick(rng, open_claims)]))
    kept = sorted(rng.choice(len(options), min(most, len(options)), replace=False)) if options else []
    return [options[index] for index in kept]


def _material(fact: SoundFact, language: str, rng: np.random.Generator) -> str:
    """ "on gravel", "metal on stone", 踩在砾石上; "" where nothing is struck."""
    kind = _table()[fact.concept].kind
    if not fact.struck or kind in ("vocal", "burst"):
        return ""
    names = MATERIAL_WORDS[language]
    struck = names[fact.struck][0]
    # a hand is no "flesh" in anybody's words
    both = kind != "step" and fact.striker not in ("", "flesh") and rng.random() < 0.5
    if language == "zh":
        if both:
            return f"{names[fact.striker][0]}碰{struck}"
        verb = "踩" if kind == "step" else _pick(rng, ("碰", "敲", "落")) if kind == "impact" else ""
        return f"{verb}在{struck}上"
    if both:
        return f"{names[fact.striker][0]} {_pick(rng, ('on', 'against'))} {struck}"
    return f"{'on' if kind == 'step' else _pick(rng, ('on', 'against'))} {struck}"


def _tell(
    sounds: Sequence[SoundFact],
    room: str,
    language: str,
    rng: np.random.Generator,
    sound_only: bool,
    nominal: bool,
) -> str:
    """The clauses of all sounds joined; those after the first are told by where they are. `nominal`: the
    first clause is a noun."""
    remarks = int(rng.choice([0, 1, 2, 3], p=[0.2, 0.35, 0.3, 0.15]))
    if nominal:
        text = _noun(sounds[0], room, language, rng)
        text = _COMMA[language].join([text, *_remarks(text, sounds[0], language, rng, min(remarks, 1))])
    else:
        text = _clause(sounds[0], room, language, rng, remarks)
    if not (sounds[0].onscreen or sound_only) and rng.random() < 0.6:
        text += _COMMA[language] + _pick(rng, _UNSEEN[language])
    if room and not (claims(text, language) & frozenset(ROOMS)) and rng.random() < 0.4:
        text += _COMMA[language] + _pick(rng, SAY[language][room])
    for fact in sounds[1:]:
        text += _join(fact, room, language, rng, sound_only)
    return text


_UNSEEN: Final = {
    "en": ("off screen", "somewhere off screen", "out of view", "outside the picture"),
    "zh": ("在画面外", "看不见声源", "从画面外传来"),
}
_FRAMES: Final = {
    "en": (("In this video, {0}", "The clip shows this: {0}", "Scene: {0}"),
           ("We hear {1}: {0}", "sound effect: {0}", "What can be heard: {0}", "Audio: {0}")),
    "zh": (("视频里，{0}", "画面中，{0}", "镜头里{0}"),
           ("听见{0}", "可以听到{0}", "音效：{0}", "耳边响起{0}")),
}  # fmt: skip


def _join(fact: SoundFact, room: str, language: str, rng: np.random.Generator, sound_only: bool) -> str:
    """How a further sound is attached: behind the picture, in the background, far away, or simply with it."""
    clause = _clause(fact, room, language, rng, int(rng.random() < 0.3))
    noun = _noun(fact, room, language, rng)
    far = fact.distance_m > FAR_M and "far" not in claims(clause + noun, language)
    if language == "en":
        options = [f", and {clause}", f", with {noun}", f"; at the same time, {clause}", f" and {noun}"]
        if fact.count == 0:
            options = [
                f", with {noun} in the background",
                f" over the sound of {noun}",
                f"; behind it all, {clause}",
            ]
        if far:
            options = [f"; in the distance, {clause}", f", with {noun} far away"]
        if not fact.onscreen and not sound_only:
            options = [f", while {noun} can be heard somewhere off screen", f"; off screen, {clause}"]
        return _pick(rng, options)
    options = [f"，同时{clause}", f"，还有{noun}", f"，伴着{noun}", f"，{clause}"]
    if fact.count == 0:
        options = [f"，背景里{clause}", f"，背景是{noun}", f"，周围{clause}"]
    if far:
        options = [f"，远处{clause}", f"，远远传来{noun}"]
    if not fact.onscreen and not sound_only:
        options = [f"，画面外{clause}", f"，画面外传来{noun}"]
    return _pick(rng, options)


def _punctuate(text: str, language: str, rng: np.random.Generator) -> str:
    """A full stop and a capital letter, each at times."""
    if rng.random() < 0.4:
        text += "." if language == "en" else "。"
    if language == "en" and rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text


def _pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    return options[int(rng.integers(len(options)))]
