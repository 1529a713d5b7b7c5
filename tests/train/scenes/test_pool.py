"""Pools of films on disk: what was rendered comes back, and crops keep pictures and events together."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("pybullet")

from edgefoley.train.scenes import film as films
from edgefoley.train.scenes.clock import grid_index
from edgefoley.train.scenes.film import engines, film
from edgefoley.train.scenes.pool import Pool, _visible_activity, render_shard
from edgefoley.train.scenes.truth import Contact, Source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = {"flat": engines()["flat"]}
    path = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(films, "engines", lambda: drawn)
        render_shard(path, 0, 50, 4, 2.0)
        render_shard(path, 1, 54, 2, 2.0)
    return path


@pytest.fixture
def _drawn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"flat": engines()["flat"]}
    monkeypatch.setattr(films, "engines", lambda: drawn)


def test_a_whole_shard_is_not_drawn_again_and_is_deterministic(
    folder: Path, tmp_path: Path, _drawn_only: None
) -> None:
    before = (folder / "films_0000.jpegs").stat().st_mtime_ns
    render_shard(folder, 0, 50, 4, 2.0)
    assert (folder / "films_0000.jpegs").stat().st_mtime_ns == before
    render_shard(tmp_path, 1, 54, 2, 2.0)
    for name in ("films_0001.jpegs", "films_0001.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("index", range(6))
def test_films_come_back(folder: Path, index: int, _drawn_only: None) -> None:
    pool, one = Pool(folder), film(50 + index, 2.0)
    assert len(pool) == 6 and pool.films[index]["seed"] == 50 + index
    every = np.arange(len(one.frames))
    error = np.abs(pool.pictures(index, every).astype(int) - one.frames).mean((1, 2, 3))
    assert error.max() < 6  # of 255: JPEG of quality 90 with halved colour
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in one.frames])
    assert np.abs(pool.frames(index).astype(int) - gray).mean() < 3
    truth = pool.truth(index)
    assert truth.sources == one.truth.sources and truth.seconds == 2.0
    assert [(c.time_s, c.strength, c.place) for c in truth.contacts] == [
        (c.time_s, c.strength, c.place) for c in one.truth.contacts
    ]
    assert np.abs(truth.activity - one.truth.activity).max(initial=0) <= 0.0005 + 1e-6
    assert pool.films[index]["action"] == one.look["action"]


@pytest.mark.parametrize("index", range(6))
def test_crops_keep_pictures_and_visible_events_together(folder: Path, index: int) -> None:
    pool = Pool(folder)
    stamps = pool.films[index]["timestamps"]
    whole, crop = pool.crop(index, 0.0, 50), pool.crop(index, 0.5, 20, speed=1.25)
    picked, ages = grid_index(stamps, 50)
    assert np.array_equal(whole.frames, pool.frames(index)[picked]) and np.array_equal(whole.ages, ages)
    times = np.array([c.time_s for c in pool.truth(index).contacts if c.visible])
    assert crop.times == pytest.approx(((times - 0.5) / 1.25)[(times >= 0.5) & (times < 1.5)])
    newest = np.flatnonzero(stamps <= 0.5 + 0.4 * 1.25 + 1e-6)[-1]  # grid place 10 is 0.4 s
    assert np.array_equal(crop.frames[10], pool.frames(index)[newest])
    assert crop.activity.shape == (40,) and crop.frames.dtype == np.uint8 and crop.frames.ndim == 3


def test_activity_is_the_loudest_of_what_can_be_seen() -> None:
    sources = (Source("rain"), Source("strike"), Source("ambience"))
    rows = np.array([[0.2, 0.3], [0.9, 0.1], [1.0, 1.0]], np.float32)
    hidden, shown = (Contact(0.1, 0.5, 1, place) for place in ((1.5, 0.5), (0.5, 0.5)))
    assert _visible_activity(sources, (hidden,), rows) == pytest.approx([0.2, 0.3])
    assert _visible_activity(sources, (shown,), rows) == pytest.approx([0.9, 0.3])
    assert _visible_activity((), (), rows[:0]) == pytest.approx([0, 0])


def test_what_cannot_be_read_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make-data"):
        Pool(tmp_path)
    meta = json.loads((folder / "films_0001.json").read_text())
    (tmp_path / "films_0000.jpegs").write_bytes((folder / "films_0001.jpegs").read_bytes())
    (tmp_path / "films_0000.json").write_text(json.dumps({**meta, "renderer": -1}))
    with pytest.raises(ValueError, match="renderer -1"):
        Pool(tmp_path)
