"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import clips


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """``make_clip("name.mp4", fps=25, ...)`` writes a clip of numbered frames; see ``tests.clips``."""

    def make(name: str = "clip.mp4", **options) -> Path:
        return clips.make_clip(tmp_path / name, **options)

    return make


@pytest.fixture
def not_root() -> None:
    """Skips where permissions do not bind."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("permissions do not bind this user (root or Windows)")
