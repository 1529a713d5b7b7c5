"""Errors that users make, for the text encoder to meet in training: letters swapped, doubled or left out,
words left out, rare characters.
"""

from __future__ import annotations

import numpy as np

_LEAST_LETTERS = 3


def misspell(text: str, language: str, rng: np.random.Generator) -> str:
    """`text` with at most one typing error and at most one word (English) or character (Chinese) left out;
    often unchanged. What remains is never empty."""
    if language == "zh":
        if len(text) > 4 and rng.random() < 0.4:
            position = int(rng.integers(len(text)))
            text = text[:position] + text[position + 1 :]
        return text
    words = text.split(" ")
    if len(words) > 3 and rng.random() < 0.4:
        del words[int(rng.integers(len(words)))]
    long = [index for index, word in enumerate(words) if len(word) >= _LEAST_LETTERS]
    if long and rng.random() < 0.4:
        index = long[int(rng.integers(len(long)))]
        words[index] = _mistype(words[index], rng)
    return " ".join(words)


def _mistype(word: str, rng: np.random.Generator) -> str:
    """One letter after the first is swapped with the next, left out or typed twice."""
    at = 1 + int(rng.integers(len(word) - 2))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[: at + 1] + word[at:]
