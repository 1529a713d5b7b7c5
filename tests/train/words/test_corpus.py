"""What the text encoder is taught, its targets, its tokenizer's rare characters and its users' errors."""

import re

import numpy as np
import pytest

from edgefoley.errors import UsageError
from edgefoley.train.words import lexicon
from edgefoley.train.words.claims import claims
from edgefoley.train.words.concepts import held_phrases, load_concepts
from edgefoley.train.words.corpus import CorpusSizes, Phrase, build_corpus, class_names, imagine, load_nouns
from edgefoley.train.words.noise import misspell
from edgefoley.train.words.targets import make_targets, project, rotation_onto
from edgefoley.train.words.teacher import teacher_vectors
from edgefoley.train.words.tokenizer import UNK_ID, rare_ids, train_tokenizer

SMALL = CorpusSizes(captions=200, words=0)


@pytest.fixture(scope="module")
def corpus() -> list[Phrase]:
    return build_corpus(0, SMALL)


def test_corpus_is_distinct_bilingual_and_repeatable(corpus: list[Phrase]) -> None:
    assert corpus == build_corpus(0, SMALL)
    trained = [p for p in corpus if not p.held]
    assert len({(p.language, p.text.lower()) for p in trained}) == len(trained)
    assert len(load_nouns()) >= 1200
    held = {text.lower() for _, _, text in held_phrases()}
    assert {name.lower() for name in class_names()} <= {p.text.lower() for p in trained} | held


def test_no_training_text_is_a_held_phrase(corpus: list[Phrase]) -> None:
    held = {text.lower() for _, _, text in held_phrases()}
    assert {p.text.lower() for p in corpus if p.held} == held
    assert len(held) >= 1000
    assert not held & {p.text.lower().rstrip(".。") for p in corpus if not p.held}


def test_development_phrases_are_part_of_no_training_text() -> None:
    phrases = build_corpus(0, CorpusSizes(captions=200, words=0, develop=True))
    held = {p.text.lower() for p in phrases if p.held}
    assert len(held) >= 2 * len(load_concepts()) - 2
    texts = "\n".join(p.text.lower() for p in phrases if not p.held)
    assert not [text for text in held if text in texts]
    assert not held & {text.lower() for _, _, text in held_phrases()}


def test_a_refused_sound_is_not_among_the_concepts(corpus: list[Phrase]) -> None:
    refusing = [p for p in corpus if p.kind == "refusing"]
    assert {p.language for p in refusing} == {"en", "zh"}
    owner = {noun: index for index, c in enumerate(load_concepts()) for noun in (*c.en[:2], *c.zh[:2])}
    seen = 0
    for phrase in refusing:
        assert len(phrase.concepts) == 1
        for pattern in (r" without (?!any )(.+)$", r" but no (.+)$", r"但没有(.+)$", r"，不带(.+)$"):
            if (match := re.search(pattern, phrase.text)) and match[1] in owner:
                assert owner[match[1]] != phrase.concepts[0], phrase
                seen += 1
    assert seen > 10


def test_a_refused_sound_does_not_pull() -> None:
    """Vectors of refusing phrases that point at the refused concept must not move the target."""
    rng = np.random.default_rng(0)
    phrases = [
        Phrase(f"{c}{n}", lang, (c,), str(c)) for c in range(4) for lang in ("en", "zh") for n in range(3)
    ]
    phrases += [Phrase("0 without 1", "en", (0,), "0", kind="refusing")] * 2
    projected = np.eye(8, dtype=np.float32)[[p.concepts[0] for p in phrases]]
    projected[-2:] = np.eye(8, dtype=np.float32)[1]
    targets = make_targets(phrases, projected + 0.01 * rng.normal(size=projected.shape).astype(np.float32))
    assert targets[-1] @ targets[0] > 0.9
    assert targets[-1] @ targets[6] < 0.35


def test_imagined_facts_fit_their_concepts() -> None:
    rng = np.random.default_rng(0)
    for concept in load_concepts():
        fact = imagine([concept], rng).sounds[0]
        assert (fact.count == 0) == (concept.kind == "texture")
        assert fact.striker in (*concept.striker, "")
        assert fact.struck in (*concept.struck, "")
    assert "metal" in claims("a metal pipe", "en")


def _two_languages(rng: np.random.Generator, spread: float) -> tuple[list[Phrase], np.ndarray]:
    """Vectors whose languages lie apart and whose phrases differ mostly in directions that name nothing."""
    phrases, rows = [], []
    meanings = rng.normal(size=(12, 6))
    for concept in range(12):
        for language in ("en", "zh"):
            for number in range(10):
                held = number == 9
                phrases.append(Phrase(f"{concept}{number}", language, (concept,), str(concept), held))
                idle = rng.normal(size=10) * spread
                rows.append(np.concatenate([meanings[concept], idle]) + 5.0 * (language == "en"))
    return phrases, np.array(rows, np.float32)


def test_projection_finds_what_tells_concepts_apart() -> None:
    phrases, teacher = _two_languages(np.random.default_rng(0), spread=2.0)
    english = [row for row, p in enumerate(phrases) if p.held and p.language == "en"]
    chinese = [row for row, p in enumerate(phrases) if p.held and p.language == "zh"]

    def retrieval(vectors: np.ndarray) -> float:
        return float(((vectors[english] @ vectors[chinese].T).argmax(1) == np.arange(12)).mean())

    unit = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
    projected = project(phrases, [unit], 8, shrinkage=0.01)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)
    assert retrieval(projected) >= 0.9
    assert retrieval(unit) <= 0.5


def test_a_teacher_that_read_nothing_of_a_phrase_adds_nothing() -> None:
    phrases, teacher = _two_languages(np.random.default_rng(0), spread=1.0)
    silent = np.random.default_rng(1).normal(size=(len(phrases), 4)).astype(np.float32)
    silent[::2] = 0
    joined = project(phrases, [teacher, silent], 8)
    assert np.isfinite(joined).all()


def test_targets_bring_translations_together(corpus: list[Phrase]) -> None:
    noise = np.random.default_rng(0).normal(size=(len(corpus), 64)).astype(np.float32)
    projected = project(corpus, [noise], 48)
    targets = make_targets(corpus, projected)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-5)
    rows = {p.text: row for row, p in enumerate(corpus)}
    pair, other = targets[rows["dog"]] @ targets[rows["狗叫"]], targets[rows["dog"]] @ targets[rows["雨"]]
    assert pair > 0.6 > abs(other)


def test_rotation_undoes_a_known_turn() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    found = rotation_onto(vectors, vectors @ turn)
    np.testing.assert_allclose(found, turn, atol=1e-4)
    np.testing.assert_allclose(found @ found.T, np.eye(8), atol=1e-5)


def test_teacher_reads_each_text_once(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[len(text), 1, 0] for text in texts], np.float32)

    monkeypatch.setattr("edgefoley.train.words.teacher._LOADERS", {"use": lambda: embed})
    first = teacher_vectors("use", ["a", "bb", "a"], tmp_path)
    second = teacher_vectors("use", ["ccc", "bb"], tmp_path)
    assert asked == ["a", "bb", "ccc"]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(first[1], second[1])


def test_missing_word_lists_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install jieba"):
        lexicon.chinese_words(10)
    with pytest.raises(UsageError, match="pip install pyspellchecker"):
        lexicon.english_words(10)


def test_errors_change_little_and_leave_something() -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for text, language in (
        ("a barking dog runs away", "en"),
        ("一只狗在院子里叫", "zh"),
        ("狗", "zh"),
        ("ox", "en"),
    ):
        for _ in range(50):
            noisy = misspell(text, language, rng)
            assert noisy
            assert abs(len(noisy) - len(text)) <= 9
            changed += noisy != text
            assert len(text) > 3 or noisy == text
    assert changed > 40


def test_unseen_chinese_characters_share_their_radical() -> None:
    tokenizer = train_tokenizer(["脚步踩在石头上", "dog barks"] * 3, 600, 32)
    cut = {character: tokenizer.encode(character).ids[1:] for character in "砾碎氵龘"}
    assert all(len(ids) == 3 and UNK_ID not in ids for ids in cut.values())
    assert cut["砾"][:2] == cut["碎"][:2] or cut["砾"][0] == cut["碎"][0] != cut["龘"][0]
    stone = tokenizer.token_to_id("石")
    rare = rare_ids(tokenizer)[stone]
    assert [tokenizer.id_to_token(i) for i in rare] == [f"<0x{byte:02X}>" for byte in "石".encode()]
