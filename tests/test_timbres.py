"""The table of timbres: what a prompt names, which example a seed chooses, and that it is heard."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bundle import MANIFEST, open_bundle, write_manifest
from edgefoley.encoders import named_sounds, with_timbres
from edgefoley.errors import BundleIntegrityError
from edgefoley.pipeline import Pipeline
from edgefoley.timbres import TimbreTable, read_timbre_table, write_timbre_table
from edgefoley.types import FloatArray
from tests.fake_bundle import SIZES, make_clip, make_fake_bundle

WIDTH = 4
WORDS = {"dog": 0, "rain": 1, "silence": 2, "gong": 3}


def table(least: float = 0.6) -> TimbreTable:
    """A dog with three examples, rain with one; silence and the gong have none."""
    rng = np.random.default_rng(0)
    rows, pooled = rng.normal(size=(2, 4, WIDTH)).astype(np.float32)
    keys = np.eye(4, WIDTH, dtype=np.float32)
    return TimbreTable(tuple(WORDS), keys, np.array([0, 1, 0, 0]), rows, pooled, least)


def sentence(phrase: str) -> FloatArray:
    """The sum of the directions of the words that are known, and a little of everything."""
    vector = np.full(WIDTH, 0.1, np.float32)
    for word, place in WORDS.items():
        vector[place] += word in phrase
    return vector


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a dog", (0,)),
        ("rain, a dog", (1, 0)),
        ("a dog and rain", (0, 1)),
        ("dog，rain。", (0, 1)),
        ("dog, another dog", (0,)),
        ("silence", ()),  # known, and has no example
        ("a gong; rain", (1,)),
        ("a lamp", ()),  # near nothing
        ("", ()),
        (" , ", ()),
    ],
)
def test_a_prompt_names_its_sounds_in_order(prompt: str, named: tuple[int, ...]) -> None:
    assert table().named(prompt, sentence) == named


def test_at_most_two_sounds_are_taken() -> None:
    full = replace(table(), owner=np.array([0, 1, 2, 3]))
    assert full.named("gong, silence, rain, dog", sentence) == (3, 2)


def test_parts_that_name_nothing_leave_it_to_the_whole() -> None:
    heard = []

    def listens(phrase: str) -> FloatArray:
        heard.append(phrase)
        return sentence(phrase) if "," in phrase else np.full(WIDTH, 0.1, np.float32)

    assert table().named("do, g: a dog", listens) == (0,)
    assert heard == ["do", "g", "a dog", "do, g: a dog"]


def test_rows_stand_between_the_sentence_and_its_words() -> None:
    """Against the definition, written out."""
    made, text = table(), np.arange(3 * WIDTH, dtype=np.float32).reshape(1, 3, WIDTH)
    beside = made.beside(text, (1, 0), seed=5)
    assert beside.shape == (1, 5, WIDTH) and beside.dtype == np.float32
    choice = next(i for i in (0, 2, 3) if np.array_equal(made.rows[i], beside[0, 2]))
    assert np.array_equal(beside[0, 1], made.rows[1])
    assert np.allclose(beside[0, 0], text[0, 0] + (made.pooled[1] + made.pooled[choice]) / 2)
    assert np.array_equal(beside[0, 3:], text[0, 1:])
    assert made.beside(text, (), seed=5) is text


def test_a_seed_chooses_an_example_and_the_other_sounds_do_not_matter() -> None:
    made, text = table(), np.zeros((1, 1, WIDTH), np.float32)
    chosen = [made.beside(text, (0,), seed)[0, 1].tobytes() for seed in range(40)]
    assert len(set(chosen)) == 3
    assert chosen == [made.beside(text, (1, 0), seed)[0, 2].tobytes() for seed in range(40)]


def test_the_file_keeps_it_in_16_bits(tmp_path: Path) -> None:
    made, path = table(), tmp_path / "timbres.npz"
    write_timbre_table(made, path)
    back = read_timbre_table(path)
    assert back.names == made.names and back.least == made.least
    assert np.array_equal(back.owner, made.owner)
    for key in ("keys", "rows", "pooled"):
        assert np.allclose(getattr(back, key), getattr(made, key), rtol=2**-11)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"owner": np.array([0, 1, 9, 0])}, "owner"),
        ({"rows": np.zeros((2, WIDTH))}, "rows"),
        ({"keys": np.zeros((1, WIDTH))}, "keys"),
        ({"pooled": np.full((4, WIDTH), np.nan)}, "finite"),
        ({"schema": 2}, "schema 2"),
        ({"names": None}, "names"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(
    tmp_path: Path, damage: dict[str, np.ndarray | int | None], words: str
) -> None:
    path = tmp_path / "timbres.npz"
    write_timbre_table(table(), path)
    with np.load(path) as data:
        parts = {**data, **damage}
    np.savez(path, **{key: value for key, value in parts.items() if value is not None})
    with pytest.raises(BundleIntegrityError, match=words):
        read_timbre_table(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "timbres.npz"
    for content in (b"", b"not a table", b"PK\x03\x04 half"):
        path.write_bytes(content)
        with pytest.raises(BundleIntegrityError, match="not a table of timbres"):
            read_timbre_table(path)


def with_table(folder: Path) -> Path:
    """A fake bundle that has examples of what the prompt "hello" names."""
    make_fake_bundle(folder)
    with Pipeline.open(folder, "fake") as pipeline:
        key = pipeline.encode(make_clip(folder, 1), "hello").text_feat[0, 0]  # type: ignore[index]
    keys = (key / np.linalg.norm(key))[None]
    rows = np.random.default_rng(1).normal(size=(2, 3, SIZES["text"])).astype(np.float32)
    made = TimbreTable(("greeting",), keys, np.zeros(3, np.int64), rows[0], rows[1], 0.99)
    write_timbre_table(made, folder / "timbres.npz")
    manifest = json.loads((folder / MANIFEST).read_text())
    write_manifest(folder, {**manifest, "timbres": {"path": "timbres.npz"}})
    return folder


def test_the_pipeline_shows_the_denoiser_what_the_prompt_names(tmp_path: Path) -> None:
    folder = with_table(tmp_path / "bundle")
    bundle, clip = open_bundle(folder), make_clip(folder, 1)
    with Pipeline.open(folder, "fake") as pipeline:
        assert named_sounds(pipeline.graphs, "hello", "", "wind wind wind") == [(0,), (), ()]
        known = pipeline.encode(clip, "hello", "")
        assert known.timbres == (0,) and known.negative_timbres == ()
        assert pipeline.encode(clip, "", "hello").negative_timbres == (0,)
        shown = with_timbres(bundle, known, seed=3)
        assert shown.text_feat is not None and known.text_feat is not None
        assert shown.text_feat.shape[1] == known.text_feat.shape[1] + 1
        assert np.array_equal(shown.negative_text_feat, known.negative_text_feat)  # type: ignore[arg-type]
        plain = pipeline.render(replace(known, timbres=()), seed=3).audio.samples
        heard = pipeline.render(known, seed=3).audio.samples
        assert not np.array_equal(plain, heard)
        assert np.array_equal(heard, pipeline.render(known, seed=3).audio.samples)


def test_a_damaged_table_is_found_by_its_sha256(tmp_path: Path) -> None:
    folder = with_table(tmp_path / "bundle")
    data = bytearray((folder / "timbres.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "timbres.npz").write_bytes(data)
    with (
        Pipeline.open(folder, "fake") as pipeline,
        pytest.raises(BundleIntegrityError, match=r"timbres\.npz"),
    ):
        pipeline.encode(make_clip(folder, 1), "hello")
