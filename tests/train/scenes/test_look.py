"""Colours, surfaces and the sensor: shapes, determinism, and that there is colour and variety in them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgefoley.train.scenes.look import backdrop, palette, surface, texture, tint
from edgefoley.train.scenes.sensor import Sensor
from edgefoley.train.scenes.truth import MATERIALS

rng = np.random.default_rng


def test_palettes_textures_and_backdrops_are_pure_functions_of_the_generator() -> None:
    for seed in range(12):
        assert palette(rng(seed), 5).shape == (5, 3)
        assert np.array_equal(palette(rng(seed), 5), palette(rng(seed), 5))
        for draw in (texture, backdrop):
            one, two = draw(rng(seed), 40), draw(rng(seed), 40)
            assert one.shape == (40, 40, 3) and one.dtype == np.uint8 and np.array_equal(one, two)
            assert not np.array_equal(one, draw(rng(seed + 100), 40))


def _colourfulness(image: np.ndarray) -> float:
    return float(np.ptp(image.reshape(-1, 3).mean(0)))


def test_most_pictures_have_colour_and_many_have_structure() -> None:
    pictures = [backdrop(rng(seed), 64).astype(float) for seed in range(60)]
    assert np.mean([_colourfulness(p) > 10 for p in pictures]) > 0.6
    assert np.mean([p.mean(2).std() > 10 for p in pictures]) > 0.5


def test_materials_look_like_themselves() -> None:
    for material in MATERIALS:
        assert surface(rng(1), material, 24).shape == (24, 24, 3) and tint(rng(1), material).shape == (3,)
    grass, snow, rubber = (
        np.mean([surface(rng(s), m, 24).mean((0, 1)) for s in range(20)], axis=0)
        for m in ("grass", "snow", "rubber")
    )
    assert grass.argmax() == 1 and snow.min() > 140 > rubber.max()


def test_the_sensor_keeps_shapes_repeats_itself_and_changes_pictures() -> None:
    picture = backdrop(rng(3), 48)
    changed = 0
    for seed in range(25):
        one, two = Sensor(rng(seed), 48), Sensor(rng(seed), 48)
        first = [one.develop(picture, i, i / 25) for i in range(3)]
        assert all(np.array_equal(a, two.develop(picture, i, i / 25)) for i, a in enumerate(first))
        assert first[0].shape == picture.shape and first[0].dtype == np.uint8
        changed += np.abs(first[0].astype(int) - picture).mean() > 3
        # whatever it does, bright stays brighter than dark
        white, black = np.full_like(picture, 255), np.zeros_like(picture)
        assert one.develop(white, 4, 0.2).mean() > one.develop(black, 5, 0.24).mean() + 60
    assert changed > 15


def test_a_sensor_takes_one_number_from_the_generator() -> None:
    """So what is drawn from the generator afterwards does not depend on the size of the picture."""
    a, b = rng(5), rng(5)
    Sensor(a, 32), Sensor(b, 64)
    assert a.random() == b.random()
