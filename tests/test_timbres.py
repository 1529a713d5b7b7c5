"""The table of timbres: what a prompt names, which example a seed chooses, and that it is heard."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bundle import MANIFEST, Bundle, open_bundle, write_manifest
from edgefoley.encoders import named_sounds, with_timbres
from edgefoley.errors import BundleIntegrityError
from edgefoley.events import CHANNELS, EventList, with_events, with_unseen_events
from edgefoley.pipeline import Pipeline
from edgefoley.timbres import TimbreTable, read_timbre_table, write_timbre_table
from edgefoley.types import Conditioning, FloatArray, TensorSpec
from tests.fake_bundle import SIZES, make_clip, make_fake_bundle

WIDTH = 4
WORDS = {"dog": 0, "rain": 1, "silence": 2, "gong": 3}
KINDS = ("vocal", "lasting", "", "burst")


def table(least: float = 0.6) -> TimbreTable:
    """A dog with three examples, rain with one; silence and the gong have none."""
    rng = np.random.default_rng(0)
    rows, pooled = rng.normal(size=(2, 4, WIDTH)).astype(np.float32)
    keys = np.eye(4, WIDTH, dtype=np.float32)
    return TimbreTable(tuple(WORDS), KINDS, keys, np.array([0, 1, 0, 0]), rows, pooled, least)


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
        ("silence", (2,)),
        ("a gong; rain", (3, 1)),
        ("a lamp", ()),  # near nothing
        ("", ()),
        (" , ", ()),
        ("no rain", ()),
        ("a dog without rain", (0,)),
        ("dog 没有 rain", (0,)),
        ("without a dog, rain", (1,)),
        ("no silence", (2,)),  # as in "no sound at all"
    ],
)
def test_a_prompt_names_its_sounds_in_order(prompt: str, named: tuple[int, ...]) -> None:
    assert table().named(prompt, sentence) == named


def test_at_most_two_sounds_are_taken() -> None:
    assert table().named("gong, silence, rain, dog", sentence) == (3, 2)


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
    assert made.beside(text, (2, 3), seed=5) is text  # known, without an example
    assert np.array_equal(made.beside(text, (2, 1), seed=5), made.beside(text, (1,), seed=5))


def test_a_seed_chooses_an_example_and_the_other_sounds_do_not_matter() -> None:
    made, text = table(), np.zeros((1, 1, WIDTH), np.float32)
    chosen = [made.beside(text, (0,), seed)[0, 1].tobytes() for seed in range(40)]
    assert len(set(chosen)) == 3
    assert chosen == [made.beside(text, (1, 0), seed)[0, 2].tobytes() for seed in range(40)]


def test_a_rhythm_has_the_events_of_what_sounds_once(tmp_path: Path) -> None:
    made = table()
    frames, duration = 250, Fraction(10)
    curves = [made.rhythm(0, duration, frames, seed) for seed in range(6)]
    assert all(curve.shape == (1, frames, CHANNELS) and curve.dtype == np.float32 for curve in curves)
    assert len({curve.tobytes() for curve in curves}) == 6  # takes differ
    assert np.array_equal(curves[2], made.rhythm(0, duration, frames, 2))
    for curve in curves:
        peaks = curve[0, :, :2].reshape(-1)
        assert peaks.max() == pytest.approx(0.95) and (peaks > 0.9).sum() <= 6  # a vocal: one to six
        assert not curve[..., 3].any()
    rain = made.rhythm(1, duration, frames, 0)
    assert not rain[..., :3].any() and (rain[..., 3] == np.float32(0.7)).all()
    assert not made.rhythm(2, duration, frames, 0).any()  # silence


@pytest.mark.parametrize(
    ("sounds", "activity"),
    [
        ((), 0),
        ((0,), 0),  # a dog
        ((3, 0), 0),
        ((1,), 0.7),  # rain
        ((0, 1), 0.3),  # beside it the dog would drown
        ((1, 0), 0.3),
        ((1, 2), 0),  # and silence: it need not last
        ((4,), 0),  # a scrape goes on as long as it is seen
        ((4, 1), 0.3),
    ],
)
def test_what_lasts_has_activity_whatever_is_seen(sounds: tuple[int, ...], activity: float) -> None:
    made = table()
    made = replace(
        made,
        names=(*made.names, "scrape"),
        kinds=(*KINDS, "texture"),
        keys=np.eye(5, WIDTH, dtype=np.float32),
    )
    curve = np.random.default_rng(3).uniform(0, 0.2, (1, 250, CHANNELS)).astype(np.float32)
    curve[0, 100, 3] = 0.9  # something moves
    kept = curve.copy()
    told = np.arange(250) < 50
    shown, partly = made.lasting(curve, sounds), made.lasting(curve, sounds, told)
    assert np.array_equal(curve, kept)  # not written to
    assert np.array_equal(shown[..., :3], curve[..., :3])
    assert np.array_equal(shown[0, :, 3], np.maximum(curve[0, :, 3], np.float32(activity)))
    guess = made.lasting(curve, sounds, guessed=True)
    assert np.array_equal(guess[0, :, 3], np.maximum(curve[0, :, 3], np.float32(min(activity, 0.3))))
    assert np.array_equal(partly[0, 50:], shown[0, 50:]) and np.array_equal(partly[0, :50], curve[0, :50])


def test_the_file_keeps_examples_in_8_bits_and_keys_in_16(tmp_path: Path) -> None:
    made, path = table(), tmp_path / "timbres.npz"
    made.rows[0] = 0
    write_timbre_table(made, path)
    back = read_timbre_table(path)
    assert (back.names, back.kinds) == (made.names, made.kinds) and back.least == made.least
    assert np.array_equal(back.owner, made.owner)
    assert np.allclose(back.keys, made.keys, rtol=2**-11)
    for key in ("rows", "pooled"):
        exact, read = getattr(made, key), getattr(back, key)
        assert (np.abs(read - exact) <= 1.001 * np.abs(exact).max(axis=1, keepdims=True) / 254).all(), key


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"owner": np.array([0, 1, 9, 0])}, "owner"),
        ({"rows": np.zeros((2, WIDTH))}, "rows"),
        ({"pooled_step": np.ones((4, 1))}, "pooled"),
        ({"keys": np.zeros((1, WIDTH))}, "keys"),
        ({"pooled": np.full((4, WIDTH), np.nan)}, "finite"),
        ({"schema": 2}, "schema 2"),
        ({"names": None}, "names"),
        ({"kinds": np.array(["vocal"])}, "kinds"),
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
    keys = np.concatenate([keys, np.roll(keys, 1, axis=1)])
    made = TimbreTable(
        ("greeting", "silence"), ("vocal", ""), keys, np.zeros(3, np.int64), rows[0], rows[1], 0.99
    )
    write_timbre_table(made, folder / "timbres.npz")
    manifest = json.loads((folder / MANIFEST).read_text())
    write_manifest(folder, {**manifest, "timbres": {"path": "timbres.npz"}})
    return folder


def reading_curves(bundle: Bundle) -> Bundle:
    """The bundle with a conditioner that takes event curves."""
    conditioner = bundle.components["conditioner"]
    sync = TensorSpec("sync_feat", (1, "S", CHANNELS), "float32")
    reads = replace(conditioner, inputs={**conditioner.inputs, "sync_feat": sync})
    return replace(bundle, components={**bundle.components, "conditioner": reads})


def test_the_pipeline_shows_the_denoiser_what_the_prompt_names(tmp_path: Path) -> None:
    folder = with_table(tmp_path / "bundle")
    bundle, clip = open_bundle(folder), make_clip(folder, 1)
    with Pipeline.open(folder, "fake") as pipeline:
        assert named_sounds(pipeline.graphs, "hello", "") == ((0,), ())
        assert named_sounds(pipeline.graphs, "wind wind wind", "hello") == ((), (0,))
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


def test_words_alone_get_a_rhythm_and_pictures_keep_their_own(tmp_path: Path) -> None:
    folder = with_table(tmp_path / "bundle")
    bundle = open_bundle(folder)
    with Pipeline.open(folder, "fake") as pipeline:
        alone = pipeline.encode(None, "hello", "", Fraction(3, 2))
        seen = pipeline.encode(make_clip(folder, 1), "hello", "")
    assert with_timbres(bundle, alone, 0).sync_feat is None  # this model has another kind of sync features
    curved = reading_curves(bundle)
    made = [with_timbres(curved, alone, seed) for seed in (0, 1)]
    assert all(c.sync_always and c.sync_feat is not None for c in made)
    assert made[0].sync_feat.shape == (1, 38, CHANNELS)  # type: ignore[union-attr]
    assert not np.array_equal(made[0].sync_feat, made[1].sync_feat)  # type: ignore[arg-type]
    assert not with_timbres(curved, replace(alone, timbres=(0, 0)), 0).sync_always  # beside another sound
    quiet = with_timbres(curved, replace(alone, timbres=(1,)), 0)  # guided towards nothing
    assert quiet.sync_feat is not None and not quiet.sync_feat.any() and not quiet.sync_always
    assert with_timbres(curved, seen, 0).sync_feat is seen.sync_feat  # a greeting is not continuous
    assert with_timbres(curved, replace(alone, timbres=()), 0).sync_feat is None


@pytest.fixture
def lasting(tmp_path: Path) -> tuple[Bundle, Conditioning]:
    """A bundle that reads event curves and in which "hello" lasts, and what it says of "hello" alone; beside
    it the bundle knows silence (1) and a dog (2)."""
    folder = with_table(tmp_path / "bundle")
    made = read_timbre_table(folder / "timbres.npz")
    keys = np.concatenate([made.keys, np.roll(made.keys[:1], 2, axis=1)])
    names, kinds = (*made.names, "dog"), ("lasting", "", "vocal")
    write_timbre_table(replace(made, names=names, kinds=kinds, keys=keys), folder / "timbres.npz")
    write_manifest(folder, json.loads((folder / MANIFEST).read_text()))
    with Pipeline.open(folder, "fake") as pipeline:
        alone = pipeline.encode(None, "hello", "", Fraction(3, 2))
    return reading_curves(open_bundle(folder)), alone


def activity(bundle: Bundle, conditioning: Conditioning) -> FloatArray:
    made = with_timbres(bundle, conditioning, 0).sync_feat
    assert made is not None
    return made[0, :, 3]


@pytest.mark.parametrize(
    ("timbres", "negative", "expected"),
    [((0,), (), 0.7), ((2, 0), (), 0.3), ((0, 2), (), 0.3), ((0, 1), (), 0), ((2,), (), 0), ((0,), (0,), 0)],
)
def test_what_is_named_over_a_still_picture(
    lasting: tuple[Bundle, Conditioning],
    timbres: tuple[int, ...],
    negative: tuple[int, ...],
    expected: float,
) -> None:
    """And without any, beside its rhythm: steady is what comes first and lasts, a dog barks at times."""
    bundle, alone = lasting
    named = replace(alone, timbres=timbres, negative_timbres=negative)
    still = replace(named, sync_feat=np.zeros((1, 38, CHANNELS), np.float32))
    assert (activity(bundle, still) == np.float32(expected)).all()
    guess = replace(still, suggested=True)
    assert (activity(bundle, guess) == np.float32(min(expected, 0.3))).all()
    first = 0.7 if timbres[0] == 0 else expected
    assert (activity(bundle, named) == np.float32(first)).all()


def test_a_list_that_tells_another_activity_decides_where_it_does(
    lasting: tuple[Bundle, Conditioning],
) -> None:
    bundle, alone = lasting
    seen = replace(alone, sync_feat=np.zeros((1, 38, CHANNELS), np.float32))
    same, nearly = np.zeros(75, np.float32), np.full(75, 0.002, np.float32)
    steady = (with_events(seen, EventList(())), with_unseen_events(alone, EventList(())))
    lists = [with_events(seen, EventList((), 0.0, 1.5, activity=curve)) for curve in (same, nearly)]
    for conditioning in (*steady, *lists):
        assert (activity(bundle, conditioning) == np.float32(0.7)).all()
    changed = np.where(np.arange(75) < 20, 0.2, 0).astype(np.float32)
    told = with_events(seen, EventList((), 0.0, 1.5, activity=changed))
    for conditioning in (told, with_events(told, EventList(()))):  # a second list without activity
        made = activity(bundle, conditioning)
        assert (made[:10] == np.float32(0.2)).all() and (made[10:] == np.float32(0.7)).all()
    fading = np.linspace(0.5, 0, 75, dtype=np.float32)
    whole = with_unseen_events(alone, EventList((), 0.0, 1.5, activity=fading))
    assert np.allclose(activity(bundle, whole), np.append(fading[::2], 0)[:38], atol=1e-6)


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
