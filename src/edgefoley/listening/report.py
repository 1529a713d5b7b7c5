"""A test's analysis as text, JSON and an HTML page with charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from edgefoley.listening.analysis import Analysis, Comparison, Listener, Score
from edgefoley.listening.intervals import Estimate
from edgefoley.listening.questions import QUESTIONS
from edgefoley.pages import Bar, histogram, interval_chart, page, table, text

METHOD = (
    "Intervals are for other listeners and other clips of the same kind: Student's t with the standard error "
    "of the two-way random model of listeners and clips and Satterthwaite's degrees of freedom; bootstrap-t "
    "over both beside it. Differences are paired by listener and clip. Not worse: one-sided at 5 %."
)


def to_json(analysis: Analysis) -> dict[str, Any]:
    """The whole report; docs/listening.md lists the fields."""
    return {
        "title": analysis.title,
        "method": analysis.method,
        "score": analysis.score_name,
        "margin": analysis.margin,
        "listeners": len(analysis.listeners),
        "listeners_counted": analysis.counted,
        "clips": analysis.clips,
        "scores": [_score_json(score) for score in analysis.scores],
        "comparisons": [_comparison_json(item) for item in analysis.comparisons],
        "attention": [
            {
                "listener": person.number,
                "answered": person.answered,
                "trials": person.trials,
                "checks": person.checks,
                "failed": list(person.failed),
                "left_out": person.left_out,
            }
            for person in analysis.listeners
        ],
        "notes": list(analysis.notes),
    }


def _estimate_json(found: Estimate) -> dict[str, Any]:
    interval = found.interval()
    return {
        "mean": found.mean,
        "low": None if interval is None else interval[0],
        "high": None if interval is None else interval[1],
        "se": found.se,
        "df": found.df,
        "listeners": found.listeners,
        "clips": found.clips,
        "ratings": found.ratings,
        "why": found.why,
        "variances": None if found.variances is None
        else dict(zip(("listeners", "clips", "rest"), found.variances, strict=True)),
    }  # fmt: skip


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "question": score.question,
        "system": score.system,
        **_estimate_json(score.estimate),
        "bootstrap_t": None if score.bootstrap is None else list(score.bootstrap),
        "counts": list(score.counts),
    }


def _comparison_json(item: Comparison) -> dict[str, Any]:
    margins = item.margins
    return {
        "question": item.question,
        "first": item.first,
        "second": item.second,
        **_estimate_json(item.estimate),
        "p": item.p,
        "p_holm": item.p_holm,
        "p_not_worse": margins.p_not_worse,
        "p_not_better": margins.p_not_better,
        "interval_90": None if margins.interval is None else list(margins.interval),
        "not_worse": margins.not_worse,
        "equivalent": margins.equivalent,
        "listeners_needed": item.needed,
    }


def lines(analysis: Analysis) -> Iterator[str]:
    """The report in words and columns."""
    yield f"{analysis.title} ({analysis.method})"
    yield f"{counted_words(analysis)}."
    yield from analysis.notes
    for person in analysis.listeners:
        if person.failed:
            yield f"  listener {person.number}: {_attention_words(person)}"
    if analysis.score_name is None:
        return
    yield ""
    width = max(len(score.system) for score in analysis.scores)
    yield (
        f"{'question':12} {'system':{width}} {analysis.score_name:>14} {'95 % interval':>16} "
        f"{'bootstrap-t':>16}  n"
    )
    for score in analysis.scores:
        yield (
            f"{score.question:12} {score.system:{width}} {_figure(score.estimate.mean):>14} "
            f"{_interval(score.estimate.interval()):>16} {_interval(score.bootstrap):>16}  "
            f"{_n(score.estimate)}"
        )
    if analysis.comparisons:
        yield ""
        yield f"differences; not worse: by more than {analysis.margin:g}"
        for item in analysis.comparisons:
            yield f"{item.question:12} {comparison_words(item, analysis.margin)}"


def counted_words(analysis: Analysis) -> str:
    """How many listeners and clips stand behind the scores."""
    people = f"{analysis.counted} of {_count(len(analysis.listeners), 'listener')}"
    return f"Ratings of {people} count, {_count(analysis.clips, 'clip')}"


def comparison_words(item: Comparison, margin: float) -> str:
    """One comparison in a line."""
    found, margins = item.estimate, item.margins
    words = f"{item.first} − {item.second}: {_signed(found.mean)} {_interval(found.interval())}"
    if item.p is None:
        return f"{words} ({found.why})"
    verdict = "not worse" if margins.not_worse else "not shown to be not worse"
    if margins.equivalent:
        verdict = f"equivalent within {margin:g}"
    words += f", p {_p(item.p)} (Holm {_p(item.p_holm)}); {verdict} (p {_p(margins.p_not_worse)})"
    if not margins.not_worse:
        need = (
            "no number of listeners with these clips" if item.needed is None else f"{item.needed} listeners"
        )
        words += f"; {need} would show it in 8 of 10 tests if there were no difference"
    return words


def html_page(analysis: Analysis) -> str:
    """The report as one HTML file."""
    parts = [f"<p>{text(counted_words(analysis))}. Method: {text(analysis.method.upper())}.</p>"]
    parts += [f"<p>{text(note)}</p>" for note in analysis.notes]
    if analysis.score_name is not None:
        for question in dict.fromkeys(score.question for score in analysis.scores):
            parts += _question_parts(analysis, question)
        if analysis.comparisons:
            parts += _comparison_parts(analysis)
    parts.append("<h2>Listeners</h2>")
    rows = [
        (p.number, f"{p.answered} of {p.trials}", _attention_words(p), "left out" if p.left_out else "counts")
        for p in analysis.listeners
    ]
    parts.append(table(("listener", "trials", "attention checks", ""), rows))
    parts.append(f'<p class="note">{text(METHOD)}</p>')
    return page(f"{analysis.title}: listening test", parts)


def _question_parts(analysis: Analysis, question: str) -> list[str]:
    scores = [s for s in analysis.scores if s.question == question and s.estimate.ratings]
    asked = QUESTIONS[analysis.method][question]  # type: ignore[index]  # checked when it was read
    scale, name = asked.scale, analysis.score_name or ""
    bars = []
    for index, score in enumerate(scores):
        low, high = score.estimate.interval() or (None, None)
        bars.append(Bar(score.system, score.estimate.mean, low, high, index))
    marks = (0.0,) if scale.low < 0 else ()
    parts = [f"<h2>{text(question)}</h2><p>{text(asked.text)}</p>"]
    parts.append(interval_chart(bars, scale.low, scale.high, f"{name}, {question}, 95 % intervals", marks))
    rows = [
        (s.system, _figure(s.estimate.mean), _interval(s.estimate.interval()), _interval(s.bootstrap),
         _n(s.estimate), s.estimate.why)
        for s in scores
    ]  # fmt: skip
    parts.append(table(("system", name, "95 % interval", "bootstrap-t", "n", ""), rows))
    if scale.steps:
        grades = [
            f"{grade:+d}" if scale.low < 0 else str(grade) for grade in range(scale.low, scale.high + 1)
        ]
        counts = [score.counts for score in scores]
        parts.append(histogram(counts, [s.system for s in scores], grades, "How often each grade was given"))
    return parts


def _comparison_parts(analysis: Analysis) -> list[str]:
    rows, bars = [], []
    for item in analysis.comparisons:
        found, margins = item.estimate, item.margins
        rows.append(
            (item.question, f"{item.first} − {item.second}", _signed(found.mean), _interval(found.interval()),
             _p(item.p), _p(item.p_holm), _p(margins.p_not_worse),
             "yes" if margins.not_worse else "not shown",
             "–" if item.needed is None else item.needed)
        )  # fmt: skip
        if margins.interval is not None:
            label = f"{item.first} − {item.second} ({item.question})"
            bars.append(Bar(label[:34], found.mean, *margins.interval))
    head = ("question", "difference", "mean", "95 % interval", "p", "p (Holm)",
            f"p of not worse by {analysis.margin:g}", "not worse", "listeners needed")  # fmt: skip
    parts = ["<h2>Comparisons</h2>", table(head, rows)]
    if bars:
        ends = [abs(v) for bar in bars for v in (bar.low, bar.high) if v is not None]
        reach = 1.15 * max([analysis.margin, *ends])
        title = f"Differences, 90 % intervals; dashed: 0 and ±{analysis.margin:g}"
        marks = (-analysis.margin, 0.0, analysis.margin)
        parts.append(interval_chart(bars, -reach, reach, title, marks))
    return parts


def _attention_words(person: Listener) -> str:
    if not person.checks:
        return "none answered"
    if not person.failed:
        return f"{person.checks} passed"
    return "; ".join(person.failed)


def _n(found: Estimate) -> str:
    return f"{_count(found.listeners, 'listener')} × {_count(found.clips, 'clip')}, {found.ratings} ratings"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
