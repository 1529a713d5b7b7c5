"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import clips


@pytest.hookimpl(tryfirst=True)  # before ``-m`` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a converted model are long, and whichever comes first also waits for the conversion."""
    for item in items:
        if {"tiny_bundle", "traced_once"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models that were converted on this machine, and what runs left in the user's cache, are no part of a
    test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("data")))
        yield


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


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the form of HunyuanVideo-Foley's, few and narrow layers."""
    pytest.importorskip("torch", reason="random weights are made with torch (extra: convert)")
    from edgefoley.convert.stand_in import write_folder

    folder = tmp_path_factory.mktemp("tiny") / "source"
    for _ in write_folder(folder, "tiny", seed=1):
        pass
    return folder


@pytest.fixture(scope="session")
def traced_once() -> Iterator[None]:
    """Conversions in one test run share the graphs of equal modules: tracing them takes most of the time.
    Weights are written and every graph is compared with PyTorch each time."""
    from edgefoley.export import hunyuan

    kept: dict[Any, Any] = {}
    trace = hunyuan.trace

    def shared(name: str, make: Any, example: Any, outputs: Any, axes: Any) -> Any:
        import torch

        with torch.device("meta"):
            module = make()
        sizes = tuple((key, tuple(value.shape)) for key, value in module.state_dict().items())
        key = (name, type(module), getattr(module, "count", None), tuple(outputs), sizes)
        if key not in kept:
            kept[key] = trace(name, make, example, outputs, axes)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hunyuan, "trace", shared)
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tiny_source: Path, traced_once: None) -> Path:
    """The bundle of ``tiny_source``; converting takes a minute."""
    pytest.importorskip("onnxscript", reason="graphs are exported with onnxscript (extra: convert)")
    from edgefoley.export.hunyuan import build

    build(tiny_source, tiny_source.parent / "bundle")
    return tiny_source.parent / "bundle"
