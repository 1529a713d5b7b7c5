"""The rating file: one SQLite database that holds a test, its listeners, their trials and their ratings.

Nothing that was accepted is lost: write-ahead log, ``synchronous=FULL``, and each submission is one
transaction that is on the disk before the listener hears "saved". A submission that comes twice changes
nothing; one that contradicts what is stored is refused. Two listeners write at once; SQLite lets one wait for
the other. Which system a token stands for is only in this file.

Tables: ``facts`` (the test's record, its salt), ``stimuli`` (finished videos), ``listeners``, ``trials``,
``slots`` (token, place, system), ``ratings``. ``application_id`` and ``user_version`` mark the format.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from edgefoley.listening.definition import ListeningError, identity, method_of
from edgefoley.listening.design import trials_of
from edgefoley.listening.questions import QUESTIONS, Question
from edgefoley.listening.stimuli import Stimulus

APPLICATION: Final = 0x45464C54  # "EFLT"
VERSION: Final = 1
WAIT: Final = 30.0  # seconds that a writer waits for another
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is mistaken for another
_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE stimuli (clip TEXT NOT NULL, system TEXT NOT NULL, file TEXT NOT NULL, gain_db REAL NOT NULL,
    lufs REAL, PRIMARY KEY (clip, system));
CREATE TABLE listeners (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, began TEXT NOT NULL);
CREATE TABLE trials (id INTEGER PRIMARY KEY, listener INTEGER NOT NULL REFERENCES listeners(id),
    position INTEGER NOT NULL, kind TEXT NOT NULL, clip TEXT NOT NULL, grade INTEGER,
    answered TEXT, seconds REAL, plays INTEGER, UNIQUE (listener, position));
CREATE TABLE slots (token TEXT PRIMARY KEY, trial INTEGER NOT NULL REFERENCES trials(id),
    place INTEGER NOT NULL, system TEXT NOT NULL, rated INTEGER NOT NULL, UNIQUE (trial, place));
CREATE TABLE ratings (listener INTEGER NOT NULL REFERENCES listeners(id),
    trial INTEGER NOT NULL REFERENCES trials(id), question TEXT NOT NULL,
    token TEXT NOT NULL REFERENCES slots(token), value REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (listener, trial, question, token));
"""


class SubmissionError(ListeningError):
    """A submission that cannot be stored; ``conflict``: it contradicts what is stored already."""

    def __init__(self, message: str, conflict: bool = False) -> None:
        super().__init__(message)
        self.conflict = conflict


@dataclass(frozen=True)
class Answer:
    """One grade for one sound."""

    question: str
    token: str
    value: float


class Store:
    """A rating file that exists; see ``create`` and ``open_store``. Safe to use from several threads: each
    call has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.reading() as db:
            facts = dict(db.execute("SELECT name, value FROM facts").fetchall())
        self.record: dict[str, Any] = json.loads(facts["record"])
        self.salt: str = facts["salt"]

    @property
    def questions(self) -> dict[str, Question]:
        """The test's questions by key."""
        return {key: QUESTIONS[method_of(self.record)][key] for key in self.record["questions"]}

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with. Raises ListeningError for what SQLite says."""
        with _connected(self.path) as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: stored as a whole when the block ends, not at all when it raises."""
        with _connected(self.path) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def keep_stimuli(self, stimuli: Sequence[Stimulus]) -> None:
        """Enter the finished videos, in place of earlier ones."""
        rows = [(s.clip, s.system, s.path.name, s.gain_db, _number(s.lufs)) for s in stimuli]
        with self.writing() as db:
            db.executemany("INSERT OR REPLACE INTO stimuli VALUES (?, ?, ?, ?, ?)", rows)

    def add_listener(self) -> str:
        """Enter a new listener with all trials; returns the code with which they come back."""
        code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))
        with self.writing() as db:
            (number,) = db.execute("SELECT count(*) FROM listeners").fetchone()
            listener = db.execute(
                "INSERT INTO listeners (code, began) VALUES (?, ?)", (code, now())
            ).lastrowid
            for position, trial in enumerate(trials_of(self.record, number)):
                row = (listener, position, trial.kind, trial.clip, trial.grade)
                made = db.execute(
                    "INSERT INTO trials (listener, position, kind, clip, grade) VALUES (?, ?, ?, ?, ?)", row
                ).lastrowid
                db.executemany(
                    "INSERT INTO slots VALUES (?, ?, ?, ?, ?)",
                    [
                        (secrets.token_urlsafe(15), made, place, slot.system, slot.rated)
                        for place, slot in enumerate(trial.slots)
                    ],
                )
        return code

    def listener_of(self, code: str) -> int:
        """The listener's number. Raises SubmissionError for an unknown code."""
        with self.reading() as db:
            row = db.execute("SELECT id FROM listeners WHERE code = ?", (code.strip().lower(),)).fetchone()
        if row is None:
            raise SubmissionError(f"there is no listener with the code {code!r}; look at it again.")
        return int(row[0])

    def next_trial(self, listener: int) -> dict[str, Any]:
        """The first trial that has no answer: ``position``, ``total``, ``training``, ``grade`` and ``slots``
        (token, rated); {"position": None, "total"} when all have."""
        with self.reading() as db:
            (total,) = db.execute("SELECT count(*) FROM trials WHERE listener = ?", (listener,)).fetchone()
            row = db.execute(
                "SELECT id, position, kind, grade FROM trials WHERE listener = ? AND answered IS NULL "
                "ORDER BY position LIMIT 1", (listener,)
            ).fetchone()  # fmt: skip
            if row is None:
                return {"position": None, "total": total}
            slots = db.execute(
                "SELECT token, rated FROM slots WHERE trial = ? ORDER BY place", (row[0],)
            ).fetchall()
        return {
            "position": row[1],
            "total": total,
            "training": row[2] == "training",
            "grade": row[3],
            "slots": [{"token": token, "rated": bool(rated)} for token, rated in slots],
        }

    def submit(
        self, listener: int, position: int, answers: Sequence[Answer], seconds: float = 0.0, plays: int = 0
    ) -> bool:
        """Store all answers of a trial; False when exactly these are stored already. Raises SubmissionError
        for anything that the trial does not ask, and for other grades than those stored."""
        with self.writing() as db:
            trial = db.execute(
                "SELECT id, answered FROM trials WHERE listener = ? AND position = ?", (listener, position)
            ).fetchone()
            if trial is None:
                raise SubmissionError(f"this listener has no trial {position}.")
            wanted = {
                (key, token)
                for (token,) in db.execute("SELECT token FROM slots WHERE trial = ? AND rated", (trial[0],))
                for key in self.questions
            }
            self._check(answers, wanted)
            stored = {
                (question, token): value
                for question, token, value in db.execute(
                    "SELECT question, token, value FROM ratings WHERE listener = ? AND trial = ?",
                    (listener, trial[0]),
                )
            }
            given = {(answer.question, answer.token): float(answer.value) for answer in answers}
            if stored:
                if stored == given:
                    return False
                raise SubmissionError("this trial was answered already, with other grades.", conflict=True)
            moment = now()
            db.executemany(
                "INSERT INTO ratings VALUES (?, ?, ?, ?, ?, ?)",
                [(listener, trial[0], key, token, value, moment) for (key, token), value in given.items()],
            )
            db.execute(
                "UPDATE trials SET answered = ?, seconds = ?, plays = ? WHERE id = ?",
                (moment, float(seconds), int(plays), trial[0]),
            )
        return True

    def _check(self, answers: Sequence[Answer], wanted: set[tuple[str, str]]) -> None:
        given = [(answer.question, answer.token) for answer in answers]
        if len(set(given)) != len(given) or set(given) != wanted:
            raise SubmissionError(
                f"{len(wanted)} grades belong to this trial, one for each question and sound; "
                f"{len(given)} came."
            )
        for answer in answers:
            scale = self.questions[answer.question].scale
            if not scale.holds(answer.value):
                raise SubmissionError(
                    f"{answer.question}: {answer.value!r} is no grade from {scale.low} to {scale.high}."
                )

    def file_of(self, token: str) -> str | None:
        """The name of the video behind a token; None for a token that there is not."""
        with self.reading() as db:
            row = db.execute(
                "SELECT s.file FROM slots JOIN trials t ON t.id = slots.trial "
                "JOIN stimuli s ON s.clip = t.clip AND s.system = slots.system WHERE slots.token = ?",
                (token,),
            ).fetchone()
        return None if row is None else str(row[0])


def create(path: Path, record: Mapping[str, Any]) -> Store:
    """The rating file of the test ``record``: made when there is none, opened when it is this test's. Raises
    ListeningError when it is another's, or no rating file."""
    if path.exists():
        store = open_store(path)
        if identity(store.record) != identity(record):
            raise ListeningError(
                f"{path} holds the ratings of another test, or the clips or sounds changed since it began. "
                "Name another file with --db; what was rated stays where it is."
            )
        return store
    if not path.parent.is_dir():
        raise ListeningError(f"{path} cannot be made: there is no folder {path.parent}.")
    with _connected(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        facts = {"record": json.dumps(dict(record)), "salt": secrets.token_hex(16), "made": now()}
        db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        # In the same transaction, so that a half-made file is never taken for a rating file.
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    return Store(path)


def open_store(path: str | Path) -> Store:
    """Open a rating file that exists. Raises ListeningError: missing, empty, damaged, not a rating file, of
    another version."""
    path = Path(path)
    if not path.is_file():
        raise ListeningError(f"{path}: there is no such rating file; `edgefoley listen run` makes one.")
    if path.stat().st_size == 0:
        raise ListeningError(f"{path} is empty; it was not fully copied, or is no rating file.")
    with _connected(path) as db:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise ListeningError(f"{path} is a database, but no rating file of `edgefoley listen`.")
        if version != VERSION:
            raise ListeningError(
                f"{path} has version {version} of the rating file; this edgefoley reads {VERSION}."
            )
        (verdict,) = db.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise ListeningError(f"{path} is damaged ({verdict}); use a copy of it, if there is one.")
    try:
        return Store(path)
    except (KeyError, ValueError) as error:
        raise ListeningError(f"{path} does not say which test it belongs to ({error!r}).") from error


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        finally:
            db.close()
    except sqlite3.Error as error:
        raise ListeningError(f"{path} cannot be used as a rating file: {error}.") from error


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _number(value: float) -> float | None:
    return value if abs(value) < 1e9 else None
