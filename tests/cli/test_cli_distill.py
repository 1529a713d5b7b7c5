"""`edgefoley distill` and `edgefoley prune` from the command line, on a random tiny teacher."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from edgefoley.cli import distill, prune

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("cv2")

from edgefoley.convert.hunyuan import TINY  # noqa: E402
from edgefoley.convert.stand_in import write_folder  # noqa: E402
from edgefoley.train.features import write_shard  # noqa: E402
from edgefoley.train.teachers import Origin, load_network, read_origin, save_network  # noqa: E402
from tests.train.tiny_lessons import network  # noqa: E402

QUICK = ("--train-steps", "2", "--batch", "2", "--check", "1", "--float32", "--device", "cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hunyuan") / "tiny"
    list(write_folder(folder, "tiny"))
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, c = tmp_path_factory.mktemp("features"), TINY.transformer
    for number in range(2):
        g = torch.Generator().manual_seed(number)
        rows = lambda m, d: torch.randn(3, m, d, generator=g)  # noqa: E731, B023
        mask = torch.ones(3, 4, dtype=torch.bool)
        write_shard(folder, number, {
            "latents": rows(c.latent_dim, 20), "text": rows(4, c.text_dim), "mask": mask,
            "negative": rows(4, c.text_dim), "negative_mask": mask, "visual": rows(3, c.visual_dim),
            "sync": rows(16, c.sync_dim), "flags": torch.ones(3, 2),
        })  # fmt: skip
    return folder


Run = Callable[..., Result]


def test_student_then_prune_of_a_foreign_teacher(
    run: Run, tmp_path: Path, tiny: Path, features: Path
) -> None:
    out = tmp_path / "student"
    asked = ("distill", "student", "--teacher", tiny, "--features", features, "--out", out, *QUICK)
    result = run(*asked)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{out}\n", "talk and log lines go to stderr"
    for words in ("licence of", "Apache-2.0", "student before"):
        assert words in result.stderr
    assert (out / "done.json").exists() and "latent_rms" in (out / "before_after.txt").read_text()
    rows = json.loads((out / "before_after.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["teacher", "student before", "student"]
    assert run(*asked).exit_code == 0, "a finished run says its table again"

    smaller = tmp_path / "pruned"
    result = run("prune", out, "--heads", "1", "--features", features, "--out", smaller, *QUICK)
    assert result.exit_code == 0, result.stderr
    assert load_network(smaller).config.num_heads == 1 < load_network(out).config.num_heads
    steps = [step["made_by"] for step in read_origin(smaller).history]
    assert steps == ["distill student", "prune"]


def test_bad_input_says_what_to_do(run: Run, tmp_path: Path, tiny: Path, features: Path) -> None:
    student = ("distill", "student", "--teacher", tiny, "--features", features, "--out", tmp_path / "o")
    (tmp_path / "c.json").write_text('{"latent_dim": 3}')
    for arguments, message in (
        (("distill", "steps", "--teacher", tiny, *QUICK), "is no run of the transformer"),
        ((*student, *QUICK, "--config", tmp_path / "c.json"), "latent_dim 3 for 16"),
        ((*student, *QUICK[:-1], "abacus"), "the device 'abacus' cannot be used"),
        (("distill", "student", "--teacher", features, *QUICK), "has no transformer"),
        (("distill", "student", "--teacher", tiny, "--runs", tmp_path, *QUICK), "is missing or not trained"),
        (("prune", tiny, "--features", features, *QUICK), "nothing would be pruned"),
        (("prune", tiny, "--heads", "9", "--features", features, *QUICK), "9 heads cannot be kept"),
        (("distill", "features", "--teacher", tiny, "--school", tmp_path), "no lessons with sound"),
    ):
        result = run(*arguments)
        assert result.exit_code in (2, 4) and message in result.stderr, (arguments, result.stderr)
    assert not (tmp_path / "o").exists(), "nothing was begun"


def test_steps_that_do_not_fit_are_refused_at_once(run: Run, tmp_path: Path) -> None:
    model = network()
    save_network(tmp_path / "run", model, model.state_dict(), Origin())
    result = run("distill", "steps", "--teacher", tmp_path / "run", "--levels", "5", *QUICK)
    assert result.exit_code == 2 and "multiple of the student's (5)" in result.stderr


def test_missing_packages_are_named(run: Run, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "edgefoley.cli.distill.find_spec", lambda name: None if name == "torch" else found(name)
    )
    for arguments in (("distill", "student", "--teacher", tiny), ("prune", tiny, "--heads", "1")):
        result = run(*arguments)
        assert result.exit_code == 2 and "need torch besides" in result.stderr
        assert "edgefoley[networks]" in result.stderr


def test_every_command_has_examples_and_every_flag_a_text(run: Run) -> None:
    commands = {("distill", name): command for name, command in distill.command.commands.items()}
    for name, command in {**commands, ("prune",): prune.command}.items():
        text = run(*name, "--help").stdout
        assert "Examples:" in text and f"edgefoley {' '.join(name)}" in text
        assert all(option.help for option in command.params if isinstance(option, click.Option))
