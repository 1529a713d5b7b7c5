"""README's tables, in both languages, from benchmarks/results: python benchmarks/tables.py [--check]

Every block between ``<!-- NAME: python benchmarks/tables.py -->`` and ``<!-- end of NAME -->`` is made
anew. A figure that no result holds is called unknown, never left from before. --check writes nothing and ends
with 1 where a README says something else than the results.

Beside each figure stands where it comes from: measured (on the machine that the table names), projected (by
the roofline of docs/devices.md), published (the study behind this project: other hardware, other models, its
own clip), or unknown.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
READMES = {"en": HERE.parent / "README.md", "zh": HERE.parent / "README.zh-CN.md"}
PARTS = ("speed", "flops", "evaluate", "recipes")
PACKAGED = "int8-dynamic"  # the recipe that the package has
Results = Mapping[str, Any]

TEXTS: dict[str, Any] = tomllib.loads((HERE / "tables.toml").read_text(encoding="utf-8"))


def study() -> dict[str, Any]:
    """The published study's figures."""
    return tomllib.loads((HERE / "study.toml").read_text(encoding="utf-8"))


def load_results() -> dict[str, Any]:
    """Part -> its results, cases reachable by name; {} for a part that was never run."""
    found: dict[str, Any] = {}
    for part in PARTS:
        path = RESULTS / f"{part}.json"
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        data |= {row["case"]: row for row in data.get("rows", ())}
        found[part] = data | data.get("cases", {})
    return found


def look_up(results: Results, place: str) -> Any:
    """The value at a place like "speed/warm/seconds", None where there is none."""
    value: Any = results
    for step in place.split("/"):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def number(value: float) -> str:
    """Three significant figures, without an exponent or idle zeros."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:#.3g}".rstrip("0").rstrip(".")


def mean(value: Mapping[str, float], signed: bool = False) -> str:
    """A mean with its 95 % interval."""
    sign = "+" if signed else ""
    return f"{value['mean']:{sign}.2f} [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]".replace(
        "-", "−"
    )


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def say(name: str, language: str) -> str:
    return str(TEXTS["words"][name][language])


def sentence(name: str, language: str, *facts: Any) -> str:
    return str(TEXTS["sentences"][name][language]).format(*facts)


def measured(
    results: Results, part: str, language: str, write: Callable[..., str], **facts: Any
) -> list[str]:
    """The rows of ``part`` in tables.toml: name, value as ``write(value, row)`` puts it, aim."""
    rows = []
    for row in TEXTS[part]:
        value = look_up(results, row["place"])
        shown = say("unknown", language) if value is None else write(value, row)
        rows.append([row[language].format(**facts), shown, row["aim"][language]])
    return rows_of(["", say("measured", language), say("aim", language)], rows)


def cost(results: Results, language: str) -> list[str]:
    """What the packaged model costs here."""
    card = look_up(results, "speed/card") or {}
    unit = lambda value, row: f"{number(value)} {row['unit']}"  # noqa: E731
    found = measured(results, "cost", language, unit, threads=card.get("threads", 2))
    if card:
        facts = (card[key] for key in ("processor", "threads", "onnxruntime", "steps", "guidance"))
        found += ["", sentence("cost", language, *facts)]
    return found


def fit(results: Results, language: str) -> list[str]:
    """How well the packaged model's sound fits."""
    return measured(results, "fit", language, lambda value, _: mean(value))


def recipes(results: Results, language: str) -> list[str]:
    """Every recipe on the machine that measured them: cost, and what is left of the sound."""
    here, kept = look_up(results, "recipes/here"), look_up(results, "recipes/kept/rows") or {}
    unknown = say("unknown", language)
    if here is None:
        return [unknown]
    rows = []
    for name, row in here["rows"].items():
        sound, first = kept.get(name, {}), name == look_up(results, "recipes/kept/reference")
        cells = [f"`{name}`", f"{row['bytes'] / 1e6:.1f} MB", f"{number(row['warm_s']['least'])} s"]
        cells += [f"{number(row['warm_cpu_s']['least'])} s", f"{number(row['peak_mb']['median'])} MB"]
        cells.append(unknown if row["watts"] is None else f"{row['watts']:.1f} W")
        cells += [
            unknown if key not in sound else mean(sound[key], signed=not first)
            for key in ("onset_f1", "kl_yamnet")
        ]
        copy = look_up(sound, "zimtohrli/mean")
        cells.append("5" if first and sound else unknown if copy is None else number(copy))
        rows.append(cells)
    about = sentence("recipes", language, here["card"]["processor"], here["energy"]["source"])
    return [*rows_of(TEXTS["head"]["recipes"][language], rows), "", about]


def pair(values: Sequence[float | None], unit: str, language: str) -> str:
    """Values in float32 and in INT8, "a → b unit"."""
    words = [say("unknown", language) if value is None else number(value) for value in values]
    if all(value is None for value in values):
        return words[0]
    return f"{' → '.join(words)} {unit}".strip()


def beside_the_study(results: Results, language: str) -> list[str]:
    """The published study's devices: its figures, and nano's projections for the same devices."""
    published, unknown, rows = study(), say("unknown", language), []
    ours = say("ours", language).format(PACKAGED)
    for device in published["device"]:
        only = device.get("int8_only", False)
        cells = [
            pair(device[key], unit, language)
            for key, unit in (("seconds", "s"), ("memory_mb", "MB"), ("watts", "W"), ("mos", ""))
        ]
        name = say("study", language).format("INT8" if only else "FP32 → INT8")
        rows.append([device["name"], name, *cells, say("published", language)])
        there = look_up(results, f"recipes/elsewhere/{device['profile']}") or {}
        both = [there.get(recipe, {}) for recipe in ("fp32", PACKAGED)]
        time, memory = ([one.get(key) for one in both] for key in ("seconds", "memory_mb"))
        rows.append(["", ours, pair(time, "s", language), pair(memory, "MB", language), unknown, unknown,
                     say("projected", language)])  # fmt: skip
    rows.append(_this_machine(results, ours, language))
    sizes = [look_up(results, f"recipes/here/rows/{recipe}/bytes") for recipe in ("fp32", PACKAGED)]
    about = sentence(
        "study", language, pair(published["size_mb"], "MB", language),
        pair([None if size is None else size / 1e6 for size in sizes], "MB", language),
    )  # fmt: skip
    return [*rows_of(TEXTS["head"]["study"][language], rows), "", about]


def _this_machine(results: Results, ours: str, language: str) -> list[str]:
    """nano where it was measured."""
    here = look_up(results, "recipes/here") or {"rows": {}, "card": {}}
    both = [here["rows"].get(recipe, {}) for recipe in ("fp32", PACKAGED)]
    time = [look_up(row, "warm_s/least") for row in both]
    memory = [look_up(row, "peak_mb/median") for row in both]
    watts = [row.get("watts") for row in both]
    name = say("here", language).format(here["card"].get("processor", "?"))
    cells = [pair(time, "s", language), pair(memory, "MB", language), pair(watts, "W", language)]
    return [name, ours, *cells, say("unknown", language), say("measured", language)]


BLOCKS: dict[str, Callable[[Results, str], list[str]]] = {
    "cost": cost,
    "fit": fit,
    "recipes": recipes,
    "study": beside_the_study,
}


def written(text: str, results: Results, language: str) -> str:
    """A README's ``text`` with every block made anew. Raises ValueError where one is missing."""
    for name, make in BLOCKS.items():
        begin, end = f"<!-- {name}: python benchmarks/tables.py -->", f"<!-- end of {name} -->"
        block = "\n".join([begin, *make(results, language), end])
        text, count = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, b=block: b, text, flags=re.S
        )
        if count != 1:
            raise ValueError(f"the block {name!r} is there {count} times, not once")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a README differs")
    arguments = parser.parse_args()
    results, differing = load_results(), []
    for language, path in READMES.items():
        text = path.read_text(encoding="utf-8")
        made = written(text, results, language)
        if made != text:
            differing.append(path.name)
            if not arguments.check:
                path.write_text(made, encoding="utf-8")
    if arguments.check and differing:
        sys.exit(f"not what benchmarks/results says: {', '.join(differing)}. Run python benchmarks/tables.py")


if __name__ == "__main__":
    main()
