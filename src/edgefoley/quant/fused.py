"""What ONNX Runtime really runs: the graph that it makes of a file, counted and held against what was meant.

A quantised graph that an engine does not recognise still computes the right values, in float32, from weights
that are widened again at every run: slower and larger than before. So the optimised graph is looked at, and
what was meant and not found is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgefoley.quant.observe import QuantError
from edgefoley.quant.watch import open_session

# Operators whose products are of integers, and those that unpack blocks of weights as they multiply.
INTEGER: Final = (
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulInteger", "QLinearMatMul", "QLinearConv", "QGemm",
    "ConvInteger",
)  # fmt: skip
BLOCKS: Final = ("MatMulNBits",)
FLOAT: Final = ("MatMul", "Gemm", "Conv", "ConvTranspose", "FusedMatMul", "FusedGemm", "FusedConv", "Gather")
_WIDENING: Final = ("Cast", "Mul", "DequantizeLinear", "Transpose", "Reshape")


@dataclass(frozen=True)
class Expected:
    """How many products of integers, and of blocks of weights, a file is meant to have."""

    integer: int = 0
    blocks: int = 0


def operators(path: Path, work: Path) -> tuple[dict[str, int], list[str]]:
    """Operators of the graph that ONNX Runtime makes of a file, with their number, and weights that it widens
    at every run. ``work``: a folder for files that are deleted again."""
    import onnx

    optimised = work / "optimised.onnx"
    entries = {
        "session.optimized_model_external_initializers_file_name": "optimised.weights",
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    }
    try:
        open_session(path, optimised=str(optimised), **entries)
        model = onnx.load(str(optimised), load_external_data=False)
    finally:
        for made in (optimised, work / "optimised.weights"):
            made.unlink(missing_ok=True)
    counts = Counter(node.op_type for node in model.graph.node)
    return dict(sorted(counts.items())), _widened(model)


def check_fused(path: Path, expected: Expected, work: Path) -> dict[str, int]:
    """The operators of a file. Raises QuantError when weights are widened at every run, or fewer products
    than meant are of integers or blocks."""
    counts, widened = operators(path, work)
    if widened:
        raise QuantError(
            f"{path.name}: ONNX Runtime widens {len(widened)} weights at every run: "
            f"{', '.join(widened[:5])}. "
            "Their layers would be slower than in float32; use another format or scheme for them."
        )
    for what, names, meant in (
        ("of integers", INTEGER, expected.integer),
        ("of blocks of weights", BLOCKS, expected.blocks),
    ):
        found = sum(counts.get(name, 0) for name in names)
        if found != meant:
            raise QuantError(
                f"{path.name}: {meant} products {what} were meant, ONNX Runtime makes {found} of it "
                f"({_listed(counts)}). Use another format or scheme for the layers that it does not fuse."
            )
    return {name: count for name, count in counts.items() if name in (*INTEGER, *BLOCKS, *FLOAT)}


def _widened(model: Any) -> list[str]:
    """Constants of fewer bits that reach a product in float through nodes that run every time."""
    import onnx

    narrow = (
        onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
    )  # fmt: skip
    constants = {tensor.name for tensor in model.graph.initializer if tensor.data_type in narrow}
    derived: dict[str, str] = {}
    found = []
    for node in model.graph.node:
        first = node.input[0] if node.input else ""
        origin = first if first in constants else derived.get(first)
        if node.op_type in _WIDENING and origin is not None:
            derived |= dict.fromkeys(node.output, origin)
        elif node.op_type in FLOAT:
            found += [derived[name] for name in node.input if name in derived]
    return found


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count} {name}" for name, count in counts.items() if name in (*INTEGER, *BLOCKS, *FLOAT)
    )
