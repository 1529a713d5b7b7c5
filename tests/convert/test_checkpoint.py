"""Opening weight files: what is read, what is refused, and what the messages say."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")

from safetensors.torch import save_file  # noqa: E402

from edgefoley.convert.checkpoint import (  # noqa: E402
    CheckpointError,
    identify,
    open_checkpoint,
    take,
)

WIDTH = "audio_embedder.proj.weight"


def some_tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    flat = torch.randn(40, generator=draw)
    return {
        "a.weight": torch.randn(3, 5, generator=draw),
        "a.bias": torch.randn(3, generator=draw).to(torch.bfloat16),
        "half": torch.randn(7, generator=draw).to(torch.float16),
        "count": torch.arange(4),
        "scalar": torch.tensor(2.5),
        "nothing": torch.empty(0, 3),
        "view.first": flat[1:13].view(3, 4),
        "view.second": flat[13:],
        "turned": torch.randn(2, 6, generator=draw).t(),
    }


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(wanted) and all(
        found[k].dtype == v.dtype and found[k].shape == v.shape and torch.equal(found[k], v)
        for k, v in wanted.items()
    )


def test_flat_state_dict_package_and_safetensors_read_alike(tmp_path: Path) -> None:
    tensors = some_tensors()
    torch.save(tensors, tmp_path / "flat.pth")
    torch.save({"state_dict": tensors, "metadata": {"kwargs": {"rate": 3}}}, tmp_path / "package.pth")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, tmp_path / "x.safetensors")
    for name in ("flat.pth", "package.pth", "x.safetensors"):
        checkpoint = open_checkpoint(tmp_path / name)
        assert same(dict(checkpoint), tensors), name
        assert checkpoint.entries["a.weight"].shape == (3, 5)
    assert open_checkpoint(tmp_path / "package.pth").attached == {"metadata": {"kwargs": {"rate": 3}}}


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "wrong.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "wrong.bin")
    for name in ("wrong.pth", "wrong.bin"):
        assert torch.equal(open_checkpoint(tmp_path / name)["a"], torch.ones(2))


def test_a_header_that_aligns_nothing(tmp_path: Path) -> None:
    """Other writers than the library may put the first byte anywhere."""
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (1 + -len(header) % 4)
    body = torch.tensor([1.5, -2.0])
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + body.numpy().tobytes())
    assert (8 + len(header)) % 4 == 1
    assert torch.equal(open_checkpoint(path)["a"], body)


def refused(path: Path, *words: str, published: int | None = None) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, published)
    for word in (str(path), *words):
        assert word in str(caught.value), f"{word!r} is not in {caught.value}"


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    refused(path, "not there")
    refused(tmp_path, "a folder")
    for content, word in (
        (b"", "is empty (0 bytes)"),
        (b"\0" * 500, "no weight file at all"),
        (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5854140970\n", "git lfs pull"),
        (pickle.dumps({"a": 1}, protocol=2), "before 2020"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged or cut off"),
        (b"\x40\0\0\0\0\0\0\0{" + b"}" * 200, "no safetensors header"),
    ):
        path.write_bytes(content)
        refused(path, word)


def test_the_old_format_of_torch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    refused(path, "before 2020", "save it again")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_cut_off_file_says_how_long_it_should_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    tensors = {"a": torch.ones(5000), "b": torch.ones(3)}
    torch.save(tensors, path) if name.endswith("pth") else save_file(tensors, path)
    whole = path.read_bytes()
    for kept in (len(whole) - 7, len(whole) // 2, 70):
        path.write_bytes(whole[:kept])
        refused(path, "damaged or cut off", f"{kept} bytes", f"has {len(whole)}", published=len(whole))


class Runs:
    """Runs a program when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"a": torch.ones(2), "b": Runs(tmp_path / "ran")}, path)
    refused(path, "mkdir", "was refused")
    assert not (tmp_path / "ran").exists()


def test_a_snapshot_that_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": {"a": torch.ones(2)}, "step": 3}, path)
    refused(path, "no state dict", "dict, int")
    torch.save([torch.ones(2)], path)
    refused(path, "a list")


def test_take_is_strict_and_names_everything(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(
        {
            "right": torch.ones(2),
            "wide": torch.ones(3, 2),
            "eight": torch.ones(2).to(torch.float8_e4m3fn),
            "known.one": torch.ones(1),
            "strange": torch.ones(1),
        },
        path,
    )
    checkpoint = open_checkpoint(path)
    wanted = {"right": (2,), "wide": (2, 3), "eight": (2,), "absent.a": (1,), "absent.b": (1,)}
    with pytest.raises(CheckpointError) as caught:
        take(checkpoint, wanted, ["known.*"])
    text = str(caught.value)
    for words in (
        "2 missing: absent.a, absent.b",
        "1 of another shape: wide (3, 2) instead of (2, 3)",
        "eight torch.float8_e4m3fn",
        "1 unknown: strange",
        "8-bit copies have lost precision",
        "none of the files that are known here",
    ):
        assert words in text, text
    chosen = take(checkpoint, {"right": (2,)}, ["known.*", "wide", "eight", "strange"])
    assert dict(chosen).keys() == {"right"} and len(chosen) == 1
    assert chosen.extra == ("wide", "eight", "known.one", "strange")
    with pytest.raises(KeyError):
        chosen["wide"]


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="12 missing: n0, n1, n2, n3, n4 and 7 more"):
        take(open_checkpoint(tmp_path / "x.pth"), {f"n{i}": (1,) for i in range(12)}, ["a"])


@pytest.mark.parametrize(
    ("kind", "tensors"),
    [
        ("xl", {WIDTH: (1408, 128, 1), "triple_blocks.11.audio_self_proj.bias": (1408,)}),
        ("xxl", {WIDTH: (1536, 128, 1), "triple_blocks.17.audio_self_proj.bias": (1536,)}),
        ("vae", {"decoder.model.0.weight_v": (2048, 128, 7), "x": (1,)}),
        ("synchformer", {"vfeat_extractor.cls_token": (1, 1, 768)}),
        (None, {WIDTH: (1408, 128, 1)}),
        (None, {"vfeat_extractor.cls_token": (1, 1, 64)}),
    ],
)  # fmt: skip
def test_identify(tmp_path: Path, kind: str | None, tensors: dict[str, tuple[int, ...]]) -> None:
    path = tmp_path / "any.pth"
    torch.save({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    assert identify(path) == kind


def test_another_models_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hunyuanvideo_foley_xl.pth"
    names = {WIDTH: (1536, 128, 1), "triple_blocks.17.audio_self_proj.bias": (1536,)}
    torch.save({name: torch.zeros(shape) for name, shape in names.items()}, path)
    with pytest.raises(CheckpointError, match="looks like the transformer of HunyuanVideo-Foley XXL"):
        take(open_checkpoint(path), {WIDTH: (1408, 128, 1)})


READ = """
import sys
import torch
from edgefoley.convert.checkpoint import open_checkpoint
def anonymous():
    return next(int(l.split()[1]) // 1024 for l in open("/proc/self/status") if l.startswith("RssAnon"))
torch.ones(1).to(torch.float32).sum().item()
before = anonymous()
checkpoint = open_checkpoint(sys.argv[1])
peak, total = 0, 0.0
for name in checkpoint:
    tensor = checkpoint[name].float()
    total += tensor[::4096].sum().item()
    peak = max(peak, anonymous() - before)
print(peak, total)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", ["big.pth", "big.safetensors"])
def test_reading_takes_the_memory_of_one_tensor(tmp_path: Path, name: str) -> None:
    """600 MB in 20 tensors of 30 MB, each made float32 (60 MB) and dropped: anonymous memory stays below two
    of them."""
    path = tmp_path / name
    tensors = {f"t{i}": torch.full((15_000_000,), float(i), dtype=torch.bfloat16) for i in range(20)}
    torch.save(tensors, path) if name.endswith("pth") else save_file(tensors, path)
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    peak, total = done.stdout.split()
    assert float(total) == sum(range(20)) * len(range(0, 15_000_000, 4096))
    assert int(peak) < 130
