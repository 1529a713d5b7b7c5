"""The drawn engine: every action is deterministic and well formed, and the pictures agree with the truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from scipy.stats import spearmanr

from edgefoley.train.scenes import flat
from edgefoley.train.scenes.bursts import Burst
from edgefoley.train.scenes.contacts import Drop, Impact, Scrape
from edgefoley.train.scenes.draw import Canvas, affine, chain
from edgefoley.train.scenes.figures import Jump, Step
from edgefoley.train.scenes.objects import Door, Shake, Travel
from edgefoley.train.scenes.program import Cast, Program
from edgefoley.train.scenes.truth import MATERIALS, STREAM_ACTIONS

SILENT_MARKS = set(STREAM_ACTIONS) - {"pour"} | {"slide"}


@pytest.mark.parametrize("action", flat.ACTIONS)
def test_every_action_is_deterministic_and_well_formed(action: str) -> None:
    one, two, other = (flat.stage(np.random.default_rng(s), 3.0, 64, action) for s in (7, 7, 8))
    assert one.truth.contacts == two.truth.contacts and one.truth.sources == two.truth.sources
    assert np.array_equal(one.truth.activity, two.truth.activity)
    backwards = {t: two.expose(t).copy() for t in (2.0, 1.0, 0.0)}
    for t in (0.0, 1.0, 2.0):  # any order
        assert np.array_equal(one.expose(t), backwards[t])
    assert not np.array_equal(one.expose(1.0), other.expose(1.0))
    assert one.expose(0.5).shape == (64, 64, 3) and one.expose(0.5).dtype == np.uint8
    assert one.truth.activity.shape == (1, 150) and one.truth.activity.min() >= 0
    assert one.truth.activity.max() <= 1 and one.truth.sources[0].action == action
    for contact in one.truth.contacts:
        assert 0 <= contact.time_s < 3 and 0 < contact.strength <= 1 and 0.02 < contact.distance_m < 500
    if action in SILENT_MARKS:
        assert not one.truth.contacts
    one.close()
    with pytest.raises(RuntimeError, match="closed"):
        one.expose(0.0)


@pytest.mark.parametrize("action", sorted(set(flat.ACTIONS) - SILENT_MARKS))
def test_contact_actions_have_contacts_motion_and_mostly_visible_ones(action: str) -> None:
    stages = [flat.stage(np.random.default_rng([s, 1]), 3.0, 64, action) for s in range(6)]
    contacts = [c for s in stages for c in s.truth.contacts]
    assert sum(bool(s.truth.contacts) for s in stages) >= 3
    assert np.mean([c.visible for c in contacts]) > 0.5
    moving = [np.abs(s.expose(1.0).astype(int) - s.expose(1.4)).mean() for s in stages]
    assert max(moving) > 0.5


def test_asked_materials_are_cast_and_unknown_actions_are_named() -> None:
    one = flat.stage(np.random.default_rng(0), 2.0, 64, "hammer", "rubber", "glass")
    assert (one.truth.sources[0].striker, one.truth.sources[0].struck) == ("rubber", "glass")
    for action in flat.ACTIONS:
        source = flat.stage(np.random.default_rng(3), 1.0, 32, action).truth.sources[0]
        assert {source.striker, source.struck} <= {"", *MATERIALS}
    with pytest.raises(ValueError, match=r"cannot draw 'bang'.*hammer"):
        flat.stage(np.random.default_rng(0), 2.0, 64, "bang")


def test_the_truth_does_not_depend_on_the_size() -> None:
    for action in ("strike", "walk", "engine"):
        small, large = (flat.stage(np.random.default_rng(4), 2.0, size, action).truth for size in (48, 112))
        assert [c.time_s for c in small.contacts] == [c.time_s for c in large.contacts]
        assert [c.place for c in small.contacts] == [c.place for c in large.contacts]


def _draw(program: Program, t: float) -> np.ndarray:
    canvas = Canvas(224)
    canvas.begin(np.full((64, 64, 3), 128, np.uint8), 3.0, affine(112, 112, 80))
    program.draw(canvas, t)
    return canvas.image.astype(int)


def test_the_drawn_ball_is_lowest_at_its_contact_which_is_there() -> None:
    checked = 0
    for seed in range(8):
        drop = Drop(np.random.default_rng(seed), 4.0, Cast("bounce"))
        drop.hand, drop.floored, drop.squash = False, False, 0.0
        mark = drop.marks[1]
        lowest = []
        for t in mark.time_s + np.array([-0.08, -0.04, 0.0, 0.04, 0.08]):
            rows, columns = np.nonzero((np.abs(_draw(drop, t) - 128) > 12).any(2))
            lowest.append(rows.max() if len(rows) else 0)
            if t == mark.time_s and len(rows):
                checked += 1
                assert rows.max() == pytest.approx(112, abs=3)  # the floor is y = 0
                assert columns.mean() == pytest.approx(112 + 80 * mark.spot[0], abs=4)
        assert lowest[2] == max(lowest), (seed, lowest)
    assert checked >= 6


def test_the_tool_tip_is_drawn_where_the_contact_is_said_to_be() -> None:
    """Something is drawn around the mark at its instant, with the objects hidden."""
    for seed in range(6):
        impact = Impact(np.random.default_rng(seed), 4.0, Cast("hammer"))
        impact.objectless, impact.spray = True, None
        for i, mark in enumerate(impact.marks[:4]):
            assert impact._target(mark.time_s) == pytest.approx(impact.targets[i])
            x, y = (round(112 + 80 * v) for v in mark.spot)
            drawn = np.abs(_draw(impact, mark.time_s) - 128).max(2) > 6
            assert drawn[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7].any()


def test_places_follow_the_moving_camera() -> None:
    """All but the legs of a jumper painted out, the pixels nearest the contact's place are its feet."""
    found = 0
    for seed in range(30):
        one = flat.stage(np.random.default_rng(seed), 3.0, 112, "jump")
        part, one._others = one._parts[0], None
        one._mutes = []
        program = part.program
        assert isinstance(program, Jump)
        program.ground.shown = False
        for contact in one.truth.contacts[:3]:
            shot = one._shot(contact.time_s)
            shot.background[:] = 128
            program.shades[:], program.skin = 255, np.array([255, 255, 255])
            program.body.premultiplied[:] = 0
            program.body.inverse[:] = 255
            image = one.expose(contact.time_s).astype(int)
            rows, columns = np.nonzero(np.abs(image - 128).max(2) > 60)
            x, y = contact.place[0] * 112, contact.place[1] * 112
            if len(rows) and 0.1 < contact.place[0] < 0.9 and 0.1 < contact.place[1] < 0.9:
                found += 1
                unit = 56 * shot.scale * part.size
                distance = np.hypot(rows - y, columns - x).min()
                assert distance < 0.3 * unit + 3  # between the feet, which stand a little apart
                assert rows.max() < y + 0.3 * unit + 3
    assert found >= 20


def test_marks_of_other_programs_are_where_their_motion_says() -> None:
    rng = np.random.default_rng
    scrape = Scrape(rng(5), 5.0, Cast("scrape"))
    for mark in scrape.marks:
        assert abs(scrape.strokes.state(mark.time_s)[0]) == pytest.approx(1.0, abs=1e-6)
    step = Step(rng(3), 5.0, Cast("walk"))
    for leg, offset in enumerate(step.offsets):
        for t in step.phase.crossings(offset, 5.0):
            assert step._foot(leg, step.phase.at(t + 1e-9))[1] == pytest.approx(0, abs=1e-6)
            assert step._foot(leg, step.phase.at(t) - 0.05)[1] > 0  # in the air just before
    jump = Jump(rng(1), 5.0, Cast("jump"))
    for off, land, gravity in jump.jumps:  # a parabola: the height at mid-flight is g T^2 / 8
        assert jump.height((off + land) / 2) == pytest.approx(gravity * (land - off) ** 2 / 8)
    door = Door(rng(2), 6.0, Cast("door"))
    for start, end, shuts in door.moves:
        assert door.opening(end) == pytest.approx(0.0 if shuts else 1.0)
        assert (end in [m.time_s for m in door.marks]) == (shuts and end < 6)
        assert (start in [m.time_s for m in door.marks]) == (not shuts and start < 6)
    roll = Travel(rng(2), 6.0, Cast("roll"))
    for mark in roll.marks:
        ridge = roll._x(mark.time_s) / roll.joints
        assert ridge == pytest.approx(round(ridge), abs=0.02)
    shake = Shake(rng(2), 6.0, Cast("shake"))
    for mark in shake.marks:
        assert abs(shake._swing(mark.time_s)) == pytest.approx(1.0, abs=0.01)


def test_a_flash_is_brightest_just_after_the_shot_and_absent_before() -> None:
    bursts = (Burst(np.random.default_rng(s), 4.0, Cast("burst")) for s in range(200))
    burst = next(b for b in bursts if b.flash > 0.03 and not b.firework and b.marks and b.radius > 0.3)
    t = burst.marks[0].time_s
    bright = [int((_draw(burst, t + d).min(2) > 160).sum()) for d in (-0.02, 0.001, 0.3)]
    assert bright[1] > bright[0] + 20 and bright[1] > bright[2]


@pytest.mark.parametrize("action", sorted(set(STREAM_ACTIONS) - {"ambience"}))
def test_how_loud_a_stream_is_can_be_seen(action: str) -> None:
    """Rank correlation of activity with the picture's change, in windows of 0.2 s under a still camera."""
    found = []
    times = np.arange(0.02, 4.0, 0.04)
    backdrop, still = np.full((8, 8, 3), 128, np.uint8), affine(32, 32, 32)
    for seed in range(5):
        program, canvas = flat._PROGRAMS[action](np.random.default_rng(seed), 4.0, Cast(action)), Canvas(64)
        pictures = []
        for t in times:
            canvas.begin(backdrop, 3.0, still)
            canvas.view = chain(still, affine(0, program.fit[0], program.fit[1]))
            program.draw(canvas, t)
            pictures.append(canvas.image.astype(np.int16))
        moved = np.abs(np.diff(np.stack(pictures), axis=0)).mean((1, 2, 3))[:95].reshape(-1, 5).mean(1)
        loud = np.array([program.activity(t + 0.02) for t in times[:95]]).reshape(-1, 5).mean(1)
        if np.ptp(loud) > 0.1:
            found.append(spearmanr(moved, loud).statistic)
    assert len(found) >= 3 and np.median(found) > 0.4, found


def test_nothing_that_sounds_moves_in_an_ambience() -> None:
    program = flat._PROGRAMS["ambience"](np.random.default_rng(0), 4.0, Cast("ambience"))
    assert np.array_equal(_draw(program, 0.0), _draw(program, 3.0))
    assert program.activity(0.0) == program.activity(3.0) > 0
