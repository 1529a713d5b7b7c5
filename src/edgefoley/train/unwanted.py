"""What must not be heard: negative prompts for distillation, and how a student reads them in a single pass.

Guidance makes a negative prompt act: the teacher moves away from what those words alone would sound like. A
student with guidance folded in has no second pass, so the words have to reach it another way. Here they join
its own words: the rows of the negative stand behind those of the caption with the opposite sign (``fold``).
A negated row is nothing that the text encoder makes, so the network can tell them apart; it costs no new
weight and no new input, and without a negative nothing changes. The teacher's guided velocity under that
negative is what the student then learns, for a share of the examples.

Which words: half the negatives are any concept, half are near to what is asked for. Without a caption that is
what the picture shows, which is what people write negatives against; with one it is a neighbour, not the
thing itself, because nobody asks for a dog and against a dog.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from edgefoley.train.examples import Examples
from edgefoley.train.teachers import Batch
from edgefoley.train.words.concepts import LANGUAGES

NEGATIVE_WIDTH: Final = 16  # tokens of a negative that are kept
SHOWN: Final = (0, 6)  # of the concepts' phrases, nearest first: those that a picture alone is about
NEIGHBOURS: Final = (6, 40)  # and those that are near to a caption without being what it says
STREAM: Final = 7  # of the random numbers, so that the examples stay as they are without negatives


class ExamplesWithNegatives:
    """``Examples`` with a negative for a ``share`` of them: ``negative`` (B, T', D), ``negative_mask``
    (B, T'), and ``avoids`` (B,) bool, which of them have one; the others have the empty prompt, ``blank`` (1,
    T', D) with ``blank_mask``, as guidance has it. A pure function of seed and step."""

    def __init__(self, examples: Examples, share: float) -> None:
        self.examples, self.share = examples, share
        self.concepts = list(examples.concepts.values())
        rows, mask = examples.captioner([""])
        self.empty = rows[:, :NEGATIVE_WIDTH], mask[:, :NEGATIVE_WIDTH]
        self.blank = int(mask.sum())  # tokens of no words at all

    def __call__(self, step: int) -> dict[str, Tensor]:
        batch = self.examples(step)
        rng = np.random.default_rng([self.examples.seed, step, STREAM])
        near = self.ranking(batch)
        wordless = (batch["mask"].sum(1) <= self.blank).tolist()
        texts = [
            self.words(near[i], wordless[i], rng) if rng.random() < self.share else ""
            for i in range(len(near))
        ]
        rows, mask = self.examples.captioner(texts)
        batch["negative"], batch["negative_mask"] = rows[:, :NEGATIVE_WIDTH], mask[:, :NEGATIVE_WIDTH]
        batch["avoids"] = torch.tensor([bool(text) for text in texts], device=rows.device)
        batch["blank"], batch["blank_mask"] = self.empty
        return batch

    def ranking(self, batch: Batch) -> list[list[int]]:
        """Per example the phrases of ``Examples.vectors``, nearest to what it asks for first."""
        wordless = batch["mask"].sum(1, keepdim=True) <= self.blank
        asked = torch.where(wordless, batch["visual"].mean(1), batch["text"][:, 0])
        unit = torch.nn.functional.normalize
        near = unit(asked, dim=1) @ unit(self.examples.vectors, dim=1).T
        order: list[list[int]] = near.argsort(1, descending=True)[:, : NEIGHBOURS[1]].tolist()
        return order

    def words(self, near: list[int], wordless: bool, rng: np.random.Generator) -> str:
        """One negative: a phrase of a concept that is near, or of any."""
        if rng.random() < 0.5:
            first, last = SHOWN if wordless else NEIGHBOURS
            concept = self.concepts[near[int(rng.integers(first, min(last, len(near))))] // len(LANGUAGES)]
        else:
            concept = self.concepts[int(rng.integers(len(self.concepts)))]
        phrases = concept.phrases(LANGUAGES[int(rng.integers(len(LANGUAGES)))])
        return str(phrases[int(rng.integers(len(phrases)))])


def fold(batch: Batch) -> dict[str, Tensor]:
    """The batch as a student with folded guidance reads it: ``text`` (B, T + T', D) and ``mask`` with the
    negated rows of each negative behind those of its caption. Without ``avoids`` nothing changes."""
    if "avoids" not in batch:
        return dict(batch)
    text, words = batch["text"], batch["mask"].sum(1).tolist()
    negative = batch["negative"].expand(len(text), -1, -1)  # one for all, or one each
    unwanted = (batch["negative_mask"].sum(1) * batch["avoids"]).tolist()
    count, width = len(text), text.shape[1] + negative.shape[1]
    rows = text.new_zeros(count, width, text.shape[2])
    mask = torch.zeros(count, width, dtype=torch.bool, device=text.device)
    for i, (n, m) in enumerate(zip(words, unwanted, strict=True)):
        rows[i, :n] = text[i, :n]
        rows[i, n : n + m] = -negative[i, :m]
        mask[i, : n + m] = True
    return {**batch, "text": rows, "mask": mask}


def without_negatives(batch: Batch) -> dict[str, Tensor]:
    """The same examples with nothing to avoid."""
    made = dict(batch)
    made["avoids"] = torch.zeros_like(batch["avoids"])
    made["negative"], made["negative_mask"] = batch["blank"], batch["blank_mask"]
    return made
