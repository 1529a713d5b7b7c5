"""Device profiles: what a machine has, where each figure is from, and what its software cannot do.

A profile is a TOML file in ``profiles/``. Every figure says how it is known: "source" (read there),
"recalled" (a maker's data sheet that was not looked up again) or "assumed" (no source; why this value). What
is projected from them is never better than they are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from edgefoley.errors import UsageError

FOLDER: Final = Path(__file__).parent / "profiles"
How = Literal["source", "recalled", "assumed"]
_HOW: Final[tuple[How, ...]] = ("source", "recalled", "assumed")


@dataclass(frozen=True)
class Figure:
    """``value``; ``how`` it is known, and ``where`` from or why."""

    value: float
    how: How
    where: str


@dataclass(frozen=True)
class Note:
    """What one should know of a device before using it."""

    topic: str
    text: str
    source: str


@dataclass(frozen=True)
class Device:
    """A machine. ``cores`` that compute; ``clock_ghz`` with all of them at work; ``fp32_per_cycle`` and
    ``int8_per_cycle``: multiplications and additions of one core; ``decode``: instructions that it can begin
    per cycle; ``simd_bytes``: width of its vectors; ``cache_kb``: the largest cache; ``bandwidth_gbs`` (10^9
    bytes per second) and ``ram_mb``, ``system_mb`` (10^6 bytes; what the system itself takes)."""

    key: str
    name: str
    kind: str
    architecture: str
    dot_products: bool
    cores: Figure
    clock_ghz: Figure
    fp32_per_cycle: Figure
    int8_per_cycle: Figure
    decode: Figure
    simd_bytes: Figure
    cache_kb: Figure
    bandwidth_gbs: Figure
    ram_mb: Figure
    system_mb: Figure
    power_sensor: str
    notes: tuple[Note, ...] = ()
    edge_tpu: bool = False

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Figure)}

    @property
    def usable_bytes(self) -> int:
        """Memory that a program can have."""
        return round((self.ram_mb.value - self.system_mb.value) * 1e6)


def device_names() -> tuple[str, ...]:
    """Names that ``read_device`` knows."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def read_device(name: str) -> Device:
    """A built-in profile, by its name or the beginning of it ("raspberry-pi-5", "jetson-orin"), or a TOML
    file of the same form. Raises UsageError for an unknown name or a file that is no profile."""
    if name.endswith(".toml"):
        return _read(Path(name))
    wanted = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    known = device_names()
    found = [wanted] if wanted in known else [each for each in known if each.startswith(wanted)]
    if len(found) != 1:
        several = f" stands for several: {', '.join(found)}" if found else " is not known"
        raise UsageError(f"the device {name!r}{several}. Known devices: this, {', '.join(known)}.")
    return _read(FOLDER / f"{found[0]}.toml")


def _read(path: Path) -> Device:
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
        cpu, memory = data["cpu"], data["memory"]
        return Device(
            key=path.stem, name=str(data["name"]), kind=str(data["kind"]),
            architecture=str(data["architecture"]), dot_products=bool(data["dot_products"]),
            **{name: _figure(name, value) for part in (cpu, memory) for name, value in part.items()},
            power_sensor=str(data["power"]["sensor"]),
            notes=tuple(Note(n["topic"], n["text"], n["source"]) for n in data.get("notes", ())),
            edge_tpu=bool(data.get("edge_tpu", False)),
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is no device profile: {type(error).__name__} {error}") from error


def _figure(name: str, data: Mapping[str, Any]) -> Figure:
    how = [key for key in _HOW if key in data]
    if len(how) != 1 or not str(data[how[0]]).strip():
        raise ValueError(f"{name} must say one of {', '.join(_HOW)}")
    value = float(data["value"])
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {value:g}")
    return Figure(value, how[0], str(data[how[0]]))
