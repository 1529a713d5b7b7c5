"""Text into the arrays of the text encoder. (Frames are brought to every encoder's size by
``media.read_clip``.)

Layer 1: numpy and tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from edgefoley.errors import BundleIntegrityError
from edgefoley.types import FloatArray


def tokenize(tokenizer_path: str | Path, text: str) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Token ids (1, T) int64 and mask (1, T) float32 (1 real, 0 padding) of ``text``.

    Special tokens, truncation and padding are what the file says. Raises BundleIntegrityError when the file
    is missing or unreadable, or when it turns the text into no token at all.
    """
    encoding = _encode(tokenizer_path, text)
    ids = np.array([encoding.ids], dtype=np.int64)
    return ids, np.array([encoding.attention_mask], dtype=np.float32)


def tokenize_together(
    tokenizer_path: str | Path, texts: Sequence[str], pad_id: int
) -> list[tuple[npt.NDArray[np.int64], FloatArray]]:
    """``tokenize`` of every text, all padded at the end with ``pad_id`` to the length of the longest."""
    made = [tokenize(tokenizer_path, text) for text in texts]
    longest = max(ids.shape[1] for ids, _ in made)
    padded = []
    for ids, mask in made:
        lacking = ((0, 0), (0, longest - ids.shape[1]))
        padded.append((np.pad(ids, lacking, constant_values=pad_id), np.pad(mask, lacking)))
    return padded


def _encode(tokenizer_path: str | Path, text: str) -> Encoding:
    path = Path(tokenizer_path)
    try:
        tokenizer = _tokenizer(path, path.stat().st_mtime_ns)
    except Exception as error:  # the library raises bare Exception for every kind of bad file
        raise BundleIntegrityError(
            f"tokenizer {path} cannot be read ({error}); fetch the bundle again"
        ) from error
    encoding = tokenizer.encode(text)
    if not encoding.ids:
        raise BundleIntegrityError(
            f"tokenizer {path} makes no token of {text!r}; its file lacks a sentence token"
        )
    return encoding


@lru_cache(maxsize=4)
def _tokenizer(path: Path, modified: int) -> Tokenizer:
    """``modified`` is part of the key, so that a replaced file is read anew."""
    return Tokenizer.from_file(str(path))
