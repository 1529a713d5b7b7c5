"""Ratings are kept: twice the same, two at once, half a write, broken files."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from edgefoley.listening.analysis import analyse
from edgefoley.listening.definition import ListeningError
from edgefoley.listening.store import Answer, Store, SubmissionError, create, open_store


@pytest.fixture
def store(defined, tmp_path: Path) -> Store:
    return create(tmp_path / "ratings.sqlite", defined().record())


def answers_to(store: Store, listener: int, grade: int = 3) -> tuple[int, list[Answer]]:
    """The next trial's place and an answer to everything it asks."""
    trial = store.next_trial(listener)
    tokens = [slot["token"] for slot in trial["slots"] if slot["rated"]]
    return trial["position"], [Answer(key, token, grade) for key in store.questions for token in tokens]


def count(store: Store, table: str = "ratings") -> int:
    with store.reading() as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_the_file_keeps_what_it_promises(store):
    with store.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_listener_comes_back_and_goes_on(store):
    code = store.add_listener()
    listener = store.listener_of(code.upper() + " ")
    position, answers = answers_to(store, listener)
    assert position == 0 and store.submit(listener, position, answers) is True
    again = open_store(store.path)
    assert again.listener_of(code) == listener and again.next_trial(listener)["position"] == 1
    with pytest.raises(SubmissionError, match="no listener with the code"):
        store.listener_of("nobody")


def test_a_double_submission_is_stored_once_and_another_grade_is_refused(store):
    listener = store.listener_of(store.add_listener())
    position, answers = answers_to(store, listener)
    assert store.submit(listener, position, answers) is True
    assert store.submit(listener, position, answers) is False
    assert store.submit(listener, position, answers[::-1]) is False
    assert count(store) == 3
    changed = [Answer(a.question, a.token, 4) for a in answers]
    with pytest.raises(SubmissionError, match="other grades") as refused:
        store.submit(listener, position, changed)
    assert refused.value.conflict and count(store) == 3
    with store.reading() as db:
        assert db.execute("SELECT DISTINCT value FROM ratings").fetchall() == [(3.0,)]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[:-1],
        lambda a: [*a, a[0]],
        lambda a: [Answer("beauty", a[0].token, 3), *a[1:]],
        lambda a: [Answer(a[0].question, "x" * 20, 3), *a[1:]],
        lambda a: [Answer(a[0].question, a[0].token, 6), *a[1:]],
        lambda a: [Answer(a[0].question, a[0].token, 0), *a[1:]],
        lambda a: [Answer(a[0].question, a[0].token, 2.5), *a[1:]],
        lambda a: [Answer(a[0].question, a[0].token, float("nan")), *a[1:]],
        lambda a: [],
    ],
)
def test_half_a_submission_stores_nothing(store, change):
    listener = store.listener_of(store.add_listener())
    position, answers = answers_to(store, listener)
    with pytest.raises(SubmissionError):
        store.submit(listener, position, change(answers))
    assert count(store) == 0 and store.next_trial(listener)["position"] == position
    with pytest.raises(SubmissionError, match="no trial 99"):
        store.submit(listener, 99, answers)


def test_nobody_answers_for_another(store):
    first, second = (store.listener_of(store.add_listener()) for _ in range(2))
    position, answers = answers_to(store, first)
    with pytest.raises(SubmissionError):
        store.submit(second, position, answers)
    assert count(store) == 0


def test_a_failure_in_the_middle_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.writing() as db:
        db.execute("INSERT INTO listeners (code, began) VALUES ('a', 'b')")
        raise RuntimeError
    assert count(store, "listeners") == 0


def test_many_listeners_at_once(store):
    """Eight threads enter and rate everything, each submission twice; every rating is there once."""
    problems: list[BaseException] = []

    def listen() -> None:
        try:
            mine = open_store(store.path)
            listener = mine.listener_of(mine.add_listener())
            while mine.next_trial(listener)["position"] is not None:
                position, answers = answers_to(mine, listener)
                assert mine.submit(listener, position, answers) is True
                assert mine.submit(listener, position, answers) is False
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=listen) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    trials = count(store, "trials")
    assert count(store, "listeners") == 8 and count(store) == 3 * trials
    with store.reading() as db:
        assert db.execute("SELECT count(DISTINCT token) = count(*) FROM slots").fetchone() == (1,)
        # Every listener has a place of their own in the design.
        orders = db.execute(
            "SELECT group_concat(clip || system) FROM (SELECT t.listener, t.clip, s.system FROM trials t "
            "JOIN slots s ON s.trial = t.id ORDER BY t.listener, t.position) GROUP BY listener"
        ).fetchall()
    assert len(set(orders)) == 8


def test_another_test_does_not_write_into_the_file(store, defined):
    assert create(store.path, defined().record()).salt == store.salt
    with pytest.raises(ListeningError, match="ratings of another test"):
        create(store.path, defined(seed=2).record())
    with pytest.raises(ListeningError, match="no folder"):
        create(store.path.parent / "none" / "a.sqlite", defined().record())


def test_files_that_hold_no_ratings(store, tmp_path):
    with pytest.raises(ListeningError, match="no such rating file"):
        open_store(tmp_path / "none.sqlite")
    with pytest.raises(ListeningError, match="no such rating file"):
        open_store(tmp_path)
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(ListeningError, match="is empty"):
        open_store(tmp_path / "empty.sqlite")
    (tmp_path / "text.sqlite").write_text("no database at all, but some text\n" * 40)
    with pytest.raises(ListeningError, match="not a database"):
        open_store(tmp_path / "text.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as db:
        db.execute("CREATE TABLE ratings (a)")
    db.close()
    with pytest.raises(ListeningError, match="no rating file of"):
        open_store(tmp_path / "other.sqlite")


def test_files_that_were_damaged(store, tmp_path):
    for _ in range(3):
        store.add_listener()
    with store.reading() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer = tmp_path / "newer.sqlite"
    shutil.copy(store.path, newer)
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(ListeningError, match="version 7"):
        open_store(newer)
    data = bytearray(store.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "damaged.sqlite").write_bytes(data)
    with pytest.raises(ListeningError, match=r"damaged\.sqlite"):
        analyse(open_store(tmp_path / "damaged.sqlite"))
    (tmp_path / "cut.sqlite").write_bytes(store.path.read_bytes()[:5000])
    with pytest.raises(ListeningError, match=r"cut\.sqlite"):
        analyse(open_store(tmp_path / "cut.sqlite"))
    facts = tmp_path / "facts.sqlite"
    shutil.copy(store.path, facts)
    with sqlite3.connect(facts) as db:
        db.execute("DELETE FROM facts")
    db.close()
    with pytest.raises(ListeningError, match="which test it belongs to"):
        open_store(facts)
