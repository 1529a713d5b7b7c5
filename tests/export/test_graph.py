"""Export and its check: a good graph passes, a wrong one is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from edgefoley.export.components import SyncGraph, decoder_graph, largest_near, transformer_graphs  # noqa: E402
from edgefoley.export.graph import ExportError, GraphSpec, export_graph, tensor_entries, verify  # noqa: E402
from edgefoley.models.codec import CodecConfig, CodecDecoder  # noqa: E402
from edgefoley.models.sync import SyncConfig, SyncEncoder  # noqa: E402
from edgefoley.models.transformer import NANO, Transformer  # noqa: E402
from edgefoley.train.sync_curve import draw_curve  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations


class Scale(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


@pytest.fixture(scope="module")
def scaled() -> tuple[GraphSpec, onnx.ModelProto]:
    examples = [{"x": torch.randn(2, n)} for n in (5, 3)]
    spec = GraphSpec("scale", Scale(2.0), ("y",), {"x": {1: "n"}}, examples, {})
    return spec, export_graph(spec)


def test_good_graph_passes(scaled: tuple[GraphSpec, onnx.ModelProto]) -> None:
    spec, model = scaled
    assert verify(spec, model, 1e-6) < 1e-6
    inputs, outputs = tensor_entries(model)
    assert inputs == [{"name": "x", "shape": [2, "n"], "dtype": "float32"}] and outputs[0]["name"] == "y"


def test_wrong_values_and_names_are_refused(scaled: tuple[GraphSpec, onnx.ModelProto]) -> None:
    spec, model = scaled
    with pytest.raises(ExportError, match="y differs by"):
        verify(replace(spec, module=Scale(2.01)), model, 1e-4)
    with pytest.raises(ExportError, match="wanted"):
        verify(replace(spec, outputs=("z",)), model, 1e-4)


def test_wrong_shape_is_refused(scaled: tuple[GraphSpec, onnx.ModelProto]) -> None:
    class Cut(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x[:, 1:]

    spec, model = scaled
    with pytest.raises(ExportError, match="wanted float32"):
        verify(replace(spec, module=Cut()), model, 1e-4)


@pytest.mark.slow
def test_small_transformer_and_decoder_export_exactly() -> None:
    torch.manual_seed(0)
    config = replace(NANO, hidden_size=64, num_heads=2, depth_triple_blocks=2, depth_single_blocks=1)
    specs = transformer_graphs(Transformer(config).eval())
    specs.append(decoder_graph(CodecDecoder(CodecConfig(coarse_width=32, fine_width=24)).eval()))
    for spec in specs:
        assert verify(spec, export_graph(spec), 3e-5) < 3e-5


def test_largest_near_equals_a_sliding_maximum() -> None:
    x = torch.rand(2, 40)
    padded = np.pad(x.numpy(), ((0, 0), (3, 3)))
    wanted = np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1).max(-1)
    assert np.array_equal(largest_near(x, 3).numpy(), wanted)


def event_curve(logits: torch.Tensor) -> np.ndarray:
    """``sync_feat`` (frames, 4) of an encoder that reports ``logits`` (2 frames,); strength and activity are
    0.5 wherever they are told."""

    class Fixed(torch.nn.Module):
        config = SyncConfig()

        def forward(self, frames: torch.Tensor, ages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(1, ages.shape[1], 4), logits[None]

    heads = [torch.nn.Linear(4, 2) for _ in range(2)]
    for head in heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    graph, frames = SyncGraph(Fixed(), heads[0], heads[1], 1.0, 0.0), len(logits) // 2
    with torch.no_grad():
        feat, _ = graph(torch.zeros(1, frames, 2, 2, dtype=torch.uint8), torch.zeros(1, frames))
    return feat[0].numpy()


def test_sync_graph_draws_the_curve_that_training_drew() -> None:
    """Peaks of the logits become the same channels as ``draw_curve`` makes from the list of those peaks; what
    is fainter than any event of training is none."""
    logits = torch.full((60,), -30.0)
    logits[[20, 41, 52]] = torch.tensor([1.0, -1.0, -4.0])
    heights = torch.sigmoid(torch.tensor([1.0, -1.0])).numpy()
    wanted = draw_curve(
        np.array([0.4, 0.82]), heights, np.array([0.5, 0.5]), np.full(60, 0.5, np.float32), 30
    )
    assert np.allclose(event_curve(logits), wanted, atol=1e-6)


def test_a_flat_top_is_one_event() -> None:
    """A frozen picture gives the same logit again and again."""
    flat = np.full(60, 0.5, np.float32)
    wanted = draw_curve(np.array([0.0]), np.array([0.5]), np.array([0.5]), flat, 30)
    assert np.allclose(event_curve(torch.zeros(60)), wanted, atol=1e-6)


def test_sync_encoder_is_never_changed_by_the_graph() -> None:
    encoder = SyncEncoder().eval()
    heads = [torch.nn.Linear(encoder.config.width, 2) for _ in range(2)]
    frames, ages = torch.randint(0, 256, (1, 8, 112, 112), dtype=torch.uint8), torch.zeros(1, 8)
    with torch.no_grad():
        _, logits = SyncGraph(encoder, heads[0], heads[1], 1.0, 0.0)(frames, ages)
        assert torch.equal(logits, encoder(frames, ages)[1])
