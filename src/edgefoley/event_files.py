"""Event lists as files that a person edits: JSON and CSV.

JSON::

    {"format": "edgefoley-events", "version": 1,
     "start_s": 0.0, "duration_s": 6.0,          optional: the stretch of the video that the list speaks for
     "events": [{"time_s": 0.873, "strength": 0.909, "confidence": 0.664}, ...],
     "activity": [0.06, ...],                    optional: 50 numbers per second from start_s on
     "probability": [...], "strength": [...],    optional: to look at; reading only checks them
     "video": "clip.mp4", "model": "nano"}       optional: for the reader

CSV: a header with ``time_s`` and, where wanted, ``strength`` and ``confidence``; one event per line.

Reading is strict - an unknown name may be a mistyped one - and forgiving about order: events are sorted.
Where strength is missing it is 0.6, where confidence is missing 1.

Layer 1: standard library and numpy.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefoley.errors import UsageError
from edgefoley.events import Event, EventList
from edgefoley.timeline import EVENT_RATE
from edgefoley.types import FloatArray

FORMAT, VERSION = "edgefoley-events", 1
COLUMNS = ("time_s", "strength", "confidence")
CURVES = ("activity", "probability", "strength")
_KEYS = ("format", "version", "video", "model", "start_s", "duration_s", "events", *CURVES)
_LARGEST = 50_000_000  # bytes; a list of an hour with its curves has 4
_SLACK = 2 / EVENT_RATE  # seconds: the grid of a clip ends at most a frame after the clip


def read_event_file(path: str | Path) -> EventList:
    """Read a JSON or CSV file (by its ending, else by its first letter). Raises UsageError, which says where
    in the file the fault is."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large to be a list of events; is it the right file?")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise UsageError(
            f"the event list {path} cannot be read ({why}). "
            "`edgefoley events VIDEO --json -o FILE` writes such a list."
        ) from error
    is_json = {".json": True, ".csv": False}.get(path.suffix.lower(), text.lstrip()[:1] in ("{", "["))
    return replace((parse_json if is_json else parse_csv)(text, str(path)), source=str(path))


def to_json(events: EventList, about: Mapping[str, str] | None = None, curves: bool = False) -> str:
    """The list as JSON text, one event per line. ``about``: values of "video" and "model"; ``curves``: with
    the curves that the list has. Times to the millisecond, the rest to thousandths."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, **(about or {})}
    head["start_s"] = round(events.start_s, 6)
    if events.duration_s is not None:
        head["duration_s"] = round(events.duration_s, 6)
    parts = [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()]
    rows = ",\n".join("  " + json.dumps(dict(zip(COLUMNS, _rounded(e), strict=True))) for e in events.events)
    parts.append(' "events": [' + (f"\n{rows}\n ]" if rows else "]"))
    for name in CURVES if curves else ():
        curve = getattr(events, name)
        if curve is not None:
            parts.append(f" {json.dumps(name)}: {json.dumps([round(float(value), 3) for value in curve])}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def to_csv(events: EventList) -> str:
    """The list as CSV text: header and one line per event. Curves, start and duration have no place in it."""
    lines = [",".join(COLUMNS), *(",".join(f"{v:.3f}" for v in _rounded(event)) for event in events.events)]
    return "\n".join(lines) + "\n"


def parse_json(text: str, source: str = "event list") -> EventList:
    """A list from JSON text; see the module. ``source`` names it in messages. Raises UsageError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{source} is not valid JSON: {error}. Correct it there.") from error
    except RecursionError as error:
        raise UsageError(f"{source} is not a list of events: it is nested too deeply.") from error
    if not isinstance(data, dict):
        raise UsageError(f"{source} must be a JSON object, {{...}}, not {_kind(data)}.")
    if data.get("format") != FORMAT:
        raise UsageError(
            f'{source}: "format" is {_shown(data, "format")}; an event list has "format": "{FORMAT}" '
            f'and "version": {VERSION} at its top.'
        )
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise UsageError(
            f'{source}: "version" is {_shown(data, "version")}; this version of edgefoley reads {VERSION}. '
            "Write the list again with `edgefoley events`."
        )
    _known(data, _KEYS, source)
    start = _number(data.get("start_s", 0), f"{source}: start_s")
    duration = None if "duration_s" not in data else _number(data["duration_s"], f"{source}: duration_s")
    if start < 0 or (duration is not None and duration <= 0):
        raise UsageError(f"{source}: start_s must be 0 or more, and duration_s above 0.")
    rows = data.get("events")
    if not isinstance(rows, list):
        raise UsageError(f'{source}: "events" is {_shown(data, "events")}; it must be a list, [] for none.')
    events = []
    for number, row in enumerate(rows, 1):
        where = f"{source}: event {number} of {len(rows)}"
        if not isinstance(row, dict):
            raise UsageError(f'{where} is {_kind(row)}; write {{"time_s": 1.25, "strength": 0.6}}.')
        _known(row, COLUMNS, where)
        if "time_s" not in row:
            raise UsageError(f"{where} has no time_s; give the seconds at which it sounds, or remove it.")
        events.append(_event({name: _number(row[name], f"{where}: {name}") for name in row}, where))
        last = math.inf if duration is None else start + duration
        if not start - _SLACK <= events[-1].time_s < last + _SLACK:
            raise UsageError(
                f"{where}: time_s is {events[-1].time_s:g}, outside the {start:g} s to {last:g} s that the "
                "list is about (start_s, duration_s). Correct it, or remove the event."
            )
    curves = {name: _curve(data[name], f"{source}: {name}", duration) for name in CURVES if name in data}
    return EventList(tuple(events), start, duration, curves.get("activity"))


def parse_csv(text: str, source: str = "event list") -> EventList:
    """A list from CSV text; see the module. ``source`` names it in messages. Raises UsageError."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    header: list[str] = []
    events = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            where = f"{source}: line {reader.line_num}"
            if not any(cells):
                continue
            if not header:
                header = _header(cells, where)
                continue
            if len(cells) != len(header):
                raise UsageError(
                    f"{where} has {len(cells)} values, the header {len(header)} ({', '.join(header)})."
                )
            found = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            if "time_s" not in found:
                raise UsageError(f"{where} has no time_s; give the seconds at which it sounds, or remove it.")
            values = {n: _number(_parsed(cell), f"{where}: {n}") for n, cell in found.items()}
            events.append(_event(values, where))
    except csv.Error as error:
        raise UsageError(f"{source}: line {reader.line_num} is not CSV: {error}.") from error
    if not header:
        raise UsageError(f"{source} is empty; its first line must be {','.join(COLUMNS)}.")
    return EventList(tuple(events))


def _header(cells: list[str], where: str) -> list[str]:
    if "time_s" not in cells or len(set(cells)) != len(cells) or not set(cells) <= set(COLUMNS):
        raise UsageError(
            f"{where} is {','.join(cells)!r}, but a list begins with the header {','.join(COLUMNS)} "
            "(commas between; strength and confidence may be left out)."
        )
    return cells


def _event(values: Mapping[str, float], where: str) -> Event:
    try:
        return Event(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}. Correct it, or remove the event.") from error


def _known(data: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    unknown = [name for name in data if name not in names]
    if unknown:
        raise UsageError(f"{where} has the unknown name {unknown[0]!r}; known are {', '.join(names)}.")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{where} is {_kind(value)}; it must be a number such as 0.6.")
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise UsageError(f"{where} is {value}; it must be a finite number such as 0.6.")
    return number


def _parsed(cell: str) -> float | str:
    """The number in a CSV cell, or its text where there is none."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _curve(values: Any, where: str, duration: float | None) -> FloatArray:
    """A curve of the right length for ``duration`` seconds, within 0 … 1."""
    if duration is None:
        raise UsageError(f"{where} needs duration_s, the seconds that it covers.")
    if not isinstance(values, list):
        raise UsageError(f"{where} is {_kind(values)}; it must be a list of numbers.")
    wanted = duration * EVENT_RATE
    if not wanted - 1 <= len(values) <= wanted + 2:
        raise UsageError(
            f"{where} has {len(values)} numbers; {duration:g} s need {EVENT_RATE} per second, "
            f"{math.ceil(wanted)}. Correct it, or leave it out."
        )
    curve = np.array([_number(v, f"{where}: number {i}") for i, v in enumerate(values, 1)], np.float32)
    if curve.size and not (curve.min() >= 0 and curve.max() <= 1):
        raise UsageError(f"{where} goes from {curve.min():g} to {curve.max():g}; it must be within 0 … 1.")
    return curve


def _rounded(event: Event) -> tuple[float, float, float]:
    return round(event.time_s, 3), round(event.strength, 3), round(event.confidence, 3)


def _shown(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return "missing" if name not in data else repr(value) if isinstance(value, str | int) else _kind(value)


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if isinstance(value, str):
        return f"the text {value!r}" if value else "an empty text"
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value!r}")
