"""Lessons through HunyuanVideo-Foley's encoders, of which a random tiny one stands in, down to a student."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("pybullet")
pytest.importorskip("pyroomacoustics")

from edgefoley.convert.hunyuan import TINY, open_folder  # noqa: E402
from edgefoley.convert.stand_in import write_folder  # noqa: E402
from edgefoley.errors import UsageError  # noqa: E402
from edgefoley.train.features import FeatureSource  # noqa: E402
from edgefoley.train.hunyuan_lessons import Encoders, decoder_of, features_of, write_features  # noqa: E402
from edgefoley.train.school.lessons import FIRST_SEED, Lesson, Voice  # noqa: E402
from edgefoley.train.school.shards import captions_of, write_flac  # noqa: E402
from edgefoley.train.teachers import open_teacher  # noqa: E402

SECONDS = 2.0


def lesson(seed: int, shown: bool) -> dict:
    """Its JSON, as the school writes it."""
    voice = Voice("dog_bark", "seen" if shown else "unseen", hits=((0.5, 0.9),))
    film_seed = FIRST_SEED + seed if shown else None
    made = Lesson(seed, SECONDS, film_seed, "clap" if shown else "", "", "", (voice,))
    return {**asdict(made), "captions": captions_of(made)}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("school")
    rng = np.random.default_rng(0)
    for number in range(2):
        rows = [lesson(2 * number, True), lesson(2 * number + 1, False)]
        waves = [rng.integers(-9000, 9000, int(48_000 * SECONDS)).astype(np.int16) for _ in rows]
        write_flac(folder / f"lessons_{number:04d}.flac", waves)
        (folder / f"lessons_{number:04d}.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hunyuan") / "tiny"
    list(write_folder(folder, "tiny"))
    return folder


def test_lessons_become_batches_that_the_teacher_takes(tmp_path: Path, school: Path, tiny: Path) -> None:
    folder = open_folder(tiny)
    writing = write_features(folder, school, tmp_path)
    assert next(writing) == 0 and len(list(tmp_path.iterdir())) == 1
    first = (tmp_path / "features_0000.safetensors").stat().st_mtime_ns
    assert list(write_features(folder, school, tmp_path)) == [0, 1]
    assert (tmp_path / "features_0000.safetensors").stat().st_mtime_ns == first
    source = FeatureSource(tmp_path, 2, "cpu", decoder_of(folder, "cpu"))
    source.check(TINY.transformer)
    batch = source.held_out(0)
    latents = batch["latents"]
    assert latents.shape == (2, TINY.vae.latent_dim, 100), "50 latents a second"
    assert batch["visual"].shape[1] == 16, "8 pictures a second"
    assert batch["sync"].shape[1] == 8 * ((50 - 16) // 8 + 1), "8 rows for each segment of 16 of 50 frames"
    assert sorted(batch["flags"].sum(1).tolist()) == [0.0, 2.0]
    dark = int(batch["flags"].sum(1).argmin())
    assert not batch["visual"][dark].any() and batch["visual"][1 - dark].any()
    assert torch.equal(batch["mask"].sum(1), batch["negative_mask"].sum(1)), "padded to the longer of the two"
    teacher = open_teacher(tiny, 2.0, "cpu", bf16=False)
    with torch.no_grad():
        velocity = teacher.velocity(latents, torch.tensor([0.5, 0.9]), batch)
        assert source.decode(latents).shape == (2, 1, 96_000)
    assert velocity.shape == latents.shape and torch.isfinite(velocity).all()


def test_the_sound_and_the_words_are_the_lessons_own(school: Path, tiny: Path) -> None:
    encoders = Encoders(open_folder(tiny), "cpu")
    row, wave = lesson(1, False), np.zeros(48_000, np.int16)
    loud = features_of(encoders, row, np.full(48_000 - 100, 9000, np.int16))
    quiet = features_of(encoders, row, wave)
    assert loud["latents"].shape == quiet["latents"].shape == (TINY.vae.latent_dim, 50)
    assert not torch.allclose(loud["latents"], quiet["latents"])
    assert torch.equal(loud["text"], quiet["text"]) and not torch.equal(loud["text"], loud["negative"])
    other = {**row, "captions": {"en": {"levels": ["", "a car passes by", ""]}}}
    changed = features_of(encoders, other, wave)
    assert changed["text"].shape != loud["text"].shape or not torch.allclose(changed["text"], loud["text"])


def test_a_school_without_sound_is_refused(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "lessons_0000.json").write_text("[]")
    with pytest.raises(UsageError, match="no lessons with sound"):
        list(write_features(open_folder(tiny), tmp_path, tmp_path / "out"))
