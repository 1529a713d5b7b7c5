"""Films: plan and film agree, clocks, framing maps pictures and places alike, sources and shares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("pybullet")

from edgefoley.train.scenes import film as films
from edgefoley.train.scenes import flat
from edgefoley.train.scenes.clock import frame_times, grid_index
from edgefoley.train.scenes.film import QUIET, draw_action, engines, film, plan
from edgefoley.train.scenes.framing import Bars, Framing
from edgefoley.train.scenes.truth import STREAM_ACTIONS, Truth

rng = np.random.default_rng


@pytest.fixture
def drawn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of these need no simulation, which would take most of their time."""
    drawn = {"flat": engines()["flat"]}
    monkeypatch.setattr(films, "engines", lambda: drawn)


def _same(a: Truth, b: Truth) -> None:
    assert a.sources == b.sources and a.seconds == b.seconds and np.array_equal(a.activity, b.activity)
    assert [(c.time_s, c.strength, c.source, c.place, c.distance_m) for c in a.contacts] == [
        (c.time_s, c.strength, c.source, c.place, c.distance_m) for c in b.contacts
    ]


@pytest.mark.usefixtures("drawn_only")
@pytest.mark.parametrize("seed", range(20))
def test_a_plan_is_the_films_truth_and_a_film_repeats_itself(seed: int) -> None:
    one = film(seed, 2.0, fps=12, size=48)
    _same(plan(seed, 2.0), one.truth)
    if seed < 4:
        assert np.array_equal(one.frames, film(seed, 2.0, fps=12, size=48).frames)
    assert one.frames.shape == (len(one.timestamps), 48, 48, 3) and one.frames.dtype == np.uint8
    assert one.timestamps[0] == 0 and np.all(np.diff(one.timestamps) > 0) and one.timestamps[-1] < 2.0
    assert len(one.truth.activity) == len(one.truth.sources)
    assert one.truth.activity.shape[1] == 100 and one.truth.activity.min(initial=0) >= 0


def test_both_engines_are_there_and_every_action_has_one() -> None:
    from edgefoley.train.scenes.truth import ACTIONS

    assert set(engines()) == {"flat", "bodies"}
    assert set(ACTIONS) == set().union(*(e.actions for e in engines().values()))


def test_an_action_of_both_engines_is_given_to_either_and_plan_agrees() -> None:
    action = next(a for a in flat.ACTIONS if a in engines()["bodies"].actions)
    drawn = {film(seed, 1.0, fps=6, size=48, action=action).look["engine"] for seed in range(6)}
    assert len(drawn) >= 2
    for seed in range(3):
        _same(plan(seed, 1.0, action), film(seed, 1.0, fps=3, size=48, action=action).truth)


@pytest.mark.usefixtures("drawn_only")
def test_actions_are_drawn_in_their_shares() -> None:
    names = [draw_action(rng(seed)) for seed in range(1500)]
    rest = np.mean([n in (QUIET, "ambience") for n in names])
    streams = np.mean([n in STREAM_ACTIONS and n != "ambience" for n in names])
    assert rest == pytest.approx(0.10, abs=0.03) and streams == pytest.approx(0.22, abs=0.03)
    assert set(names) >= set(flat.ACTIONS)


@pytest.mark.usefixtures("drawn_only")
def test_a_frame_shows_what_happens_after_its_timestamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timestamp is the start of the first row's exposure; the middle of the picture is exposed later."""
    asked: list[float] = []
    expose = films._Script.expose
    monkeypatch.setattr(films._Script, "expose", lambda self, t: asked.append(t) or expose(self, t))
    late = []
    for seed in range(40):
        asked.clear()
        stamps = film(seed, 0.6, fps=30, size=16).timestamps
        if len(asked) % len(stamps):  # some frames were shown twice
            continue
        after = np.reshape(asked, (len(stamps), -1)) - stamps[:, None]
        assert after.min() >= 0 and after.max() <= 1 / 30 + 0.015
        late.append(after.mean())
    assert len(late) > 30 and np.mean(late) == pytest.approx(0.0127, abs=0.004)  # 0.7 x 7.9 ms + 0.8 x 8.8 ms


@pytest.mark.usefixtures("drawn_only")
def test_films_have_the_contrast_of_video() -> None:
    spread = [film(seed, 0.5, fps=6, size=112).frames.mean(3).std() for seed in range(60)]
    assert 36 < np.median(spread) < 60  # that of real clips is 48


@pytest.mark.usefixtures("drawn_only")
def test_a_quiet_film_moves_and_has_no_source() -> None:
    moved = []
    for seed in range(6):
        one = film(seed, 2.0, fps=12, size=48, action=QUIET)
        assert one.truth.sources == () and one.truth.contacts == () and one.truth.activity.shape == (0, 100)
        moved.append(np.abs(one.frames[0].astype(int) - one.frames[12]).mean())
    assert max(moved) > 3


@pytest.mark.usefixtures("drawn_only")
def test_asked_casts_are_the_first_source_and_errors_name_what_is_known() -> None:
    for seed in range(30):  # also in films of two sources
        truth = plan(seed, 2.5, "chop", "metal", "wood")
        first = truth.sources[0]
        assert (first.action, first.striker, first.struck) == ("chop", "metal", "wood")
    with pytest.raises(ValueError, match=r"'bang'.*quiet"):
        film(0, 2.0, action="bang")
    with pytest.raises(ValueError, match=r"0\.1"):
        film(0, 0.1)
    with pytest.raises(ValueError, match="fps"):
        film(0, 1.0, fps=0.5)


@pytest.mark.usefixtures("drawn_only")
def test_two_sources_keep_their_contacts_apart() -> None:
    layouts: dict[str, Truth] = {}
    for seed in range(60):
        one = film(seed, 3.0, fps=1, size=16, action="walk")
        layouts.setdefault(one.look["layout"].split()[0], one.truth)
    assert set(layouts) == {"alone", "after", "then", "beside"}
    after, then = layouts["after"], layouts["then"]
    silent = int(np.argmax(after.activity.any(0))) / 50 if after.activity.any() else 0.9
    assert len(after.sources) == 1 and all(c.time_s > 0.8 for c in after.contacts) and silent >= 0.9
    assert len(then.sources) == 2 and len(then.activity) == 2
    first = [c.time_s for c in then.contacts if c.source == 0]
    second = [c.time_s for c in then.contacts if c.source == 1]
    assert max(first, default=0) < min(second, default=9)
    assert {c.source for c in layouts["beside"].contacts} <= {0, 1} and len(layouts["beside"].sources) == 2


@pytest.mark.usefixtures("drawn_only")
def test_films_have_colour() -> None:
    spread = [
        np.ptp(film(seed, 0.5, fps=4, size=48).frames.astype(float), axis=3).mean() for seed in range(20)
    ]
    assert np.mean(np.array(spread) > 12) > 0.6


def test_clocks_are_constant_or_uneven_and_stay_in_range() -> None:
    kinds = set()
    for seed in range(80):
        times = frame_times(rng(seed), 4.0, 25.0)
        gaps = np.diff(times)
        assert times[0] == 0 and np.all(gaps > 0.2 / 25) and times[-1] < 4.0 and len(times) <= 100
        uneven = bool(np.any(np.abs(gaps * 25 - np.round(gaps * 25)) > 1e-6))
        kinds.add((uneven, len(times) < 95))
        assert len(times) >= 0.7 * 100
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}
    assert len(frame_times(rng(0), 4.0, 30000 / 1001)) in range(90, 121)


def test_the_grid_takes_the_newest_frame_at_or_before() -> None:
    times = frame_times(rng(11), 2.0, 15.0)
    index, ages = grid_index(times, 50)
    for k in range(50):
        shown = [i for i, t in enumerate(times) if t <= k / 25 + 1e-6][-1]
        assert index[k] == shown and ages[k] == pytest.approx(max(0.0, k / 25 - times[shown]), abs=1e-6)


def test_framing_moves_places_with_the_picture() -> None:
    """A white dot of the stage is found where `place` says, through crops, mirrors, shake and bars."""
    checked = 0
    for seed in range(80):
        framing, bars = Framing(rng(seed), 3.0, True, [(0.6, 0.35)]), Bars(rng(seed + 7))
        picture = np.zeros((120, 120, 3), np.uint8)
        picture[40:45, 70:75] = 255
        out = bars.apply(framing.apply(picture, 1.3))
        where, zoom = framing.place(((72 + 0.5) / 120, (42 + 0.5) / 120), 1.3)
        x, y = bars.place(where)
        rows, columns = np.nonzero(out[..., 0] > 100)
        if 0.05 < x < 0.95 and 0.05 < y < 0.95:
            checked += 1
            assert (columns.mean() + 0.5) / 120 == pytest.approx(x, abs=0.02)
            assert (rows.mean() + 0.5) / 120 == pytest.approx(y, abs=0.02)
            assert 0.9 < zoom < 2.2
    assert checked > 50
    assert Framing(rng(0), 3.0, True, []).place((1.2, 0.5), 1.0) == ((1.2, 0.5), 1.0)


@pytest.mark.usefixtures("drawn_only")
def test_some_films_repeat_frames() -> None:
    repeats = 0
    for seed in range(40):
        frames = film(seed, 0.5, fps=24, size=16, action="run").frames
        repeats += any(np.array_equal(a, b) for a, b in itertools.pairwise(frames))
    assert 1 <= repeats <= 10
