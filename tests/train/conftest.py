"""Rendered films that several tests of training look at."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """A folder of three films of 3 s. Not to be written to."""
    from edgefoley.train.scenes.pool import render_shard

    folder = tmp_path_factory.mktemp("films")
    render_shard(folder, 0, 5_000_000, 3, 3.0)
    return folder


@pytest.fixture(scope="session")
def pool(films):
    """These films, every gray frame kept once it was decoded."""
    from edgefoley.train.scenes.pool import Pool

    return Pool(films, keep=True)
