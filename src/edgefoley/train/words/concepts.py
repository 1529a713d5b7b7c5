"""Sound concepts: which recordings sound like what, and how people name it in English and in Chinese.

The table `concepts.tsv` beside this file is the single owner of that knowledge. Each row is one concept: the
exact labels of recordings that sound like it, and phrases in both languages ordered from the bare noun to a
short scene. Training draws a concept, a recording of one of its labels and a caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np

from edgefoley.errors import EdgeFoleyError

KINDS: Final = ("impact", "step", "vocal", "burst", "texture")
LANGUAGES: Final = ("en", "zh")
LEVELS: Final = (0, 1, 2)
MIN_PHRASES: Final = 4
MAX_JOINED: Final = 3
COLUMNS: Final = ("id", "kind", "labels", "en", "zh")

NEGATIVE_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        "no music",
        "no speech",
        "no music, no speech",
        "without background noise",
        "nothing else",
        "no voices",
        "only the sound of the action",
    ),
    "zh": (
        "没有音乐",
        "没有人说话",
        "没有音乐，没有人声",
        "没有背景噪声",
        "没有其他声音",
        "无人声",
        "只有动作的声音",
    ),
}

# Adjectives that go in front of a bare noun, and remarks that follow any phrase.
_BEFORE: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        "loud",
        "soft",
        "distant",
        "close-up",
        "faint",
        "sudden",
        "repeated",
        "muffled",
        "slow",
        "rapid",
        "gentle",
        "sharp",
        "heavy",
        "short",
        "single",
    ),
    "zh": (
        "响亮的",
        "轻柔的",
        "远处的",
        "近处的",
        "微弱的",
        "突然的",
        "反复的",
        "沉闷的",
        "缓慢的",
        "急促的",
        "清脆的",
        "短促的",
        "连续的",
    ),
}
_AFTER: Final[dict[str, tuple[str, ...]]] = {
    "en": (
        "in the distance",
        "very close",
        "twice",
        "once",
        "three times",
        "several times",
        "again and again",
        "loudly",
        "softly",
        "in a small room",
        "in a large hall",
        "outdoors",
        "indoors",
        "at night",
        "in a quiet place",
        "on a hard floor",
        "on a wooden surface",
        "with an echo",
    ),
    "zh": (
        "在远处",
        "很近",
        "两次",
        "一次",
        "三次",
        "好几下",
        "一遍又一遍",
        "声音很大",
        "声音很轻",
        "在小房间里",
        "在大厅里",
        "在室外",
        "在室内",
        "在夜里",
        "周围很安静",
        "在坚硬的地面上",
        "在木头上",
        "带着回声",
    ),
}
_FRAMES: Final[dict[str, tuple[str, ...]]] = {
    "en": ("{0}", "{0}", "the sound of {0}", "we hear {0}", "a video with {0}", "sound effect: {0}"),
    "zh": ("{0}", "{0}", "{0}的声音", "可以听到{0}", "视频里{0}", "音效：{0}", "听见{0}"),
}
_JOINS: Final[dict[str, tuple[str, ...]]] = {
    "en": (" and ", ", ", " while ", ", then ", " with ", ", and in the background "),
    "zh": ("，", "和", "，同时", "，然后", "，还有", "，背景里是"),
}


class ConceptTableError(EdgeFoleyError):
    """The concept table breaks one of its rules; the message names the row and the rule."""


@dataclass(frozen=True, slots=True)
class Concept:
    """One kind of sound.

    `id`: unique snake_case name. `kind`: one of KINDS (impact = short contacts, step = feet and hooves,
    vocal = voice at a mouth opening, burst = short non-contact event, texture = continuous). `labels`:
    recording labels that sound like it (exact, from the recordings' manifest). `en`, `zh`: >= 4 phrases each,
    from bare noun to short scene; the first two are bare words.
    """

    id: str
    kind: str
    labels: tuple[str, ...]
    en: tuple[str, ...]
    zh: tuple[str, ...]

    def phrases(self, language: str) -> tuple[str, ...]:
        """Phrases in `language` ("en" or "zh"); ValueError for any other language."""
        if language == "en":
            return self.en
        if language == "zh":
            return self.zh
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")


@lru_cache(maxsize=1)
def load_concepts() -> tuple[Concept, ...]:
    """Read and check the packaged table, in file order. Raises ConceptTableError naming the broken row."""
    return parse_concepts(files("edgefoley.train.words").joinpath("concepts.tsv").read_text(encoding="utf-8"))


def parse_concepts(text: str) -> tuple[Concept, ...]:
    """Parse a concept table from its text (tab separated, with a header). Raises ConceptTableError."""
    lines = text.splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise ConceptTableError(
            f"concept table must start with the header {' | '.join(COLUMNS)} (tab separated)"
        )
    concepts = tuple(_parse_row(number, line) for number, line in enumerate(lines[1:], start=2))
    seen: set[str] = set()
    for concept in concepts:
        if concept.id in seen:
            raise ConceptTableError(f"concept id {concept.id!r} appears twice; ids must be unique")
        seen.add(concept.id)
    return concepts


def _parse_row(number: int, line: str) -> Concept:
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise ConceptTableError(f"line {number} has {len(cells)} cells, needs {len(COLUMNS)}: {line[:60]!r}")
    concept_id, kind = cells[0], cells[1]
    if not concept_id or not concept_id.replace("_", "").isalnum():
        raise ConceptTableError(f"line {number}: id {concept_id!r} must be letters, digits and underscores")
    if kind not in KINDS:
        raise ConceptTableError(
            f"line {number} ({concept_id}): kind {kind!r} is unknown; known: {', '.join(KINDS)}"
        )
    lists: list[tuple[str, ...]] = []
    for column, cell in zip(COLUMNS[2:], cells[2:], strict=True):
        values = tuple(part.strip() for part in cell.split("|"))
        if not all(values):
            raise ConceptTableError(f"line {number} ({concept_id}): column {column!r} holds an empty entry")
        if len(set(values)) != len(values):
            raise ConceptTableError(f"line {number} ({concept_id}): column {column!r} repeats an entry")
        if column in LANGUAGES and len(values) < MIN_PHRASES:
            raise ConceptTableError(
                f"line {number} ({concept_id}): {len(values)} phrases in {column!r}, needs {MIN_PHRASES}"
            )
        lists.append(values)
    return Concept(concept_id, kind, *lists)


def caption(concepts: Sequence[Concept], language: str, rng: np.random.Generator, level: int) -> str:
    """Words a user might type for `concepts` (1 to 3 of them, as heard together).

    `level` 0: bare words; 1: one natural phrase per concept; 2: a sentence with optional loudness, distance,
    count, place and a further clause per further concept. `language`: "en" or "zh". The result depends only
    on the arguments and on the draws from `rng`. Raises ValueError for an empty or too long list, an unknown
    language or an unknown level.
    """
    if not 1 <= len(concepts) <= MAX_JOINED:
        raise ValueError(f"caption() joins 1 to {MAX_JOINED} concepts, got {len(concepts)}")
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
    if level not in LEVELS:
        raise ValueError(f"unknown caption level {level!r}; known: {LEVELS}")
    if level == 0:
        separator = " " if language == "en" and rng.random() < 0.3 else ("，" if language == "zh" else ", ")
        return separator.join(_pick(rng, concept.phrases(language)[:2]) for concept in concepts)
    if level == 1:
        joiner = _pick(rng, _JOINS[language][:2])
        return joiner.join(_pick(rng, concept.phrases(language)) for concept in concepts)
    return _sentence(concepts, language, rng)


def _sentence(concepts: Sequence[Concept], language: str, rng: np.random.Generator) -> str:
    clauses = [_clause(concept.phrases(language), language, rng) for concept in concepts]
    text = clauses[0]
    for clause in clauses[1:]:
        text += _pick(rng, _JOINS[language]) + clause
    text = _pick(rng, _FRAMES[language]).format(text)
    if rng.random() < 0.08:
        text += (", " if language == "en" else "，") + _pick(rng, NEGATIVE_PHRASES[language])
    if rng.random() < 0.3:
        text += "." if language == "en" else "。"
    if language == "en" and rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    return text


def _clause(phrases: Sequence[str], language: str, rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < 0.3:
        # an adjective is only grammatical before the bare nouns, which come first in the table
        space = " " if language == "en" else ""
        return _pick(rng, _BEFORE[language]) + space + _pick(rng, phrases[:2])
    phrase = _pick(rng, phrases)
    if draw < 0.6:
        comma = " " if language == "en" else "，"
        return phrase + comma + _pick(rng, _AFTER[language])
    return phrase


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
