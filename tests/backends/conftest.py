"""The second engine, where it is installed."""

from __future__ import annotations

import pytest

from edgefoley.backends import ov
from edgefoley.backends.ov import OvBackend, OvOptions


@pytest.fixture
def engine() -> OvBackend:
    """Skips where OpenVINO is not installed."""
    backend = OvBackend()
    reason = backend.available()
    if reason is not None:
        pytest.skip(reason)
    return backend


@pytest.fixture
def bf16(engine: OvBackend) -> OvBackend:
    """Skips where the processor does not compute in bfloat16."""
    if "BF16" not in ov._import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bfloat16")
    return OvBackend(OvOptions("bf16"))
