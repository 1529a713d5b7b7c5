"""Students: of runs of ours, and of HunyuanVideo-Foley's folders, of which a random tiny one stands in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from edgefoley.convert.hunyuan import TINY as TINY_HUNYUAN  # noqa: E402
from edgefoley.convert.hunyuan import open_folder  # noqa: E402
from edgefoley.convert.stand_in import write_folder  # noqa: E402
from edgefoley.errors import UsageError  # noqa: E402
from edgefoley.models.transformer import NANO, XL, Transformer  # noqa: E402
from edgefoley.train.distill_run import Effort  # noqa: E402
from edgefoley.train.distill_student import Lesson, StudentPlan, distill_student, student_loss  # noqa: E402
from edgefoley.train.features import FeatureSource, write_shard  # noqa: E402
from edgefoley.train.sampler import velocity_of  # noqa: E402
from edgefoley.train.teachers import (  # noqa: E402
    NetworkTeacher,
    Origin,
    hunyuan_origin,
    load_network,
    open_teacher,
    read_config,
    read_origin,
    save_network,
    student_config,
)
from tests.train.tiny_lessons import TINY, MadeUp, network  # noqa: E402

SOURCE = MadeUp()
SMALL = replace(TINY, hidden_size=16, num_heads=2, depth_triple_blocks=1, depth_single_blocks=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hunyuan") / "tiny"
    list(write_folder(folder, "tiny"))
    return folder


class Linear:
    """The velocity 2 x - 3."""

    config, origin = TINY, Origin()

    def velocity(self, latents, sigma, batch):
        return 2 * latents - 3


def test_the_target_is_the_teachers_velocity_mixed_with_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """At true share m the answer (1 - m) teacher + m (noise - data) has no loss, and no other has."""
    batch, seen = SOURCE.train(0), []

    def fake(network, batch, guidance, bf16):
        def velocity(latents, sigma):
            seen.append((latents, sigma))
            at = sigma[:, None, None]
            noise = (latents - (1 - at) * batch["latents"]) / at
            return 0.75 * (2 * latents - 3) + 0.25 * (noise - batch["latents"])

        return velocity

    monkeypatch.setattr("edgefoley.train.distill_student.velocity_of", fake)
    args = (network(), Linear(), SOURCE.weights, batch)
    assert float(student_loss(*args, Lesson(0.25, False, False), 3).max()) < 1e-6
    assert float(student_loss(*args, Lesson(0.5, False, False), 3).min()) > 1e-2
    assert torch.equal(seen[0][0], seen[1][0]), "a step draws the same noise and levels again"
    student_loss(*args, Lesson(0.25, False, False), 4)
    assert not torch.equal(seen[0][1], seen[2][1]) and float(seen[2][1].min()) > 0


def test_from_data_the_target_is_the_true_velocity_and_what_guidance_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A teacher of guidance 3 whose passes differ by d adds 2 d."""
    batch, teacher = SOURCE.train(0), NetworkTeacher(network(), Origin(), 3.0, bf16=False)
    monkeypatch.setattr(
        "edgefoley.train.teachers.passes_of", lambda *_: lambda x, sigma: (x.sin() + 1, x.sin() - 0.5)
    )

    def fake(network, batch, guidance, bf16):
        def velocity(latents, sigma):
            at = sigma[:, None, None]
            noise = (latents - (1 - at) * batch["latents"]) / at
            return noise - batch["latents"] + 2 * 1.5

        return velocity

    monkeypatch.setattr("edgefoley.train.distill_student.velocity_of", fake)
    args = (network(), teacher, SOURCE.weights, batch)
    assert float(student_loss(*args, Lesson(0.2, False, False, from_data=True), 3).max()) < 1e-6
    assert float(student_loss(*args, Lesson(0.2, False, False), 3).min()) > 1e-2


def test_what_guidance_adds_is_the_guided_velocity_without_a_single_pass() -> None:
    batch, teacher = SOURCE.train(1), NetworkTeacher(network(), Origin(), 2.5, bf16=False)
    latents, sigma = torch.randn_like(batch["latents"]), torch.full((len(batch["latents"]),), 0.4)
    with torch.no_grad():
        guided = teacher.velocity(latents, sigma, batch)
        single = NetworkTeacher(teacher.network, Origin(), 1.0, bf16=False).velocity(latents, sigma, batch)
        assert torch.allclose(single + teacher.push(latents, sigma, batch), guided, atol=1e-5)
        assert not torch.allclose(single, guided, atol=1e-3)
        silent = NetworkTeacher(teacher.network, Origin(), 2.5, bf16=False, sync_guidance=1.0)
        untimed = {**batch, "flags": batch["flags"] * torch.tensor([1.0, 0.0])}
        push = silent.push(latents, sigma, batch)
        assert not torch.allclose(push, teacher.push(latents, sigma, batch))
        assert torch.allclose(silent.velocity(latents, sigma, batch), single + push, atol=1e-5)
        assert torch.allclose(
            silent.push(latents, sigma, untimed), teacher.push(latents, sigma, untimed), atol=1e-5
        ), "without an event curve there is nothing to guide it by"


def run(
    out: Path,
    folder: Path,
    steps: int,
    guidance: float = 1.0,
    minutes: float = 0.0,
    source=SOURCE,
    sync_guidance: float | None = None,
) -> str:
    effort = Effort(steps=steps, rate=3e-3, minutes=minutes, bf16=False, check=1)
    teacher = open_teacher(folder, guidance, "cpu", bf16=False, sync_guidance=sync_guidance)
    sizes = {"hidden_size": 16, "num_heads": 2, "depth_triple_blocks": 1, "depth_single_blocks": 1}
    plan = StudentPlan(out, folder, student_config(teacher.config, sizes), 0.0, None, 2, 1.5, negatives=0.5)
    return distill_student(plan, teacher, source, effort, lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = network(SMALL, seed=4)
    for value in model.parameters():
        value.mul_(0.6 if value.ndim > 1 else 1.0)
    save_network(tmp_path / "run", model, model.state_dict(), Origin("Some licence", ("a note",)))
    return tmp_path / "run"


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_student_comes_near_its_teacher(tmp_path: Path, folder: Path, guidance: float) -> None:
    text = run(tmp_path / "out", folder, 200, guidance)
    rows = {
        row["name"]: row for row in json.loads((tmp_path / "out" / "before_after.json").read_text())["rows"]
    }
    assert list(rows) == ["teacher", "student before", "student"] and "latent_rms" in text
    assert rows["student"]["latent_rms"] < 0.7 * rows["student before"]["latent_rms"]
    assert (rows["student"]["velocity_error"] is None) == (guidance > 1), (
        "guided ones are no plain velocities"
    )
    assert rows["student"]["guidance"] == (1.0 if guidance > 1 else 1.5)
    origin = read_origin(tmp_path / "out")
    assert (origin.licence, origin.notes) == ("Some licence", ("a note",))
    assert origin.history[-1]["made_by"] == "distill student"


def test_guidance_of_the_event_curve_alone_is_told_and_kept(tmp_path: Path, folder: Path) -> None:
    run(tmp_path / "out", folder, 2, sync_guidance=2.0)
    rows = json.loads((tmp_path / "out" / "before_after.json").read_text())["rows"]
    assert rows[-1]["guidance"] == 1.0 and rows[-1]["velocity_error"] is None
    assert read_origin(tmp_path / "out").history[-1]["sync_guidance"] == 2.0
    with pytest.raises(UsageError, match="sync_guidance"):
        run(tmp_path / "out", folder, 2, sync_guidance=3.0)


def test_a_resumed_student_equals_one_go(tmp_path: Path, folder: Path) -> None:
    run(tmp_path / "whole", folder, 3)
    for _ in range(2):
        run(tmp_path / "parts", folder, 3, minutes=1e-9)
    run(tmp_path / "parts", folder, 3)
    one, two = (load_network(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_sizes_of_students(tmp_path: Path) -> None:
    small = student_config(NANO, {})
    count = lambda c: sum(p.numel() for p in Transformer(c).parameters())  # noqa: E731
    assert (small.hidden_size, small.num_heads, small.head_dim) == (256, 4, 64)
    assert count(small) < 0.5 * count(NANO)
    assert student_config(XL, {}).head_dim == XL.head_dim
    (tmp_path / "c.json").write_text('{"hidden_size": 192, "num_heads": 3}')
    assert student_config(NANO, read_config(tmp_path / "c.json")).hidden_size == 192
    for text, message in (('{"width": 3}', "width"), ("[1]", "list"), ("{", "JSON")):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            read_config(tmp_path / "c.json")
    with pytest.raises(UsageError, match="latent_dim 128 for 64"):
        student_config(NANO, {"latent_dim": 128})
    with pytest.raises(UsageError, match="cannot be shared out"):
        student_config(NANO, {"num_heads": 3})


def test_runs_without_finished_weights_are_read_from_their_checkpoint(tmp_path: Path) -> None:
    model = network()
    (tmp_path / "transformer.json").write_text(json.dumps({**vars(TINY)}))
    torch.save({"average": model.state_dict()}, tmp_path / "last.pt")
    loaded = load_network(tmp_path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())
    (tmp_path / "transformer.json").write_text(json.dumps({**vars(TINY), "hidden_size": 64}))
    with pytest.raises(UsageError, match="not those of its sizes"):
        load_network(tmp_path)
    with pytest.raises(UsageError, match="no run of a transformer"):
        load_network(tmp_path / "nowhere")


def shards(folder: Path, config, count: int = 2, rows: int = 5) -> Path:
    source = MadeUp(config, rows, 16)
    source.config = config
    for number in range(count):
        batch = source.train(number)
        batch["sync"] = torch.randn(rows, 2 * config.sync_segment, config.sync_dim)
        write_shard(
            folder, number, {k: v for k, v in batch.items() if k not in ("avoids", "blank", "blank_mask")}
        )
    return folder


def test_a_student_of_hunyuan_has_its_latents_and_its_licence(tmp_path: Path, tiny: Path) -> None:
    config = TINY_HUNYUAN.transformer
    source = FeatureSource(shards(tmp_path / "features", config), 3, "cpu")
    run(tmp_path / "out", tiny, 2, source=source)
    student = load_network(tmp_path / "out")
    assert (student.config.latent_dim, student.config.sync_segment) == (config.latent_dim, 8)
    origin = read_origin(tmp_path / "out")
    assert origin.licence == "Apache-2.0" and "random weights" in origin.notes[0]
    genuine = hunyuan_origin(replace(open_folder(tiny), stand_in=None, model="xl"))
    assert "Tencent" in genuine.licence and any("European Union" in note for note in genuine.notes)
    again = NetworkTeacher(student, genuine).origin.then("prune")
    assert again.licence == genuine.licence and again.history == ({"made_by": "prune"},)
    with pytest.raises(UsageError, match="do not fit the teacher: latent_dim 16 for 64"):
        source.check(NANO)


def test_the_tiny_teacher_answers_as_the_converted_network_does(tiny: Path) -> None:
    teacher = open_teacher(tiny, 3.0, "cpu", bf16=False)
    source = MadeUp(TINY_HUNYUAN.transformer, 2, 16)
    batch = source.train(0)
    batch["sync"] = torch.randn(2, 16, TINY_HUNYUAN.transformer.sync_dim)
    x, sigma = batch["latents"], torch.full((2,), 0.5)
    with torch.no_grad():
        made = teacher.velocity(x, sigma, batch)
        expected = velocity_of(teacher.network, batch, 3.0, False)(x, sigma)
        plain = open_teacher(tiny, 1.0, "cpu").velocity(x, sigma, batch)  # in bfloat16
        exact = velocity_of(teacher.network, batch, 1.0, False)(x, sigma)
    assert torch.allclose(made, expected, atol=1e-5) and not torch.allclose(made, exact, atol=1e-3)
    assert float((plain - exact).norm() / exact.norm()) < 0.05
    with pytest.raises(UsageError, match="is a file"):
        open_teacher(tiny / "stand-in.json", 1.0, "cpu")


def test_batches_of_features(tmp_path: Path) -> None:
    folder = shards(tmp_path, TINY, 3)
    source = FeatureSource(folder, 4, "cpu")
    one, again, other = source.train(7), source.train(7), source.train(8)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["latents"], other["latents"])
    held = {float(row.sum()) for step in range(9) for row in source.held_out(step)["latents"]}
    seen = {float(row.sum()) for step in range(40) for row in source.train(step)["latents"]}
    assert len(held) == 5 and len(seen) == 10 and not held & seen
    wordless = []
    for batch in map(source.train, range(40)):
        wordless += [torch.equal(a, b) for a, b in zip(batch["text"], batch["negative"], strict=True)]
    assert 0.02 < np.mean(wordless) < 0.25, "a share has no words of its own"
    with pytest.raises(UsageError, match="two are needed"):
        FeatureSource(tmp_path / "none", 4, "cpu")
    with pytest.raises(ValueError, match="missing"):
        write_shard(tmp_path, 9, {"latents": torch.zeros(1, 2, 3)})
