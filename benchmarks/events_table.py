"""The figures of benchmarks/events.py as text."""

from __future__ import annotations

from typing import Any

from evaluate import words_of


def show_groups(title: str, groups: dict[str, Any]) -> None:
    """One column per group, one line per measure."""
    print(f"\n{title}\n{'':24}" + "".join(f"{name:>24}" for name in groups))
    names = list(dict.fromkeys(name for row in groups.values() for name in row))
    for name in names:
        cells = [row.get(name, "-") for row in groups.values()]
        words = [words_of(c) if isinstance(c, dict) else str(c) for c in cells]
        print(f"{name:24}" + "".join(f"{w:>24}" for w in words))


def show_lag(title: str, split: dict[str, Any]) -> None:
    for rate, row in split.items():
        line = f"  {title:8} {rate:10} {row['clips']:3d} clips {row['pairs']:4d} pairs"
        if row["pairs"]:
            for name in ("mean_ms", "median_ms"):
                value = row[name]
                middle = value.get("mean", value.get("median"))
                line += f"  {name[:-3]} {middle:+.1f} [{value['low']:+.1f}, {value['high']:+.1f}]"
        if "mean_ms_corrected" in row:
            line += f"  corrected {row['mean_ms_corrected']:+.1f}, {row['median_ms_corrected']:+.1f}"
        print(line)


def show(result: dict[str, Any]) -> None:
    for key, value in result["card"].items():
        print(f"{key:18} {value}")
    rendered = result["rendered"]
    plain = {k: v for k, v in rendered.items() if k not in ("by_action", "lag", "without_contacts")}
    show_groups("rendered held-out films with visible contacts", {"all": plain})
    if "without_contacts" in rendered:
        row = rendered["without_contacts"]
        print(f"{'without: events per s':24}{words_of(row['events_per_s']):>24} (n = {row['n']})")
    print("lag, ms:")
    show_lag("films", rendered["lag"])
    print(f"{'action':12} {'n':>3} {'F1 50':>6} {'100':>6} {'class. 50':>10} {'100':>6} {'ceiling 50':>11}")
    for action, row in rendered["by_action"].items():
        print(
            f"{action:12} {row['n']:3d} {row['f1_50']:6.3f} {row['f1_100']:6.3f} "
            f"{row['classical_f1_50']:10.3f} {row['classical_f1_100']:6.3f} {row['ceiling_f1_50']:11.3f}"
        )
    if "core" not in result:
        return
    show_groups("sync core", result["core"])
    print(f"\nlag, ms (the ruler itself: {result['ruler_offset_ms']})")
    for name, split in result["lag"].items():
        show_lag(name, split)
    show_groups("another clip's pictures: f1 must be chance, gain 0", result["shuffled"])
    show_groups("tier B, every event counts as false", {"continuous": result["tier_b"]})
    print("\nF1 at other thresholds (probability): for information, not used for any choice")
    for p, groups in result["other thresholds, not used for any choice"].items():
        cells = [f"{name} {row['f1_100']:.3f} {row['f1_50']:.3f}" for name, row in groups.items()]
        print(f"  {p:5} " + "   ".join(cells))
