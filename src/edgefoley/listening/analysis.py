"""What the ratings of a test say: scores with intervals, comparisons, who was left out and why.

A score has its name (MOS, DMOS, CMOS, MUSHRA score) only because listeners gave it: without ratings there is
none, and every one is told with its numbers of listeners and clips. Training trials never count. Listeners
who fail attention checks are left out and named; with ``keep_failed`` they stay in and are named too.

Checks: a trial without sound must get the lowest grade (compared with the reference: -2 or -3), a trial that
asks for a grade must get it. MUSHRA has the rule of BS.1534-3 (4.1.2) instead: a listener is left out who
rates the hidden reference below 90, or the 7 kHz anchor above 90, in more than 15 % of the trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from edgefoley.listening import comparisons as c
from edgefoley.listening.definition import ANCHORS, REFERENCE, ListeningError, method_of
from edgefoley.listening.design import compared
from edgefoley.listening.intervals import Estimate, Table, bootstrap_interval, estimate
from edgefoley.listening.questions import DEFAULT_MARGIN, SCORES
from edgefoley.listening.store import Store

HIDDEN_LEAST: Final = 90.0
MOST_MISSED: Final = 0.15


@dataclass(frozen=True)
class Listener:
    """One listener: how far they came, and the checks they failed, in words."""

    number: int
    answered: int
    trials: int
    checks: int
    failed: tuple[str, ...]
    left_out: bool


@dataclass(frozen=True)
class Score:
    """What listeners gave one system on one question. ``counts``: how often each grade was given (stepped
    scales)."""

    question: str
    system: str
    estimate: Estimate
    bootstrap: tuple[float, float] | None
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """``first`` minus ``second`` on one question. ``p`` and ``p_holm``: of no difference, alone and among all
    comparisons of the report. ``margins``: is the first not worse; ``needed``: listeners that would show it
    in 8 of 10 such tests if there were no difference, by this test's spread (None: no number would)."""

    question: str
    first: str
    second: str
    estimate: Estimate
    p: float | None
    p_holm: float | None
    margins: c.Margins
    needed: int | None


@dataclass(frozen=True)
class Analysis:
    """A whole report; ``score_name`` is None where nobody rated."""

    title: str
    method: str
    score_name: str | None
    margin: float
    listeners: tuple[Listener, ...]
    clips: int
    scores: tuple[Score, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counted(self) -> int:
        """Listeners whose ratings count."""
        return sum(not listener.left_out for listener in self.listeners)


@dataclass
class _Rating:
    others: list[str]  # what is not rated in the same trial
    listener: int
    trial: int
    kind: str
    clip: str
    grade: int | None
    question: str
    system: str
    value: float


def analyse(store: Store, margin: float | None = None, keep_failed: bool = False) -> Analysis:
    """Read and judge a rating file. ``margin``: grades by which a system may be worse; None: what suits the
    scale. Raises ListeningError for ratings that the test cannot have."""
    method = method_of(store.record)
    limit = DEFAULT_MARGIN[method] if margin is None else margin
    ratings, people = _read(store)
    listeners = tuple(
        _judged(store.record, number, *counts, [r for r in ratings if r.listener == number], keep_failed)
        for number, counts in sorted(people.items())
    )
    out = {listener.number for listener in listeners if listener.left_out}
    kept = [r for r in ratings if r.kind == "rating" and r.listener not in out]
    about = (store.record["title"], method)
    clips = len({r.clip for r in kept})
    if not kept:
        return Analysis(*about, None, limit, listeners, 0, notes=(_nobody(listeners),))
    tables = _tables(store.record, kept)
    scores = tuple(
        _score(store, question, system, table)
        for question, by_system in tables.items()
        for system, table in by_system.items()
    )
    found = _compared(store.record, tables, limit)
    return Analysis(*about, SCORES[method], limit, listeners, clips, scores, found, _notes(listeners, found))


def _nobody(listeners: Sequence[Listener]) -> str:
    if not listeners:
        return "Nobody has rated anything: there is no score."
    if all(listener.left_out for listener in listeners):
        return "Every listener failed attention checks: there is no score."
    return "Nobody has rated a trial that counts: there is no score."


def _read(store: Store) -> tuple[list[_Rating], dict[int, tuple[int, int]]]:
    """All ratings, and of each listener (trials answered, trials)."""
    with store.reading() as db:
        people = {
            int(row[0]): (int(row[1]), int(row[2]))
            for row in db.execute(
                "SELECT l.id, count(t.answered), count(t.id) FROM listeners l "
                "LEFT JOIN trials t ON t.listener = l.id GROUP BY l.id"
            )
        }
        rows = db.execute(
            "SELECT r.listener, t.id, t.kind, t.clip, t.grade, r.question, s.system, r.value, t.listener, "
            "s.trial FROM ratings r LEFT JOIN trials t ON t.id = r.trial "
            "LEFT JOIN slots s ON s.token = r.token "
            "ORDER BY r.listener, t.position"
        ).fetchall()
        beside: dict[int, list[str]] = {}
        for trial, system in db.execute("SELECT trial, system FROM slots WHERE NOT rated ORDER BY place"):
            beside.setdefault(trial, []).append(system)
    for row in rows:
        _check(store, row)
    return [_Rating(beside.get(row[1], []), *row[:8]) for row in rows], people


def _check(store: Store, row: Sequence[Any]) -> None:
    listener, trial, _, _, _, question, system, value, owner, of_slot = row
    where = f"{store.path}: the rating of listener {listener}"
    if trial is None or system is None or owner != listener or of_slot != trial:
        raise ListeningError(f"{where} belongs to no trial of theirs; the file was changed by hand.")
    if question not in store.questions:
        raise ListeningError(f"{where} answers {question!r}, which this test does not ask.")
    scale = store.questions[question].scale
    if not isinstance(value, int | float) or not scale.holds(value):
        raise ListeningError(
            f"{where} for {question!r} in trial {trial} is {value!r}, outside {scale.low} to {scale.high}; "
            "the file was changed by hand. Nothing is computed from it."
        )


def _judged(
    record: Mapping[str, Any], number: int, answered: int, trials: int, ratings: Sequence[_Rating],
    keep_failed: bool,
) -> Listener:  # fmt: skip
    if record["method"] == "mushra":
        checks, failed = _screened(ratings)
        too_many = bool(failed)
    else:
        by_trial: dict[int, list[_Rating]] = {}
        for rating in ratings:
            if rating.kind in ("silence", "asked"):
                by_trial.setdefault(rating.trial, []).append(rating)
        lowest = -2 if record["method"] == "ccr" else 1
        words = [_failure(group, lowest) for group in by_trial.values()]
        checks, failed = len(words), [word for word in words if word]
        too_many = len(failed) > record["failures"]
    return Listener(number, answered, trials, checks, tuple(failed), too_many and not keep_failed)


def _failure(group: Sequence[_Rating], lowest: int) -> str:
    values = ", ".join(f"{rating.value:g}" for rating in group)
    if group[0].kind == "silence":
        return "" if all(r.value <= lowest for r in group) else f"silence was rated {values}"
    wanted = group[0].grade
    return "" if all(r.value == wanted for r in group) else f"asked for {wanted}, gave {values}"


def _screened(ratings: Sequence[_Rating]) -> tuple[int, list[str]]:
    """BS.1534-3's post-screening: rules looked at, and those that are broken."""
    failed, checks = [], 0
    for system, wrong, words in (
        (REFERENCE, lambda v: v < HIDDEN_LEAST, "the hidden reference below 90"),
        (ANCHORS["7 kHz"], lambda v: v > HIDDEN_LEAST, "the 7 kHz anchor above 90"),
    ):
        values = [r.value for r in ratings if r.kind == "rating" and r.system == system]
        missed = sum(map(wrong, values))
        checks += bool(values)
        if values and missed > MOST_MISSED * len(values):
            failed.append(f"rated {words} in {missed} of {len(values)} trials")
    return checks, failed


def _tables(record: Mapping[str, Any], kept: Sequence[_Rating]) -> dict[str, dict[str, Table]]:
    """Question -> system -> (listeners, clips), NaN where there is no rating."""
    people = {number: i for i, number in enumerate(sorted({r.listener for r in kept}))}
    clips = {name: i for i, name in enumerate(record["clips"])}
    tables = {
        question: {s: np.full((len(people), len(clips)), np.nan) for s in compared(record)}
        for question in record["questions"]
    }
    for rating in kept:
        system, value = rating.system, rating.value
        if record["method"] == "ccr" and system == REFERENCE:
            # The second is compared with the first: where the reference came second, the sign turns.
            system, value = rating.others[0], -value
        tables[rating.question][system][people[rating.listener], clips[rating.clip]] = value
    return tables


def _score(store: Store, question: str, system: str, table: Table) -> Score:
    if not np.isfinite(table).any():
        return Score(question, system, Estimate(math.nan, 0, 0, 0, why="nobody rated it yet"), None)
    scale = store.questions[question].scale
    grades = range(scale.low, scale.high + 1) if scale.steps else range(0)
    counts = tuple(int((table == grade).sum()) for grade in grades)
    return Score(question, system, estimate(table), bootstrap_interval(table), counts)


def _compared(
    record: Mapping[str, Any], tables: Mapping[str, Mapping[str, Table]], margin: float
) -> tuple[Comparison, ...]:
    systems = [name for name in compared(record) if not name.startswith("@")]
    base = record["baseline"]
    made: list[tuple[str, str, str, Estimate]] = []
    for question, by_system in tables.items():
        pairs = [(b, a) if a == base else (a, b) for a, b in combinations(systems, 2)]
        for first, second in pairs:
            found = c.paired(by_system[first], by_system[second])
            if found is not None:
                made.append((question, first, second, found))
        if record["method"] == "ccr":  # a grade is already a difference from the reference
            made += [
                (question, name, record["reference"], estimate(by_system[name]))
                for name in systems
                if np.isfinite(by_system[name]).any()
            ]
    p_values = [row[3].p_equal() for row in made]
    return tuple(
        Comparison(
            question,
            first,
            second,
            found,
            p,
            adjusted,
            c.against_margin(found, margin),
            _needed(found, margin),
        )
        for (question, first, second, found), p, adjusted in zip(
            made, p_values, c.holm(p_values), strict=True
        )
    )


def _needed(found: Estimate, margin: float) -> int | None:
    if found.variances is None:
        return None
    listener, clip, rest = found.variances
    own = listener + (rest / found.clips if found.clips > 1 else 0.0)
    if own <= 0:
        return None
    return c.listeners_needed(c.Spread(math.sqrt(own), math.sqrt(clip), found.clips), margin)


def _notes(listeners: Sequence[Listener], found: Sequence[Comparison]) -> tuple[str, ...]:
    notes = []
    out = [listener for listener in listeners if listener.left_out]
    if out:
        numbers = ", ".join(str(listener.number) for listener in out)
        notes.append(f"{len(out)} of {len(listeners)} listeners are left out for failed checks: {numbers}.")
    failed = [listener for listener in listeners if listener.failed and not listener.left_out]
    if failed:
        numbers = ", ".join(str(listener.number) for listener in failed)
        notes.append(f"Listeners who failed checks and count all the same: {numbers}.")
    part = [listener for listener in listeners if listener.answered < listener.trials]
    if part:
        notes.append(f"{len(part)} of {len(listeners)} listeners did not finish; what they rated counts.")
    if len(found) > 1:
        notes.append(f"p (Holm) is corrected over all {len(found)} comparisons.")
    return tuple(notes)
