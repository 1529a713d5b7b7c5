"""The results of a benchmark as one HTML page, and as lines for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edgefoley import pages
from edgefoley.bench.calibration import Calibration, Checked
from edgefoley.bench.projection import Projection
from edgefoley.bench.session import components_of
from edgefoley.bench.summary import MEASURES, Ratio, summary, values

STAGES: Final = ("start", "read", "encode", "denoise", "decode", "level", "write")
_ROW, _LEFT, _WIDTH = 26.0, 250.0, 620.0


def card_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The card: what was measured with what on which machine."""
    shown = dict(result["card"])
    shown["features"] = " ".join(shown.get("features") or ()) or None
    clip = result["clip"]
    shown["clip"] = (
        f"{clip['name']}, {clip['seconds']:g} s, {clip['width']}x{clip['height']}, "
        f"{clip['frame_rate']:g} frames/s, {clip['codec']}"
    )
    shown["prompt"], shown["rounds"] = result["prompt"], result["rounds"]
    shown["energy"] = result["energy"]["source"]
    if result["energy"]["idle_watts"] is not None:
        shown["idle_watts"] = result["energy"]["idle_watts"]
    for name, value in shown.items():
        yield f"{name:20} {'not told' if value is None else figure(value)}"


def figure(value: Any) -> str:
    """A number with the digits that mean something."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure(item)}" for name, item in value.items())
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


HEAD: Final = (
    "case", "cold s", "warm s", "least s", "warm CPU s", "rtf", "anonymous MB", "peak MB", "J", "W", "GOP",
    "GB moved", "model MB",
)  # fmt: skip


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table's lines, under ``HEAD``; "-" for what could not be measured."""
    made = []
    for case in result["cases"]:
        found = summary(case)
        counts = list(components_of(case))
        cells = [
            _of(found, "cold_s", "median"), _of(found, "warm_s", "median"), _of(found, "warm_s", "least"),
            _of(found, "warm_cpu_s", "least"), found["rtf"], _of(found, "anonymous_mb", "median"),
            _of(found, "peak_mb", "median"), _of(found, "warm_j", "median"), found["watts"],
            sum(operations for _, operations, _ in counts) / 1e9 if counts else None,
            sum(moved for _, _, moved in counts) / 1e9 if counts else None, case["bundle_mb"],
        ]  # fmt: skip
        made.append([case["name"], *("-" if cell is None else figure(cell) for cell in cells)])
    return made


def stage_rows(case: Mapping[str, Any]) -> list[list[str]]:
    """Stages of both runs: seconds and processor seconds (medians), memory (highest), joules."""
    made = []
    for run, stages in summary(case)["stages"].items():
        for stage in sorted(stages, key=lambda name: STAGES.index(name) if name in STAGES else 99):
            found = stages[stage]
            cells = [
                found.get(key) for key in ("seconds", "cpu_seconds", "anonymous_mb", "total_mb", "joules")
            ]
            made.append([f"{run}: {stage}", *("-" if cell is None else figure(cell) for cell in cells)])
    return made


STAGE_HEAD: Final = ("stage", "s", "CPU s", "anonymous MB", "total MB", "J")


def _of(found: Mapping[str, Any], measure: str, which: str) -> float | None:
    return None if found[measure] is None else found[measure][which]


def text_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *lines)) for i in range(len(head))]
    for row in (head, *lines):
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *rest]).rstrip()


def ratio_cells(ratio: Ratio) -> list[str]:
    """One line of a comparison."""
    between = "-" if ratio.low is None or ratio.high is None else f"{ratio.low:.3f} … {ratio.high:.3f}"
    return [MEASURES[ratio.measure][2], f"{ratio.value:.3f}", between, f"{ratio.least:.3f}"]


RATIO_HEAD: Final = ("second / first", "ratio", "95 % interval", "of least values")


CHECK_HEAD: Final = ("network", "measured ms", "predicted ms", "ratio", "")
CLOSE: Final = 1.3  # a factor that a prediction may be off


def check_rows(checked: Sequence[Checked]) -> list[list[str]]:
    """Networks measured and predicted; what is off by more than ``CLOSE`` is marked."""
    return [
        [f"{one.model}: {one.component}", figure(one.measured * 1e3), figure(one.predicted * 1e3),
         f"{one.ratio:.2f}", "" if 1 / CLOSE <= one.ratio <= CLOSE else "off by more than 30 %"]
        for one in checked
    ]  # fmt: skip


def miss_words(found: Calibration) -> str:
    """How far predictions were off on the machine of the calibration."""
    if found.miss is None:
        return "No network was measured to check the predictions."
    close = sum(1 / CLOSE <= one.ratio <= CLOSE for one in found.checked)
    return (
        f"{close} of {len(found.checked)} networks were predicted within 30 %; off by a factor of "
        f"{found.miss[0]:.2f} (median), {found.miss[1]:.2f} at the most."
    )


def projection_lines(one: Projection) -> Iterator[str]:
    """A projection in words and a table."""
    where = "this machine" if one.device is None else one.device.name
    recipe = "" if one.recipe is None else f" ({one.recipe})"
    yield f"{one.model}{recipe} on {where}, {one.threads} threads: PROJECTED, not measured"
    times = one.estimate
    yield (
        f"  about {figure(times.seconds)} s for {one.seconds_of_clip:g} s of 720p video (rtf "
        f"{times.seconds / one.seconds_of_clip:.2f}), {one.num_steps} steps, guidance {one.guidance:g}"
    )
    parts = {**times.components, **times.rest}
    yield "  " + ", ".join(f"{name} {figure(value)} s" for name, value in parts.items())
    yield f"  memory: {one.memory_words}"
    if one.device is not None:
        weak = [name for name, value in one.device.figures.items() if value.how == "assumed"]
        yield f"  assumed for want of a source: {', '.join(weak) or 'nothing'} (docs/devices.md)"
    whose = " (the package's reference)" if one.reference else ""
    yield f"  calibrated on {one.calibrated_on}{whose}"
    if one.miss is not None:
        yield (
            f"  there the same sum was off by a factor of {one.miss[0]:.2f} (median) and {one.miss[1]:.2f} "
            "(most) from networks that were measured; what it is off elsewhere is not known"
        )


# --- HTML ---------------------------------------------------------------------------------------------------


def html(result: Mapping[str, Any]) -> str:
    """A page that stands alone: card, table, how long and how large each stage is, every round."""
    body = [
        pages.table(HEAD, rows(result), "Medians over rounds; least: of the interleaved rounds"),
        "<p class='note'>" + pages.text(_NOTE) + "</p>",
        "<h2>Where the time goes</h2>", stage_bars(result, "seconds", "warm run, s by stage"),
        "<h2>Memory at each stage</h2>", memory_bars(result),
        "<h2>Every round</h2>", *(round_dots(result, name) for name in ("warm_s", "warm_cpu_s", "cold_s")),
    ]  # fmt: skip
    for case in result["cases"]:
        body += [f"<h2>{pages.text(case['name'])}</h2>", pages.table(STAGE_HEAD, stage_rows(case))]
        counts = [
            [name, figure(operations / 1e9), figure(moved / 1e6)]
            for name, operations, moved in components_of(case)
        ]
        if counts:
            body.append(pages.table(("network", "GOP", "MB moved"), counts, "Counted from the graphs"))
        else:
            body.append(f"<p class='note'>Not counted: {pages.text(case.get('not_counted', ''))}</p>")
    lines = [line.split(None, 1) for line in card_lines(result)]
    card = [[line[0], line[1] if len(line) > 1 else ""] for line in lines]
    body += ["<h2>Card</h2>", pages.table(("what", "value"), card)]
    data = json.dumps(result).replace("</", "<\\/")
    body.append(f'<script type="application/json" id="results">{data}</script>')
    return pages.page("edgefoley bench", body)


_NOTE: Final = (
    "Cold: from the start of a process to its first result, files in the system's cache. Warm: the same clip "
    "again, networks open. CPU s: processor time of all threads. rtf: seconds of work per second of sound. "
    "Anonymous memory cannot be given up without swapping; the peak has mapped files too. GOP: "
    "multiplications and additions of products and convolutions, in 10^9; GB moved: bytes of all operators' "
    "tensors, each once. A dash: not measurable here."
)


def stage_bars(result: Mapping[str, Any], key: str, title: str) -> str:
    """A bar for each case, divided into its stages."""
    cases = [(case["name"], summary(case)["stages"]["warm"]) for case in result["cases"]]
    totals = [sum(stage.get(key, 0.0) for stage in stages.values()) for _, stages in cases]
    most = max(totals) or 1.0
    parts = [pages.words(0, 16, title, weight="600")]
    for index, (name, stages) in enumerate(cases):
        y, x = 34 + index * _ROW, _LEFT
        parts.append(pages.words(_LEFT - 10, y + 15, name, anchor="end"))
        for number, stage in enumerate(STAGES):
            value = stages.get(stage, {}).get(key)
            if value:
                width = value / most * _WIDTH
                parts.append(_box(x, y, width, number, f"{name}, {stage}: {figure(value)} s"))
                x += width
        parts.append(pages.words(x + 6, y + 15, figure(totals[index])))
    top = 34 + len(cases) * _ROW + 8
    parts += [
        _box(_LEFT + 95 * k, top, 12, number, stage) + pages.words(_LEFT + 95 * k + 18, top + 14, stage)
        for k, (number, stage) in enumerate(list(enumerate(STAGES))[1:])
    ]
    return pages.svg(_LEFT + _WIDTH + 70, top + 30, title, parts)


def memory_bars(result: Mapping[str, Any]) -> str:
    """Highest memory of every stage of the cold run: anonymous, and the total behind it, paler."""
    parts, y = [], 8.0
    found = {case["name"]: summary(case)["stages"]["cold"] for case in result["cases"]}
    most = max((s.get("total_mb", 0.0) for stages in found.values() for s in stages.values()), default=0.0)
    if not most:
        return "<p class='note'>Not measurable here: the system does not tell a process's memory.</p>"
    for name, stages in found.items():
        parts.append(pages.words(0, y + 14, name, weight="600"))
        y += _ROW
        for stage in STAGES:
            if "total_mb" in stages.get(stage, {}):
                anonymous, total = stages[stage].get("anonymous_mb", 0.0), stages[stage]["total_mb"]
                told = f"{stage}: {figure(anonymous)} MB anonymous, {figure(total)} MB in all"
                parts.append(pages.words(_LEFT - 10, y + 14, stage, anchor="end"))
                parts.append(_box(_LEFT, y, total / most * _WIDTH, 0, told, 0.35))
                parts.append(_box(_LEFT, y, anonymous / most * _WIDTH, 0, told))
                parts.append(pages.words(_LEFT + total / most * _WIDTH + 6, y + 14, figure(total)))
                y += _ROW - 6
        y += 10
    return pages.svg(_LEFT + _WIDTH + 70, y, "memory by stage", parts)


def round_dots(result: Mapping[str, Any], measure: str) -> str:
    """Every round as a dot, so that a busy moment of the machine can be seen."""
    cases = [(case["name"], values(case, measure)) for case in result["cases"]]
    most = max((value for _, rounds in cases for value in rounds), default=0.0)
    if not most:
        return ""
    title = MEASURES[measure][2]
    parts = [pages.words(0, 16, title, weight="600")]
    bottom = 34 + len(cases) * _ROW
    for value in pages.tick_values(0, most * 1.05, 8):
        x = _LEFT + value / (most * 1.05) * _WIDTH
        parts.append(pages.line(x, 28, x, bottom, "#dee2e8"))
        parts.append(pages.words(x, bottom + 16, f"{value:g}", anchor="middle"))
    for index, (name, rounds) in enumerate(cases):
        y = 34 + index * _ROW + 10
        parts.append(pages.words(_LEFT - 10, y + 5, name, anchor="end"))
        for number, value in enumerate(rounds):
            x, colour = _LEFT + value / (most * 1.05) * _WIDTH, pages.COLOURS[index % len(pages.COLOURS)]
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.6">'
                f"<title>{pages.text(name)}, round {number + 1}: {figure(value)}</title></circle>"
            )
    return pages.svg(_LEFT + _WIDTH + 40, bottom + 26, title, parts)


def _box(x: float, y: float, width: float, colour: int, told: str, opacity: float = 1.0) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y + 2:.1f}" width="{max(width, 0.5):.1f}" height="16" '
        f'fill="{pages.COLOURS[colour % len(pages.COLOURS)]}" fill-opacity="{opacity:g}">'
        f"<title>{pages.text(told)}</title></rect>"
    )
