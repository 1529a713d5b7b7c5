"""The card of a machine, on files that stand in for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.bench.card import card, clock_mhz, device_name, governor, temperature_c, throttling_words


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_board(tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    for core, (kind, now) in enumerate([("ondemand", 1500000), ("ondemand", 2400000)]):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        put(tmp_path, f"{folder}/scaling_governor", kind + "\n")
        put(tmp_path, f"{folder}/scaling_cur_freq", f"{now}\n")
        put(tmp_path, f"{folder}/cpuinfo_max_freq", "2400000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "51650\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "-274000\n")  # a sensor that is not there
    assert device_name(tmp_path) == "Raspberry Pi 5 Model B Rev 1.0"
    assert governor(tmp_path) == "ondemand"
    assert clock_mhz(tmp_path) == {"now": 2400, "most": 2400}
    assert temperature_c(tmp_path) == 51.65


def test_a_computer_without_clock_control(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "Maker\n")
    put(tmp_path, "sys/class/dmi/id/product_name", "Book 3\n")
    put(tmp_path, "proc/cpuinfo", "cpu MHz\t\t: 1996.250\ncpu MHz\t\t: 2500.0\n")
    assert device_name(tmp_path) == "Maker Book 3"
    assert clock_mhz(tmp_path) == {"now": 2500}
    assert governor(tmp_path) is None and temperature_c(tmp_path) is None


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    assert device_name(tmp_path) is None and clock_mhz(tmp_path) is None


@pytest.mark.parametrize(
    ("bits", "words"),
    [(0, "no"), (0x50005, "low voltage, throttled, low voltage since boot, throttled since boot"),
     (0x80000, "soft temperature limit since boot")],
)  # fmt: skip
def test_what_the_firmware_says(bits: int, words: str) -> None:
    assert throttling_words(bits) == words


def test_this_machine() -> None:
    found = card()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1 and found["edgefoley"] and found["numpy"]
