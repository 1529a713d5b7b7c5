"""Stages: same seed, same scene; materials as asked; every action sounds; pictures show the contacts."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pybullet")
pytest.importorskip("pybullet_data")

from edgefoley.train.scenes.bodies.camera import Camera
from edgefoley.train.scenes.bodies.falling import cast
from edgefoley.train.scenes.bodies.figures import ball
from edgefoley.train.scenes.bodies.impacts import impacts
from edgefoley.train.scenes.bodies.picture import Picture
from edgefoley.train.scenes.bodies.play import ACTIONS, stage
from edgefoley.train.scenes.bodies.things import make
from edgefoley.train.scenes.bodies.tracks import clock, still
from edgefoley.train.scenes.bodies.world import Grip, World, engine
from edgefoley.train.scenes.truth import ACTIONS as KNOWN
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Truth

SECONDS = 2.0


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@functools.cache
def truth_of(action: str, seed: int) -> Truth:
    made = stage(rng(seed), SECONDS, 48, action)
    made.close()
    return made.truth


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_sounds_in_order_and_inside_the_clip(action: str) -> None:
    assert action in KNOWN
    sounding = 0
    for seed in range(3):
        truth = truth_of(action, seed)
        sounding += bool(truth.contacts) or bool(truth.activity.any())
        times = [c.time_s for c in truth.contacts]
        assert times == sorted(times)
        assert all(0.05 <= t < SECONDS for t in times)
        assert all(0 < c.strength <= 1 and c.distance_m > 0 for c in truth.contacts)
        assert truth.activity.shape == (len(truth.sources), SECONDS * ACTIVITY_RATE)
        assert truth.activity.min() >= 0 and truth.activity.max() <= 1
        assert truth.sources[0].action == action
        assert truth.sources[0].striker and truth.sources[0].struck
    assert sounding >= 2


@pytest.mark.parametrize("action", ["drop", "strike", "walk", "drawer"])
def test_the_same_arguments_give_the_same_scene(action: str) -> None:
    first, second = (stage(rng(7), SECONDS, 48, action) for _ in range(2))
    early = first.expose(0.5)
    second.expose(1.3)  # the order of exposures does not matter
    assert first.truth.contacts == second.truth.contacts
    assert (first.truth.activity == second.truth.activity).all()
    assert first.truth.sources == second.truth.sources
    assert early.shape == (48, 48, 3) and early.dtype == np.uint8
    assert (early == second.expose(0.5)).all()
    other = stage(rng(8), SECONDS, 48, action)
    assert (early != other.expose(0.5)).any()
    for made in (first, second, other):
        made.close()


@pytest.mark.parametrize("action", ACTIONS)
def test_materials_are_those_asked_for(action: str) -> None:
    made = stage(rng(3), SECONDS, 48, action, striker="metal", struck="wood")
    assert (made.truth.sources[0].striker, made.truth.sources[0].struck) == ("metal", "wood")
    seen = {actor.material for actor in made.actors}
    assert {"metal", "wood"} <= seen or action == "shake"  # what rattles inside is not seen
    made.close()


def test_a_ball_is_lowest_in_the_picture_at_its_contact() -> None:
    item = make("ball", "rubber", ball(0.1), "sphere")
    world = World("wood", bounce=1.0)
    world.put(item, still([0, 0, 0.9]), grips=(Grip(-1.0, 0.2, (0.0, 0.0, 0.9)),), bounce=0.8)
    record = world.run(1.5)
    hit = impacts(record, 5.0, lambda a, b: 0)[0]
    t = clock(1.5)
    camera = Camera(np.tile([0, -3.0, 0.4], (len(t), 1)), np.tile([0, 0, 0.4], (len(t), 1)), 0 * t, 40.0)
    picture = Picture(rng(0), cast(record), camera, 96)
    times = hit.time_s + np.arange(-12, 13) / 240
    lowest = [int(np.flatnonzero((picture.shoot(float(x))[1] == 0).any(axis=1)).max()) for x in times]
    assert abs(int(np.argmax(lowest)) - 12) <= 1
    assert lowest[12] == max(lowest) and lowest[0] < lowest[12] - 2 and lowest[-1] < lowest[12] - 2
    (x, y), distance = camera.place(hit.point, hit.time_s)
    assert abs(y * 96 - (lowest[12] + 1)) <= 1.5 and x == pytest.approx(0.5, abs=0.02)
    assert distance == pytest.approx(np.hypot(3.0, 0.4), abs=0.01)
    picture.close()


def test_places_lie_on_the_bodies_that_meet() -> None:
    on, seen = 0, 0
    for action in ("drop", "strike", "walk", "hammer", "drawer", "gallop", "keys"):
        for seed in (0, 1):
            made = stage(rng(seed), SECONDS, 96, action)
            for contact in made.truth.contacts[:3]:
                if not contact.visible:
                    continue
                x, y = int(contact.place[0] * 95), int(contact.place[1] * 95)
                near = made.owners(contact.time_s)[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5]
                seen += 1
                on += any(made.actors[i].role in ("striker", "struck") for i in np.unique(near) if i >= 0)
            made.close()
    assert seen >= 18
    assert on >= 0.8 * seen, f"{on} of {seen}"


def test_most_contacts_are_in_the_picture() -> None:
    inside = [c.visible for a in ACTIONS for seed in range(3) for c in truth_of(a, seed).contacts]
    assert np.mean(inside) > 0.8


def test_stages_free_their_engine() -> None:
    p = engine()

    def connected() -> int:
        return sum(bool(p.getConnectionInfo(i)["isConnected"]) for i in range(40))

    before = connected()
    for seed in range(6):
        made = stage(rng(seed), 0.6, 32, "drop")
        made.expose(0.3)
        made.close()
        made.close()
    assert connected() == before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from /proc")
def test_many_stages_take_no_more_memory_than_one() -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for number in range(16):
        made = stage(rng(number % 2), 0.6, 32, "run")
        made.expose(0.3)
        made.close()
        if number == 5:
            before = pages()
    grown = (pages() - before) * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert grown < 3.0, f"{grown:.1f} MB for ten stages"


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match="no bodies for action 'pour'; there are: drop"):
        stage(rng(0), 2.0, 48, "pour")
    with pytest.raises(ValueError, match=r"at least 0\.5"):
        stage(rng(0), 0.1, 48, "drop")
    made = stage(rng(0), 1.0, 48, "walk")
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.expose(0.0)
