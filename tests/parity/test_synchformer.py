"""The full-size Synchformer against outputs of the reference implementation (weights made from names; see
rule.py)."""

from __future__ import annotations

import numpy as np
import torch

from edgefoley.models.synchformer import Synchformer, segment_indices
from tests.parity import rule


def test_rows_equal_reference() -> None:
    stored, meta = rule.reference("synchformer_visual")
    count, size = meta["num_frames"], (224, 224)
    draw = rule.generator("input.frames", meta["seed"])
    frames = draw.integers(0, 256, (count, 3, *size), dtype=np.uint8).transpose(0, 2, 3, 1)
    model = rule.build(Synchformer, meta["seed"])
    with torch.no_grad():
        rows = model(torch.from_numpy(frames[segment_indices(count)]))
    assert rows.shape == (meta["num_segments"], 8, 768)
    assert rule.relative_error(rows.flatten(0, 1).numpy(), stored["features"]) < 1e-5
