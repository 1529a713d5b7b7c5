"""Common words of both languages, for the text encoder to learn from its teachers beyond our own phrases.

A prompt holds words that no phrase of ours has ("lightsaber", 薯片); what the teachers think of each common
word carries over to them. The lists come with two MIT packages that training alone needs: English words by
their frequency in film subtitles (pyspellchecker), Chinese words with frequency and part of speech (jieba).
Names of people, places and companies are left out, where the list tells them apart.
"""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edgefoley.errors import UsageError

_MIN_LETTERS: Final = 3
# jieba's parts of speech: common nouns, verbs, adjectives, onomatopoeia, idioms, places within places
_CHINESE_PARTS: Final = frozenset(("n", "v", "vn", "vd", "a", "an", "ad", "o", "z", "s", "i", "l", "b", "ng"))
_LONGEST_CHINESE: Final = 5


def english_words(count: int) -> tuple[str, ...]:
    """The `count` most frequent English words of at least three plain letters, most frequent first.
    UsageError without pyspellchecker."""
    path = _package_file("spellchecker", "pyspellchecker") / "resources" / "en.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        frequency: dict[str, int] = json.load(file)
    plain = (w for w in frequency if len(w) >= _MIN_LETTERS and w.isascii() and w.isalpha() and w.islower())
    return tuple(sorted(plain, key=lambda word: (-frequency[word], word))[:count])


def chinese_words(count: int) -> tuple[str, ...]:
    """The `count` most frequent Chinese words that are no names, most frequent first, then every
    onomatopoeia that is not among them. UsageError without jieba."""
    path = _package_file("jieba", "jieba") / "dict.txt"
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [
        (row[0], int(row[1]), row[2])
        for row in rows
        if row[2] in _CHINESE_PARTS
        and len(row[0]) <= _LONGEST_CHINESE
        and all("\u4e00" <= character <= "\u9fff" for character in row[0])
    ]
    kept.sort(key=lambda row: (-row[1], row[0]))
    return tuple(dict.fromkeys([*(r[0] for r in kept[:count]), *(r[0] for r in kept if r[2] == "o")]))


def _package_file(module: str, package: str) -> Path:
    """Folder of an installed module, found without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"training the text encoder needs word lists: pip install {package}")
    return Path(next(iter(spec.submodule_search_locations)))
