"""The text encoder's data, batches and losses, without the teachers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgefoley.errors import UsageError
from edgefoley.models.text import TextConfig, TextEncoder
from edgefoley.train import text
from edgefoley.train.loop import LoopConfig
from edgefoley.train.words.corpus import CorpusSizes, Phrase, build_corpus
from edgefoley.train.words.figures import concept_centres
from edgefoley.train.words.tokenizer import save_tokenizer, train_tokenizer

CONFIG = TextConfig(vocab_size=4000, width=64, depth=1, heads=4, mlp_width=64, max_tokens=24, embed_width=32)
SIZES = CorpusSizes(captions=40, words=0)
BATCH = text.BatchSizes(pairs=12, words=0)


def _few_phrases(seed: int, sizes: CorpusSizes) -> list[Phrase]:
    """The whole corpus takes minutes to cut and train on; all concepts stay, with fewer phrases each."""
    whole = build_corpus(seed, sizes)
    return [
        p for number, p in enumerate(whole) if p.held or number % 40 == 0 or (p.concepts and number % 6 == 0)
    ]


def _fake_teacher(name: str, texts: list[str], cache: Path) -> np.ndarray:
    width = {"use": 512, "e5": 384}[name]
    seeds = [hash_of(value) for value in texts]
    basis = np.random.default_rng(0).normal(size=(997, width)).astype(np.float32)
    return basis[seeds]


def hash_of(value: str) -> int:
    return sum(value.encode()) % 997


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> text.TextData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "teacher_vectors", _fake_teacher)
        patch.setattr(text, "build_corpus", _few_phrases)
        patch.setattr(text, "VARIANTS", 1)
        return text.prepare(tmp_path_factory.mktemp("run"), 0, CONFIG, SIZES)[1]


def test_data_has_a_row_per_phrase(small: text.TextData) -> None:
    count = len(small.phrases)
    assert small.ids.shape == (2, count, 24)
    assert small.targets.shape == (count, 256)
    assert small.concept_hits.shape == (count, 253)
    held = torch.tensor([p.held for p in small.phrases])
    assert (small.meaning[held] == -1).all()
    assert (small.meaning[~held] >= 0).all()
    used = {row for pair in small.rows for side in pair for row in side}
    assert used == set((~held).nonzero()[:, 0].tolist())


def test_noisy_cuts_differ_and_begin_alike(small: text.TextData) -> None:
    assert (small.ids[:, :, 0] == 2).all()
    different = (small.ids[0] != small.ids[1]).any(-1).float().mean()
    assert 0.2 < different < 1.0


def test_batches_pair_meanings_and_repeat(small: text.TextData) -> None:
    rows, ids = text.draw_batch(small, np.random.default_rng(3), BATCH)
    again_rows, again_ids = text.draw_batch(small, np.random.default_rng(3), BATCH)
    assert torch.equal(rows, again_rows)
    assert torch.equal(ids, again_ids)
    meaning = small.meaning[rows]
    assert torch.equal(meaning[:12], meaning[12:])
    assert (meaning >= 0).all()


def test_losses_fall(small: text.TextData) -> None:
    torch.manual_seed(0)
    trainer = text.TextTrainer(CONFIG, concept_centres(small.phrases, small.targets))
    optimiser = torch.optim.AdamW(trainer.parameters(), lr=3e-3)
    rows, ids = text.draw_batch(small, np.random.default_rng(0), BATCH)
    seen = []
    for _ in range(25):
        losses = trainer.losses(
            ids, small.targets[rows], small.concept_hits[rows], small.meaning[rows], BATCH.pairs
        )
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        seen.append(float(losses["loss"].detach()))
    assert seen[-1] < 0.75 * seen[0]


def test_targets_are_turned_onto_an_earlier_encoder(small: text.TextData, tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = TextEncoder(CONFIG)
    text.save_encoder(old, {}, tmp_path)
    phrases = small.phrases
    tokenizer = train_tokenizer([p.text for p in phrases], 4000, 24)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "teacher_vectors", _fake_teacher)
        before, after = (text.teach(phrases, tmp_path, 256, folder) for folder in (None, tmp_path))
    rows = [row for row, p in enumerate(phrases) if p.concepts and not p.held]
    ids = text.encode_texts(tokenizer, [phrases[row].text for row in rows], 24)
    reference = text.sentence_vectors(old.eval(), ids).numpy()
    assert (after[rows] * reference).sum() > (before[rows] * reference).sum() + 1
    some = rows[:50]
    np.testing.assert_allclose(after[some] @ after[some].T, before[some] @ before[some].T, atol=1e-4)


def test_a_run_trains_resumes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "teacher_vectors", _fake_teacher)
    monkeypatch.setattr(text, "build_corpus", _few_phrases)
    monkeypatch.setattr(text, "VARIANTS", 1)
    monkeypatch.setattr(text, "NANO_TEXT", CONFIG)
    loop = LoopConfig(steps=2, rate=1e-3, warmup=1, report=1, save=2)
    text.run(tmp_path, loop, False, SIZES, BATCH, None)
    longer = LoopConfig(steps=3, rate=1e-3, warmup=1, report=1, save=2)
    figures = text.run(tmp_path, longer, True, SIZES, BATCH, None)
    assert figures["held"] >= 1000
    saved = json.loads((tmp_path / "text.json").read_text())
    assert saved["figures"] == figures
    assert json.loads((tmp_path / "done.json").read_text()) == {"steps": 3}
    assert isinstance(text.load_encoder(tmp_path), TextEncoder)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="--resume"):
        text.run(tmp_path, LoopConfig(1, 1e-3), False, SIZES, BATCH, None)
