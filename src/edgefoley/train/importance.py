"""Which heads, channels and blocks of a transformer matter, measured on its velocities.

The importance of a unit is the mean squared change of the velocity when the unit is masked, channels weighed
as in training, over a few batches at several noise levels. It is measured against the network's own unmasked
velocity: against noise - data the same change would drown in what no network can predict.

Heads and blocks are masked one by one, a pass each. Channels are too many for that. To first order, masking
channel c changes output o by its derivative with respect to a gate g_c on the channel, and for random signs r
the square of the derivative of sum(r v) with respect to g_c has the sum of their squares over all outputs as
its mean (Hutchinson 1990, doi 10.1080/03610919008812866). So one pass back and forth estimates the
importance of every channel of every MLP; a few signs and batches make the estimate good enough to sort by.
A channel that does nothing has exactly 0.

A two-stream block's heads serve both streams at once, since they attend jointly: one unit is a head with both
its projections. The heads that attend to the text are units of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgefoley.models.transformer import Transformer
from edgefoley.train.sampler import velocity_of
from edgefoley.train.teachers import Batch

Kind = Literal["heads", "mlp", "gated"]
Stack = Literal["triple_blocks", "single_blocks"]


@dataclass(frozen=True)
class Group:
    """Units of one place that are kept or dropped one by one. ``name``: the place; ``readers``: modules whose
    input channels are the units' outputs, ``width`` channels per unit, ``count`` units."""

    name: str
    kind: Kind
    readers: tuple[str, ...]
    count: int
    width: int = 1


def groups_of(network: Transformer) -> list[Group]:
    """All places of heads and MLP channels, in the order of the network."""
    c, found = network.config, []
    found.append(Group("sync_in.2", "gated", ("sync_in.2.w2",), c.gated_hidden))
    for i, block in enumerate(network.two_stream()):
        at = f"triple_blocks.{i}"
        streams = ("audio",) if block.last else ("audio", "v_cond")
        for what in ("self", "cross"):
            readers = tuple(f"{at}.{stream}_{what}_proj" for stream in streams)
            found.append(Group(f"{at}.{what}", "heads", readers, c.num_heads, c.head_dim))
        for stream in streams:
            found.append(Group(f"{at}.{stream}_mlp", "mlp", (f"{at}.{stream}_mlp.fc2",), c.mlp_hidden))
    for i in range(c.depth_single_blocks):
        at = f"single_blocks.{i}"
        found.append(Group(f"{at}.self", "heads", (f"{at}.linear1",), c.num_heads, c.head_dim))
        found.append(Group(f"{at}.linear2", "gated", (f"{at}.linear2.w2",), c.gated_hidden))
    return found


@contextmanager
def masked(network: Transformer, group: Group, gate: Tensor) -> Iterator[None]:
    """Within it, unit i of a group is scaled by ``gate[i]``."""
    scale = gate.repeat_interleave(group.width)

    def scaled(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0] * scale.to(inputs[0].dtype), *inputs[1:])

    with ExitStack() as stack:
        for name in group.readers:
            handle = network.get_submodule(name).register_forward_pre_hook(scaled)
            stack.callback(handle.remove)
        yield


@contextmanager
def skipped(network: Transformer, blocks: Sequence[str]) -> Iterator[None]:
    """Within it, the named blocks pass on what they are given."""

    def pass_on(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return inputs[:2] if isinstance(output, tuple) else inputs[0]

    with ExitStack() as stack:
        for name in blocks:
            stack.callback(network.get_submodule(name).register_forward_hook(pass_on).remove)
        yield


class Probe:
    """A few batches at several noise levels, with the velocities that ``network`` has there.

    ``weights`` (D, 1) of the latents' channels. Noise levels are spread evenly over each batch's examples.
    """

    def __init__(
        self,
        network: Transformer,
        batches: Sequence[Batch],
        weights: Tensor,
        seed: int = 0,
        bf16: bool = True,
    ) -> None:
        self.network, self.weights, self.bf16 = network, weights, bf16
        self.generator = torch.Generator().manual_seed(seed)
        self.items: list[tuple[Tensor, Tensor, Batch]] = []
        for batch in batches:
            data = batch["latents"]
            noise = torch.randn(data.shape, generator=self.generator).to(data.device)
            sigma = (torch.arange(len(data), device=data.device) + 0.5) / len(data)
            at = sigma[:, None, None]
            self.items.append((at * noise + (1 - at) * data, sigma, batch))
        self.reference = self.velocities()

    def velocities(self) -> list[Tensor]:
        """As the network is now, masks included."""
        with torch.no_grad():
            return [self._velocity(*item) for item in self.items]

    def _velocity(self, latents: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        return velocity_of(self.network, batch, 1.0, self.bf16)(latents, sigma)

    def change(self) -> float:
        """Mean squared change of the velocity under whatever is masked now."""
        pairs = zip(self.velocities(), self.reference, strict=True)
        errors = [float((self.weights * (now - before).square()).mean()) for now, before in pairs]
        return sum(errors) / len(errors)

    def heads(self, group: Group) -> Tensor:
        """Importance (count,) of the units of a group, each masked in turn."""
        found = []
        for unit in range(group.count):
            gate = torch.ones(group.count, device=self.weights.device)
            gate[unit] = 0
            with masked(self.network, group, gate):
                found.append(self.change())
        return torch.tensor(found)

    def channels(self, groups: Sequence[Group], signs: int = 4) -> dict[str, Tensor]:
        """Estimated importance (count,) of the units of each group, from ``signs`` random signs per batch."""
        device = self.weights.device
        gates = {g.name: torch.ones(g.count, device=device, requires_grad=True) for g in groups}
        sums = {g.name: torch.zeros(g.count) for g in groups}
        with ExitStack() as stack:
            for group in groups:
                stack.enter_context(masked(self.network, group, gates[group.name]))
            for item in self.items:
                made = self._velocity(*item)
                # Same for every batch: the mean over outputs, not their sum.
                scaled = (self.weights / made.numel()).sqrt() * made
                for k in range(signs):
                    drawn = torch.randint(0, 2, made.shape, generator=self.generator)
                    sign = (2 * drawn - 1).to(made)
                    slopes = torch.autograd.grad(
                        scaled, list(gates.values()), sign, retain_graph=k + 1 < signs
                    )
                    for name, slope in zip(gates, slopes, strict=True):
                        sums[name] += slope.square().cpu() / (signs * len(self.items))
        return sums

    def blocks(self, kind: Stack, keep: int) -> tuple[list[int], dict[str, float]]:
        """Indices of the ``keep`` blocks of a kind that stay, and the change when each dropped one went.

        Blocks go one by one, the one that changes least first, and the rest is measured again without it.
        """
        count = len(network_blocks(self.network, kind))
        gone: list[int] = []
        changes: dict[str, float] = {}
        while count - len(gone) > keep:
            trials = {}
            for index in sorted(set(range(count)) - set(gone)):
                with skipped(self.network, [f"{kind}.{i}" for i in (*gone, index)]):
                    trials[index] = self.change()
            least = min(trials, key=lambda index: trials[index])
            gone.append(least)
            changes[f"{kind}.{least}"] = trials[least]
        return sorted(set(range(count)) - set(gone)), changes


def network_blocks(network: Transformer, kind: str) -> nn.ModuleList:
    """The blocks of a kind."""
    found = network.get_submodule(kind)
    assert isinstance(found, nn.ModuleList)
    return found


def strongest(importance: Mapping[str, Tensor], keep: Mapping[str, int]) -> dict[str, list[int]]:
    """Per place the indices of its ``keep`` most important units, in order; of equals the first."""
    return {
        name: sorted(values.argsort(descending=True, stable=True)[: keep[name]].tolist())
        for name, values in importance.items()
    }
