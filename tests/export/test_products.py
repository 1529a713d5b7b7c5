"""Which weights of a converted transformer an INT8 matrix product can take."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch", reason="conversion is offline work and needs torch")
pytest.importorskip("onnxscript")

from edgefoley.convert.hunyuan import TINY  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the exporter's own deprecations


@dataclass(frozen=True)
class Weight:
    """A stored tensor and the nodes that read it, past a Cast that widens it: (operator, place)."""

    name: str
    shape: tuple[int, ...]
    readers: frozenset[tuple[str, int]]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def weights(path: Path) -> Iterator[Weight]:
    graph = onnx.load(str(path), load_external_data=False).graph
    readers = defaultdict(list)
    for node in graph.node:
        for place, name in enumerate(node.input):
            readers[name].append((node, place))
    for tensor in graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.BFLOAT16):
            found = readers[tensor.name]
            while len(found) == 1 and found[0][0].op_type == "Cast":
                found = readers[found[0][0].output[0]]
            nodes = frozenset((node.op_type, place) for node, place in found)
            yield Weight(tensor.name.removesuffix(".bf16"), tuple(tensor.dims), nodes)


def test_kernels_of_three_are_constant_factors_of_matrix_products(tiny_bundle: Path) -> None:
    """The weight of each is the second factor of a MatMul, three times as high as the input is wide."""
    config = TINY.transformer
    h, hidden = config.hidden_size, config.gated_hidden
    found = {w.name: w for w in weights(tiny_bundle / "denoiser.02.onnx")}
    for block in range(config.depth_single_blocks):
        at = f"single_blocks.{block}"
        for name, shape in (
            (f"{at}.linear1.weight", (3 * h, h)), (f"{at}.linear2.w1.weight", (3 * h, hidden)),
            (f"{at}.linear2.w3.weight", (3 * h, hidden)), (f"{at}.linear2.w2.weight", (3 * hidden, h)),
        ):  # fmt: skip
            assert found[name].shape == shape
            assert found[name].readers == {("MatMul", 1)}


def test_nearly_all_weights_can_be_reached(tiny_bundle: Path) -> None:
    """Of what runs at every step all matrices are constant second factors of a MatMul; the rest are biases,
    norms and tables. What runs once per clip or schedule has some as Gemm."""
    kinds = {"denoiser": {("MatMul", 1)}, "conditioner": {("MatMul", 1)}, "timestep": {("Gemm", 1)}}
    for kind, readers in kinds.items():
        every = [w for path in sorted(tiny_bundle.glob(f"{kind}*.onnx")) for w in weights(path)]
        matrices = [w for w in every if len(w.shape) > 1 and min(w.shape[-2:]) > 8]
        assert matrices and all(w.readers == readers for w in matrices), kind
        reached = sum(w.size for w in every if w.readers == readers and len(w.shape) == 2)
        share = reached / sum(w.size for w in every)
        assert share > 0.98, (kind, share)
