"""From ratings to figures: who counts, what is called what, and ratings that cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgefoley.listening.analysis import Analysis, analyse
from edgefoley.listening.definition import ListeningError
from edgefoley.listening.report import html_page, lines, to_json
from edgefoley.listening.store import Answer, Store, create

Grade = Callable[[int, str, str, str, int | None], float]


def rate(store: Store, listeners: int, grade: Grade, stop: int | None = None) -> None:
    """``listeners`` listeners answer everything (or ``stop`` trials) by
    ``grade(listener, kind, clip, system, asked)``; ``system`` is the rated one, or the other of a pair."""
    for number in range(listeners):
        listener = store.listener_of(store.add_listener())
        with store.reading() as db:
            trials = db.execute(
                "SELECT id, position, kind, clip, grade FROM trials WHERE listener = ? ORDER BY position",
                (listener,),
            ).fetchall()
            slots = {
                t[0]: db.execute(
                    "SELECT token, system, rated FROM slots WHERE trial = ? ORDER BY place", (t[0],)
                ).fetchall()
                for t in trials
            }
        for trial, position, kind, clip, asked in trials[:stop]:
            answers = []
            for token, system, rated in slots[trial]:
                if rated:
                    value = grade(number, kind, clip, system, asked)
                    answers += [Answer(key, token, value) for key in store.questions]
            store.submit(listener, position, answers)


def honest(base: dict[str, float], spread: float = 1.0) -> Grade:
    """Grades around a system's mean; checks are passed."""
    random = np.random.default_rng(0)

    def grade(number: int, kind: str, clip: str, system: str, asked: int | None) -> float:
        if kind == "silence":
            return 1
        if kind == "asked":
            return float(asked or 0)
        return float(np.clip(np.rint(base[system] + spread * random.standard_normal()), 1, 5))

    return grade


@pytest.fixture
def made(defined, tmp_path: Path) -> Callable[..., Store]:
    def make(**values) -> Store:
        return create(tmp_path / "ratings.sqlite", defined(**values).record())

    return make


def score(found: Analysis, question: str, system: str) -> float:
    return next(s.estimate.mean for s in found.scores if (s.question, s.system) == (question, system))


def test_nothing_is_called_mos_without_listeners(made):
    store = made()
    found = analyse(store)
    text = "\n".join(lines(found)) + html_page(found) + str(to_json(found))
    assert found.score_name is None and "MOS" not in text and "Nobody has rated" in text
    store.add_listener()
    assert "MOS" not in "\n".join(lines(analyse(store)))
    rate(store, 1, honest({"fp32": 4, "int8": 4}), stop=2)  # training alone
    assert analyse(store).score_name is None


def test_means_are_means_and_have_their_numbers(made):
    store = made(questions=["realism"], training=3)
    values = {}

    def grade(number, kind, clip, system, asked):
        if kind == "rating":
            values[number, clip, system] = (number + len(clip) + len(system)) % 5 + 1
            return values[number, clip, system]
        return 1 if kind in ("silence", "training") else asked

    rate(store, 4, grade)
    found = analyse(store)
    for system in ("fp32", "int8"):
        mean = np.mean([v for (_, _, s), v in values.items() if s == system])
        assert score(found, "realism", system) == pytest.approx(mean)
    assert found.score_name == "MOS" and found.counted == 4 and found.clips == 3
    text = "\n".join(lines(found))
    assert "MOS" in text and "4 listeners × 3 clips, 12 ratings" in text
    assert sum(found.scores[0].counts) == 12


def test_a_worse_system_is_found_and_a_like_one_is_not_worse(made, defined, tmp_path):
    store = made(questions=["realism"])
    rate(store, 12, honest({"fp32": 4.2, "int8": 2.6}, 0.5))
    worse = analyse(store).comparisons[0]
    assert (worse.first, worse.second) == ("int8", "fp32") and worse.estimate.mean < -1
    assert worse.p_holm < 0.01 and not worse.margins.not_worse
    other = create(tmp_path / "like.sqlite", defined(questions=["realism"]).record())
    rate(other, 24, honest({"fp32": 4.0, "int8": 4.0}, 0.2))
    rate(other, 1, honest({"fp32": 4.0, "int8": 3.0}, 0.0))
    like = analyse(other).comparisons[0]
    assert like.margins.not_worse and "equivalent within 0.3" in "\n".join(lines(analyse(other)))
    assert like.needed is not None and like.needed <= 25


def test_who_fails_a_check_is_left_out_and_named(made):
    store = made(questions=["realism"])
    rate(store, 4, honest({"fp32": 4, "int8": 4}))
    rate(store, 1, lambda number, kind, *_: 5)  # silence is excellent
    found = analyse(store)
    careless = found.listeners[-1]
    assert careless.left_out and "silence was rated 5" in careless.failed
    assert any("asked for" in words for words in careless.failed) and careless.checks == 2
    assert found.counted == 4 and found.scores[0].estimate.listeners == 4
    assert "1 of 5 listeners are left out" in "\n".join(lines(found))
    assert "left out" in html_page(found)
    kept = analyse(store, keep_failed=True)
    assert kept.counted == 5 and kept.scores[0].estimate.listeners == 5
    assert "failed checks and count all the same: 5" in "\n".join(kept.notes)


def test_failures_may_be_allowed(made):
    store = made(questions=["realism"], failures=2)
    rate(store, 2, lambda number, kind, *_: 5)
    found = analyse(store)
    assert found.counted == 2 and all(len(person.failed) == 2 for person in found.listeners)


def test_a_comparison_turns_its_sign_with_the_order(made):
    """The second is heard as 2 grades better whenever it is int8, as 2 worse when it is the reference."""
    store = made(method="ccr", reference="fp32")

    def grade(number, kind, clip, system, asked):
        if kind == "silence":
            return -3
        return asked if kind == "asked" else (2 if system == "int8" else -2)

    rate(store, 5, grade)
    found = analyse(store)
    assert found.score_name == "CMOS" and score(found, "overall", "int8") == 2.0
    assert [(c.first, c.second) for c in found.comparisons] == [("int8", "fp32")]
    with store.reading() as db:
        orders = db.execute("SELECT DISTINCT system FROM slots WHERE rated AND place = 1").fetchall()
    assert {"int8", "@reference"} <= {row[0] for row in orders}


def test_degradation_has_its_own_name(made):
    store = made(method="dcr", reference="clips")
    rate(store, 3, honest({"fp32": 4, "int8": 3}))
    assert analyse(store).score_name == "DMOS" and "DMOS" in html_page(analyse(store))


def test_mushra_leaves_out_who_misses_the_hidden_reference(made):
    store = made(method="mushra", reference="clips")

    def good(number, kind, clip, system, asked):
        return {"@reference": 98, "@7 kHz": 60, "@3.5 kHz": 30, "@250 ms late": 40}.get(
            system, 70 + 3 * number + len(clip)
        )

    rate(store, 4, good)
    rate(store, 1, lambda number, kind, clip, system, asked: 80)
    rate(store, 1, lambda number, kind, clip, system, asked: 95)
    found = analyse(store)
    assert found.counted == 4 and found.score_name == "MUSHRA score" and found.margin == 6.0
    words = {person.number: person.failed for person in found.listeners}
    assert "hidden reference" in words[5][0] and "7 kHz anchor" in words[6][0]
    assert score(found, "quality", "@reference") == 98
    assert all(not c.first.startswith("@") for c in found.comparisons)


def test_who_stops_early_counts_as_far_as_they_came(made):
    store = made(questions=["realism"], silence=0, asked=0)
    rate(store, 4, honest({"fp32": 4, "int8": 3}))
    rate(store, 1, honest({"fp32": 4, "int8": 3}), stop=5)
    found = analyse(store)
    assert found.counted == 5 and sum(s.estimate.ratings for s in found.scores) == 4 * 6 + 3
    assert "1 of 5 listeners did not finish" in "\n".join(found.notes)
    assert all(s.estimate.interval() is not None for s in found.scores)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE ratings SET value = 9 WHERE rowid = 5", "outside 1 to 5"),
        ("UPDATE ratings SET value = 2.5 WHERE rowid = 5", "outside 1 to 5"),
        ("UPDATE ratings SET value = 'good' WHERE rowid = 5", "outside 1 to 5"),
        ("UPDATE ratings SET question = 'beauty' WHERE rowid = 5", "does not ask"),
        ("PRAGMA foreign_keys = OFF; UPDATE ratings SET trial = 999 WHERE rowid = 5", "belongs to no trial"),
        ("UPDATE ratings SET listener = 2 WHERE rowid = 5", "belongs to no trial"),
    ],
)
def test_ratings_that_cannot_be_are_named_and_nothing_is_computed(made, statement, words):
    store = made()
    rate(store, 2, honest({"fp32": 4, "int8": 3}))
    with store.reading() as db:
        db.executescript(statement)
    with pytest.raises(ListeningError, match=words):
        analyse(store)


def test_the_page_holds_everything_and_fetches_nothing(made):
    store = made(title="<b>Steps & stones</b>")
    rate(store, 5, honest({"fp32": 4, "int8": 3}))
    page = html_page(analyse(store))
    assert "&lt;b&gt;Steps" in page and "<b>Steps" not in page
    assert page.count("<svg") == 3 * 2 + 1 and "http" not in page.replace("http-equiv", "")
    assert "Satterthwaite" in page and "How often each grade was given" in page
    values = to_json(analyse(store))
    assert values["listeners_counted"] == 5 and len(values["scores"]) == 6
    first = values["scores"][0]
    assert first["low"] < first["mean"] < first["high"] and math.isfinite(first["bootstrap_t"][0])
    assert {c["p_holm"] >= c["p"] for c in values["comparisons"]} == {True}
