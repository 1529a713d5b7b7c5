"""CLAP's text tower against the `transformers` library: stored outputs, and live where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgefoley.models.clap import ClapText
from tests.parity import from_transformers, rule

CASES = list(from_transformers.LENGTHS)


def ours(case: str) -> np.ndarray:
    model = ClapText(from_transformers.CLAP).eval()
    from_transformers.fill(model)
    ids, mask = from_transformers.tokens(from_transformers.LENGTHS[case])
    with torch.no_grad():
        return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()


@pytest.mark.parametrize("case", CASES)
def test_rows_equal_stored_reference(case: str) -> None:
    """Padded rows included: the transformer reads them. Cut to 77 rows after the tower, not before."""
    wanted = rule.reference("clap_tiny")[0][case][:, :77]
    made = ours(case)
    assert made.shape == wanted.shape
    assert rule.relative_error(made, wanted) < 1e-5


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("case", CASES)
def test_rows_equal_the_library(case: str) -> None:
    pytest.importorskip("transformers", reason="the second implementation, transformers, is not installed")
    wanted = from_transformers.clap(from_transformers.LENGTHS[case])
    assert rule.relative_error(ours(case), wanted[:, :77]) < 1e-5
