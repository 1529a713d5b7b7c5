"""How well nano's event curve finds what sounds: python benchmarks/events.py [--model nano | --run runs/sync]

No sound is made here: the peaks of the event curve are compared with the onsets of each clip's true sound.

clips      the sync core (sparse clips with clear events), sticks (a drumstick hits things: the clips that
           the manifest says come from the Greatest Hits set) and the rest apart. True onsets are those of
           score.py of the evaluation folder (imported by its path), of the first 8 s or as long as the
           pictures last.
chance     the same events against the true onsets of the other clips of the core of about the same length
           (within 0.3 s); gain is F1 minus chance, clip by clip, where a clip has such neighbours
classical  the baseline without a network (metrics.onsets.classical_onsets) on every source frame
shuffled   events of another clip's pictures, cut to length, against the clip's own sound: mean over all other
           clips that last as long. Must fall to chance (the same events, other sounds).
lag        found minus true time of pairs at most 100 ms apart, each the other's nearest. score.py places
           sharp onsets some milliseconds early, which cancels where two sounds are compared but not here. How
           early is measured on synthetic bursts (ruler_offset_ms). Lags are given as measured and corrected.
tier B     continuous sources: every event counts as false, also the few that are real
rendered   held-out films whose contacts are known exactly (--films; default: the run's val folder, else
           films rendered at the validation seed). `ceiling` is the F1 of the true contacts without those that
           follow another more closely than two events may.
cost       counted arithmetic, bytes, look-ahead and context (measured by exchanging frames)

The threshold, or the rule by which it adapts to a clip, is fixed on rendered films or by calibration, never
on clips. Other thresholds are shown for information and not used for any choice. 95 % intervals: percentile
bootstrap over clips or films, 10 000 draws, fixed seed. A cache (--cache) holds the decoded small pictures,
so that another encoder takes less than a minute. The last line and --json hold means and intervals only:
clips must not be copied into the project. --details, for a folder outside the project, names them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from events_table import show
from footage import Footage, Footages, ruler_offset
from numpy.typing import NDArray
from outcome import put_out
from sync_encoders import Seen, SyncModel, open_bundle_model, open_run_model, reach

from edgefoley.metrics import event_scores
from edgefoley.metrics.event_scores import chance_f1, interval, lags, ratio_interval, score_events, thinned
from edgefoley.metrics.onsets import Times, classical_onsets
from edgefoley.types import FrameView

ROOT = Path(__file__).resolve().parent.parent
TOLERANCES = (0.1, 0.05)  # s
FAST = 25.0  # frames/s
OTHERS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)  # probabilities


def groups_of(clips: list[Footage]) -> dict[str, list[int]]:
    """Name of the group -> places of its clips; empty groups are left out."""
    tests: dict[str, Callable[[Footage], bool]] = {
        "all": lambda c: True,
        "sticks": lambda c: c.sticks,
        "rest": lambda c: not c.sticks,
        f"sticks >= {FAST:g}/s": lambda c: c.sticks and c.frame_rate >= FAST,
        f"sticks < {FAST:g}/s": lambda c: c.sticks and c.frame_rate < FAST,
    }
    found = {name: [i for i, clip in enumerate(clips) if test(clip)] for name, test in tests.items()}
    return {name: places for name, places in found.items() if places}


def measures(
    clips: list[Footage], found: list[Times], tolerance: float, pictures: list[int] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Name -> one value per clip; nan where a clip has none."""
    true, seconds = [clip.true for clip in clips], [clip.scored for clip in clips]
    scores = [score_events(f, t, tolerance) for f, t in zip(found, true, strict=True)]
    values = {
        name: np.array([getattr(s, name) for s in scores], np.float64)
        for name in ("f1", "precision", "recall")
    }
    values["chance"] = chance_f1(found, true, seconds, tolerance, pictures=pictures)
    values["gain"] = values["f1"] - values["chance"]
    return values


def core_figures(clips: list[Footage], found: list[Times]) -> dict[str, Any]:
    """Group -> what the docstring's first three entries name, for both tolerances."""
    plain = [clip.classical[clip.classical < clip.scored] for clip in clips]
    figures: dict[str, Any] = {}
    for tolerance in TOLERANCES:
        values = measures(clips, found, tolerance)
        for name, value in measures(clips, plain, tolerance).items():
            values[f"classical_{name}"] = value
        values["minus_classical"] = values["f1"] - values["classical_f1"]
        for group, places in groups_of(clips).items():
            row = figures.setdefault(group, {"n": len(places)})
            row["n_chance"] = int(np.isfinite(values["chance"][places]).sum())
            for name, value in values.items():
                here = value[places]
                if np.isfinite(here).any():
                    row[f"{name}_{1000 * tolerance:.0f}"] = interval(here[np.isfinite(here)])
    for group, places in groups_of(clips).items():
        seconds = [clips[i].scored for i in places]
        for name, times in (("found", found), ("true", [c.true for c in clips]), ("classical", plain)):
            figures[group][f"{name}_per_s"] = ratio_interval([len(times[i]) for i in places], seconds)
    return figures


def lag_figures(pairs: list[tuple[Times, Times]], offset_ms: float | None = None) -> dict[str, Any]:
    """Mean and median lag (ms) over clips given as (found, true)."""
    late = [1000 * lags(found, true, TOLERANCES[0]) for found, true in pairs]
    figures: dict[str, Any] = {"clips": len(pairs), "pairs": sum(len(x) for x in late)}
    if figures["pairs"]:
        figures["mean_ms"] = ratio_interval([x.sum() for x in late], [len(x) for x in late])
        figures["median_ms"] = event_scores.median_interval(late)
        if offset_ms is not None:
            figures["mean_ms_corrected"] = figures["mean_ms"]["mean"] + offset_ms
            figures["median_ms_corrected"] = figures["median_ms"]["median"] + offset_ms
    return figures


def by_frame_rate(
    pairs: list[tuple[Times, Times]], rates: list[float], offset_ms: float | None
) -> dict[str, Any]:
    split: dict[str, list[tuple[Times, Times]]] = {f">= {FAST:g}/s": [], f"< {FAST:g}/s": []}
    for pair, rate in zip(pairs, rates, strict=True):
        split[f">= {FAST:g}/s" if rate >= FAST else f"< {FAST:g}/s"].append(pair)
    return {name: lag_figures(chosen, offset_ms) for name, chosen in split.items() if chosen}


def shuffled_figures(clips: list[Footage], events: list[Times]) -> dict[str, Any]:
    """Group -> F1 with another clip's pictures, its chance, and the difference; each clip's value is the mean
    over all partners. ``events[i]``: those of all pictures of clip i."""
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for partner, times in enumerate(events):
        fits = [i != partner and clips[partner].seconds > c.scored - 0.05 for i, c in enumerate(clips)]
        found = [times[times < clip.scored] for clip in clips]
        for tolerance in TOLERANCES:
            values = measures(clips, found, tolerance, [partner] * len(clips))
            known = np.array(fits) & np.isfinite(values["chance"])
            for name in ("f1", "chance", "gain"):
                row = np.where(known, values[name], np.nan)
                rows.setdefault(f"{name}_{1000 * tolerance:.0f}", []).append(row)
    figures: dict[str, Any] = {}
    for group, places in groups_of(clips).items():
        figures[group] = {}
        for name, stacked in rows.items():
            table = np.stack(stacked)[:, places]
            some = np.isfinite(table).any(0)
            figures[group]["n"] = int(some.sum())
            if some.any():
                figures[group][name] = interval(np.nanmean(table[:, some], axis=0))
    return figures


def other_thresholds(model: SyncModel, clips: list[Footage], seen: list[Seen]) -> dict[str, Any]:
    """Mean F1 of each group at other probabilities, for information."""
    table: dict[str, Any] = {}
    for p in OTHERS:
        found = [model.events(one, c.scored, p) for one, c in zip(seen, clips, strict=True)]
        for tolerance in TOLERANCES:
            f1 = measures(clips, found, tolerance)["f1"]
            for group, places in groups_of(clips).items():
                key = f"f1_{1000 * tolerance:.0f}"
                table.setdefault(f"{p:g}", {}).setdefault(group, {})[key] = round(float(f1[places].mean()), 4)
    return table


def false_figures(model: SyncModel, clips: list[Footage]) -> dict[str, Any]:
    """Events per second where every event counts as false."""
    seconds = [clip.seconds for clip in clips]
    found = [len(model.events(model.see(clip.view), clip.seconds)) for clip in clips]
    return {
        "n": len(clips),
        "events_per_s": interval([f / s for f, s in zip(found, seconds, strict=True)]),
        "classical_per_s": interval([len(c.classical) / c.seconds for c in clips]),
        "clips_below_half_per_s": float(np.mean([f / s < 0.5 for f, s in zip(found, seconds, strict=True)])),
    }


def rendered_figures(model: SyncModel, folder: Path, limit: int | None) -> dict[str, Any]:
    """F1 on the films of ``folder`` that have visible contacts, over all and by action; events per second on
    the others; lags."""
    from edgefoley.train.scenes.pool import SYNC_RATE, Pool

    pool, films = Pool(folder), []
    for i, record in list(enumerate(pool.films))[:limit]:
        crop = pool.crop(i, 0.0, int(pool.seconds * SYNC_RATE))
        if crop.frames.shape[1:] != model.view.size:
            sys.exit(
                f"films of {crop.frames.shape[1:]} pixels in {folder}; the encoder takes {model.view.size}"
            )
        times, stamps = record["times"], record["timestamps"]
        films.append(
            {
                "action": str(record["action"]),
                "true": times[times < pool.seconds],
                "found": model.events(model.see(FrameView(crop.frames, crop.ages)), pool.seconds),
                "classical": classical_onsets(pool.frames(i), stamps),
                "ceiling": thinned(times[times < pool.seconds], model.min_gap_s),
                "rate": round((len(stamps) - 1) / (stamps[-1] - stamps[0]), 2),
            }
        )
    seen = [film for film in films if len(film["true"])]
    empty = [film for film in films if not len(film["true"])]
    figures: dict[str, Any] = {"films": len(films), "n": len(seen), "by_action": {}}
    for tolerance in TOLERANCES:
        key = f"{1000 * tolerance:.0f}"
        scores = [score_events(film["found"], film["true"], tolerance) for film in seen]
        for name in ("f1", "precision", "recall"):
            figures[f"{name}_{key}"] = interval([getattr(score, name) for score in scores])
        for name in ("classical", "ceiling"):
            rows = [score_events(film[name], film["true"], tolerance).f1 for film in seen]
            figures[f"{name}_f1_{key}"] = interval(rows)
            for action, value in by_action(seen, rows).items():
                figures["by_action"].setdefault(action, {})[f"{name}_f1_{key}"] = value
        for action, value in by_action(seen, [score.f1 for score in scores]).items():
            figures["by_action"][action][f"f1_{key}"] = value
    for film in seen:
        row = figures["by_action"][film["action"]]
        row["n"] = row.get("n", 0) + 1
    if empty:
        rates = [len(film["found"]) / pool.seconds for film in empty]
        figures["without_contacts"] = {"n": len(empty), "events_per_s": interval(rates)}
    pairs = [(film["found"], film["true"]) for film in seen]
    figures["lag"] = by_frame_rate(pairs, [film["rate"] for film in seen], None)
    return figures


def by_action(films: list[dict[str, Any]], values: list[float]) -> dict[str, float]:
    """Action -> mean, in alphabetical order."""
    rows: dict[str, list[float]] = {}
    for film, value in zip(films, values, strict=True):
        rows.setdefault(film["action"], []).append(value)
    return {action: float(np.mean(row)) for action, row in sorted(rows.items())}


def held_out_films(arguments: argparse.Namespace) -> Path:
    """The folder of films to measure on; renders them into the cache where there are none."""
    from edgefoley.train.scenes.pool import Pool, render_shard
    from edgefoley.train.sync import VALIDATION_SEED

    if arguments.films is not None:
        return Path(arguments.films)
    if arguments.run is not None:
        try:
            Pool(arguments.run / "val")
            return Path(arguments.run / "val")
        except (FileNotFoundError, ValueError) as error:
            print(f"{error}\nThe validation films are rendered anew.", file=sys.stderr)
    folder = Path(arguments.cache) / f"films_{arguments.validation}_{arguments.seconds:g}s"
    print(f"held-out films: {folder} (rendered now unless they are there)", file=sys.stderr)
    render_shard(folder, 0, VALIDATION_SEED, arguments.validation, arguments.seconds)
    return folder


def clip_figures(model: SyncModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that needs the real clips."""
    footages = Footages(arguments.shared, arguments.cache, model.view, arguments.threads)
    core = footages.choose(lambda row: row["sync_core"] == "yes", arguments.limit)
    offset = ruler_offset(footages.ruler)
    seen = [model.see(clip.view) for clip in core]
    whole = [model.events(one, clip.seconds) for one, clip in zip(seen, core, strict=True)]
    found = [times[times < clip.scored] for times, clip in zip(whole, core, strict=True)]
    pairs, rates = [(f, c.true) for f, c in zip(found, core, strict=True)], [c.frame_rate for c in core]
    lag = {"all": by_frame_rate(pairs, rates, offset["mean"])}
    for name in ("sticks", "rest"):
        places = groups_of(core).get(name, [])
        lag[name] = by_frame_rate([pairs[i] for i in places], [rates[i] for i in places], offset["mean"])
    figures = {
        "core": core_figures(core, found),
        "ruler_offset_ms": offset,
        "lag": lag,
        "shuffled": shuffled_figures(core, whole),
        "other thresholds, not used for any choice": other_thresholds(model, core, seen),
    }
    if arguments.details is not None:
        write_details(arguments.details, core, found, seen)
    del core
    figures["tier_b"] = false_figures(model, footages.choose(lambda row: row["tier"] == "B", arguments.limit))
    return figures


def write_details(path: Path, clips: list[Footage], found: list[Times], seen: list[Seen]) -> None:
    """Every clip's events by name; only outside the project."""
    rows = {
        clip.name: {
            "sticks": clip.sticks, "frame_rate": clip.frame_rate, "scored": clip.scored,
            "found": times.round(3).tolist(), "true": clip.true.round(3).tolist(),
            "classical": clip.classical.round(3).tolist(),
            "logits": one.logits.round(2).astype(float).tolist(), "activity": one.activity,
        }
        for clip, times, one in zip(clips, found, seen, strict=True)
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", default="nano", help="built-in name or a bundle's folder")
    source.add_argument("--run", type=Path, help="a folder of train.sync instead of a bundle")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="holds eval/ and data/")
    parser.add_argument("--films", type=Path, help="folder of held-out films of edgefoley train make-data")
    parser.add_argument("--validation", type=int, default=160, help="films to render where there are none")
    parser.add_argument("--seconds", type=float, default=5.0, help="and their length")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/edgefoley-events-cache"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, help="only so many clips and films (a trial, not a figure)")
    parser.add_argument("--json", type=Path, help="write the summary here too")
    parser.add_argument("--details", type=Path, help="every clip's events by name, outside the project")
    arguments = parser.parse_args()
    if arguments.details is not None and arguments.details.resolve().is_relative_to(ROOT):
        parser.error(f"--details names clips, which must not be copied into {ROOT}; choose another folder")
    return arguments


def main() -> None:
    arguments = parse()
    opened = open_bundle_model(arguments.model, arguments.threads) if arguments.run is None else None
    model = opened or open_run_model(arguments.run, arguments.threads)
    card = {
        "encoder": model.name,
        **{key: round(value, 4) for key, value in model.rule.items()},
        "threshold_from": model.rule_from,
        "gain": round(model.gain, 4),
        "bias": round(model.bias, 4) + 0.0,
        "min_gap_s": model.min_gap_s,
        "limit": arguments.limit,
        **model.cost,
        **reach(model),
    }
    result: dict[str, Any] = {"card": card}
    result["rendered"] = rendered_figures(model, held_out_films(arguments), arguments.limit)
    if (arguments.shared / "eval" / "score.py").exists():
        result |= clip_figures(model, arguments)
    else:
        print(
            f"there is no eval/score.py in {arguments.shared}: only the rendered films are measured",
            file=sys.stderr,
        )
    show(result)
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()
