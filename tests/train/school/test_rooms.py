"""Rooms: the direct sound leads, the decay is Sabine's, and a bank reads back what it wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.school.rooms import DISTANCES, KINDS, RoomBank, make_room, sabine


def test_sabine_of_a_cube_is_the_textbook_value() -> None:
    # V = 1000, S = 600: 0.161 * 1000 / (0.5 * 600)
    assert sabine(np.array([10.0, 10.0, 10.0]), 0.5) == pytest.approx(0.5367, abs=1e-4)


@pytest.mark.parametrize("kind", list(KINDS))
def test_direct_sound_is_the_first_sample_and_the_loudest(kind: str) -> None:
    room = make_room(kind, np.random.default_rng(3))
    assert len(room.responses) == len(DISTANCES)
    for response in room.responses:
        assert response[0] == pytest.approx(1.0, abs=1e-6)
        assert np.abs(response).max() < 2.0
        assert abs(response[-1]) < 1e-4


def test_a_farther_source_has_more_room_in_it() -> None:
    near, _, far = make_room("room", np.random.default_rng(0)).responses

    def reverberant(response: np.ndarray) -> float:
        return float(np.square(response[240:]).sum() / np.square(response[:240]).sum())

    assert reverberant(far) > 2 * reverberant(near)


def test_decay_follows_sabine_within_a_factor() -> None:
    """By Schroeder's backward integral of the response, independent of the formula that labels it."""
    room = make_room("room", np.random.default_rng(5))
    energy = np.cumsum(np.square(room.responses[2][::-1].astype(np.float64)))[::-1]
    level = 10 * np.log10(energy / energy[0])
    first, last = np.argmax(level < -5), np.argmax(level < -20)
    measured = 60 / 15 * (last - first) / SAMPLE_RATE
    assert 0.4 < measured / room.rt60_s < 1.6


def test_bank_is_written_once_and_reads_back(tmp_path: Path) -> None:
    made = RoomBank.open(tmp_path / "rooms.npz", count=3, seed=1)
    stamp = (tmp_path / "rooms.npz").stat().st_mtime_ns
    again = RoomBank.open(tmp_path / "rooms.npz", count=3, seed=1)
    assert (tmp_path / "rooms.npz").stat().st_mtime_ns == stamp
    assert made.kinds == again.kinds == frozenset(KINDS)
    for a, b in zip(made.rooms, again.rooms, strict=True):
        assert a.rt60_s == b.rt60_s
        np.testing.assert_array_equal(a.responses[0], b.responses[0])
    fresh = make_room("small room", np.random.default_rng([1, 0]))
    np.testing.assert_allclose(made.rooms[0].responses[1], fresh.responses[1], atol=2e-3)  # stored as float16
    with pytest.raises(KeyError, match="cathedral"):
        made.draw("cathedral", np.random.default_rng(0))
