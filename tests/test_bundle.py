"""Opening bundles: what is right opens, every kind of damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from edgefoley import bundle as bundle_module
from edgefoley.bundle import (
    MANIFEST,
    Bundle,
    converted_bundles,
    known_bundles,
    open_bundle,
    sha256,
    write_manifest,
)
from edgefoley.errors import BundleError, BundleIntegrityError, BundleNotFoundError
from edgefoley.types import View
from tests.fake_bundle import SIZES, make_fake_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_fake_bundle(tmp_path / "bundle")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_bundle_opens_with_all_it_says(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert isinstance(bundle, Bundle)
    assert (bundle.name, bundle.version, bundle.licence) == ("fake", "1", "Apache-2.0")
    assert bundle.backends == ("fake",)
    assert bundle.defaults.steps == 4
    assert bundle.defaults.solver == "euler"
    assert bundle.components["denoiser"].attributes["latent_multiple"] == SIZES["multiple"]
    assert bundle.components["text"].width("text_feat") == SIZES["text"]
    assert bundle.artefact("text", "fake") == folder / "text.json"
    assert bundle.tokenizer_path() == folder / "tokenizer.json"
    bundle.verify()


def test_views_come_from_sizes_and_timeline(folder: Path) -> None:
    assert open_bundle(folder).views() == {
        "visual": View(Fraction(2), (12, 16), "rgb", "at_or_before"),
        "sync": View(Fraction(25), (8, 10), "gray", "at_or_before"),
    }


def test_every_named_file_gets_its_digest_and_size(folder: Path) -> None:
    for artefact in open_bundle(folder).files:
        path = folder / artefact.path
        assert (artefact.sha256, artefact.bytes) == (sha256(path), path.stat().st_size)


def test_unknown_name_lists_the_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_fake_bundle(tmp_path / "tiny")
    monkeypatch.setattr(bundle_module, "builtin_folder", lambda: tmp_path)
    assert known_bundles() == ["tiny"]
    assert open_bundle("tiny").folder == tmp_path / "tiny"
    with pytest.raises(BundleNotFoundError, match=r"no model 'nonsense'.*Built-in models: tiny"):
        open_bundle("nonsense")


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of converted models."""
    monkeypatch.setattr(bundle_module, "models_folder", lambda: tmp_path / "models")
    return tmp_path / "models"


def test_converted_models_have_names_too(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert converted_bundles() == []
    for name in ("xl", "nano", ".xl.half"):  # a built-in name, and one that is still being written
        make_fake_bundle(converted / name)
    (converted / "empty").mkdir()
    assert converted_bundles() == ["xl"]
    assert open_bundle("xl").folder == converted / "xl"
    assert open_bundle("nano").folder == bundle_module.builtin_folder() / "nano"
    make_fake_bundle(tmp_path / "xl")
    monkeypatch.chdir(tmp_path)
    assert open_bundle("xl").folder == converted / "xl" and open_bundle("./xl").folder == Path("xl")


def test_a_model_that_is_not_converted_says_how(converted: Path) -> None:
    for name in ("xl", "xxl"):
        with pytest.raises(BundleNotFoundError) as caught:
            open_bundle(name)
        assert "has not been converted yet. Built-in models: nano; converted ones: none;" in str(caught.value)
        assert (
            f"To get {name}, run: edgefoley models download {name}; then: edgefoley models convert "
            in str(caught.value)
        )
        assert str(caught.value).endswith(f"--model {name}")
    make_fake_bundle(converted / "xl")
    with pytest.raises(BundleNotFoundError, match=r"'neno'.*converted ones: xl;.*To get xxl, run:"):
        open_bundle("neno")
    make_fake_bundle(converted / "xxl")
    with pytest.raises(BundleNotFoundError, match=r"converted ones: xl, xxl; or give a bundle's folder\.$"):
        open_bundle("neno")


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"the folder has no manifest\.json"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"word"', "\x00\xff"])
def test_unreadable_manifest(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleIntegrityError, match=r"manifest\.json"):
        open_bundle(folder)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema": (lambda m: m.update(schema=2), "has schema 2.*reads 1"),
    "no name": (lambda m: m.pop("name"), "not a bundle manifest.*name"),
    "no timeline": (lambda m: m.pop("timeline"), "not a bundle manifest.*timeline"),
    "bad timeline": (lambda m: m["timeline"].update(rule="nearest"), "timeline"),
    "no decoder": (lambda m: m["components"].pop("decoder"), "not a bundle manifest.*decoder"),
    "components no object": (lambda m: m.update(components=[]), "not a bundle manifest"),
    "strange input": (
        lambda m: m["components"]["sync"]["inputs"][1].update(name="age"),
        "unknown inputs .*'age'",
    ),
    "no velocity": (
        lambda m: m["components"]["denoiser"].update(outputs=[]),
        "missing tensors .*'velocity'",
    ),
    "unfed denoiser": (
        lambda m: m["components"]["denoiser"]["inputs"].append({"name": "extra", "shape": [1]}),
        r"'denoiser' takes \['extra'\]",
    ),
    "no batch": (
        lambda m: m["components"]["visual"]["attributes"].pop("batch"),
        r"missing attributes \['batch'\]",
    ),
    "pixel": (
        lambda m: m["components"]["visual"]["attributes"].update(pixel="yuv"),
        "pixel must be",
    ),
    "guidance below 0": (lambda m: m["defaults"].update(negative_guidance=-1), "defaults make no sense"),
    "no steps": (lambda m: m["defaults"].update(steps=0), "defaults make no sense"),
    "outside": (lambda m: m["tokenizer"].update(path="../tokenizer.json"), "leaves the bundle's folder"),
    "absolute": (lambda m: m["tokenizer"].update(path="/etc/passwd"), "leaves the bundle's folder"),
    "drive": (lambda m: m["tokenizer"].update(path="C:\\a.json"), "leaves the bundle's folder"),
    "size": (lambda m: m["tokenizer"].update(bytes=3), "has .* bytes, the manifest says 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_manifest_is_named(folder: Path, name: str) -> None:
    change, words = DAMAGE[name]
    edit(folder, change)
    with pytest.raises(BundleIntegrityError, match=words):
        open_bundle(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "sync.json").unlink()
    with pytest.raises(BundleIntegrityError, match=r"sync\.json is missing"):
        open_bundle(folder)


def test_link_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    (folder / "sync.json").rename(outside)
    (folder / "sync.json").symlink_to(outside)
    with pytest.raises(BundleIntegrityError, match="link that leaves"):
        open_bundle(folder)


def test_changed_file_of_equal_size_is_caught_on_use(folder: Path) -> None:
    path = folder / "text.json"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    bundle = open_bundle(folder)
    assert bundle.artefact("sync", "fake").is_file()
    with pytest.raises(BundleIntegrityError, match=r"text\.json was changed or damaged"):
        bundle.artefact("text", "fake")
    with pytest.raises(BundleIntegrityError, match=r"text\.json"):
        bundle.verify()


def test_a_file_is_read_for_its_digest_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(bundle_module, "sha256", lambda path: read.append(path) or sha256(path))
    bundle = open_bundle(folder)
    assert read == []
    for _ in range(3):
        bundle.artefact("text", "fake")
    assert read == [folder / "text.json"]


def test_back_end_without_a_file(folder: Path) -> None:
    with pytest.raises(BundleError, match="back end 'ort'; it has files for: fake"):
        open_bundle(folder).artefact("text", "ort")


def test_free_width_is_refused(folder: Path) -> None:
    with pytest.raises(BundleIntegrityError, match="must be fixed"):
        open_bundle(folder).components["text"].width("token_ids")


def test_write_manifest_keeps_the_old_file_when_the_new_is_wrong(folder: Path) -> None:
    before = (folder / MANIFEST).read_bytes()
    manifest = json.loads(before)
    manifest["components"]["text"]["artefacts"]["fake"]["path"] = "absent.json"
    with pytest.raises(BundleIntegrityError, match=r"absent\.json, which does not exist"):
        write_manifest(folder, manifest)
    manifest = json.loads(before)
    manifest["defaults"]["steps"] = -1
    with pytest.raises(BundleIntegrityError):
        write_manifest(folder, manifest)
    assert (folder / MANIFEST).read_bytes() == before
    assert not list(folder.glob(f".{MANIFEST}*"))


def test_write_manifest_does_not_touch_what_it_is_given(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["tokenizer"] = {"path": "tokenizer.json"}
    assert write_manifest(folder, manifest) == open_bundle(folder)
    assert manifest["tokenizer"] == {"path": "tokenizer.json"}


def test_builtin_bundles_open_and_verify() -> None:
    for name in known_bundles():
        bundle = open_bundle(name)
        assert bundle.name == name
        bundle.verify()
