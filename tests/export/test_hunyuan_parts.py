"""Each exact saving of the graphs against the plain form of the network, in PyTorch, on small sizes.

That the plain form is the published network: tests/parity.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch modules")
pytest.importorskip("onnx")

from edgefoley.convert.hunyuan import TINY, assemble  # noqa: E402
from edgefoley.export.hunyuan_parts import Part, groups_of, parts_of  # noqa: E402
from edgefoley.models.layers import TimeConv, rope_tables  # noqa: E402
from edgefoley.models.transformer import (  # noqa: E402
    Transformer,
    TwoStreamBlock,
    sync_rows,
    visual_positions,
)
from tests.parity import rule  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_gradients")
CONFIG = TINY.transformer
T, M, N, S = 5, 7, 40, 16


@pytest.fixture(scope="module", params=[1, 2])
def parts(request: pytest.FixtureRequest, network: Transformer) -> dict[str, torch.nn.Module]:
    """The transformer's parts with the weights of ``network``, for groups of one and two blocks."""
    weights = network.state_dict()
    return {
        part.name: with_weights(part, weights)
        for part in parts_of(TINY, request.param)
        if part.source == "transformer"
    }


def with_weights(part: Part, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The part's module; what the whole network lacks (a block beyond the last) stays without values."""
    module = part.spec.module
    state = {
        name: weights[part.published(name)]
        for name in module.state_dict()
        if part.published(name) in weights
        and weights[part.published(name)].shape == module.state_dict()[name].shape
    }
    module.load_state_dict(state, strict=False, assign=True)
    return module


def clip(seed: int = 5) -> dict[str, torch.Tensor]:
    """The conditioner's inputs."""
    return {
        "text_feat": rule.inputs("text", seed, 1, T, CONFIG.text_dim),
        "visual_feat": rule.inputs("visual", seed, 1, M, CONFIG.visual_dim),
        "sync_feat": rule.inputs("sync", seed, 1, S, CONFIG.sync_dim),
        "visual_present": torch.ones(1),
        "sync_present": torch.ones(1),
        "sync_index": sync_rows(N, S),
        "visual_position": visual_positions(N, M).float(),
    }


def named(part: Part, made: tuple[torch.Tensor, ...] | torch.Tensor) -> dict[str, torch.Tensor]:
    values = (made,) if isinstance(made, torch.Tensor) else made
    return {part.names.get(key, key): value for key, value in zip(part.spec.outputs, values, strict=True)}


def run_all(parts: dict[str, torch.nn.Module], group: int, times: list[float]) -> list[torch.Tensor]:
    """Velocities at ``times``, the parts called as the runtime calls them: clip once, schedule once."""
    specs = {part.name: part for part in parts_of(TINY, group)}
    values: dict[str, torch.Tensor] = {"latents": rule.inputs("x", 5, 1, CONFIG.latent_dim, N)}

    def call(name: str, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        part = specs[name]
        feeds = {key: given[part.names.get(key, key)] for key in part.spec.examples[0]}
        return named(part, parts[name](**feeds))

    values |= named(specs["conditioner"], parts["conditioner"](**clip()))
    clocks: dict[str, torch.Tensor] = {"t": torch.tensor(times)}
    for name in sorted(key for key in parts if key.startswith("timestep")):
        clocks |= call(name, clocks)
    velocities = []
    for row in range(len(times)):
        step = values | {key: value[row : row + 1] for key, value in clocks.items()}
        for name in sorted(key for key in parts if key.startswith("denoiser")):
            step |= call(name, step)
        velocities.append(step["velocity"])
    return velocities


def group_of(parts: dict[str, torch.nn.Module]) -> int:
    return 1 if "timestep.03" in parts else 2


def test_all_parts_together_are_the_network(network: Transformer, parts: dict[str, torch.nn.Module]) -> None:
    """Text keys and values once per clip, modulations once per schedule, distinct rows only: all at once."""
    times, given = [1000.0, 480.0, 20.0], clip()
    made = run_all(parts, group_of(parts), times)
    x = rule.inputs("x", 5, 1, CONFIG.latent_dim, N)
    for t, velocity in zip(times, made, strict=True):
        plain = network(x, torch.tensor([t]), given["text_feat"], given["visual_feat"], given["sync_feat"])
        assert rule.relative_error(velocity.numpy(), plain.numpy()) < 2e-6


def test_text_keys_and_values_do_not_depend_on_the_step(
    network: Transformer, parts: dict[str, torch.nn.Module]
) -> None:
    """The conditioner's are those that every block would compute from the text at every step."""
    spec = next(part for part in parts_of(TINY, group_of(parts)) if part.name == "conditioner")
    made = named(spec, parts["conditioner"](**clip()))
    text = network.cond_in(clip()["text_feat"])
    rope = rope_tables(torch.arange(T), CONFIG.head_dim)
    for index, (start, stop) in enumerate(groups_of(CONFIG.depth_triple_blocks, group_of(parts))):
        for place, block in enumerate(network.two_stream()[start:stop]):
            k, v = block.text_kv(text, rope)
            assert torch.equal(made[f"text_k.{index:02}"][place], k)
            assert torch.equal(made[f"text_v.{index:02}"][place], v)


def test_modulations_of_a_schedule_are_those_of_its_steps(
    network: Transformer, parts: dict[str, torch.nn.Module]
) -> None:
    times = torch.tensor([1000.0, 980.0, 20.0])
    vec = parts["timestep.00"](t=times)
    for index, (start, stop) in enumerate(groups_of(CONFIG.depth_triple_blocks, group_of(parts))):
        sound, visual = parts[f"timestep.{index + 1:02}"](vec=vec)
        for row, t in enumerate(times):
            alone = network.time(t[None])
            assert rule.relative_error(vec[row].numpy(), alone.vec[0].numpy()) < 1e-6
            for place in range(stop - start):
                for made, plain in ((sound, alone.sound_mod), (visual, alone.visual_mod)):
                    wanted = plain[start + place, 0, 0]
                    assert rule.relative_error(made[row, place].numpy(), wanted.numpy()) < 1e-6


def test_modulating_distinct_rows_is_modulating_every_token(network: Transformer) -> None:
    """The published block modulates all N tokens, whose sync rows repeat."""
    block, index = network.single_stream()[0], sync_rows(N, S)
    rows = rule.inputs("rows", 1, 1, S, CONFIG.hidden_size)
    few = block.modulation(rows).index_select(1, index)
    many = block.modulation(rows.index_select(1, index))
    assert few.shape == many.shape == (1, N, 6 * CONFIG.hidden_size)
    assert rule.relative_error(few.numpy(), many.numpy()) < 1e-6


def test_one_absent_segment_stands_for_all(network: Transformer, parts: dict[str, torch.nn.Module]) -> None:
    """The unconditional branch: S learned rows have as many distinct values as one segment has rows."""
    spec = next(part for part in parts_of(TINY, group_of(parts)) if part.name == "conditioner")
    given, per = clip(), CONFIG.sync_segment
    absent = {"visual_present": torch.zeros(1), "sync_present": torch.zeros(1)}
    short = given | absent | {
        "sync_feat": torch.zeros(1, per, CONFIG.sync_dim), "sync_index": given["sync_index"] % per
    }  # fmt: skip
    made = named(spec, parts["conditioner"](**short))
    plain = network.condition(
        given["text_feat"],
        network.empty_clip_feat.expand(1, M, -1),
        network.empty_sync_feat.expand(1, S, -1),
        given["sync_index"],
        given["visual_position"],
    )
    picked = made["sync_tokens"].index_select(1, made["sync_row"])
    wanted = plain.sync.index_select(1, plain.sync_index)
    assert rule.relative_error(picked.numpy(), wanted.numpy()) < 1e-6
    assert torch.equal(made["visual_tokens"], plain.visual)


def test_the_last_blocks_picture_half_cannot_be_heard(network: Transformer) -> None:
    """Whatever the dropped weights hold, the block's sound is the same."""
    last = network.two_stream()[-1]
    whole = assemble(lambda: TwoStreamBlock(CONFIG, last=False), random_state(last))
    assert sum(p.numel() for p in whole.parameters()) > 1.3 * sum(p.numel() for p in last.parameters())
    given = clip()
    condition = network.condition(
        *(given[key] for key in ("text_feat", "visual_feat", "sync_feat", "sync_index", "visual_position"))
    )
    time = network.time(torch.tensor([300.0]))
    x = rule.inputs("x", 2, 1, N, CONFIG.hidden_size)
    text = (condition.text_k[-1], condition.text_v[-1], None)
    mods = (time.sound_mod[-1], time.visual_mod[-1])
    wider = torch.randn(mods[1].shape)
    wider[..., : 2 * CONFIG.hidden_size] = mods[1][..., : 2 * CONFIG.hidden_size]
    sound, _ = last(x, condition.visual, mods, text, condition)
    plain, visual = whole(x, condition.visual, (mods[0], wider), text, condition)
    assert rule.relative_error(sound.numpy(), plain.numpy()) < 1e-6
    assert not torch.equal(visual, condition.visual)


def random_state(last: TwoStreamBlock) -> dict[str, torch.Tensor]:
    """The last block's weights, and anything for those that it does not have."""
    with torch.device("meta"):
        shapes = TwoStreamBlock(CONFIG, last=False).state_dict()
    own, state = last.state_dict(), {}
    for name, value in shapes.items():
        state[name] = rule.weight(name, 99, tuple(value.shape))
        if name in own:
            state[name][: own[name].shape[0]] = own[name]
    return state


def test_convolutions_over_tokens_are_matrix_products() -> None:
    """Against torch's own convolution."""
    layer = TimeConv(6, 10, 3, bias=True)
    x = torch.randn(1, 11, 6)
    plain = torch.nn.functional.conv1d(x.mT, layer.weight, layer.bias, padding=1).mT
    assert rule.relative_error(layer(x).numpy(), plain.numpy()) < 1e-6


@pytest.mark.parametrize(
    ("depth", "size", "groups"),
    [(3, 2, ((0, 2), (2, 3))), (4, 2, ((0, 2), (2, 4))), (2, 5, ((0, 2),)), (3, 1, ((0, 1), (1, 2), (2, 3)))],
)
def test_groups_cover_the_blocks(depth: int, size: int, groups: tuple[tuple[int, int], ...]) -> None:
    assert groups_of(depth, size) == groups


def test_parts_of_a_kind_differ_in_their_blocks_only() -> None:
    deep = replace(TINY, transformer=replace(CONFIG, depth_triple_blocks=7, depth_single_blocks=6))
    parts = [part for part in parts_of(deep, 2) if part.name.startswith("denoiser")]
    assert [part.kind for part in parts] == [
        "two 2 True False", "two 2 False False", "two 2 False False", "two 1 False True",
        "single 2 False", "single 2 False", "single 2 True",
    ]  # fmt: skip
    name = "network.triple_blocks.1.audio_cross_q.weight"
    assert [part.published(name) for part in parts[1:3]] == [
        "triple_blocks.3.audio_cross_q.weight", "triple_blocks.5.audio_cross_q.weight",
    ]  # fmt: skip
    assert parts[5].published("network.single_blocks.0.linear1.weight") == "single_blocks.2.linear1.weight"
    assert parts[0].published("network.audio_embedder.proj.weight") == "audio_embedder.proj.weight"
