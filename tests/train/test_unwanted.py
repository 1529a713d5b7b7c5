"""Negatives for distillation, over a stand-in of the examples: which words, how many, always the same."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from edgefoley.train.unwanted import NEGATIVE_WIDTH, ExamplesWithNegatives  # noqa: E402
from edgefoley.train.words.concepts import LANGUAGES, load_concepts  # noqa: E402

WIDTH = 32


def vector(text: str) -> np.ndarray:
    """A fixed random direction for every text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)


class Captioner:
    """One token per letter between two that every text has; the first row is the sentence's vector."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]):
        self.asked += texts
        count = [len(text) + 2 for text in texts]
        rows = torch.zeros(len(texts), max(count), WIDTH)
        for row, text in zip(rows, texts, strict=True):
            row[0] = torch.from_numpy(vector(text))
        return rows, torch.arange(max(count)) < torch.tensor(count)[:, None]


class StandIn:
    """Examples of which the first half asks for ``concept`` in words, the other half shows it."""

    def __init__(self, concept: str, count: int = 40) -> None:
        self.concepts = {c.id: c for c in load_concepts()}
        self.captioner, self.seed, self.count = Captioner(), 1, count
        phrases = [c.phrases(lang)[0] for c in self.concepts.values() for lang in LANGUAGES]
        self.vectors = torch.from_numpy(np.stack([vector(phrase) for phrase in phrases]))
        self.phrase = self.concepts[concept].phrases("en")[0]

    def __call__(self, step: int):
        half = self.count // 2
        text, mask = self.captioner([self.phrase] * half + [""] * half)
        shown = torch.from_numpy(vector(self.phrase)).expand(self.count, 2, WIDTH).clone()
        return {"latents": torch.zeros(self.count, 1, 2), "text": text, "mask": mask, "visual": shown}


def negatives_of(share: float, step: int = 3):
    stand_in = StandIn("dog_bark")
    examples = ExamplesWithNegatives(stand_in, share)
    stand_in.captioner.asked.clear()
    batch = examples(step)
    return batch, stand_in.captioner.asked[stand_in.count :], stand_in


def test_a_share_has_negatives_and_a_step_always_the_same() -> None:
    batch, texts, _ = negatives_of(0.5)
    again, same, _ = negatives_of(0.5)
    assert texts == same and torch.equal(batch["negative"], again["negative"])
    assert texts != negatives_of(0.5, 4)[1]
    assert batch["avoids"].tolist() == [bool(text) for text in texts]
    assert 8 <= int(batch["avoids"].sum()) <= 32
    assert (
        batch["negative"].shape[1] <= NEGATIVE_WIDTH and batch["negative_mask"].sum(1).max() <= NEGATIVE_WIDTH
    )
    without = ~batch["avoids"]
    assert torch.equal(batch["negative"][without][:, 0], batch["blank"][:, 0].expand(int(without.sum()), -1))
    assert not negatives_of(0.0)[0]["avoids"].any()


def test_nobody_asks_for_a_sound_and_against_it() -> None:
    own = set(load_concepts_of("dog_bark"))
    asked: list[str] = []
    shown: list[str] = []
    for step in range(12):
        _, texts, stand_in = negatives_of(1.0, step)
        asked += texts[: stand_in.count // 2]
        shown += texts[stand_in.count // 2 :]
    known = {phrase for c in load_concepts() for lang in LANGUAGES for phrase in c.phrases(lang)}
    assert set(asked) | set(shown) <= known
    # By chance one of the concepts in so many is drawn; what a picture alone shows is drawn far more often.
    rate = [sum(text in own for text in texts) / len(texts) for texts in (asked, shown)]
    assert rate[0] < 0.03 < rate[1]


def load_concepts_of(name: str) -> list[str]:
    concept = next(c for c in load_concepts() if c.id == name)
    return [phrase for lang in LANGUAGES for phrase in concept.phrases(lang)]
