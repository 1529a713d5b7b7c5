"""Negative prompts that name only what is absent: "no birds, no music" or 不要音乐.

Sounds come in families, as users name them; a family is absent when none of its members, nor any neighbour
that a listener might take for one, is among the facts. Left out: single concepts ("no hi-hat").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from edgefoley.train.words.captions import CaptionFacts
from edgefoley.train.words.concepts import LANGUAGES

# How a family of sounds is called in English and in Chinese, and the marks of concepts that rule it out: a
# concept belongs to the family if its id holds one of them. Generous, since neighbours sound alike.
_FAMILIES: Final[tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...]] = (
    (
        ("music", "musical instruments", "background music"),
        ("音乐", "配乐", "背景音乐"),
        "piano guitar trumpet drum cymbal gong tabla cowbell percussion harp violin singing bell chime "
        "radio whistling vinyl dancing",
    ),
    (
        ("speech", "voices", "people talking"),
        ("人声", "说话声", "人说话的声音"),
        "speech crowd singing radio laughter scream grunt_pain gasp baby robot kiss cough sneeze "
        "breathing vomit train_pass bus drinking phone applause factory",
    ),
    (
        ("birds", "birdsong"),
        ("鸟叫", "鸟鸣"),
        "bird crow_ rooster seagull pigeon owl parrot woodpecker duck goose chicken wings forest night bat_",
    ),
    (
        ("dogs", "barking"),
        ("狗叫", "狗吠"),
        "dog wolf hyena sea_lion",
    ),
    (
        ("rain",),
        ("雨声",),
        "rain thunder water steps_water underwater river sizzle drip",
    ),
    (
        ("thunder",),
        ("雷声",),
        "thunder rain explosion rockfall earthquake fireworks jet",
    ),
    (
        ("wind", "wind noise"),
        ("风声",),
        "wind whoosh leaves forest waves room_tone jet",
    ),
    (
        ("footsteps",),
        ("脚步声",),
        "footsteps running stairs high_heels dancing jump horse walk crowd",
    ),
    (
        ("traffic", "cars"),
        ("车声", "车流声"),
        "car_ traffic truck bus motorcycle siren tractor excavator alarm engine level_crossing boat "
        "helicopter bicycle",
    ),
    (
        ("applause", "clapping"),
        ("掌声",),
        "applause clap crowd slap rain cheer",
    ),
    (
        ("laughter",),
        ("笑声",),
        "laugh hyena crowd speech baby applause monkey gorilla",
    ),
    (
        ("engine noise", "engines"),
        ("引擎声", "马达声"),
        "engine car_ truck bus motorcycle tractor excavator boat airplane jet helicopter chainsaw "
        "machine factory traffic train rocket drill saw jackhammer fan printer washing elevator ship "
        "robot electric",
    ),
    (
        ("explosions", "gunshots"),
        ("爆炸声", "枪声"),
        "explosion gun fireworks fuse rocket balloon laser thunder arrow canon pop car_crash spark",
    ),
    (
        ("sirens", "alarms"),
        ("警报声", "警笛"),
        "siren alarm level_crossing phone beep horn whistle bell geiger wolf",
    ),
    (
        ("water",),
        ("水声",),
        "water rain river ocean wave swim drip toilet bubbles boiling drinking pour thunderstorm splat "
        "boat ship spray whale sea wash dishes fish sizzle",
    ),
    (
        ("insects", "crickets"),
        ("虫鸣",),
        "bee cricket night forest frog snake",
    ),
)

_REFUSALS: Final[dict[str, tuple[Callable[[list[str]], str], ...]]] = {
    "en": (
        lambda names: ", ".join(f"no {name}" for name in names),
        lambda names: "without " + " or ".join(names),
        lambda names: "no " + " or ".join(names),
        lambda names: "without any " + ", without any ".join(names),
    ),
    "zh": (
        lambda names: "，".join(f"不要{name}" for name in names),
        lambda names: "，".join(f"没有{name}" for name in names),
        lambda names: "不要" + "和".join(names),
        lambda names: "无" + "，无".join(names),
    ),
}


def negatives(facts: CaptionFacts, language: str, rng: np.random.Generator) -> str:
    """A negative prompt: one to three families of sounds that are not in `facts`, as "no music, no birds" or
    "不要音乐". ValueError for an unknown language."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
    present = [fact.concept for fact in facts.sounds]
    absent = [
        names[LANGUAGES.index(language)]
        for *names, marks in _FAMILIES
        if not any(mark in concept for concept in present for mark in marks.split())
    ]
    count = min(len(absent), int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15])))
    chosen = [str(rng.choice(absent[i])) for i in rng.choice(len(absent), count, replace=False)]
    refusals = _REFUSALS[language]
    return refusals[int(rng.integers(len(refusals)))](chosen)
