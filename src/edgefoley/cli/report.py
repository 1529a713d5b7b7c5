"""Results in words and in JSON: the closing line of a run, and the object that ``--json`` prints."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgefoley.api import Take
from edgefoley.errors import EdgeFoleyError
from edgefoley.media import MediaWarning
from edgefoley.types import Stats


@dataclass(frozen=True)
class Talk:
    """How to speak about one input: its ``title``, and the flags -q and --json."""

    title: str
    quiet: bool
    as_json: bool


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect the MediaWarnings given inside, and print each on stderr on the way out, errors or not.

    Later, because a bar may be drawn on the terminal meanwhile.
    """
    notes: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, MediaWarning):
                notes.append(str(message))
            else:
                show(message, category, *place, **more)

        warnings.simplefilter("always", MediaWarning)
        warnings.showwarning = keep
        try:
            yield notes
        finally:
            for note in notes:
                click.echo(f"Warning: {note}", err=True)


def show_takes(source: Path | None, takes: Sequence[Take], notes: Sequence[str], talk: Talk) -> None:
    """Paths (or JSON) on stdout; the closing line of every take on stderr."""
    if talk.as_json:
        echo_json(result_json(source, takes, notes))
    else:
        for path in (path for take in takes for path in (take.wav, take.video) if path is not None):
            click.echo(click.format_filename(path))
    if not talk.quiet:
        if takes[0].foley.suggested:
            click.echo(f'no prompt, so what the picture suggests: "{takes[0].foley.prompt}"', err=True)
        for take in takes:
            click.echo(closing_line(take.foley.stats, take.foley.seed), err=True)


def closing_line(stats: Stats, seed: int) -> str:
    """Seed, rtf, then time and peak memory of every stage, in one line."""
    stages = ", ".join(
        f"{stage.name} {stage.seconds:.2f} s {stage.peak_rss_mb:.0f} MB" for stage in stats.stages
    )
    return (
        f"seed {seed}, rtf {stats.rtf:.3f}, {stats.seconds:.2f} s for {stats.audio_seconds:.2f} s of sound, "
        f"peak {stats.peak_rss_mb:.0f} MB ({stages})"
    )


def echo_json(value: Mapping[str, Any]) -> None:
    """One object on one line of stdout. NaN and infinity become null: JSON has neither."""
    click.echo(json.dumps(_finite(value)))


def result_json(source: Path | None, takes: Sequence[Take], notes: Sequence[str]) -> dict[str, Any]:
    """The object that ``--json`` prints for one input; docs/cli.md lists its fields."""
    foley = takes[0].foley
    return {
        "input": None if source is None else str(source),
        "model": foley.model,
        "backend": foley.backend,
        "prompt": foley.prompt,
        "prompt_suggested": foley.suggested,
        "negative_prompt": foley.negative_prompt if foley.guidance_scale > 1 else None,
        "num_steps": foley.num_steps,
        "guidance_scale": foley.guidance_scale,
        "events": foley.extra["events"],
        "offset_ms": foley.extra["offset_ms"],
        "audio_seconds": foley.audio.seconds,
        "takes": [_take_json(take) for take in takes],
        "warnings": list(notes),
    }


def error_json(source: Path, error: EdgeFoleyError) -> dict[str, Any]:
    """The object that ``--json`` prints for an input that failed."""
    return {
        "input": str(source),
        "error": {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code},
    }


def _take_json(take: Take) -> dict[str, Any]:
    stats = take.foley.stats
    return {
        "seed": take.foley.seed,
        "wav": None if take.wav is None else str(take.wav),
        "video": None if take.video is None else str(take.video),
        "loudness_lufs": take.foley.extra["loudness_lufs"],
        "true_peak_dbtp": take.foley.extra["true_peak_dbtp"],
        "rtf": stats.rtf,
        "seconds": stats.seconds,
        "peak_rss_mb": stats.peak_rss_mb,
        "stages": {
            stage.name: {"seconds": stage.seconds, "peak_rss_mb": stage.peak_rss_mb} for stage in stats.stages
        },
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
