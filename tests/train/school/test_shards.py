"""Shards: whole or not at all, the same bytes again, and never from two different sources."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgefoley.errors import UsageError
from edgefoley.models.codec import Codec
from edgefoley.train.codec import save_codec
from edgefoley.train.latents import encode_shard
from edgefoley.train.school.lessons import Lesson
from edgefoley.train.school.shards import Plan, claim_codec, make, open_composer, read_flac, write_flac


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec with random components: enough to tell latents apart."""
    folder = tmp_path_factory.mktemp("codec")
    torch.manual_seed(0)
    made = Codec()
    made.encoder.analysis.normal_()
    save_codec(made, folder)
    return folder


@pytest.fixture(scope="module")
def plan(sounds: Path, codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    out = tmp_path_factory.mktemp("school") / "data"
    small = {"lessons": 2, "films": 1, "per_shard": 2, "rooms": 3}
    made = Plan((sounds,), out, seconds=2.0, film_seconds=1.0, codec=codec, **small)
    assert sorted(make(made)) == [("films", 0), ("lessons", 0), ("lessons", 1)]
    return made


def test_shards_hold_what_the_composer_makes(plan: Plan, codec: Path) -> None:
    composer = open_composer(plan)
    for shard in (0, 1):
        rows = json.loads((plan.out / f"lessons_{shard:04d}.json").read_text(encoding="utf-8"))
        waves = read_flac(plan.out / f"lessons_{shard:04d}.flac", 2)
        latents = np.load(plan.out / f"latents_{shard:04d}.npy")
        assert latents.shape == (2, 64, 100) and latents.dtype == np.float16
        for k, row in enumerate(rows):
            captions = row.pop("captions")
            wave, lesson = composer.compose(2 * shard + k, plan.seconds)
            assert Lesson.from_json(row) == lesson
            np.testing.assert_array_equal(waves[k], np.round(wave * 32767).astype(np.int16))
            assert len(captions["zh"]["levels"]) == 3 and captions["en"]["negative"]
    from edgefoley.train.codec import load_codec

    np.testing.assert_array_equal(latents, encode_shard(load_codec(codec), waves))


def test_running_again_makes_only_what_is_missing(plan: Plan) -> None:
    files = {path.name: path.read_bytes() for path in plan.out.iterdir() if path.is_file()}
    (plan.out / "lessons_0001.json").unlink()
    (plan.out / "lessons_0001.flac").write_bytes(b"half")  # as a killed process leaves it
    untouched = (plan.out / "lessons_0000.flac").stat().st_mtime_ns
    list(make(plan))
    assert {path.name: path.read_bytes() for path in plan.out.iterdir() if path.is_file()} == files
    assert (plan.out / "lessons_0000.flac").stat().st_mtime_ns == untouched


def test_another_source_is_refused(plan: Plan, codec: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seconds"):
        list(make(replace(plan, seconds=3.0)))
    with pytest.raises(UsageError, match="codec"):
        list(make(replace(plan, codec=None)))
    torch.manual_seed(1)
    other = Codec()
    other.encoder.analysis.normal_()
    save_codec(other, tmp_path)
    with pytest.raises(UsageError, match="another codec"):
        claim_codec(plan.out, tmp_path)
    claim_codec(plan.out, codec)
    with pytest.raises(UsageError, match="make-data"):
        claim_codec(tmp_path, codec)


def test_two_processes_write_the_same_bytes(plan: Plan) -> None:
    twin = replace(plan, out=plan.out.parent / "twin", codec=None, keep_sound=True, films=0)
    list(make(twin, workers=2))
    for name in ("lessons_0000.flac", "lessons_0001.json"):
        assert (twin.out / name).read_bytes() == (plan.out / name).read_bytes()


def test_flac_is_lossless_and_checks_its_count(tmp_path: Path) -> None:
    waves = [np.random.default_rng(i).integers(-32768, 32767, 5000).astype(np.int16) for i in range(3)]
    write_flac(tmp_path / "a.flac", waves)
    np.testing.assert_array_equal(read_flac(tmp_path / "a.flac", 3), np.stack(waves))
    with pytest.raises(ValueError, match="equal"):
        read_flac(tmp_path / "a.flac", 7)
    assert not list(tmp_path.glob("*.part"))
