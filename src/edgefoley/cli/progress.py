"""What a person sees while a run goes on: a bar on a terminal, short lines elsewhere, nothing with ``-q``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

# Rough shares of the wall time of a 10 s clip on two cores; they only steer the bar and its time left.
ONCE_SHARES = {"read": 2.0, "encode": 3.0}
TAKE_SHARES = {"denoise": 4.0, "decode": 1.5, "level": 0.5, "write": 1.0}


class Reporter(Protocol):
    """Receives the stages of one input: ``stage`` name and ``fraction`` of it done (0 … 1)."""

    def __call__(self, stage: str, fraction: float) -> None: ...


class Course:
    """Where one input stands: folds (stage, fraction) reports into one fraction and a label.

    A stage that belongs before the last one reported opens the next take (… write, denoise: take 2).
    ``reads``: there is a video to be read.
    """

    def __init__(self, takes: int, num_steps: int, reads: bool = True) -> None:
        self.takes, self.num_steps = takes, num_steps
        self.once = {name: share for name, share in ONCE_SHARES.items() if reads or name != "read"}
        self.take, self.stage, self.fraction = 1, "", 0.0

    def report(self, stage: str, fraction: float) -> bool:
        """Take a report in; True when it begins a stage."""
        order = [*self.once, *TAKE_SHARES]
        begins = stage != self.stage or fraction < self.fraction
        if begins and stage in TAKE_SHARES and self.stage in order[order.index(stage) :]:
            self.take = min(self.take + 1, self.takes)
        self.stage, self.fraction = stage, min(max(fraction, 0.0), 1.0)
        return begins

    @property
    def done(self) -> float:
        """Share of the whole input's work that is done, 0 … 1."""
        once, each = sum(self.once.values()), sum(TAKE_SHARES.values())
        passed = 0.0
        for name, share in {**self.once, **TAKE_SHARES}.items():
            if name == self.stage:
                passed += share * self.fraction
                break
            passed += share
        if self.stage in TAKE_SHARES:
            passed += each * (self.take - 1)
        return min(passed / (once + each * self.takes), 1.0)

    @property
    def label(self) -> str:
        """The stage in words: "denoise 3/4", with several takes "take 2/3: denoise 3/4"."""
        words = self.stage
        if self.stage == "denoise":
            words = f"denoise {round(self.fraction * self.num_steps)}/{self.num_steps}"
        several = self.takes > 1 and self.stage in TAKE_SHARES
        return f"take {self.take}/{self.takes}: {words}" if several else words


@contextmanager
def reporter(title: str, course: Course, quiet: bool) -> Iterator[Reporter]:
    """A reporter for one input called ``title``: silent, a bar when stderr is a terminal, else one line per
    stage."""
    if quiet:
        yield lambda stage, fraction: None
    elif sys.stderr.isatty():
        yield from _bar(title, course)
    else:
        yield from _lines(title, course)


def announce(line: str) -> None:
    """A line of its own on stderr, in place of a bar that is drawn again below it."""
    click.echo(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, err=True)


def _lines(title: str, course: Course) -> Iterator[Reporter]:
    def report(stage: str, fraction: float) -> None:
        if course.report(stage, fraction):
            label = course.label.removesuffix(f" 0/{course.num_steps}")
            click.echo(f"{title}: {label}", err=True)

    yield report


def _bar(title: str, course: Course) -> Iterator[Reporter]:
    parts = 1000
    template = "%(label)s [%(bar)s] %(info)s left"
    with click.progressbar(length=parts, label=title, bar_template=template, file=sys.stderr) as bar:

        def report(stage: str, fraction: float) -> None:
            course.report(stage, fraction)
            bar.label = f"{title}: {course.label}"
            bar.update(int(parts * course.done) - bar.pos)

        yield report
