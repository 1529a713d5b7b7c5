"""Photographs behind the films: the camera's geometry, and that nothing but the picture changes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefoley.errors import UsageError
from edgefoley.train.scenes import photos
from edgefoley.train.scenes.film import film
from edgefoley.train.scenes.look import backdrop
from edgefoley.train.scenes.pool import render_shard

HEIGHT = 128
SEED = 41


@pytest.fixture
def sphere() -> np.ndarray:
    """A panorama whose red is the longitude (-180 to 180 degrees) and whose green is the latitude."""
    column, row = np.meshgrid(np.arange(2 * HEIGHT) + 0.5, np.arange(HEIGHT) + 0.5)
    colours = np.stack([column / (2 * HEIGHT), row / HEIGHT, 0 * row], -1)
    return (255 * colours).round().astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, sphere: np.ndarray) -> Iterator[Path]:
    """A folder with two panoramas; afterwards films are drawn without any."""
    cv2.imwrite(str(tmp_path / "one.png"), sphere)
    cv2.imwrite(str(tmp_path / "two.png"), 255 - sphere)
    yield tmp_path
    photos.use(None)


def angles(pixel: np.ndarray) -> tuple[float, float]:
    """Longitude and latitude in degrees of a colour of ``sphere``."""
    return (pixel[0] / 255 - 0.5) * 360, (0.5 - pixel[1] / 255) * 180


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (40, 0), (-100, 25), (20, -60)])
def test_the_middle_of_the_view_is_where_the_camera_points(
    sphere: np.ndarray, yaw: float, pitch: float
) -> None:
    seen = photos.look(sphere, 65, math.radians(yaw), math.radians(pitch), 0.3, math.radians(60))
    assert angles(seen[32, 32]) == pytest.approx((yaw, pitch), abs=2)


def test_the_edges_are_half_the_angle_away(sphere: np.ndarray) -> None:
    """Against a ray through the middle of the pixel at the edge: atan(tan(w / 2) (1 - 1 / n))."""
    seen = photos.look(sphere, 65, 0.0, 0.0, 0.0, math.radians(90))
    edge = math.degrees(math.atan(1 - 1 / 65))
    assert angles(seen[32, 64])[0] == pytest.approx(edge, abs=2)
    assert angles(seen[32, 0])[0] == pytest.approx(-edge, abs=2)
    assert angles(seen[0, 32])[1] == pytest.approx(edge, abs=2)
    corner = math.degrees(math.atan((1 - 1 / 65) / math.sqrt(1 + (1 - 1 / 65) ** 2)))
    assert angles(seen[64, 64])[1] == pytest.approx(-corner, abs=2)


def test_a_roll_turns_the_picture(sphere: np.ndarray) -> None:
    level, upside = (photos.look(sphere, 33, 0.5, 0.0, roll, 1.0).astype(int) for roll in (0.0, math.pi))
    assert np.abs(level[::-1, ::-1] - upside).max() <= 2


def test_there_is_no_seam_behind(sphere: np.ndarray) -> None:
    grey = np.abs(sphere.astype(int) - 128).astype(np.uint8)  # continuous across the seam
    seen = photos.look(grey, 64, math.pi, 0.0, 0.0, 1.0).astype(int)
    assert np.abs(np.diff(seen[..., 0], axis=1)).max() <= 3


def test_views_differ_and_depend_on_the_generator_alone(folder: Path) -> None:
    opened = photos.read(folder)
    first, again = (opened.view(np.random.default_rng(1), 32) for _ in range(2))
    assert np.array_equal(first, again)
    rng = np.random.default_rng(1)
    assert len({opened.view(rng, 32).tobytes() for _ in range(5)}) == 5
    assert opened.view(rng, 32, narrow=True).shape == (32, 32, 3)


def test_a_film_keeps_its_truth_and_gets_another_picture(folder: Path) -> None:
    plain = film(SEED, 1.0, size=48)
    photos.use(folder)
    real = film(SEED, 1.0, size=48)
    photos.use(None)
    again = film(SEED, 1.0, size=48)
    assert [(c.time_s, c.strength) for c in plain.truth.contacts] == [
        (c.time_s, c.strength) for c in real.truth.contacts
    ]
    assert not np.array_equal(plain.frames, real.frames)
    assert np.array_equal(plain.frames, again.frames)


def test_most_backdrops_are_photographs(folder: Path) -> None:
    """Of a black panorama: most backdrops are black then, drawn ones hardly ever."""

    def black() -> float:
        rng = np.random.default_rng(0)
        return float(np.mean([backdrop(rng, 96).max() < 5 for _ in range(80)]))

    drawn = black()
    for path in folder.glob("*.png"):
        cv2.imwrite(str(path), np.zeros((8, 16, 3), np.uint8))
    photos.use(folder)
    assert drawn < 0.05 < 0.6 < black() < 0.95


def test_shards_are_made_again_when_the_photographs_change(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "films"

    def made() -> tuple[str | None, bytes]:
        render_shard(out, 0, SEED, 1, 0.5, size=32)
        note = json.loads((out / "films_0000.json").read_text())
        return note["photos"], (out / "films_0000.jpegs").read_bytes()

    plain = made()
    photos.use(folder)
    real = made()
    photos.use(None)
    assert plain[0] is None and real[0] == photos.digest(folder)
    assert plain[1] != real[1] and made() == plain


def test_a_folder_without_panoramas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="no panoramas"):
        photos.use(tmp_path)
    assert photos.opened() is None


def test_what_overflows_is_white_and_brighter_light_is_never_darker() -> None:
    light = np.repeat(np.geomspace(0.01, 100, 50, dtype=np.float32)[None, :, None], 3, axis=2)
    light[0, -3:] = np.nan, np.inf, -np.inf
    shown = photos.develop(light).astype(int)
    assert (np.diff(shown[0, :, 0]) >= 0).all() and shown[0, 0, 0] < 40
    assert (shown[0, -3:] == 255).all()
