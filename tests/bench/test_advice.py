"""Advice: what is chosen, what is refused, and what an Edge TPU cannot do."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from edgefoley.bench import advice
from edgefoley.bench.advice import Choice, advise
from edgefoley.bench.edge_tpu import MEMORY, judge
from edgefoley.bench.graph_file import read_graph
from edgefoley.bench.shapes import propagate
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import open_bundle
from edgefoley.errors import UsageError
from edgefoley.plan import Run
from tests.backends.onnx_files import normal, save


def test_a_small_board_gets_nano() -> None:
    found = advise("raspberry-pi-4b", Fraction(10), "balanced")
    chosen = found.chosen
    assert chosen is not None and chosen.model == "nano" and chosen.projection is not None
    assert (chosen.num_steps, chosen.guidance) == (12, 2.5) or chosen.num_steps > 0
    assert chosen.projection.threads == 4 and chosen.fits
    assert {choice.model for choice in found.others} == {"xl", "xxl"}
    xxl = next(choice for choice in found.others if choice.model == "xxl")
    assert not xxl.fits and xxl.seconds is None and "not installed" in xxl.remark
    assert json.loads(json.dumps(found.to_json()))["chosen"]["projection"]["projected"] is True


def test_fast_is_faster_and_says_what_is_not_known() -> None:
    usual, fast = (advise("raspberry-pi-5", Fraction(10), quality).chosen for quality in ("balanced", "fast"))
    assert usual and fast and fast.guidance <= 1 and fast.num_steps == -(-usual.num_steps // 2)
    assert (fast.seconds or 0) < 0.95 * (usual.seconds or 0) and "not measured" in fast.remark
    assert fast.projection and usual.projection  # half the steps of one pass instead of two
    assert fast.projection.estimate.denoising < 0.3 * usual.projection.estimate.denoising


def test_longer_clips_take_longer_and_the_longest_fits() -> None:
    short, long = (advise("raspberry-pi-4b", Fraction(n), "balanced").chosen for n in (10, 60))
    assert short and long and (long.seconds or 0) > 5 * (short.seconds or 0)
    assert short.longest == long.longest and (short.longest or 0) > 60


def test_nothing_fits_into_very_little(tmp_path: Path) -> None:
    profile = Path(advice.__file__).parent / "profiles" / "raspberry-pi-4b.toml"
    path = tmp_path / "tiny.toml"
    path.write_text(profile.read_text().replace("ram_mb = { value = 4000", "ram_mb = { value = 650"))
    found = advise(str(path), Fraction(10), "best")
    assert found.chosen is None
    nano = next(choice for choice in found.others if choice.model == "nano")
    assert not nano.fits and "does not fit" in nano.remark


def choice(model: str, seconds: float, fits: bool = True, installed: bool = True) -> Choice:
    projection = object() if installed else None
    return Choice(model, 1, 1.0, seconds, fits, "", projection)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quality", "expected"), [("fast", "small"), ("balanced", "middle"), ("best", "large")]
)
def test_quality_decides(quality: advice.Quality, expected: str) -> None:
    """For 10 s: at most 100 s are put up with; what is not installed or does not fit is never chosen."""
    choices = [choice("small", 5), choice("middle", 90), choice("large", 500)]
    choices += [choice("huge", 900, fits=False), choice("elsewhere", 20, installed=False)]
    found = advice._chosen(choices, quality, 10.0)
    assert found is not None and found.model == expected
    assert advice._chosen(choices[3:], quality, 10.0) is None
    slow = [choice("large", 500), choice("larger", 700)]
    found = advice._chosen(slow, "balanced", 10.0)
    assert found is not None and found.model == "large"


def test_this_machine_needs_no_profile() -> None:
    found = advise("this", Fraction(5), "balanced")
    assert found.device is None and found.chosen is not None and found.chosen.longest
    assert [note.topic for note in found.notes] == ["GPU"]


def test_what_will_not_work_on_a_jetson_nano() -> None:
    text = " ".join(note.text for note in advise("jetson-nano", Fraction(10), "balanced").notes)
    assert "no INT8 arithmetic" in text and "JetPack is 4.6" in text and "Python 3.11" in text


@pytest.mark.parametrize(
    ("device", "seconds", "quality", "words"),
    [("toaster", 10, "best", "toaster"), ("this", 0, "best", "above 0"), ("this", 5000, "best", "3600"),
     ("this", 10, "nice", "balanced")],
)  # fmt: skip
def test_refusals(device: str, seconds: int, quality: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        advise(device, Fraction(seconds), quality)  # type: ignore[arg-type]


# --- Edge TPU -----------------------------------------------------------------------------------------------


def passed(tmp_path: Path, graph: str, shapes: dict[str, tuple[int, ...]], **weights) -> Pass:
    read = read_graph(save(tmp_path / "g.onnx", graph, **weights))
    return Pass("g", 1, shapes, read, propagate(read, shapes))


def test_a_plain_network_could_run(tmp_path: Path) -> None:
    graph = """g (float[1,3,16,16] x) => (float[a,b] y)
        <float zero = {0}, float six = {6}, int64[2] flat = {1, -1}> {
        a = Conv <pads = [1,1,1,1]> (x, w)
        b = Clip(a, zero, six)
        c = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b)
        d = Reshape(c, flat)
        y = Gemm(d, v)
    }"""
    found = judge(passed(tmp_path, graph, {"x": (1, 3, 16, 16)}, w=normal(8, 3, 3, 3), v=normal(512, 4)))
    assert found.possible and (found.mapped, found.others) == (4, 0) and found.before == 1
    assert found.weight_bytes == 8 * 27 + 512 * 4 and "all 4 operators" in found.words


def test_what_stands_behind_an_obstacle_runs_elsewhere(tmp_path: Path) -> None:
    graph = """g (float[1,T,8] x) => (float[1,T,8] y) {
        a = MatMul(x, w)
        b = Gelu(a)
        c = MatMul(b, w)
        d = Transpose <perm = [0,2,1]> (c)
        y = MatMul(d, c)
    }"""
    found = judge(passed(tmp_path, graph, {"x": (1, 8, 8)}, w=normal(8, 8)))
    assert found.before == pytest.approx(1 / 3) and not found.possible
    assert dict(found.obstacles) == {"Gelu": 1, "MatMul of two inputs (attention)": 1}
    assert found.free == ("T",) and "shapes to be fixed: T" in found.words


def test_limits_of_the_chip(tmp_path: Path) -> None:
    graph = "g (float[2,3,8,8] x) => (float[a,b,c,d] y) { y = Conv(x, w) }"
    found = judge(passed(tmp_path, graph, {"x": (2, 3, 8, 8)}, w=normal(4, 3, 3, 3)))
    assert dict(found.obstacles) == {"Conv of more than three dimensions": 1}
    graph = "g (float[1,200,200] x) => (float[1,200,200] y) { y = Softmax(x) }"
    found = judge(passed(tmp_path, graph, {"x": (1, 200, 200)}))
    assert dict(found.obstacles) == {"Softmax of more than 16000 elements": 1}
    graph = "g (float[1,3000] x) => (float[1,3000] y) { y = MatMul(x, w) }"
    found = judge(passed(tmp_path, graph, {"x": (1, 3000)}, w=normal(3000, 3000)))
    assert found.weight_bytes > MEMORY and not found.others and not found.possible
    assert "sent over at every run" in found.words


def test_nano_on_the_chip() -> None:
    """The image encoder nearly, everything else not; the denoiser is too large besides."""
    found = {one.component: one for one in advise("coral", Fraction(10), "balanced").verdicts}
    assert set(found) == {"text", "visual", "sync", "conditioner", "timestep", "denoiser", "decoder"}
    assert not any(verdict.possible for verdict in found.values())
    assert found["visual"].others <= 4 and found["visual"].mapped > 90
    assert any("LayerNormalization" in reason for reason in found["denoiser"].obstacles)
    one = Workload(open_bundle("nano"), "ort", Run(Fraction(10), True, (64, 48), 1, 1)).single("visual")
    assert one.shapes["frames"][0] == 1
