"""SigLIP2's vision tower against the `transformers` library: stored outputs, and live where it is
installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgefoley.models.siglip import SiglipVision
from tests.parity import from_transformers, rule


def ours() -> np.ndarray:
    model = SiglipVision(from_transformers.SIGLIP).eval()
    from_transformers.fill(model)
    with torch.no_grad():
        return model(torch.from_numpy(from_transformers.frames())).numpy()


def test_rows_equal_stored_reference() -> None:
    stored, _ = rule.reference("siglip_tiny")
    assert stored["visual_feat"].std() > 0.1
    assert rule.relative_error(ours(), stored["visual_feat"]) < 1e-5


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_rows_equal_the_library() -> None:
    pytest.importorskip("transformers", reason="the second implementation, transformers, is not installed")
    assert rule.relative_error(ours(), from_transformers.siglip()) < 1e-5
