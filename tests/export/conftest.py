"""Fixtures of the tests that compare graphs' parts with the whole network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def no_gradients() -> Iterator[None]:
    torch = pytest.importorskip("torch", reason="the networks are PyTorch modules")
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def network(no_gradients: None) -> Any:
    """The smallest transformer of the published form, with weights by the rule of the reference outputs."""
    from edgefoley.convert.hunyuan import TINY
    from edgefoley.models.transformer import Transformer
    from tests.parity import rule

    made = rule.build(lambda: Transformer(TINY.transformer), seed=3)
    assert isinstance(made, Transformer)
    return made
