"""Pruning: a unit that does nothing goes first, cutting is masking, and what is cut can be trained on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from edgefoley.errors import UsageError  # noqa: E402
from edgefoley.models.transformer import NANO, Transformer  # noqa: E402
from edgefoley.train.distill_run import Effort  # noqa: E402
from edgefoley.train.importance import Probe, groups_of, masked, skipped, strongest  # noqa: E402
from edgefoley.train.prune import (  # noqa: E402
    PrunePlan,
    Smaller,
    choose_and_cut,
    cut_blocks,
    cut_units,
    prune,
    smaller_config,
)
from edgefoley.train.sampler import velocity_of  # noqa: E402
from edgefoley.train.teachers import NetworkTeacher, Origin, load_network, read_origin, save_network  # noqa: E402
from tests.train.tiny_lessons import TINY, MadeUp, network  # noqa: E402

SOURCE = MadeUp()


def probe(model: Transformer, batches: int = 2) -> Probe:
    return Probe(model, [SOURCE.train(i) for i in range(batches)], SOURCE.weights, bf16=False)


def velocity(model: Transformer) -> torch.Tensor:
    batch = SOURCE.train(9)
    with torch.no_grad():
        return velocity_of(model, batch, 1.0, False)(batch["latents"], torch.full((3,), 0.4))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_cutting_is_masking(shared: bool, kernel: int) -> None:
    config = replace(TINY, shared_modulation=shared, single_kernel=kernel)
    model = network(config)
    wanted = replace(config, num_heads=3, head_width=config.head_dim, mlp_ratio=1.51)
    assert (wanted.mlp_hidden, wanted.gated_hidden) == (48, 32) != (config.mlp_hidden, config.gated_hidden)
    left = {"heads": 3, "mlp": wanted.mlp_hidden, "gated": wanted.gated_hidden}
    generator = torch.Generator().manual_seed(3)
    keep = {
        group.name: sorted(torch.randperm(group.count, generator=generator)[: left[group.kind]].tolist())
        for group in groups_of(model)
    }
    with ExitStack() as stack:
        for group in groups_of(model):
            gate = torch.zeros(group.count)
            gate[keep[group.name]] = 1
            stack.enter_context(masked(model, group, gate))
        expected = velocity(model)
    assert not torch.allclose(expected, velocity(model), atol=1e-2), "the masks are gone, and acted"
    smaller = cut_units(model, wanted, keep)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert torch.allclose(velocity(smaller), expected, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("two_stream", [[0], [1], [0, 1]])
@pytest.mark.parametrize("single", [[1], [0, 1]])
def test_a_block_left_out_is_a_block_skipped(shared: bool, two_stream: list[int], single: list[int]) -> None:
    model = network(replace(TINY, shared_modulation=shared))
    gone = [f"triple_blocks.{i}" for i in range(2) if i not in two_stream]
    gone += [f"single_blocks.{i}" for i in range(2) if i not in single]
    with skipped(model, gone):
        expected = velocity(model)
    smaller = cut_blocks(model, two_stream, single)
    assert smaller.two_stream()[-1].last
    assert torch.allclose(velocity(smaller), expected, atol=1e-5)


def test_units_that_do_nothing_go_first_at_no_loss() -> None:
    model = network()
    idle = {"triple_blocks.0.self": 2, "triple_blocks.1.cross": 0, "single_blocks.1.self": 3}
    for group in groups_of(model):
        if group.name in idle:
            d = group.width
            for reader in group.readers:
                weight = model.get_submodule(reader).weight
                weight[:, idle[group.name] * d : (idle[group.name] + 1) * d] = 0
    mute = model.single_blocks[0].linear2.w2.weight
    mute[:, 5:] = 0
    model.single_blocks[0].mod_offset.data[-TINY.hidden_size :] = 1.0
    watch, groups = probe(model), groups_of(model)
    for group in groups:
        if group.name in idle:
            importance = watch.heads(group)
            least = 1e-9 * float(importance.max())  # sums in another order are not exactly zero
            assert importance[idle[group.name]] < least
            assert (importance > least).sum() == group.count - 1
            kept = strongest({group.name: importance}, {group.name: 3})[group.name]
            assert kept == [i for i in range(4) if i != idle[group.name]]
    channels = watch.channels([g for g in groups if g.kind == "gated"])
    assert (channels["single_blocks.0.linear2"][5:] < 1e-9 * channels["single_blocks.0.linear2"].max()).all()
    assert (channels["single_blocks.0.linear2"][:5] > 0).all() and (
        channels["single_blocks.1.linear2"] > 0
    ).all()
    # A block whose gates are shut passes on what it is given.
    with torch.no_grad():
        block, h = model.single_blocks[1], TINY.hidden_size
        model.single_mod.linear.weight[2 * h : 3 * h] = 0
        model.single_mod.linear.weight[5 * h :] = 0
        model.single_mod.linear.bias[2 * h : 3 * h] = 0
        model.single_mod.linear.bias[5 * h :] = 0
        block.mod_offset[2 * h : 3 * h] = 0
        block.mod_offset[5 * h :] = 0
    before = velocity(model)
    stay, changes = probe(model).blocks("single_blocks", 1)
    assert stay == [0] and changes == {"single_blocks.1": 0.0}
    assert torch.allclose(velocity(cut_blocks(model, [0, 1], stay)), before, atol=1e-6)


def test_the_estimate_for_channels_is_what_masking_measures() -> None:
    model = network()
    watch = probe(model, 4)
    group = next(g for g in groups_of(model) if g.name == "single_blocks.1.linear2")
    estimate = watch.channels([group], signs=60)[group.name]
    measured = watch.heads(group)  # one by one, as heads are
    order = [values.argsort().argsort().double() for values in (estimate, measured)]
    agreement = torch.corrcoef(torch.stack(order))[0, 1]
    assert agreement > 0.9
    assert 0.6 < float(estimate.sum() / measured.sum()) < 1.6, "not only in order, but in size"


def test_sizes() -> None:
    made = smaller_config(NANO, Smaller(single=3, heads=4, mlp=0.75))
    assert (made.num_heads, made.head_dim, made.hidden_size) == (4, 64, 320)
    assert (made.mlp_hidden, made.gated_hidden, made.depth_single_blocks) == (720, 512, 3)
    assert smaller_config(made, Smaller(heads=3)).head_dim == 64
    for share in (0.1, 0.3, 0.77, 0.9):
        assert smaller_config(NANO, Smaller(mlp=share)).mlp_hidden == round(960 * share)
    for wanted, message in (
        (Smaller(), "nothing would be pruned"),
        (Smaller(heads=5), "nothing would be pruned"),
        (Smaller(heads=6), "6 heads cannot be kept"),
        (Smaller(two_stream=0), "one has to stay"),
        (Smaller(mlp=1.5), "share above 0"),
    ):
        with pytest.raises(UsageError, match=message):
            smaller_config(NANO, wanted)


def test_what_matters_stays(tmp_path: Path) -> None:
    """Half of every MLP goes: by importance it costs less than at random."""
    model = network()
    wanted = smaller_config(TINY, Smaller(mlp=0.5))
    effort = Effort(steps=0, bf16=False)
    chosen, report = choose_and_cut(model, wanted, SOURCE, effort, lambda _: None)
    keep = {
        name: list(range(len(kept)))
        for name, kept in report["kept"].items()
        if "blocks." in name or "sync" in name
    }
    arbitrary = cut_units(model, wanted, {k: v for k, v in keep.items() if k in report["importance"]})
    true = velocity(model)
    cost = [float((velocity(m) - true).square().mean()) for m in (chosen, arbitrary)]
    assert cost[0] < 0.8 * cost[1]


def run(out: Path, folder: Path, steps: int, minutes: float = 0.0) -> str:
    effort = Effort(steps=steps, rate=1e-3, minutes=minutes, bf16=False, check=1)
    teacher = NetworkTeacher(load_network(folder), read_origin(folder), bf16=False)
    plan = PrunePlan(out, folder, Smaller(single=1, heads=3, mlp=0.75), 0.0, 2, 1.0)
    return prune(plan, teacher, SOURCE, effort, lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = network()
    save_network(tmp_path / "run", model, model.state_dict(), Origin("Some licence"))
    return tmp_path / "run"


def test_a_run_cuts_heals_and_tells(tmp_path: Path, folder: Path) -> None:
    text = run(tmp_path / "out", folder, 60)
    rows = {
        row["name"]: row for row in json.loads((tmp_path / "out" / "before_after.json").read_text())["rows"]
    }
    assert list(rows) == ["before", "cut", "healed"] and "healed" in text
    assert rows["healed"]["parameters_m"] == rows["cut"]["parameters_m"] < rows["before"]["parameters_m"]
    assert rows["healed"]["latent_rms"] < rows["cut"]["latent_rms"]
    assert rows["healed"]["gflop"] < rows["before"]["gflop"]
    healed = load_network(tmp_path / "out")
    assert healed.config == smaller_config(TINY, Smaller(single=1, heads=3, mlp=0.75))
    assert read_origin(tmp_path / "out").licence == "Some licence"
    report = json.loads((tmp_path / "out" / "importance.json").read_text())
    assert len(report["kept"]["single_blocks"]) == 1 and len(report["kept"]["single_blocks.0.self"]) == 3


def test_resumed_healing_equals_one_go(tmp_path: Path, folder: Path) -> None:
    run(tmp_path / "whole", folder, 3)
    for _ in range(2):
        run(tmp_path / "parts", folder, 3, minutes=1e-9)
    run(tmp_path / "parts", folder, 3)
    one, two = (load_network(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_without_healing_the_result_is_the_cut(tmp_path: Path, folder: Path) -> None:
    run(tmp_path / "out", folder, 0)
    one, two = (load_network(tmp_path / "out" / name).state_dict() for name in ("", "cut"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(UsageError, match="holds another run"):
        run(tmp_path / "out", folder, 1)
