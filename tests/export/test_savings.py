"""Each saving that is taken over the plain form of the network, shown to be exact in PyTorch, on small sizes.

Text keys and values, modulations of a schedule, distinct modulation rows, the last block's picture half and
the unconditional branch are in test_hunyuan_parts.py; the decoder's exact chunks in tests/models/test_dac.py.
That the plain form is the published network: tests/parity. All together, in the engines: test_chain.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch modules")
pytest.importorskip("onnx")

import torch.nn.functional as F  # noqa: E402

from edgefoley import media  # noqa: E402
from edgefoley.convert import sources  # noqa: E402
from edgefoley.convert.checkpoint import Checkpoint, open_checkpoint  # noqa: E402
from edgefoley.convert.hunyuan import (  # noqa: E402
    ADALN,
    TINY,
    dead_weights,
    open_folder,
    transformer_shapes,
    wanted_shapes,
)
from edgefoley.export.hunyuan import timeline_of, weights_of  # noqa: E402
from edgefoley.export.hunyuan_parts import parts_of  # noqa: E402
from edgefoley.models.transformer import Transformer, sync_rows, visual_positions  # noqa: E402
from edgefoley.types import View  # noqa: E402
from tests.clips import make_clip  # noqa: E402
from tests.parity import rule  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_gradients")
CONFIG = TINY.transformer
M, N, S = 7, 40, 16


def condition(network: Transformer, visual: Any, sync: Any) -> Any:
    text = rule.inputs("text", 5, 1, 5, CONFIG.text_dim)
    return network.condition(text, visual, sync, sync_rows(N, S), visual_positions(N, M).float())


def test_sync_rows_are_projected_before_they_are_repeated(network: Transformer) -> None:
    """The published order: add the place in the segment, repeat rows to one per token, project each token, at
    every step. The projection sees one row at a time, so S rows once give the same."""
    sync = rule.inputs("sync", 5, 1, S, CONFIG.sync_dim)
    placed = (sync.unflatten(1, (-1, 8)) + network.sync_pos_emb).flatten(1, 2)
    repeated = F.interpolate(placed.mT, size=N, mode="nearest-exact").mT
    plain = network.sync_in(repeated)
    made = condition(network, rule.inputs("visual", 5, 1, M, CONFIG.visual_dim), sync)
    assert made.sync.shape[1] == S < plain.shape[1] == N
    picked = made.sync.index_select(1, made.sync_index)
    assert rule.relative_error(picked.numpy(), plain.numpy()) < 1e-6


def test_pictures_are_projected_once(network: Transformer) -> None:
    """The second stream begins with the same rows at every step, whatever the time and the latents are."""
    visual = rule.inputs("visual", 5, 1, M, CONFIG.visual_dim)
    sync = rule.inputs("sync", 5, 1, S, CONFIG.sync_dim)
    seen: list[Any] = []
    hook = network.two_stream()[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    text = rule.inputs("text", 5, 1, 5, CONFIG.text_dim)
    for seed, time in enumerate((1000.0, 40.0)):
        network(rule.inputs("x", seed, 1, CONFIG.latent_dim, N), torch.tensor([time]), text, visual, sync)
    hook.remove()
    kept = condition(network, visual, sync).visual
    assert len(seen) == 2 and all(torch.equal(rows, kept) for rows in seen)
    plain = network.visual_proj
    wanted = plain.w2(F.silu(visual @ plain.w1.weight.T) * (visual @ plain.w3.weight.T))
    assert rule.relative_error(kept.numpy(), wanted.numpy()) < 1e-6


def test_weights_that_are_dropped_are_the_dead_ones(tiny_source: Path) -> None:
    """What the parts hold and what the list of dead weights names is every published tensor, each once but
    for the last block's modulation, of which two vectors of nine are kept."""
    dead = set(dead_weights(CONFIG))
    last = f"triple_blocks.{CONFIG.depth_triple_blocks - 1}."
    assert dead == {name for name in dead if name.startswith((f"{last}v_cond_", ADALN))}
    read = set()
    for part in parts_of(TINY, 2):
        if part.source == "transformer":
            weights = weights_of(open_folder(tiny_source), part)
            read |= {part.published(name) for name in part.spec.module.state_dict()} & set(weights)
    unread = set(transformer_shapes(CONFIG)) - read
    assert unread == dead


def test_unused_halves_are_never_read(tiny_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SigLIP2's text tower, CLAP's and Synchformer's sound halves, the codec's encoder: what is asked for is
    what the network has; the rest of the file is not even mapped."""
    asked: dict[str, set[str]] = {}
    get = Checkpoint.__getitem__

    def noted(self: Checkpoint, name: str) -> Any:
        asked.setdefault(self.path.name, set()).add(name)
        return get(self, name)

    monkeypatch.setattr(Checkpoint, "__getitem__", noted)
    source = open_folder(tiny_source)
    for part in parts_of(TINY, 2):
        dict(weights_of(source, part))
    for component in ("siglip2", "clap", "synchformer", "vae"):
        path = source.paths[component]
        there, wanted = set(open_checkpoint(path)), set(wanted_shapes(component, TINY))
        if component == "vae":
            wanted = {name for name in wanted if not name.startswith(("encoder.", "quant_conv."))}
        assert asked[path.name] == wanted
        assert there > wanted


def test_garbage_in_unused_halves_changes_nothing(tiny_source: Path, tmp_path: Path) -> None:
    """NaN in every tensor that generating does not read: all weights that are read stay as they are."""
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_source, folder)
    spoiled = 0
    for component in sources.COMPONENTS:
        if component == "tokenizer":
            continue
        path = open_folder(folder).paths[component]
        wanted = wanted_shapes(component, TINY)
        with path.open("r+b") as file:
            for name, entry in open_checkpoint(path).entries.items():
                if name not in wanted and entry.dtype.is_floating_point:
                    file.seek(entry.offset)
                    file.write(b"\xff" * entry.extent)
                    spoiled += 1
    assert spoiled > 40
    for part in parts_of(TINY, 2):
        before, after = (weights_of(open_folder(place), part) for place in (tiny_source, folder))
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_video_is_decoded_once(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both encoders' frames come from one pass over the file, and are those that two passes would give."""
    path = make_clip(tmp_path / "clip.mp4", fps=25, count=40)
    timeline = timeline_of(open_folder(tiny_source))
    views = {
        "visual": View(timeline.visual_rate, (32, 32), "rgb", "at_or_after"),
        "sync": View(timeline.sync_rate, (32, 32), "rgb", "at_or_after", "crop", "bicubic"),
    }
    count = 0
    frames = media._frames

    def counted(*arguments: Any, **further: Any) -> Iterator[Any]:
        nonlocal count
        for frame in frames(*arguments, **further):
            count += 1
            yield frame

    monkeypatch.setattr(media, "_frames", counted)
    both = media.read_clip(path, views)
    assert count == 40
    for name, view in views.items():
        alone = media.read_clip(path, {name: view})
        assert (alone.views[name].frames == both.views[name].frames).all()
    assert count == 3 * 40
