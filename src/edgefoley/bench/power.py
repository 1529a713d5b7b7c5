"""How much energy a run takes, where the machine can tell: four kinds of meters, and none that guesses.

    RAPL            /sys/class/powercap/intel-rapl:N: counters of energy in the processor packages (Intel and
                    AMD), without memory modules, disk and screen; readable by root only on most systems
    INA3221         Jetson boards: hwmon files with millivolts and milliamperes of the board's input, or the
                    older driver's milliwatts
    PMIC            Raspberry Pi 5: ``vcgencmd pmic_read_adc`` lists voltage and current of the rails behind
    the
                    power chip; what USB devices and the 5 V pins take is not among them
    a CSV file      written by a USB meter's own program while the benchmark runs

A Raspberry Pi 4B has no sensor of current: only the CSV file remains. Every reader takes the folder or
program it reads, so that each can be tested without its machine.

Readers of power are sampled and integrated by trapezoids; counters are read and subtracted, with their
overflow. Standard library only.
"""

from __future__ import annotations

import bisect
import csv
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from edgefoley.errors import UsageError

POWERCAP: Final = Path("/sys/class/powercap")
HWMON: Final = Path("/sys/class/hwmon")
I2C: Final = Path("/sys/bus/i2c/drivers/ina3221x")
# Names of the rail behind which everything hangs, by board and driver.
INPUT_RAILS: Final = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "VIN", "SYS_VIN_HV")


class Reader(Protocol):
    """``name``: what is read. ``counts``: whether ``read`` gives joules since some moment; else watts now.
    ``period``: seconds between two readings that make sense."""

    name: str
    counts: bool
    period: float

    def read(self) -> float: ...


class Rapl:
    """Energy of all processor packages."""

    counts, period = True, 0.05

    def __init__(self, folders: Sequence[Path]) -> None:
        self.name = f"RAPL, {len(folders)} package(s): processor without memory modules, disk and screen"
        self._folders = folders
        self._ranges = [_number(folder / "max_energy_range_uj") for folder in folders]
        self._last = [_number(folder / "energy_uj") for folder in folders]
        self._sum = 0.0

    @classmethod
    def find(cls, root: Path = POWERCAP) -> Rapl:
        """Raises LookupError with the reason."""
        folders = [
            folder
            for folder in sorted(root.glob("*-rapl:*"))
            if folder.name.count(":") == 1 and _text(folder / "name").startswith("package")
        ]
        if not folders:
            raise LookupError("no RAPL counters (powercap)")
        try:
            return cls(folders)
        except PermissionError as error:
            raise LookupError("the RAPL counters can be read by root only") from error
        except (OSError, ValueError) as error:
            raise LookupError(f"the RAPL counters cannot be read ({error})") from error

    def read(self) -> float:
        """Joules since the reader was made; every counter may have begun again once since the last
        reading."""
        for index, folder in enumerate(self._folders):
            now = _number(folder / "energy_uj")
            step = now - self._last[index]
            self._sum += step + self._ranges[index] if step < 0 else step
            self._last[index] = now
        return self._sum / 1e6


class Ina3221:
    """Power that a Jetson board takes in."""

    counts, period = False, 0.05

    def __init__(self, rail: str, read: Callable[[], float]) -> None:
        self.name = f"INA3221, rail {rail}: the whole board"
        self._read = read

    @classmethod
    def find(cls, hwmon: Path = HWMON, i2c: Path = I2C) -> Ina3221:
        """Raises LookupError with the reason."""
        for rail, read in (*_hwmon_rails(hwmon), *_iio_rails(i2c)):
            if rail in INPUT_RAILS:
                try:
                    read()
                except (OSError, ValueError) as error:
                    raise LookupError(f"the INA3221 sensor cannot be read ({error})") from error
                return cls(rail, read)
        raise LookupError("no INA3221 sensor on a board's input")

    def read(self) -> float:
        """Watts."""
        return self._read()


class Pmic:
    """Power of the rails behind a Raspberry Pi 5's power chip."""

    counts, period = False, 0.25  # each reading starts a program
    name = "PMIC of a Raspberry Pi 5: its rails, without USB devices and the 5 V pins"

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask

    @classmethod
    def find(cls, ask: Callable[[], str] | None = None) -> Pmic:
        """Raises LookupError with the reason."""
        reader = cls(ask or _pmic_read)
        try:
            reader.read()
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise LookupError("no power chip that vcgencmd can ask") from error
        return reader

    def read(self) -> float:
        """Watts: the sum over all rails that have both a voltage and a current."""
        amperes, volts = dict[str, float](), dict[str, float]()
        for rail, kind, value in re.findall(r"(\S+)_([AV])\s+\w+\(\d+\)=([-\d.]+)[AV]", self._ask()):
            (amperes if kind == "A" else volts)[rail] = float(value)
        both = amperes.keys() & volts.keys()
        if not both:
            raise ValueError("no rail with voltage and current")
        return sum(amperes[rail] * volts[rail] for rail in both)


def _number(path: Path) -> float:
    return float(path.read_text(encoding="ascii"))


def _product(millivolts: Path, milliamperes: Path) -> float:
    return _number(millivolts) * _number(milliamperes) / 1e6


def _milli(path: Path) -> float:
    return _number(path) / 1e3


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


Rail = tuple[str, Callable[[], float]]


def _hwmon_rails(root: Path) -> Iterable[Rail]:
    for folder in sorted(root.glob("hwmon*")):
        if _text(folder / "name") == "ina3221":
            for label in sorted(folder.glob("in*_label")):
                number = label.name.removeprefix("in").removesuffix("_label")
                volts, amperes = folder / f"in{number}_input", folder / f"curr{number}_input"
                yield _text(label), partial(_product, volts, amperes)


def _iio_rails(root: Path) -> Iterable[Rail]:
    """The driver of JetPack 4: milliwatts ready made."""
    for label in sorted(root.glob("*/iio:device*/rail_name_*")):
        number = label.name.rpartition("_")[2]
        power = label.parent / f"in_power{number}_input"
        yield _text(label), partial(_milli, power)


def _pmic_read() -> str:
    return subprocess.run(
        ["vcgencmd", "pmic_read_adc"], capture_output=True, text=True, timeout=5, check=True
    ).stdout


def find_reader() -> tuple[Reader | None, str]:
    """The machine's own meter, and what it reads; or None, and why there is none."""
    reasons = []
    for kind in (Ina3221, Pmic, Rapl):
        try:
            reader: Reader = kind.find()
        except LookupError as error:
            reasons.append(str(error))
        else:
            return reader, reader.name
    return None, "not measurable here: " + "; ".join(reasons)


# --- over time ----------------------------------------------------------------------------------------------


@dataclass
class Trace:
    """Joules over time: ``times`` in seconds since the epoch, ascending, ``joules`` since the first."""

    name: str
    times: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    _watts: float | None = None

    def add(self, time_s: float, value: float, counts: bool) -> None:
        """One reading: joules of a counter, or watts."""
        if counts:
            total = value
        elif not self.times:
            self._watts, total = value, 0.0
        else:
            before = value if self._watts is None else self._watts
            total = self.joules[-1] + (before + value) / 2 * (time_s - self.times[-1])
            self._watts = value
        self.times.append(time_s)
        self.joules.append(total)

    def between(self, begin: float, end: float) -> float | None:
        """Joules from ``begin`` to ``end``; None where the readings do not cover both."""
        if len(self.times) < 2 or begin < self.times[0] or end > self.times[-1] or end < begin:
            return None
        return self._at(end) - self._at(begin)

    def _at(self, moment: float) -> float:
        index = min(max(bisect.bisect_right(self.times, moment), 1), len(self.times) - 1)
        early, late = self.times[index - 1], self.times[index]
        share = (moment - early) / (late - early) if late > early else 0.0
        return self.joules[index - 1] + share * (self.joules[index] - self.joules[index - 1])


class Sampler:
    """Reads a meter whenever ``sample`` is called and its period has gone by."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.trace = reader, Trace(reader.name)
        self._next = 0.0

    def sample(self, now: bool = False) -> None:
        """``now``: whatever the period. A reading that fails is left out."""
        moment = time.time()
        if not now and moment < self._next:
            return
        self._next = moment + self.reader.period
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            self.trace.add(moment, self.reader.read(), self.reader.counts)


def read_csv(path: Path, start: str | None = None) -> Trace:
    """What a meter's program wrote: a head line, then a line for each reading.

    A column of time (its name begins with "time" or "date": seconds since the epoch, ISO 8601, or seconds
    since ``start``, which is then needed), and one of power (power, watt, w) or two of voltage and current.
    Units in the names, as in "Current (mA)", are heeded. Raises UsageError for anything else.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a CSV file: {error}") from error
    if len(rows) < 3:
        raise UsageError(f"{path} has no readings; a head line and two of numbers are the least.")
    names = [name.strip().lower() for name in rows[0]]
    when = _column(names, ("time", "date", "timestamp"))
    power = _column(names, ("power", "watt", "w"))
    volts, amperes = _column(names, ("volt", "v"), ("voltage",)), _column(names, ("curr", "amp", "a", "i"))
    if when is None or (power is None and (volts is None or amperes is None)):
        raise UsageError(
            f"{path} has the columns {rows[0]}; needed are one of time, and power, or voltage and current."
        )
    offset = 0.0 if start is None else _moment(start, path)
    trace = Trace(f"{path.name}: a meter's own record")
    for number, row in enumerate(rows[1:], 2):
        try:
            moment = offset + (float(row[when]) if start is not None else _moment(row[when], path))
            if power is not None:
                watts = float(row[power]) * _unit(names[power])
            else:
                assert volts is not None and amperes is not None
                watts = float(row[volts]) * _unit(names[volts]) * float(row[amperes]) * _unit(names[amperes])
        except (ValueError, IndexError) as error:
            raise UsageError(f"{path}, line {number}: {','.join(row)!r} is no reading ({error}).") from error
        if trace.times and moment < trace.times[-1]:
            raise UsageError(f"{path}, line {number}: its time is before the one above.")
        trace.add(moment, watts, counts=False)
    return trace


def _column(names: Sequence[str], begins: Sequence[str], more: Sequence[str] = ()) -> int | None:
    for begin in (*more, *begins):
        for index, name in enumerate(names):
            word = re.split(r"[^a-z]", name)[0]
            if word == begin or (len(begin) > 2 and name.startswith(begin)):
                return index
    return None


def _unit(name: str) -> float:
    """1/1000 for mA, mV and mW."""
    return 1e-3 if re.search(r"\bm[avw]\b|milli|_m[avw]\b", name) else 1.0


def _moment(text: str, path: Path) -> float:
    """Seconds since the epoch."""
    try:
        found = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text.strip()).timestamp()
        except ValueError as error:
            raise ValueError(f"{text!r} is no time") from error
    if found < 1e8:
        raise UsageError(
            f"{path}: the times are no dates ({text}); say when the record began with --power-start."
        )
    return found
