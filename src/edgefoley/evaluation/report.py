"""An evaluation as text, JSON, and a folder with a page that plays both sides under the clips' pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from edgefoley.convert.folders import whole_folder
from edgefoley.evaluation import measures as m
from edgefoley.evaluation.comparison import SIDES, Comparison, forward_levels
from edgefoley.evaluation.sides import duration_of
from edgefoley.output import Track, write_video
from edgefoley.pages import Bar, interval_chart, page, scatter, table, text
from edgefoley.sound_files import fitted
from edgefoley.timeline import SAMPLE_RATE, Timeline

PAGE: Final = "index.html"
NO_MOS: Final = (
    "Nothing here is a mean opinion score: nobody listened. Predicted grades come from models of listeners."
)
_SCRIPT: Final = """
for (const clip of document.querySelectorAll(".clip")) {
  const videos = [...clip.querySelectorAll("video")], buttons = clip.querySelectorAll("button");
  let heard = null;
  const follow = (leader, follower, most) => {  // the one that is not heard follows the other
    if (Math.abs(leader.currentTime - follower.currentTime) > most) follower.currentTime = leader.currentTime;
  };
  videos.forEach((video, i) => {
    const other = videos[1 - i];
    video.addEventListener("timeupdate", () => { if (heard === video) follow(video, other, 0.1); });
    buttons[i].addEventListener("click", () => {
      if (heard) follow(heard, video, 0.05);
      heard = video;
      video.muted = false; other.muted = true;
      video.play(); other.play();
      buttons.forEach((button, k) => k < 2 && button.setAttribute("aria-pressed", String(k === i)));
    });
  });
  buttons[2].addEventListener("click", () => {
    heard = null;
    for (const video of videos) { video.pause(); video.currentTime = 0; video.muted = false; }
    buttons.forEach((button, k) => k < 2 && button.setAttribute("aria-pressed", "false"));
  });
}
"""


def to_json(found: Comparison) -> dict[str, Any]:
    """Everything but the sounds; docs/evaluation.md lists the fields."""
    return {
        "a": found.a,
        "b": found.b,
        "clips": found.clips,
        "summary": found.summary,
        "sets": found.sets,
        "velocity_sqnr_db": forward_levels(found.forwards),
        "left_out": found.left_out,
        "not_measured": found.not_measured,
        "notes": found.notes,
    }


def lines(found: Comparison) -> Iterator[str]:
    """The result in columns."""
    yield f"A: {found.a}"
    yield f"B: {found.b}"
    yield f"{_clips(found)}; [95 % bootstrap interval over clips]"
    for clip, why in found.left_out.items():
        yield f"left out: {clip}: {why}"
    yield from found.notes
    yield ""
    yield f"{'each':24} {'A':>25} {'B':>25} {'B − A':>27}   n"
    for name in (*m.OWN, *m.AGAINST_TRUE):
        if row := found.summary.get(name):
            cells = f"{_cell(row['a']):>25} {_cell(row['b']):>25} {_cell(row['difference'], True):>27}"
            yield f"{name:24} {cells} {row['n']:>3}"
    yield ""
    yield f"{'B against A':24} {'':>25} {'':>25} {'mean':>27}   n"
    for name in m.BETWEEN:
        if row := found.summary.get(name):
            yield f"{name:24} {'':>25} {'':>25} {_cell(row['between']):>27} {row['n']:>3}"
    for name, cells in _set_rows(found.sets):
        yield f"{name:24} {cells}"
    if found.forwards:
        yield ""
        yield "velocity, every forward: SQNR of B in dB at each noise level (mean over clips, least)"
        for row in forward_levels(found.forwards):
            told = _cell(row) if "mean" in row else "equal"
            yield f"{row['sigma']:24.3f} {told:>25} {_number(row.get('least')):>12}"
    yield ""
    for name, why in found.not_measured.items():
        yield f"not measured: {name}: {why}"
    yield NO_MOS


def write_report(found: Comparison, clips: Mapping[str, Path], folder: Path) -> Path:
    """The page and its videos in ``folder``, which appears when it is complete; returns the page's path.
    Raises OutputError, also for a folder that holds something."""
    with whole_folder(folder) as work:
        media = work / "media"
        media.mkdir()
        for number, clip in enumerate(found.clips):
            _write_videos(found, clip, clips[clip], media, number)
        (work / PAGE).write_text(html_page(found), encoding="utf-8")
    return folder / PAGE


def _write_videos(found: Comparison, clip: str, video: Path, media: Path, number: int) -> None:
    length = Timeline(sample_rate=SAMPLE_RATE).samples(duration_of(video))
    for side in SIDES:
        sound = fitted(found.sounds[clip][side], length)
        path = media / f"{number:03d}.{side}.mp4"
        write_video(path, video, [Track(sound, side.upper(), lossless=True)], {}, keep_original=False)


def html_page(found: Comparison) -> str:
    """The page; its videos are those of ``write_report``."""
    parts = [f"<p>A: {text(found.a)}<br>B: {text(found.b)}<br>{_clips(found)}. {NO_MOS}</p>"]
    if found.left_out:
        parts.append(table(("left out", "why"), list(found.left_out.items())))
    parts += [f"<p>{text(note)}</p>" for note in found.notes]
    parts += _tables(found)
    if found.forwards:
        parts += _forward_parts(found)
    if found.not_measured:
        parts += ["<h2>Not measured</h2>", table(("measure", "why"), list(found.not_measured.items()))]
    parts.append("<h2>Listen</h2>")
    parts += [_player(found, clip, number) for number, clip in enumerate(found.clips)]
    parts += _charts(found)
    return page("Evaluation: A and B", parts, _SCRIPT)


def _tables(found: Comparison) -> list[str]:
    each: list[tuple[object, ...]] = []
    for name, measure in {**m.OWN, **m.AGAINST_TRUE}.items():
        if row := found.summary.get(name):
            cells = _cell(row["a"]), _cell(row["b"]), _cell(row["difference"], True)
            each.append((_words(measure), *cells, row["n"]))
    parts = [
        "<h2>Each</h2>",
        table(("measure", "A", "B", "B − A", "clips"), each, "95 % intervals over clips"),
    ]
    both = [
        (_words(measure), _cell(found.summary[name]["between"]), found.summary[name]["n"])
        for name, measure in m.BETWEEN.items()
        if name in found.summary
    ]
    parts += ["<h2>B against A, equally loud</h2>", table(("measure", "mean", "clips"), both)]
    if found.sets:
        parts += ["<h2>Sets of sounds</h2>", table(("distance", ""), list(_set_rows(found.sets)))]
    return parts


def _charts(found: Comparison) -> list[str]:
    parts = []
    for name, measure in {**m.OWN, **m.AGAINST_TRUE}.items():
        if name not in found.summary or name in ("silent", "onset_f1_chance"):
            continue
        points = [
            (clip, row["a"].get(name, math.nan), row["b"].get(name, math.nan))
            for clip, row in found.clips.items()
        ]
        if len({value for _, x, y in points for value in (x, y) if math.isfinite(value)}) > 1:
            unit = f", {measure.unit}" if measure.unit else ""
            parts.append(scatter(points, f"{name}{unit}: a dot per clip", "A", "B"))
    return ["<h2>Clip by clip</h2>", '<div class="pair">', *parts, "</div>"] if parts else []


def _forward_parts(found: Comparison) -> list[str]:
    rows = [row for row in forward_levels(found.forwards) if "mean" in row]
    if not rows:
        return ["<h2>Velocity</h2><p>Every forward is equal.</p>"]
    bars = []
    for row in rows:
        whole = math.isfinite(row["low"])
        low, high = (row["low"], row["high"]) if whole else (None, None)
        bars.append(Bar(f"noise {row['sigma']:.3f}", row["mean"], low, high))
    ends = [value for row in rows for key in ("mean", "low", "high") if math.isfinite(value := row[key])]
    borders = min([0.0, *ends]), max([10.0, *ends]) * 1.05
    words = "SQNR of B's velocity in dB, by noise level (1: noise, 0: sound); higher is better"
    cells = [(f"{row['sigma']:.3f}", _cell(row), _number(row["least"]), int(row["n"])) for row in rows]
    head = ("noise level", "mean", "least", "clips")
    return ["<h2>Velocity, every forward</h2>", interval_chart(bars, *borders, words), table(head, cells)]


def _player(found: Comparison, clip: str, number: int) -> str:
    names = {"a": found.a, "b": found.b}
    videos = "".join(
        f'<figure><video controls preload="metadata" src="media/{number:03d}.{side}.mp4" '
        f'aria-label="{text(clip)}, {side.upper()}"></video>'
        f"<figcaption>{side.upper()}: {text(names[side])}</figcaption></figure>"
        for side in SIDES
    )
    between = found.clips[clip]["between"]
    told = ", ".join(f"{name} {_number(value)}" for name, value in between.items() if math.isfinite(value))
    return (
        f'<section class="clip"><h3>{text(clip)}</h3><div class="pair">{videos}</div>'
        '<p><button type="button" aria-pressed="false">Both, hear A</button> '
        '<button type="button" aria-pressed="false">Both, hear B</button> '
        f'<button type="button">Stop</button></p><p class="note">{text(told)}</p></section>'
    )


def _clips(found: Comparison) -> str:
    count = len(found.clips)
    return f"{count} clip{'' if count == 1 else 's'}"


def _words(measure: m.Measure) -> str:
    better = f"; {measure.better} is better" if measure.better else ""
    unit = f" ({measure.unit})" if measure.unit else ""
    return f"{measure.words}{unit}{better}"


def _set_rows(sets: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    names = {"a_b": "A to B", "a_true": "A to the clips' own", "b_true": "B to the clips' own",
             "difference": "farther by"}  # fmt: skip
    for name, values in sets.items():
        if name.startswith("pieces_"):
            yield name, f"{values['a']} of A, {values['b']} of B, from {values['clips']} clips"
            continue
        told = [
            f"{names[key]} {_cell(value) if isinstance(value, dict) else _number(value)}"
            for key, value in values.items()
        ]
        yield name, "; ".join(told)


def _cell(value: Mapping[str, float], signed: bool = False) -> str:
    mean = f"{value['mean']:+.3g}" if signed else f"{value['mean']:.3g}"
    if not math.isfinite(value["low"]):
        return mean  # one clip
    return f"{mean} [{value['low']:.3g}, {value['high']:.3g}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
