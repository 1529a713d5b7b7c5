"""Cuts are found where the test drew them, and nothing else that changes a picture is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.media import read_clip
from edgefoley.shots import cut_places, cut_times, differences, thumbnails
from edgefoley.types import View
from tests.clips import make_clip

SIDE = 112


def scene(seed: int) -> np.ndarray:
    """(2 SIDE, 2 SIDE) float: boxes of random brightness and place on a sloping ground, larger than a
    picture."""
    random = np.random.default_rng(seed)
    side = 2 * SIDE
    slope = np.linspace(0, random.uniform(-60, 60), side)
    picture = np.full((side, side), random.uniform(60, 190)) + slope[:, None]
    for _ in range(40):
        y, x = random.integers(0, side, 2)
        h, w = random.integers(8, 50, 2)
        picture[y : y + h, x : x + w] = random.uniform(10, 245)
    return picture


def shot(seed: int, count: int, pan: float = 0.0, ball: float = 0.0) -> np.ndarray:
    """(count, SIDE, SIDE) uint8: a scene that passes by ``pan`` pixels per picture, a bright ball that moves
    by ``ball``, and a little noise."""
    random, ground = np.random.default_rng(seed), scene(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = []
    for k in range(count):
        picture = ground[:SIDE, round(k * pan) % SIDE :][:, :SIDE].copy()
        middle = 20 + (k * ball) % (SIDE - 40)
        if ball:
            picture[(x - middle) ** 2 + (y - 60) ** 2 < 18**2] = 250
        pictures.append(picture + random.normal(0, 2, picture.shape))
    return np.clip(pictures, 0, 255).astype(np.uint8)


def dissolve(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    weights = np.linspace(0, 1, count + 2)[1:-1, None, None]
    return ((1 - weights) * one[-1] + weights * other[0]).astype(np.uint8)


def flashed(pictures: np.ndarray, first: int, length: int) -> np.ndarray:
    """As in the light of a lamp: brighter, and clipped."""
    made = pictures.copy()
    lit = 120 + 1.5 * made[first : first + length].astype(float)
    made[first : first + length] = np.clip(lit, 0, 255).astype(np.uint8)
    return made


def found(*pieces: np.ndarray) -> list[int]:
    return cut_places(thumbnails(np.concatenate(pieces)))


def test_cuts_between_still_and_moving_shots() -> None:
    shots = [shot(1, 40), shot(2, 33, pan=1.5), shot(3, 27, ball=4), shot(4, 50)]
    assert found(*shots) == [40, 73, 100]


@pytest.mark.parametrize("seed", range(20))
def test_one_cut_in_any_pair_of_scenes(seed: int) -> None:
    assert found(shot(2 * seed, 30, ball=3), shot(2 * seed + 1, 30, pan=1)) == [30]


def jerky(pictures: np.ndarray) -> np.ndarray:
    steps = np.random.default_rng(0).integers(-6, 7, (len(pictures), 2))
    moved = [np.roll(picture, step, (0, 1)) for picture, step in zip(pictures, steps, strict=True)]
    return np.array(moved)


def faded(count: int) -> np.ndarray:
    """From one still shot into another within ``count`` pictures."""
    one, other = shot(1, 30), shot(2, 30)
    return np.concatenate([one, dissolve(one, other, count), other])


def through_black() -> np.ndarray:
    one, other, black = shot(1, 30), shot(2, 30), np.zeros((5, SIDE, SIDE), np.uint8)
    return np.concatenate([one, dissolve(one, black, 20), black, dissolve(black, other, 20), other])


def with_white() -> np.ndarray:
    film = shot(5, 60)
    film[30] = 255
    return film


NO_CUTS: dict[str, Callable[[], np.ndarray]] = {
    "still": lambda: shot(1, 60),
    "fast pan": lambda: shot(1, 25, pan=4.4),
    "whip pan": lambda: shot(1, 40, pan=37),
    "jerky camera": lambda: jerky(shot(1, 60)),
    "large ball": lambda: shot(2, 60, ball=9),
    "slow dissolve": lambda: faded(25),
    "short dissolve": lambda: faded(8),
    "fade to black and on": through_black,
    "one flash": lambda: flashed(shot(3, 60), 30, 1),
    "long flash": lambda: flashed(shot(3, 60), 30, 5),
    "two flashes": lambda: flashed(flashed(shot(3, 60), 30, 2), 44, 3),
    "white picture": with_white,
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE), dtype=np.uint8),
    "one picture": lambda: shot(1, 1),
    "all the same": lambda: np.full((50, SIDE, SIDE), 7, np.uint8),
}


@pytest.mark.parametrize("name", NO_CUTS)
def test_no_cut(name: str) -> None:
    assert found(NO_CUTS[name]()) == []


def test_a_flash_beside_a_cut_does_not_hide_it() -> None:
    assert found(flashed(shot(3, 40), 28, 2), shot(4, 40)) == [40]


def test_a_picture_of_both_shots_is_one_cut() -> None:
    one, other = shot(1, 30), shot(2, 30)
    assert found(one, dissolve(one, other, 1), other) in ([30], [31])


def test_pictures_shown_twice_change_nothing() -> None:
    """A source of half the frame rate."""
    film = np.concatenate([shot(1, 20, pan=1), shot(2, 20, ball=3)])
    assert found(film.repeat(2, axis=0)) == [40]


def test_thumbnails_are_means_of_blocks_and_the_same_for_gray_and_rgb() -> None:
    gray = shot(1, 3)
    small = thumbnails(gray)
    assert small.shape == (3, 28, 28)
    np.testing.assert_allclose(small[1, 5, 9], gray[1, 20:24, 36:40].mean(), atol=0.51)
    large = np.kron(gray, np.ones((1, 2, 2), np.uint8))[..., None].repeat(3, axis=3)
    assert np.abs(thumbnails(large).astype(int) - small).max() <= 1
    assert thumbnails(gray[:, :8, :10]).shape == (3, 8, 10)


def test_differences_of_known_pictures() -> None:
    black, white = np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)
    checker = (255 * (np.indices((28, 28)).sum(axis=0) % 2)).astype(np.uint8)
    same, lamp, mixed = differences(np.array([checker, checker, 255 - checker, black]), 1)
    assert same == 0 and lamp == 0  # the same histogram and the same edges
    # Half of the pixels move by all of 255; all edges appear: sqrt(1/2 * almost 1).
    assert mixed == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert differences(np.array([black, white]), 1)[0] == 0  # no edges in either


def test_batches_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    film = thumbnails(np.concatenate([shot(1, 40), shot(2, 31), shot(3, 29)]))
    whole = [differences(film, lag) for lag in (1, 4)]
    monkeypatch.setattr("edgefoley.shots.BATCH", 7)
    for lag, wanted in zip((1, 4), whole, strict=True):
        np.testing.assert_array_equal(differences(film, lag), wanted)


@pytest.mark.parametrize("rule", ["at_or_before", "at_or_after"])
@pytest.mark.parametrize("fps", [24, 25, 30, Fraction(30000, 1001)])
def test_times_in_a_film_on_disk(tmp_path: Path, rule: str, fps: Fraction) -> None:
    """Any frame rate, through the codec: the time of the new shot's first picture that the grid shows."""
    first = 37
    pictures = [*shot(6, first, ball=2), *shot(7, 40, pan=1)]
    path = make_clip(
        tmp_path / "film.mp4", fps=fps, count=len(pictures), size=(SIDE, SIDE), pictures=pictures
    )
    view = View(Fraction(25), (SIDE, SIDE), "gray", rule)  # type: ignore[arg-type]
    seen = read_clip(path, {"sync": view}).views["sync"]
    (time,) = cut_times(thumbnails(seen.frames), seen.ages, view.rate)
    late = float(time - first / Fraction(fps))
    assert -1e-4 <= late < 1 / 25
    if fps in (24, 25):  # the grid shows every picture
        assert late == pytest.approx(0, abs=1e-4)
