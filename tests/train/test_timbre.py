"""Timbres: when things happen does not matter, what they are like does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgefoley.export.timbres import MOST, SILENCE, silent_phrases, timbre_table
from edgefoley.models.timbre import Timbre, join, timbre_width
from edgefoley.timbres import TimbreTable
from edgefoley.train.school.lessons import Lesson, Voice
from edgefoley.train.timbre import Example, fit, is_example, timbre
from edgefoley.train.words.concepts import load_concepts

CHANNELS, LENGTH = 6, 500


def struck(times: tuple[float, ...], rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """Latents (D, L) of decaying sounds of one colour at ``times``, over a quiet floor."""
    latents = np.zeros((CHANNELS, LENGTH), np.float32)
    latents[0] = -3
    latents += 0.02 * rng.normal(size=latents.shape).astype(np.float32)
    for time in times:
        start = round(time * 50)
        decay = np.exp(-np.arange(40) / 12)[: LENGTH - start]
        latents[:, start : start + 40] += decay * colour[:, None]
    return latents


@pytest.fixture
def colours() -> np.ndarray:
    made = np.random.default_rng(4).normal(size=(2, CHANNELS)).astype(np.float32)
    made[:, 0] = 4  # both are as loud
    return made


def test_moved_events_have_the_same_timbre_and_other_sounds_another(colours: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    hits = lambda times: tuple((t, 0.5) for t in times)  # noqa: E731
    early, late = (0.5, 2.0, 3.3, 5.0), (1.7, 4.1, 6.6, 8.2)
    first, moved = (timbre(struck(t, rng, colours[0]), hits(t), 1.0) for t in (early, late))
    other = timbre(struck(early, rng, colours[1]), hits(early), 1.0)
    assert first.shape == (timbre_width(CHANNELS),)
    assert np.linalg.norm(first - moved) < 0.05 * np.linalg.norm(first - other)


def test_a_flipped_loudness_gives_the_same_frames(colours: np.ndarray) -> None:
    latents = struck((1.0, 3.0), np.random.default_rng(1), colours[0])
    turned = latents * np.array([-1, 1, 1, 1, 1, 1], np.float32)[:, None]
    a, b = timbre(latents, ((1.0, 1.0),), 1.0), timbre(turned, ((1.0, 1.0),), -1.0)
    assert np.allclose(np.abs(a), np.abs(b), atol=1e-6)


def test_the_course_is_that_of_the_events(colours: np.ndarray) -> None:
    """The last numbers but one are latents at 0, 1, 2, 4 ... after an event; without events the loud mean."""
    latents = struck((2.0,), np.random.default_rng(2), colours[0])
    made = timbre(latents, ((2.0, 1.0),), 1.0)
    course = made[-1 - 7 * CHANNELS : -1].reshape(7, CHANNELS)
    assert np.array_equal(course, latents.T[[100, 101, 102, 104, 108, 116, 132]]) and made[-1] == 1
    steady = timbre(latents, (), 1.0)
    course = steady[-1 - 7 * CHANNELS : -1].reshape(7, CHANNELS)
    assert (course == course[0]).all() and steady[-1] == 0


def test_the_whitening_leaves_uncorrelated_parts_of_variance_one() -> None:
    rng = np.random.default_rng(3)
    raw = (rng.normal(size=(400, 9)) @ rng.normal(size=(9, 20)) + 3).astype(np.float32)
    module = Timbre(20, 5, 8)
    assert 0.5 < fit(module, raw) < 1.0
    parts = module.whiten(torch.from_numpy(raw)).numpy()
    assert np.allclose(parts.T @ parts / 400, np.eye(5), atol=2e-3)


def test_joined_texts_are_those_of_the_runtime() -> None:
    """A padded batch in PyTorch against the runtime's numpy, text by text."""
    generator = torch.Generator().manual_seed(0)
    text, rows, pooled = (torch.randn(3, n, 8, generator=generator) for n in (5, 2, 2))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    shown = torch.tensor([[True, True], [True, False], [False, False]])
    joined, there = join(text, mask, rows, pooled, shown)
    assert there.sum(1).tolist() == [7, 4, 1]
    for i in range(3):
        count = int(shown[i].sum())
        table = TimbreTable(
            ("a", "b"),
            ("", ""),
            np.eye(2, 8, dtype=np.float32),
            np.arange(2),
            rows[i].numpy(),
            pooled[i].numpy(),
            0.5,
        )
        words = text[i : i + 1, : int(mask[i].sum())].numpy()
        expected = table.beside(words, tuple(range(count)), 0)
        assert np.allclose(joined[i, : expected.shape[1]].numpy(), expected[0], atol=1e-6)
        assert there[i, : expected.shape[1]].all()


def test_a_new_timbre_changes_no_sentence_yet() -> None:
    module = Timbre(20, 5, 8)
    _, pooled = module(torch.randn(4, 5))
    assert not pooled.any()


@pytest.mark.parametrize(
    ("voices", "silent", "example"), [(1, False, True), (2, False, False), (0, True, False), (1, True, False)]
)
def test_examples_are_of_one_sound(voices: int, silent: bool, example: bool) -> None:
    voice = Voice("dog_bark", "unseen")
    assert is_example(Lesson(1, 10.0, None, "", "", "", (voice,) * voices, silent=silent)) == example


def test_the_table_takes_the_most_typical_and_knows_silence() -> None:
    concepts = load_concepts()[:3]
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(20, timbre_width(CHANNELS))).astype(np.float32)
    raw[7] += 40  # not typical
    torch.manual_seed(0)
    module = Timbre(raw.shape[1], 5, 8)
    fit(module, raw)

    def embed(texts: object) -> np.ndarray:
        return np.stack([np.random.default_rng(len(str(t))).normal(size=8) for t in texts]).astype(  # type: ignore[attr-defined]
            np.float32
        )

    made = timbre_table(
        module, {concepts[1].id: [Example(str(i), row) for i, row in enumerate(raw)]}, concepts, embed
    )
    assert made.names == (*(c.id for c in concepts), SILENCE)
    assert made.owner.tolist() == [1] * MOST
    assert np.allclose(np.linalg.norm(made.keys, axis=1), 1, atol=1e-5)
    with torch.no_grad():
        far = module(module.whiten(torch.from_numpy(raw[7:8])))[0].numpy()
    assert not any(np.allclose(row, far[0], atol=1e-5) for row in made.rows)


def test_silence_is_asked_for_in_both_languages() -> None:
    phrases = silent_phrases()
    assert "no sound at all" in phrases and "寂静" in phrases and len(set(phrases)) == len(phrases)
