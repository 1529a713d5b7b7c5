"""Sound concepts: which recordings sound like what, and how people name it in English and in Chinese.

The table `concepts.tsv` beside this file is the single owner of that knowledge. Each row is one concept: the
exact labels of recordings that sound like it, what moves when it sounds and of what material, and phrases in
both languages, the bare nouns first. Training draws a scene, a concept whose actions and materials fit it, a
recording of one of the concept's labels and a caption (captions.py). `held_phrases.tsv` holds phrases by a
writer who saw none of these; they are for evaluation only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from edgefoley.errors import EdgeFoleyError
from edgefoley.timbres import LASTING
from edgefoley.train.scenes.truth import ACTIONS, MATERIALS

KINDS: Final = ("impact", "step", "vocal", "burst", "texture")
LANGUAGES: Final = ("en", "zh")
LEVELS: Final = (0, 1, 2)
MIN_PHRASES: Final = 4
# Most typical actions of continuous sounds that need nobody who keeps moving something.
GOES_ON: Final = {
    "ambience", "bubbles", "clap", "crowd", "engine", "flames", "flow", "rain", "rotor", "steam", "waves",
    "wind",
}  # fmt: skip
COLUMNS: Final = ("id", "kind", "share", "labels", "actions", "striker", "struck", "en", "zh")


class ConceptTableError(EdgeFoleyError):
    """The concept table breaks one of its rules; the message names the row and the rule."""


@dataclass(frozen=True, slots=True)
class Concept:
    """One kind of sound.

    `id`: unique snake_case name. `share`: how often a lesson is about it, beside 1 for most: everyday sounds
    that people film are learnt more, those of games and single instruments less. `kind`: one of KINDS (impact
    = short contacts, step = feet and hooves, vocal = voice at a mouth opening, burst = short non-contact
    event, texture = continuous). `labels`: recording labels that sound like it (exact, from the recordings'
    manifest). `actions`: what a source does to sound so (truth.ACTIONS), most typical first. `striker`,
    `struck`: MATERIALS that may do and suffer it; empty where no material is heard. `en`, `zh`: >= 4 phrases
    each; the first two are bare words.
    """

    id: str
    kind: str
    labels: tuple[str, ...]
    actions: tuple[str, ...]
    striker: tuple[str, ...]
    struck: tuple[str, ...]
    en: tuple[str, ...]
    zh: tuple[str, ...]
    share: float = 1.0

    @property
    def lasts(self) -> bool:
        """Whether it goes on by itself, whatever is seen to move: rain and engines do, a scrape does not."""
        return self.kind == "texture" and self.actions[0] in GOES_ON

    @property
    def table_kind(self) -> str:
        """Its kind in a bundle's table of timbres."""
        return LASTING if self.lasts else self.kind

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
    concept_id, kind, share = cells[:3]
    if not concept_id or not concept_id.replace("_", "").isalnum():
        raise ConceptTableError(f"line {number}: id {concept_id!r} must be letters, digits and underscores")
    if kind not in KINDS:
        raise ConceptTableError(
            f"line {number} ({concept_id}): kind {kind!r} is unknown; known: {', '.join(KINDS)}"
        )
    if not re.fullmatch(r"\d+(\.\d+)?", share) or not float(share) > 0:
        raise ConceptTableError(f"line {number} ({concept_id}): share {share!r} must be a number above 0")
    lists: list[tuple[str, ...]] = []
    for column, cell in zip(COLUMNS[3:], cells[3:], strict=True):
        values = tuple(part.strip() for part in cell.split("|"))
        if column in ("striker", "struck") and not cell:
            values = ()
        if not all(values):
            raise ConceptTableError(f"line {number} ({concept_id}): column {column!r} holds an empty entry")
        if len(set(values)) != len(values):
            raise ConceptTableError(f"line {number} ({concept_id}): column {column!r} repeats an entry")
        known = {"actions": ACTIONS, "striker": MATERIALS, "struck": MATERIALS}.get(column, values)
        if unknown := sorted(set(values) - set(known)):
            raise ConceptTableError(
                f"line {number} ({concept_id}): {column} {unknown[0]!r} is unknown; known: {', '.join(known)}"
            )
        if column in LANGUAGES and len(values) < MIN_PHRASES:
            raise ConceptTableError(
                f"line {number} ({concept_id}): {len(values)} phrases in {column!r}, needs {MIN_PHRASES}"
            )
        lists.append(values)
    labels, actions, striker, struck, en, zh = lists
    return Concept(concept_id, kind, labels, actions, striker, struck, en, zh, float(share))


def held_phrases() -> tuple[tuple[str, str, str], ...]:
    """Rows (concept id, language, text) of the packaged `held_phrases.tsv`: evaluation only, never trained
    on and nothing chosen by them. Raises ConceptTableError where a row is broken."""
    return parse_held(files("edgefoley.train.words").joinpath("held_phrases.tsv").read_text(encoding="utf-8"))


def parse_held(text: str) -> tuple[tuple[str, str, str], ...]:
    """Parse held-out phrases: a header `id` and columns whose names begin with a language. Raises
    ConceptTableError."""
    header, *lines = text.splitlines()
    columns = header.split("\t")
    if columns[0] != "id" or any(name[:2] not in LANGUAGES for name in columns[1:]):
        raise ConceptTableError(f"held-out phrases need the columns id, en..., zh..., not {header!r}")
    rows = []
    for number, line in enumerate(lines, start=2):
        concept_id, *cells = line.split("\t")
        if len(cells) != len(columns) - 1 or not all(cell.strip() for cell in cells):
            raise ConceptTableError(
                f"held-out phrases, line {number}: an empty or missing cell: {line[:60]!r}"
            )
        rows += [(concept_id, name[:2], cell.strip()) for name, cell in zip(columns[1:], cells, strict=True)]
    return tuple(rows)
