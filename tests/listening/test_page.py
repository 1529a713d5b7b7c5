"""The page in a real browser, by keyboard alone. Skipped where there is no Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefoley.listening.analysis import analyse
from edgefoley.listening.store import open_store
from tests.chromium import Page, browser, open_page
from tests.listening.test_server import serving

pytestmark = [
    pytest.mark.skipif(browser() is None, reason="no Chromium (apt-get install chromium)"),
    pytest.mark.slow,
    pytest.mark.timeout(400),
]


def at_trial(page: Page) -> int | None:
    """The place of the trial that is shown; None at the end."""
    page.wait("!document.getElementById('trial').hidden || !document.getElementById('done').hidden")
    return None if page.run("!document.getElementById('done').hidden") else page.run("state.trial.position")


def answer(page: Page, keys: str, place: int) -> None:
    """Play the only sound to its end, give grades, go on."""
    page.press(" ")
    page.wait("state.played.size === 1")
    for key in keys:
        page.press(key)
    page.press("Enter")
    page.wait(f"state.trial.position !== {place} || !document.getElementById('done').hidden")


def test_a_whole_acr_test_by_keyboard(folder, tmp_path):
    db = tmp_path / "ratings.sqlite"
    with serving(folder, db) as (address, _), open_page(tmp_path / "profile") as page:
        page.go(address)
        page.wait("document.activeElement.id === 'begin'")
        page.press("Enter")
        assert at_trial(page) == 0
        # Enter before anything was heard or graded goes nowhere.
        page.press("Enter")
        assert page.run("document.getElementById('next').disabled") and at_trial(page) == 0
        for key in "345":
            page.press(key)
        assert page.run("document.getElementById('next').disabled")  # graded, not heard
        page.press(" ")
        page.wait("state.played.size === 1")
        assert not page.run("document.getElementById('next').disabled")
        # Focus is seen, and arrows change a grade as in any group of buttons.
        page.run("document.querySelector('#grades input:checked').focus()")
        page.press("ArrowRight")
        assert page.run("given().map(g => g.value)") == [4, 4, 5]
        page.run("document.getElementById('next').focus()")
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        assert page.run("[...document.querySelectorAll('input')].every(i => i.labels.length > 0)")
        page.press("Enter")
        page.wait("state.trial.position === 1")
        code = page.run("state.code")
        # Gone and back: the code is there, and the test goes on where it was.
        page.go(address)
        page.wait("document.activeElement.id === 'code'")
        assert page.run("document.getElementById('code').value") == code
        page.press("Enter")
        place = at_trial(page)
        assert place == 1
        while place is not None:
            asked = page.run("state.trial.grade")
            assert page.run("!document.getElementById('note').hidden") == (asked is not None)
            answer(page, f"{asked or 1}" * 3, place)
            place = at_trial(page)
        assert page.console == []
    found = analyse(open_store(db))
    assert found.counted == 1 and not found.listeners[0].failed
    with open_store(db).reading() as connection:
        first = connection.execute(
            "SELECT value FROM ratings r JOIN trials t ON t.id = r.trial WHERE t.position = 0 "
            "ORDER BY question"
        ).fetchall()
        plays, seconds = connection.execute("SELECT sum(plays), min(seconds) FROM trials").fetchone()
    assert [row[0] for row in first] == [5, 4, 4]  # clarity, realism, synchrony
    assert plays >= found.listeners[0].trials and seconds > 1.0


def test_mushra_side_by_side(folder, tmp_path):
    file = tmp_path / "test.toml"
    systems = "\n".join(f'{name} = "{folder}/systems/{name}"' for name in ("fp32", "int8"))
    file.write_text(
        f'method = "mushra"\nreference = "clips"\nanchors = ["7 kHz"]\ntraining = 0\n'
        f'clips = "{folder}/clips"\n[systems]\n{systems}\n',
        encoding="utf-8",
    )
    db = tmp_path / "ratings.sqlite"
    with serving(file, db) as (address, _), open_page(tmp_path / "profile") as page:
        page.go(address)
        page.wait("document.activeElement.id === 'begin'")
        page.press("Enter")
        place = at_trial(page)
        while place is not None:
            assert page.run("state.trial.slots.map(s => s.label)") == ["Reference", "A", "B", "C", "D"]
            for heard, key in enumerate("rabcd", 1):
                page.press(key)
                page.wait(f"state.played.size === {heard}")
            page.run("document.querySelector('#grades input').focus()")
            for steps in range(1, 5):
                assert page.run("document.getElementById('next').disabled")
                for _ in range(steps):
                    page.press("ArrowRight")
                page.press("Tab")
            assert page.run("given().map(g => g.value)") == [51, 52, 53, 54]
            page.press("Enter")
            page.wait(f"state.trial.position !== {place} || !document.getElementById('done').hidden")
            place = at_trial(page)
        assert page.console == []
    found = analyse(open_store(db), keep_failed=True)
    assert found.score_name == "MUSHRA score" and sum(s.estimate.ratings for s in found.scores) == 12


def test_a_lost_answer_is_sent_again_and_stored_once(folder, tmp_path):
    """The server dies after it was asked; the page says so, and Enter sends the same again later."""
    db = tmp_path / "ratings.sqlite"
    profile: Path = tmp_path / "profile"
    with open_page(profile) as page:
        with serving(folder, db) as (address, _):
            page.go(address)
            page.wait("document.activeElement.id === 'begin'")
            page.press("Enter")
            at_trial(page)
            page.press(" ")
            page.wait("state.played.size === 1")
            for key in "222":
                page.press(key)
        page.press("Enter")
        page.wait("!document.getElementById('problem').hidden")
        assert "try again" in page.run("document.getElementById('problem').textContent")
        assert page.run("given().map(g => g.value)") == [2, 2, 2]
        port = address.rstrip("/").rpartition(":")[2]
        with serving(folder, db, port):
            page.press("Enter")
            page.wait("state.trial.position === 1")
            assert page.run("document.getElementById('problem').hidden")
    with open_store(db).reading() as connection:
        assert connection.execute("SELECT count(*) FROM ratings").fetchone() == (3,)
