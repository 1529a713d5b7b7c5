"""The text encoder's corpus, targets, batches and figures, without the teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgefoley.errors import UsageError
from edgefoley.train import text
from edgefoley.train.words.concepts import load_concepts
from edgefoley.train.words.corpus import build_corpus, class_names, load_nouns, make_targets, project


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> text.TextData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CAPTION_PAIRS", 50)
        patch.setattr(text, "teacher_vectors", lambda texts, cache: _fake_teacher(len(texts)))
        return text.prepare(tmp_path_factory.mktemp("run"), 0, text.TextConfig())[1]


def _fake_teacher(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)


def test_corpus_is_distinct_bilingual_and_repeatable() -> None:
    phrases = build_corpus(0, 100)
    assert phrases == build_corpus(0, 100)
    assert len({(p.language, p.text.lower()) for p in phrases}) == len(phrases)
    assert len(load_nouns()) >= 600
    assert set(class_names()) <= {p.text for p in phrases}


def test_held_out_phrases_are_not_trained() -> None:
    phrases = build_corpus(0, 500)
    held = {p.text.lower() for p in phrases if p.held}
    assert len(held) >= 2 * len(load_concepts()) - 2
    assert not held & {p.text.lower() for p in phrases if not p.held}


def test_targets_bring_translations_together() -> None:
    phrases = build_corpus(0, 100)
    projected = project(phrases, _fake_teacher(len(phrases)), 256)
    targets = make_targets(phrases, projected)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-5)
    rows = {p.text: row for row, p in enumerate(phrases)}
    pair, other = targets[rows["dog"]] @ targets[rows["狗叫"]], targets[rows["dog"]] @ targets[rows["雨"]]
    assert pair > 0.6 > abs(other)
    assert projected[rows["dog"]] @ projected[rows["狗叫"]] < 0.5


def test_batches_pair_meanings_and_repeat(small: text.TextData) -> None:
    rows, ids = text.draw_batch(small, np.random.default_rng(3), 32)
    again_rows, again_ids = text.draw_batch(small, np.random.default_rng(3), 32)
    assert torch.equal(rows, again_rows)
    assert torch.equal(ids, again_ids)
    meaning = small.meaning[rows]
    assert torch.equal(meaning[:32], meaning[32:])
    assert (meaning >= 0).all()
    assert (ids[:, 0] == 2).all()


def test_losses_fall(small: text.TextData) -> None:
    torch.manual_seed(0)
    trainer = text.TextTrainer(text.TextConfig(depth=1, width=96), small.concept_hits.shape[1])
    optimiser = torch.optim.AdamW(trainer.parameters(), lr=2e-3)
    rows, ids = text.draw_batch(small, np.random.default_rng(0), 8)
    seen = []
    for _ in range(15):
        losses = trainer.losses(ids, small.targets[rows], small.concept_hits[rows], small.meaning[rows])
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        seen.append(float(losses["loss"].detach()))
    assert seen[-1] < 0.75 * seen[0]


def test_figures_know_perfect_from_random(small: text.TextData) -> None:
    concepts = len(load_concepts())
    perfect = torch.zeros(len(small.phrases), concepts)
    for row, phrase in enumerate(small.phrases):
        perfect[row, list(phrase.concepts)] = 1
    assert set(text.validation_figures(small.phrases, perfect).values()) == {1.0}
    noise = torch.from_numpy(_fake_teacher(len(small.phrases)))
    assert max(text.validation_figures(small.phrases, noise).values()) < 0.1


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="--resume"):
        text.run(tmp_path, steps=1, resume=False)
