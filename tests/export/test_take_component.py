"""A component taken from another bundle is that bundle's, byte by byte."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from edgefoley.errors import BundleIntegrityError
from edgefoley.export.nano import take_component

NANO = Path(str(files("edgefoley") / "bundles" / "nano"))


def test_a_component_is_taken_as_it_is(tmp_path: Path) -> None:
    entry = take_component(NANO, "sync", tmp_path)
    there = json.loads((NANO / "manifest.json").read_text())["components"]["sync"]
    assert entry["inputs"] == there["inputs"] and entry["attributes"] == there["attributes"]
    taken = (tmp_path / entry["artefacts"]["ort"]["path"]).read_bytes()
    assert taken == (NANO / there["artefacts"]["ort"]["path"]).read_bytes()


def test_a_damaged_bundle_gives_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "nano"
    shutil.copytree(NANO, damaged)
    graph = bytearray((damaged / "sync.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (damaged / "sync.onnx").write_bytes(bytes(graph))
    with pytest.raises(BundleIntegrityError):
        take_component(damaged, "sync", tmp_path)
    assert not (tmp_path / "sync.onnx").exists()
