"""``edgefoley models convert``: from a folder of weights to ``--model NAME``, and all that can go wrong. Only
the slow tests convert."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")
pytest.importorskip("onnxscript")

from edgefoley.bundle import open_bundle  # noqa: E402
from edgefoley.cli import models_convert  # noqa: E402
from edgefoley.convert import hunyuan, sources  # noqa: E402
from edgefoley.convert.checkpoint import open_checkpoint  # noqa: E402
from edgefoley.convert.hunyuan import STAND_IN, TINY  # noqa: E402
from edgefoley.errors import EdgeFoleyError  # noqa: E402
from edgefoley.hub import models_folder  # noqa: E402
from tests.cli.conftest import names_in  # noqa: E402
from tests.fake_bundle import make_fake_bundle  # noqa: E402


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of converted models, empty."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return models_folder()


@pytest.fixture
def source(tiny_source: Path, tmp_path: Path) -> Path:
    """A copy of the tiny weights, to spoil."""
    return Path(shutil.copytree(tiny_source, tmp_path / "source"))


@pytest.fixture
def published(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny weights as if they were the published ones of xl: no word of random numbers, xl's names, and
    for once xl is tiny."""
    (source / STAND_IN).unlink()
    os.replace(source / sources.TRANSFORMERS["tiny"], source / sources.TRANSFORMERS["xl"])
    monkeypatch.setitem(hunyuan.SIZES, "xl", TINY)  # type: ignore[index]
    return source


def path_of(folder: Path, component: str) -> Path:
    return hunyuan.open_folder(folder).paths[component]


def save_changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write the file again after ``change`` of its tensors."""
    checkpoint = open_checkpoint(path)
    state = {name: checkpoint[name].clone() for name in checkpoint}
    change(state)
    package = {"state_dict": state, **checkpoint.attached} if checkpoint.attached else state
    torch.save(package, path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
def test_from_weights_to_a_sound_by_name(
    run: Callable[..., Result], published: Path, data: Path, clip: Path, traced_once: None
) -> None:
    result = run("generate", clip, "--model", "xl")
    assert result.exit_code == 4
    assert "edgefoley models download xl; then: edgefoley models convert" in result.stderr
    result = run("models", "convert", published, "--storage", "fp16")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{data / 'xl'}\n" and names_in(data) == ["xl"]
    assert "NOT to be used in: European Union, United Kingdom, South Korea" in result.stderr
    assert "[1/" in result.stderr and "differs from PyTorch by" in result.stderr
    assert "edgefoley generate clip.mp4 --model xl" in result.stderr
    manifest = json.loads((data / "xl" / "manifest.json").read_text())
    assert manifest["quantization"]["storage"] == "fp16"
    listed = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    assert [model["name"] for model in listed] == ["nano", "xl"]
    assert "Not to be used in" in listed[1]["description"] and listed[1]["problem"] is None
    made = run("generate", clip, "--model", "xl", "--steps", "1", "--seed", "1")
    assert made.exit_code == 0, made.stderr
    assert {"clip.foley.mp4", "clip.foley.wav"} <= set(names_in(clip.parent))


def test_a_name_that_is_taken_or_not_there(
    run: Callable[..., Result], published: Path, data: Path, clip: Path
) -> None:
    make_fake_bundle(data / "xl")
    again = run("models", "convert", published)
    assert again.exit_code == 3 and "xl exists already and is not empty" in again.stderr
    other = run("generate", clip, "--model", "xxl")
    assert other.exit_code == 4 and "converted ones: xl;" in other.stderr
    assert "edgefoley models download xxl; then: edgefoley models convert" in other.stderr


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_killed_in_between(tiny_source: Path, tmp_path: Path, number: int, code: int) -> None:
    """Under the output's name there is never anything but a whole bundle."""
    target = tmp_path / "out"
    command = [sys.executable, "-m", "edgefoley", "models", "convert", str(tiny_source), "-o", str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(tmp_path.glob(".out.*/text.onnx")):
            time.sleep(0.05)
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert process.returncode == code, stderr.decode()
    assert stdout == b"" and not target.exists()
    if number == signal.SIGTERM:
        assert not list(tmp_path.iterdir())


def test_random_weights_get_no_published_name(
    run: Callable[..., Result], tiny_source: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, Mapping[str, Any]]] = []
    monkeypatch.setattr(
        "edgefoley.export.hunyuan.build", lambda source, out, **choices: asked.append((out, choices))
    )
    result = run("models", "convert", tiny_source)
    assert result.exit_code == 0, result.stderr
    assert "random: what comes of them makes noise" in result.stderr and "NOT" not in result.stderr
    assert result.stdout == f"{data / 'random-tiny'}\n"
    assert asked[0][0] == data / "random-tiny"
    assert asked[0][1]["storage"] == "bf16" and asked[0][1]["group"] == 2
    assert run("models", "convert", tiny_source, "-o", "here").stdout == "here\n"
    by_file = run("models", "convert", path_of(tiny_source, "transformer"), "-o", "here")
    assert by_file.exit_code == 0 and len(asked) == 3


def refused(run: Callable[..., Result], *arguments: str | Path) -> str:
    """What the command says when it refuses; nothing may have been made."""
    target = Path(arguments[0]).absolute().parent / "never"
    result = run("models", "convert", *arguments, "-o", target)
    assert result.exit_code in (2, 3, 4) and result.stdout == ""
    assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()[-1]) < 1000
    assert not target.exists() and not list(target.parent.glob(".never*"))
    return result.stderr


@pytest.mark.parametrize("component", ["transformer", "vae", "synchformer", "siglip2", "clap"])
def test_truncated_files_are_told_at_once(run: Callable[..., Result], source: Path, component: str) -> None:
    path = path_of(source, component)
    size = path.stat().st_size
    os.truncate(path, size - 1000 if path.suffix == ".safetensors" else size // 2)
    words = refused(run, source)
    assert f"{path} is damaged or cut off: it has" in words and "ownload" in words


def test_a_missing_tensor_an_unknown_one_and_another_shape(run: Callable[..., Result], source: Path) -> None:
    name = "triple_blocks.1.audio_cross_q.weight"
    path = path_of(source, "transformer")
    save_changed(path, lambda state: state.pop(name))
    assert f"1 missing: {name}" in refused(run, source)
    save_changed(path, lambda state: state.update({name: torch.zeros(128, 128), "triple_blocks.1.x": state[
        "sync_in.0.bias"]}))  # fmt: skip
    assert "1 unknown: triple_blocks.1.x" in refused(run, source)
    save_changed(
        path, lambda state: (state.pop("triple_blocks.1.x"), state.update({name: torch.zeros(4, 4)}))
    )
    assert f"1 of another shape: {name} (4, 4) instead of (128, 128)" in refused(run, source)


def test_known_extras_are_let_pass(
    run: Callable[..., Result], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projector under another name; the encoders' files with their unused halves are there anyway."""
    h = TINY.transformer.hidden_size

    def stop(*_: Any) -> None:
        raise EdgeFoleyError("every tensor was in order")

    monkeypatch.setattr("edgefoley.export.hunyuan._manifest", stop)
    save_changed(
        path_of(source, "transformer"),
        lambda state: state.update({"repa_head.0.weight": torch.zeros(2 * h, h)}),
    )
    result = run("models", "convert", source, "-o", source.parent / "out")
    assert result.exit_code == 1 and "every tensor was in order" in result.stderr
    assert names_in(source.parent) == ["source"]


def test_foreign_files(run: Callable[..., Result], tmp_path: Path, source: Path) -> None:
    page, pointer, other = tmp_path / "a.pth", tmp_path / "b.safetensors", tmp_path / "c.pth"
    page.write_text("<!doctype html><title>404</title>")
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    torch.save({"conv.weight": torch.zeros(3, 3)}, other)
    assert "is a web page, not a weight file" in refused(run, page)
    assert "is a Git LFS pointer" in refused(run, pointer)
    assert "is none of the files that are known here" in refused(run, other)
    encoder = tmp_path / "d.pth"
    torch.save({"vfeat_extractor.cls_token": torch.zeros(1, 1, 768)}, encoder)
    assert "is Synchformer. Give the transformer's file, or the folder" in refused(run, encoder)
    assert "is no folder" in refused(run, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no transformer of HunyuanVideo-Foley" in refused(run, tmp_path / "empty")
    shutil.copyfile(other, path_of(source, "vae"))
    words = refused(run, source)
    assert "missing" in words and "conv.weight" in words


def test_incomplete_folders(run: Callable[..., Result], source: Path) -> None:
    path_of(source, "tokenizer").write_text("{}")
    assert "is no tokenizer file" in refused(run, source)
    path_of(source, "siglip2").unlink()
    words = refused(run, source)
    assert f"{source} lacks" in words and "edgefoley models random tiny" in words
    assert "has random weights of tiny, not of xl" in refused(run, source, "--model", "xl")


def test_a_transformer_of_another_model(run: Callable[..., Result], tmp_path: Path) -> None:
    """Told by two tensors of the right shapes."""
    path = tmp_path / "mine.pth"
    torch.save({
        "audio_embedder.proj.weight": torch.zeros(1408, 128, 1),
        "triple_blocks.11.audio_self_proj.bias": torch.zeros(1408),
    }, path)  # fmt: skip
    assert "is the transformer of HunyuanVideo-Foley XL, not xxl" in refused(run, path, "--model", "xxl")
    assert "lacks" in refused(run, path)


def test_a_full_folder_is_left_alone(run: Callable[..., Result], tiny_source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    result = run("models", "convert", tiny_source, "-o", tmp_path / "mine")
    assert result.exit_code == 3 and "not empty" in result.stderr
    assert names_in(tmp_path / "mine") == ["letter.txt"]


@pytest.mark.parametrize("flag", [("--group", "0"), ("--storage", "int8"), ("--model", "nano")])
def test_senseless_flags(run: Callable[..., Result], tiny_source: Path, flag: tuple[str, str]) -> None:
    result = run("models", "convert", tiny_source, *flag)
    assert result.exit_code == 2 and flag[0] in result.stderr


def test_without_the_extra(
    run: Callable[..., Result], tiny_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = models_convert.find_spec
    monkeypatch.setattr(
        models_convert, "find_spec", lambda name: None if name == "onnxscript" else there(name)
    )
    result = run("models", "convert", tiny_source)
    assert result.exit_code == 2
    assert "missing: onnxscript" in result.stderr and "pip install 'edgefoley[convert]'" in result.stderr


def test_a_damaged_conversion_is_listed_with_its_problem(run: Callable[..., Result], data: Path) -> None:
    (data / "xl").mkdir(parents=True)
    (data / "xl" / "manifest.json").write_text("{}")
    shown = run("models").stdout
    assert "xl" in shown and "schema None" in shown
    assert open_bundle("nano").name == "nano"
