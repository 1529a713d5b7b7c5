"""Make a transformer smaller by leaving out what matters least, then train what is left:
``edgefoley prune``.

Structured pruning: whole heads, MLP channels and blocks go, so that what is left is an ordinary, smaller
network. In this order, each measured (``train.importance``) on the network that the step before left:

1. blocks, one by one;
2. heads: the same number in every place, since a network has one number of heads;
3. MLP channels: the same number in every MLP of a kind.

Then it heals: it learns the velocities of the network that it was cut from, by the loop of ``distill
student``, with a share of the true velocity. Cutting is exact: the smaller network computes what the larger
one computes with the units masked. The width between the blocks stays, so heads no longer share it out
(``TransformerConfig.head_width``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from edgefoley.errors import UsageError
from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.train.before_after import Contestant, Row, write_table
from edgefoley.train.distill_run import BEFORE, Effort, Say, Source, claim, described, finish, kept, trial_of
from edgefoley.train.distill_student import Lesson, measured, teach
from edgefoley.train.files import write_whole
from edgefoley.train.importance import Group, Probe, Stack, groups_of, network_blocks, strongest
from edgefoley.train.loop import log_line, mark_done
from edgefoley.train.teachers import NetworkTeacher, load_network, save_network

CUT: Final = "cut"  # subfolder: the smaller network before it heals
IMPORTANCE: Final = "importance.json"
PROBES: Final = 6  # batches that importance is measured on
FIRST_PROBE: Final = 1_000_000  # training batches that no training comes to


@dataclass(frozen=True)
class Smaller:
    """Sizes to prune to; None keeps a size. ``mlp`` is a share of the hidden width of every MLP."""

    two_stream: int | None = None
    single: int | None = None
    heads: int | None = None
    mlp: float | None = None


def smaller_config(config: TransformerConfig, wanted: Smaller) -> TransformerConfig:
    """Sizes of the pruned network. Raises UsageError when a size is out of range or nothing would go."""
    limits = {
        "two-stream blocks": (wanted.two_stream, config.depth_triple_blocks),
        "single-stream blocks": (wanted.single, config.depth_single_blocks),
        "heads": (wanted.heads, config.num_heads),
    }
    for name, (count, there) in limits.items():
        if count is not None and not 1 <= count <= there:
            raise UsageError(f"{count} {name} cannot be kept: the network has {there}, and one has to stay.")
    if wanted.mlp is not None and not 0 < wanted.mlp <= 1:
        raise UsageError(
            f"the MLPs cannot be pruned to {wanted.mlp} of their width; give a share above 0, up to 1."
        )
    hidden = max(1, round(config.mlp_hidden * (1 if wanted.mlp is None else wanted.mlp)))
    heads = wanted.heads or config.num_heads
    made = replace(
        config,
        depth_triple_blocks=wanted.two_stream or config.depth_triple_blocks,
        depth_single_blocks=wanted.single or config.depth_single_blocks,
        num_heads=heads,
        head_width=config.head_width if heads == config.num_heads else config.head_dim,
        mlp_ratio=config.mlp_ratio if hidden == config.mlp_hidden else (hidden + 0.5) / config.hidden_size,
    )
    if made == config:
        raise UsageError(
            "nothing would be pruned: ask for fewer blocks (--two-stream, --single) or heads (--heads), or "
            "narrower MLPs (--mlp)."
        )
    return made


def cut_blocks(network: Transformer, two_stream: Sequence[int], single: Sequence[int]) -> Transformer:
    """The network with only those blocks, in their order. Where another two-stream block becomes the last
    one, its pictures' half after keys and values goes too: it cannot reach the output."""
    config = replace(network.config, depth_triple_blocks=len(two_stream), depth_single_blocks=len(single))
    state: dict[str, Tensor] = {}
    places = {f"triple_blocks.{old}": f"triple_blocks.{new}" for new, old in enumerate(two_stream)}
    places |= {f"single_blocks.{old}": f"single_blocks.{new}" for new, old in enumerate(single)}
    for name, value in network.state_dict().items():
        parts = name.split(".", 2)
        if parts[0] not in ("triple_blocks", "single_blocks"):
            state[name] = value
        elif (place := places.get(".".join(parts[:2]))) is not None:
            state[f"{place}.{parts[2]}"] = value
    return _made(config, state)


def cut_units(
    network: Transformer, config: TransformerConfig, keep: Mapping[str, Sequence[int]]
) -> Transformer:
    """The network of sizes ``config`` with only the units ``keep`` (place -> indices) of its groups."""
    state = dict(network.state_dict())
    for group in groups_of(network):
        if group.name in keep:
            index = torch.tensor(keep[group.name], device=next(iter(state.values())).device)
            for name, axis, before, after in _tensors_of(group):
                if name in state:
                    state[name] = _select(state[name], axis, (before, group.count, after), index)
    return _made(config, state)


def _tensors_of(group: Group) -> list[tuple[str, int, int, int]]:
    """(name, axis, parts before the units, channels per unit and part after) of every tensor in which a group
    has a place; see the layouts in ``models.transformer``."""
    block, _, what = group.name.rpartition(".")
    found = [(f"{reader}.weight", 1, 1, group.width) for reader in group.readers]
    if group.kind == "mlp":
        return found + [(f"{group.name}.fc1.{leaf}", 0, 1, 1) for leaf in ("weight", "bias")]
    if group.kind == "gated":
        return found + [(f"{group.name}.{leaf}.weight", 0, 1, 1) for leaf in ("w1", "w3")]
    if block.startswith("single"):  # layout (head, channel, part)
        return found + [(f"{block}.linear_qkv.{leaf}", 0, 1, 3 * group.width) for leaf in ("weight", "bias")]
    layers = {"self": (("audio_self_attn_qkv", 3), ("v_cond_attn_qkv", 3)),
              "cross": (("audio_cross_q", 1), ("v_cond_cross_q", 1), ("text_cross_kv", 2))}[what]  # fmt: skip
    return found + [
        (f"{block}.{layer}.{leaf}", 0, parts, group.width)
        for layer, parts in layers
        for leaf in ("weight", "bias")
    ]


def _select(value: Tensor, axis: int, layout: tuple[int, int, int], index: Tensor) -> Tensor:
    """The units ``index`` of an axis that is laid out as (parts, units, channels)."""
    split = value.unflatten(axis, layout).index_select(axis + 1, index)
    return split.flatten(axis, axis + 2)


def _made(config: TransformerConfig, state: Mapping[str, Tensor]) -> Transformer:
    """The network of sizes ``config`` with ``state``, whose surplus behind the last two-stream block's keys
    and values is dropped."""
    network = Transformer(config)
    own = network.state_dict()
    fitted = {}
    for name, value in own.items():
        found = state[name]
        fitted[name] = (
            found if found.shape == value.shape or "v_cond_mod" not in name else found[: len(value)]
        )
    network.to(next(iter(fitted.values())).device).load_state_dict(fitted)
    return network.eval()


@dataclass(frozen=True)
class PrunePlan:
    """A run of ``edgefoley prune``: the ``run`` to be cut, what it shall be cut to, how much of the target
    is the true velocity while it heals, and how the sounds behind the table are made."""

    out: Path
    run: Path
    wanted: Smaller
    true_share: float = 0.5
    steps_shown: int = 12
    guidance_shown: float = 2.5


def choose_and_cut(
    network: Transformer, wanted: TransformerConfig, source: Source, effort: Effort, say: Say
) -> tuple[Transformer, dict[str, Any]]:
    """The pruned network and what was measured: per place the importance of its units, and which stayed."""
    batches = [source.train(FIRST_PROBE + i) for i in range(PROBES)]
    report: dict[str, Any] = {"blocks": {}, "importance": {}, "kept": {}}

    def probe(subject: Transformer) -> Probe:
        return Probe(subject, batches, source.weights, bf16=effort.bf16)

    stacks: dict[Stack, int] = {
        "triple_blocks": wanted.depth_triple_blocks,
        "single_blocks": wanted.depth_single_blocks,
    }
    for stack, count in stacks.items():
        say(f"measuring {stack}")
        left, changes = probe(network).blocks(stack, count)
        report["blocks"] |= changes
        report["kept"][stack] = left
        two_stream, single = (
            left if stack == kind else list(range(len(network_blocks(network, kind)))) for kind in stacks
        )
        network = cut_blocks(network, two_stream, single)
    steps = (
        (("heads",), {"num_heads": wanted.num_heads, "head_width": wanted.head_width}),
        (("mlp", "gated"), {"mlp_ratio": wanted.mlp_ratio}),
    )
    for kinds, sizes in steps:
        config = replace(network.config, **sizes)
        if config == network.config:
            continue
        say(f"measuring {' and '.join(kinds)}")
        groups = [group for group in groups_of(network) if group.kind in kinds]
        watch = probe(network)
        found = watch.channels(groups) if "mlp" in kinds else {g.name: watch.heads(g) for g in groups}
        counts = {"heads": config.num_heads, "mlp": config.mlp_hidden, "gated": config.gated_hidden}
        keep = strongest(found, {group.name: counts[group.kind] for group in groups})
        report["importance"] |= {name: values.tolist() for name, values in found.items()}
        report["kept"] |= keep
        network = cut_units(network, config, keep)
    return network, report


def prune(plan: PrunePlan, teacher: NetworkTeacher, source: Source, effort: Effort, say: Say) -> str:
    """Run or resume; ``teacher`` is the network to be cut. Writes the network as cut (folder ``cut``), what
    was measured (``importance.json``), the healed weights, sizes, origin and table into ``plan.out``, and
    returns the table. ``effort.steps`` 0: no healing. Raises UsageError."""
    source.check(teacher.config)
    wanted = smaller_config(teacher.config, plan.wanted)
    facts = {"true_share": plan.true_share, **described(effort)}
    claim(plan.out, {"what": "prune", "run": str(plan.run), "config": asdict(wanted), **facts})
    origin = teacher.origin.then("prune", run=str(plan.run), wanted=asdict(plan.wanted), **facts)
    if not (plan.out / CUT / "transformer.safetensors").exists():
        smaller, report = choose_and_cut(teacher.network, wanted, source, effort, say)
        write_whole(plan.out / IMPORTANCE, json.dumps(report) + "\n")
        save_network(plan.out / CUT, smaller, smaller.state_dict(), origin)
        log_line(plan.out, {"blocks": report["blocks"]})
    student = load_network(plan.out / CUT).to(effort.device).requires_grad_(True)
    trial = trial_of(source, effort)
    whole = teacher.network  # not compiled: the table sees shapes that training does not

    def rows(name: str) -> list[Row]:
        both = [
            Contestant(label, network, plan.steps_shown, plan.guidance_shown)
            for label, network in (("before", whole), (name, student))
        ]
        return measured(both, trial, True, say)

    before = kept(plan.out / BEFORE, lambda: rows("cut"))
    average = teach(student, teacher, source, effort, Lesson(plan.true_share, False, effort.bf16), plan.out)
    finish(plan.out, student, average.state, origin)
    after = [rows("healed")[1]] if average.step else []
    text = write_table(plan.out, [*before, *after], trial, run=str(plan.run), **facts)
    mark_done(plan.out, average, effort.loop())
    return text
