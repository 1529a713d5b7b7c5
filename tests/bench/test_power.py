"""Meters of energy, on folders and programs that stand in for the machines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgefoley.bench.power import Ina3221, Pmic, Rapl, Sampler, Trace, find_reader, read_csv
from edgefoley.errors import UsageError


def powercap(root: Path, *energies: int, most: int = 262_143_328_850) -> Path:
    for number, energy in enumerate(energies):
        folder = root / f"intel-rapl:{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"package-{number}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        (folder / "energy_uj").write_text(f"{energy}\n")
        inner = root / f"intel-rapl:{number}:0"  # cores, part of the package
        inner.mkdir()
        (inner / "name").write_text("core\n")
        (inner / "energy_uj").write_text("5\n")
    return root


def test_rapl_adds_packages_and_leaves_their_parts_out(tmp_path: Path) -> None:
    reader = Rapl.find(powercap(tmp_path, 1_000_000, 7_000_000))
    (tmp_path / "intel-rapl:0/energy_uj").write_text("3500000")
    (tmp_path / "intel-rapl:1/energy_uj").write_text("7250000")
    assert reader.read() == pytest.approx(2.75)
    assert "2 package" in reader.name


def test_rapl_counts_on_where_its_counter_begins_again(tmp_path: Path) -> None:
    reader = Rapl.find(powercap(tmp_path, 9_000_000, most=10_000_000))
    (tmp_path / "intel-rapl:0/energy_uj").write_text("500000")  # 1 J to the end, and half a joule
    assert reader.read() == pytest.approx(1.5)
    (tmp_path / "intel-rapl:0/energy_uj").write_text("900000")
    assert reader.read() == pytest.approx(1.9)


def test_rapl_that_only_root_may_read_says_so(tmp_path: Path, not_root: None) -> None:
    powercap(tmp_path, 1)
    (tmp_path / "intel-rapl:0/energy_uj").chmod(0)
    with pytest.raises(LookupError, match="root"):
        Rapl.find(tmp_path)


def test_a_machine_without_meters_says_why(tmp_path: Path) -> None:
    for find in (lambda: Rapl.find(tmp_path), lambda: Ina3221.find(tmp_path, tmp_path)):
        with pytest.raises(LookupError, match="no "):
            find()
    with pytest.raises(LookupError, match="vcgencmd"):
        Pmic.find(lambda: "VCHI initialization failed")


def test_jetson_board_input_from_hwmon(tmp_path: Path) -> None:
    other, sensor = tmp_path / "hwmon0", tmp_path / "hwmon3"
    for folder, name in ((other, "cpu_thermal"), (sensor, "ina3221")):
        folder.mkdir()
        (folder / "name").write_text(name)
    for number, (rail, volts, amperes) in enumerate(
        [("VDD_CPU_GPU_CV", 5000, 900), ("VDD_IN", 5040, 1250), ("VDD_SOC", 5000, 400)], 1
    ):
        (sensor / f"in{number}_label").write_text(rail + "\n")
        (sensor / f"in{number}_input").write_text(str(volts))
        (sensor / f"curr{number}_input").write_text(str(amperes))
    reader = Ina3221.find(tmp_path, tmp_path / "none")
    assert reader.read() == pytest.approx(5.04 * 1.25)
    assert "VDD_IN" in reader.name


def test_jetson_nano_board_input_from_the_old_driver(tmp_path: Path) -> None:
    device = tmp_path / "6-0040" / "iio:device0"
    device.mkdir(parents=True)
    for number, (rail, milliwatts) in enumerate([("POM_5V_GPU", 300), ("POM_5V_IN", 4870)]):
        (device / f"rail_name_{number}").write_text(rail + "\n")
        (device / f"in_power{number}_input").write_text(str(milliwatts))
    assert Ina3221.find(tmp_path / "none", tmp_path).read() == pytest.approx(4.87)


PMIC = """\
     3V7_WL_SW_A current(0)=0.09759616A
       3V3_SYS_A current(1)=0.06247632A
  VDD_CORE_A current(7)=2.00000000A
     3V7_WL_SW_V volt(8)=3.69680400V
       3V3_SYS_V volt(9)=3.31370100V
  VDD_CORE_V volt(15)=0.75000000V
         EXT5V_V volt(24)=5.15000000V
          BATT_V volt(25)=0.00000000V
"""


def test_pi_5_adds_the_rails_that_have_both() -> None:
    expected = 0.09759616 * 3.696804 + 0.06247632 * 3.313701 + 2 * 0.75
    assert Pmic.find(lambda: PMIC).read() == pytest.approx(expected)


def test_watts_become_joules_by_trapezoids() -> None:
    trace = Trace("x")
    for moment, watts in ((100.0, 2.0), (101.0, 4.0), (103.0, 4.0)):
        trace.add(moment, watts, counts=False)
    assert trace.between(100, 103) == pytest.approx(3 + 8)
    assert trace.between(101.5, 102.0) == pytest.approx(2)
    assert trace.between(99, 102) is None  # the readings begin later
    assert trace.between(102, 104) is None


def test_counters_are_subtracted() -> None:
    trace = Trace("x")
    for moment, joules in ((10.0, 50.0), (11.0, 56.0), (12.0, 57.0)):
        trace.add(moment, joules, counts=True)
    assert trace.between(10.5, 11.5) == pytest.approx(56.5 - 53)


class Flaky:
    name, counts, period = "flaky", False, 0.0

    def __init__(self) -> None:
        self.calls = 0

    def read(self) -> float:
        self.calls += 1
        if self.calls == 2:
            raise OSError("busy")
        return 3.0


def test_a_reading_that_fails_is_left_out() -> None:
    sampler = Sampler(Flaky())
    for _ in range(3):
        sampler.sample(now=True)
    assert len(sampler.trace.times) == 2


@pytest.mark.parametrize(
    ("head", "rows", "joules"),
    [
        ("Time,Power (W)", ["1700000000,5", "1700000002,7"], 12),
        ("timestamp;x", [], None),
        ("Date,Voltage(V),Current(mA)", ["2023-11-14T22:13:20+00:00,5,1000",
                                         "2023-11-14T22:13:22+00:00,5,3000"], 20),
        ("time_s,voltage_mv,current_ma", ["1700000000,5000,200", "1700000002,5000,200"], 2),
    ],
)  # fmt: skip
def test_files_of_usb_meters(tmp_path: Path, head: str, rows: list[str], joules: float | None) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    if joules is None:
        with pytest.raises(UsageError, match="readings"):
            read_csv(path)
        return
    assert read_csv(path).between(1700000000, 1700000002) == pytest.approx(joules)


def test_times_from_zero_need_their_start(tmp_path: Path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("Time (s),Power\n0,4\n10,4\n")
    with pytest.raises(UsageError, match="--power-start"):
        read_csv(path)
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    trace = read_csv(path, start.isoformat())
    assert trace.between(start.timestamp() + 1, start.timestamp() + 3) == pytest.approx(8)


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n3,4\n", "time,power\n1700000000,five\n1700000001,5\n", "time,power\n"
             "1700000009,1\n1700000001,1\n", "time,voltage\n1700000000,5\n1700000001,5\n"]
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meter.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"meter\.csv"):
        read_csv(path)


def test_this_machine_either_reads_or_says_why() -> None:
    reader, words = find_reader()
    assert (reader is None) == words.startswith("not measurable here")
