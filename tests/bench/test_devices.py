"""Device profiles, and kernels carried over to them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgefoley.bench import calibration, profile_page, projection
from edgefoley.bench.calibration import REACH, REFERENCE, Calibration, Core, read_calibration, save
from edgefoley.bench.devices import Device, Figure, device_names, read_device
from edgefoley.bench.kernels import Point
from edgefoley.bench.projection import carried, estimate, project, rest_on
from edgefoley.bench.roofline import Roofline
from edgefoley.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", device_names())
def test_every_figure_says_where_it_is_from(name: str) -> None:
    device = read_device(name)
    assert len(device.figures) == 10 and device.power_sensor
    assert all(figure.value > 0 and len(figure.where) > 8 for figure in device.figures.values())
    assert all(note.source for note in device.notes)
    assert 0.2e9 < device.usable_bytes < 64e9


def test_the_devices_of_the_study_and_others() -> None:
    expected = {
        "raspberry-pi-4b",
        "raspberry-pi-5",
        "jetson-nano",
        "jetson-orin-nano",
        "coral-dev-board-mini",
    }
    names = set(device_names())
    assert expected < names and sum(name.startswith("laptop") for name in names) == 2
    assert any(name.startswith("phone") for name in names)


def test_what_the_devices_lack_is_said() -> None:
    notes = {note.topic: note.text for note in read_device("jetson-nano").notes}
    assert "INT8" in notes["GPU"] and "Python 3.6" in notes["software"]
    coral = read_device("coral-dev-board-mini")
    assert coral.edge_tpu and any("static" in note.text for note in coral.notes)
    assert "meter" in read_device("raspberry-pi-4b").power_sensor


def test_names_may_be_short_and_spelled_freely() -> None:
    assert read_device("Raspberry Pi 5").key == "raspberry-pi-5"
    assert read_device("jetson-orin").key == "jetson-orin-nano"
    for name in ("raspberry", "toaster"):
        with pytest.raises(UsageError, match="raspberry-pi-4b"):
            read_device(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [("assumed =", "rumour ="), ("value = 4,", "value = 0,"), ('name = "', 'title = "'),
     ("[memory]", "[room]"),
     ('source = "', 'assumed = "x", source = "'), ("[cpu]", "[cpu]\nspeed = { value = 1, assumed = 'x' }")],
)  # fmt: skip
def test_files_that_are_no_profiles(tmp_path: Path, old: str, new: str) -> None:
    text = (Path(calibration.__file__).parent / "profiles" / "raspberry-pi-4b.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert read_device(str(path)).key == "mine"
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=r"mine\.toml"):
        read_device(str(path))
    with pytest.raises(UsageError, match="missing"):
        read_device(str(tmp_path / "missing.toml"))


CORE = Core(clock_ghz=2.0, fp32_per_cycle=16, int8_per_cycle=64, decode=4, simd_bytes=16)
PEAK = 2.0e9 * 16 * REACH
POINTS = (
    Point("matmul", "MatMul", (64, 64, 64), round(PEAK), 0, 1.0),
    Point("matmul", "MatMul", (1, 64, 64), round(PEAK), 0, 4.0),
    Point("matmul_int8", "MatMulInteger", (64, 64, 64), round(4 * PEAK), 0, 1.0),
    Point("conv", "Conv", (1, 8, 8, 9, 64, 1), 1000, 0, 1.0),
    Point("", "Add", (), 0, 10_000, 1e-6),
    Point("", "Add", (), 0, 10_000_000, 1e-3),
    Point("", "Where", (), 0, 10_000, 1e-5),
    Point("", "Sin", (), 0, 10_000, 1e-5),
)
HERE = Calibration(
    "here", "1", "2026-01-01", 0.0, CORE, Roofline(POINTS, 1e-5, 1e-6, 20e9, 1e9), {"read": 0.02}, ()
)


def device(**values: float) -> Device:
    """A device like ``CORE`` but for ``values``."""
    base = {
        "cores": 4, "clock_ghz": 2.0, "fp32_per_cycle": 16, "int8_per_cycle": 64, "decode": 4,
        "simd_bytes": 16, "cache_kb": 1000, "bandwidth_gbs": 20, "ram_mb": 4000, "system_mb": 500,
    }  # fmt: skip
    figures = {name: Figure(value, "assumed", "test") for name, value in (base | values).items()}
    return Device("mine", "Mine", "test", "x86_64", True, power_sensor="none", **figures)


def test_the_same_core_gives_the_same_times() -> None:
    found = carried(HERE, device())
    assert [p.seconds for p in found.points] == pytest.approx([p.seconds for p in POINTS])
    assert (found.call, found.node, found.bandwidth, found.touch) == pytest.approx((1e-5, 1e-6, 20e9, 1e9))


@pytest.mark.parametrize(
    ("values", "factors"),
    [
        # float products, INT8 products, convolution, vector moves, single moves, curves, start
        ({"clock_ghz": 1.0}, (2, 2, 2, 2, 2, 2, 2)),
        ({"fp32_per_cycle": 8}, (2, 1, 2, 1, 1, 2, 1)),
        ({"int8_per_cycle": 16}, (1, 4, 1, 1, 1, 1, 1)),
        ({"simd_bytes": 8}, (1, 1, 1, 2, 1, 1, 1)),
        ({"decode": 2}, (1, 1, 1, 1, 2, 1, 2)),
    ],
)
def test_what_is_slower_where(values: dict[str, float], factors: tuple[float, ...]) -> None:
    found = carried(HERE, device(**values))
    before = {"matmul": 0, "matmul_int8": 2, "conv": 3, "Add": 4, "Where": 6, "Sin": 7}
    ratios = [found.points[i].seconds / POINTS[i].seconds for i in before.values()]
    assert [*ratios, found.node / 1e-6] == pytest.approx(factors)


def test_what_no_cache_holds_comes_from_memory() -> None:
    found = carried(HERE, device(bandwidth_gbs=5))
    assert found.points[5].seconds == pytest.approx(10_000_000 / 5e9)  # beyond the cache of 1 MB
    assert found.points[4].seconds == pytest.approx(1e-6)
    assert found.bandwidth == 5e9


def test_small_arm_cores_reach_less_of_their_peak() -> None:
    found = carried(HERE, replace(device(), architecture="aarch64"))
    assert found.points[0].seconds == pytest.approx(REACH / projection.ARM_REACH)


def test_what_is_beside_the_networks() -> None:
    assert rest_on(HERE, device()) == pytest.approx(HERE.rest)
    assert rest_on(HERE, device(clock_ghz=1.0))["read"] == pytest.approx(0.04)
    made = estimate(HERE.roofline, [], 1, {"read": 0.02, "write": 0.01}, Fraction(10))
    assert made.seconds == pytest.approx(0.3) and made.denoising == 0
    shared = estimate(HERE.roofline, [], 4, {"read": 0.02, "write": 0.01}, Fraction(10))
    assert shared.rest["write"] == pytest.approx(0.1) and shared.rest["read"] == pytest.approx(0.2 / 4**0.7)


def test_projections_of_the_packaged_model() -> None:
    """A faster device takes less; more steps take more; INT8 needs less than what it was made from."""
    four, five = (project("nano", name, Fraction(10)) for name in ("raspberry-pi-4b", "raspberry-pi-5"))
    assert 1 < four.estimate.seconds < 60 and four.estimate.seconds > 1.5 * five.estimate.seconds
    assert four.to_json()["projected"] is True and four.threads == 4
    more = project("nano", "raspberry-pi-4b", Fraction(10), steps=2 * four.num_steps)
    denoising = more.estimate.denoising / four.estimate.denoising
    assert denoising == pytest.approx(2, rel=0.01) and more.num_steps == 2 * four.num_steps
    assert four.memory_bytes is not None and 100e6 < four.memory_bytes < 700e6
    assert project("nano", "raspberry-pi-4b", Fraction(10), guidance=1.0).estimate.denoising < denoising


def test_what_does_not_fit_says_so(tmp_path: Path) -> None:
    text = (Path(calibration.__file__).parent / "profiles" / "raspberry-pi-4b.toml").read_text()
    path = tmp_path / "tiny.toml"
    path.write_text(text.replace("ram_mb = { value = 4000", "ram_mb = { value = 600"))
    found = project("nano", str(path), Fraction(10))
    assert found.memory_bytes is None and "does not fit" in found.memory_words


def test_a_calibration_is_kept_and_belongs_to_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "cache_path", lambda: tmp_path / "new" / "c.json")
    assert calibration.own_calibration() is None and calibration.calibration().reference
    reference = read_calibration(REFERENCE)
    version = calibration.version("onnxruntime")
    mine = replace(reference, processor=calibration.processor_name(), onnxruntime=version)
    save(mine, calibration.cache_path())
    assert calibration.own_calibration() == mine  # the reference has four digits already
    assert not calibration.calibration().reference
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["c.json"]
    for other in (replace(mine, processor="another"), replace(mine, onnxruntime="0.1")):
        save(other, calibration.cache_path())
        assert calibration.own_calibration() is None
    calibration.cache_path().write_text("{")
    assert calibration.own_calibration() is None
    with pytest.raises(UsageError, match="no calibration"):
        read_calibration(calibration.cache_path())


def test_the_reference_says_what_it_missed() -> None:
    found = read_calibration(REFERENCE)
    assert len({(one.model, one.component) for one in found.checked}) == len(found.checked) >= 14
    assert found.miss is not None and 1 <= found.miss[0] <= found.miss[1]
    close = [one for one in found.checked if 1 / 1.3 <= one.ratio <= 1.3]
    assert len(close) >= 0.85 * len(found.checked)
    assert {point.kind for point in found.roofline.points} >= {"matmul", "matmul_int8", "conv", "product"}


def test_the_page_of_devices_is_up_to_date() -> None:
    page = ROOT / "docs" / "devices.md"
    assert page.read_text(encoding="utf-8") == profile_page.render(), (
        "run: python -m edgefoley.bench.profile_page"
    )


def test_counting_and_projecting_need_nothing_that_the_runtime_lacks() -> None:
    """In a process that can import neither onnx nor torch."""
    code = """
import sys
for name in ("onnx", "torch", "scipy", "sympy", "openvino"): sys.modules[name] = None
from fractions import Fraction
from edgefoley.bench import page, session, profile_page
from edgefoley.bench.projection import project
print(project("nano", "raspberry-pi-5", Fraction(2)).estimate.seconds)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


def test_json_of_a_projection() -> None:
    found = project("nano", "jetson-nano", Fraction(5)).to_json()
    assert json.loads(json.dumps(found)) == found and found["device"] == "jetson-nano"
