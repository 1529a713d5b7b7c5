"""Graphs traced without weights and filled afterwards: what is stored, and that it computes what PyTorch
does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from edgefoley.export.activations import peak_bytes  # noqa: E402
from edgefoley.export.graph import ExportError  # noqa: E402
from edgefoley.export.skeleton import Skeleton, trace, write  # noqa: E402
from edgefoley.models.layers import TimeConv, attention  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
WIDTH, HIDDEN = 256, 512


class Network(torch.nn.Module):
    """A convolution over neighbours, a linear layer, an added table, and weights that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = TimeConv(WIDTH, HIDDEN, 3, bias=False)
        self.linear = torch.nn.Linear(HIDDEN, WIDTH)
        self.near, self.far = (torch.nn.Parameter(torch.zeros(1, 1, WIDTH)) for _ in range(2))
        self.idle = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x + (self.near + self.far))) * length


@pytest.fixture(scope="module")
def skeleton() -> Skeleton:
    example = {"x": torch.zeros(1, 5, WIDTH), "length": torch.zeros(1)}
    return trace("network", Network, example, ["y"], {"x": {1: "token"}})


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    made = Network()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.requires_grad_(False)


def run(path: Path, names: tuple[str, str], x: torch.Tensor, length: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, (x.numpy(), length.numpy()), strict=True)))[0]


def test_what_is_stored_is_what_the_graph_reads(skeleton: Skeleton) -> None:
    assert skeleton.inputs == ("x", "length") and skeleton.outputs == ("y",)
    assert set(skeleton.axes.values()) == {"token"}
    assert set(skeleton.used) == {"conv.weight", "linear.weight", "linear.bias", "near", "far"}
    sources = {recipe.sources for recipe in skeleton.recipes}
    assert ("near", "far") in sources  # added up once, not at every run


@pytest.mark.parametrize("count", [2, 17])
def test_a_filled_graph_computes_what_the_module_does(
    skeleton: Skeleton, network: Network, tmp_path: Path, count: int
) -> None:
    weights = network.state_dict()
    written = write(skeleton, weights.__getitem__, tmp_path / "a.onnx")
    assert written.error == 0 and written.stored == {"fp32": 3 * WIDTH * HIDDEN + HIDDEN * WIDTH + 2 * WIDTH}
    x, length = torch.randn(1, count, WIDTH), torch.tensor([0.5])
    made = run(written.path, ("x", "length"), x, length)
    np.testing.assert_allclose(made, network(x, length).numpy(), rtol=2e-4, atol=2e-3)
    ops = [node.op_type for node in onnx.load(str(written.path), load_external_data=False).graph.node]
    assert "Conv" not in ops and ops.count("MatMul") == 2


def test_other_weights_and_names_fit_the_same_skeleton(
    skeleton: Skeleton, network: Network, tmp_path: Path
) -> None:
    doubled = {f"block.{key}": 2 * value for key, value in network.state_dict().items()}
    names = {"x": "x.03", "y": "x.04"}
    written = write(
        skeleton, doubled.__getitem__, tmp_path / "b.onnx", "fp32", names, lambda name: f"block.{name}"
    )
    other = Network().requires_grad_(False)
    other.load_state_dict({key: 2 * value for key, value in network.state_dict().items()})
    x, length = torch.randn(1, 4, WIDTH), torch.tensor([1.0])
    made = run(written.path, ("x.03", "length"), x, length)
    np.testing.assert_allclose(made, other(x, length).numpy(), rtol=2e-4, atol=1e-2)
    model = onnx.load(str(written.path), load_external_data=False)
    assert [value.name for value in model.graph.output] == ["x.04"]
    assert {"block.conv.weight", "block.linear.weight", "block.linear.bias", "block.near"} <= {
        tensor.name for tensor in model.graph.initializer
    }
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, "token", WIDTH]


def test_half_the_bytes_are_exact_for_weights_of_half_the_bits(
    skeleton: Skeleton, network: Network, tmp_path: Path
) -> None:
    """What is bfloat16 already, as the published transformer is, comes back bit by bit."""
    rounded = {key: value.bfloat16().float() for key, value in network.state_dict().items()}
    plain = write(skeleton, rounded.__getitem__, tmp_path / "plain.onnx")
    narrow = write(skeleton, rounded.__getitem__, tmp_path / "narrow.onnx", "bf16")
    assert narrow.error == 0
    assert narrow.stored == {"bf16": 3 * WIDTH * HIDDEN + HIDDEN * WIDTH, "fp32": 2 * WIDTH}
    assert narrow.data.stat().st_size < 0.51 * plain.data.stat().st_size
    x, length = torch.randn(1, 9, WIDTH), torch.tensor([1.0])
    results = [run(written.path, ("x", "length"), x, length) for written in (plain, narrow)]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("storage", "largest"), [("bf16", 3e-3), ("fp16", 4e-4)])
def test_rounding_is_told(
    skeleton: Skeleton, network: Network, tmp_path: Path, storage: str, largest: float
) -> None:
    written = write(skeleton, network.state_dict().__getitem__, tmp_path / "c.onnx", storage)  # type: ignore[arg-type]
    assert 0 < written.error < largest


def test_values_beyond_the_range_are_refused(skeleton: Skeleton, network: Network, tmp_path: Path) -> None:
    huge = {key: value * 1e6 for key, value in network.state_dict().items()}
    with pytest.raises(ExportError, match="beyond the range of fp16"):
        write(skeleton, huge.__getitem__, tmp_path / "d.onnx", "fp16")
    with pytest.raises(ExportError, match="storage must be one of fp32, bf16, fp16"):
        write(skeleton, huge.__getitem__, tmp_path / "d.onnx", "int4")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="to rename"):
        write(skeleton, huge.__getitem__, tmp_path / "d.onnx", "fp32", {"z": "zz"})


def test_large_tensors_can_be_mapped(skeleton: Skeleton, network: Network, tmp_path: Path) -> None:
    written = write(skeleton, network.state_dict().__getitem__, tmp_path / "e.onnx")
    graph = onnx.load(str(written.path), load_external_data=False).graph
    places = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert len(places) == 2
    assert all(int(place["offset"]) % 65536 == 0 and place["location"] == "e.data" for place in places)


class Attending(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return attention(x, x, x)


def test_living_values_are_counted() -> None:
    """Attention of n tokens holds the scores and their softmax, n^2 numbers each, at once."""
    example = {"x": torch.zeros(1, 2, 5, 32)}
    skeleton = trace("attending", Attending, example, ["y"], {"x": {2: "token"}})
    n = 2000
    scores = 2 * n * n * 4
    counted = peak_bytes(skeleton, {"token": n})
    assert 2 * scores <= counted <= 2.2 * scores
    with pytest.raises(ExportError, match="not known"):
        peak_bytes(skeleton, {})
