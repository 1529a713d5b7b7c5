"""Which published tensor goes where: counts, strictness, parts, folders."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")

from edgefoley.convert import hunyuan, sources, stand_in  # noqa: E402
from edgefoley.convert.checkpoint import Checkpoint, CheckpointError, open_checkpoint  # noqa: E402
from edgefoley.errors import UsageError  # noqa: E402
from edgefoley.models.clap import ClapText  # noqa: E402
from edgefoley.models.dac import DacDecoder, DacEncoder, fold_weight_norm, published_shapes  # noqa: E402
from edgefoley.models.siglip import SiglipVision  # noqa: E402
from edgefoley.models.synchformer import Synchformer  # noqa: E402
from edgefoley.models.transformer import XL, XXL, Transformer  # noqa: E402
from tests.parity import rule  # noqa: E402

SEED = 11
TINY = hunyuan.TINY


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tiny"
    for _ in stand_in.write_folder(folder, "tiny", SEED):
        pass
    return folder


def total(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.mark.parametrize(
    ("model", "component", "tensors", "numbers"),
    [
        ("xl", "transformer", 733, 2_912_962_688),
        ("xxl", "transformer", 1087, 5_134_014_848),
        ("xl", "vae", 298, 371_589_058),
        ("xl", "synchformer", None, 122_440_704 - 590_592),  # less the unused embedding of single pictures
        ("xl", "siglip2", None, 93_520_128),
        ("xl", "clap", None, 125_302_016 - 590_592 - 656_384),  # less pooler and projection
    ],
)
def test_published_counts(model: str, component: str, tensors: int | None, numbers: int) -> None:
    """Figures of the published files, counted from the reference implementation."""
    shapes = hunyuan.wanted_shapes(component, hunyuan.SIZES[model])
    assert tensors is None or len(shapes) == tensors
    assert total(shapes) == numbers


def test_siglip2s_text_tower_completes_the_file() -> None:
    sizes = hunyuan.SIZES["xl"]
    unread = stand_in.unread_shapes("siglip2", sizes)
    assert total({**hunyuan.wanted_shapes("siglip2", sizes), **unread}) == 375_823_874


@pytest.mark.parametrize(("config", "millions"), [(XL, 35.7), (XXL, 42.5)])
def test_dead_weights(config: object, millions: float) -> None:
    """All of them lie in the last two-stream block's picture half and in the final layer's modulation; the
    published figure counts the dead rows of v_cond_mod too."""
    shapes = hunyuan.transformer_shapes(config)
    dead = hunyuan.dead_weights(config)
    last = f"triple_blocks.{config.depth_triple_blocks - 1}.v_cond"
    assert all(name.startswith((last, hunyuan.ADALN)) for name in dead)
    h = config.hidden_size
    in_block = sum(math.prod(shapes[name]) for name in dead if name.startswith(last)) + 7 * (h * h + h)
    assert in_block / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_transformer_gets_every_tensor_of_the_rule(tiny: Path) -> None:
    """Also the cut ``v_cond_mod``: its rows are the first ones of the published matrix."""
    weights = hunyuan.open_folder(tiny).weights("transformer")
    state = hunyuan.transformer_state(weights, TINY.transformer, dtype=torch.float32)
    network = hunyuan.assemble(lambda: Transformer(TINY.transformer), state)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    published = hunyuan.transformer_shapes(TINY.transformer)
    cut = f"triple_blocks.{TINY.transformer.depth_triple_blocks - 1}.v_cond_mod.linear.weight"
    for name, value in network.state_dict().items():
        wanted = rule.weight(name, SEED, published[name])[: value.shape[0]].to(torch.bfloat16)
        assert rule.relative_error(value.numpy(), wanted.float().numpy()) < 1e-4, name
    assert published[cut] == (9 * 128, 128) and network.state_dict()[cut].shape == (2 * 128, 128)


def test_parts_join_to_the_whole_and_leave_types_alone(tiny: Path) -> None:
    weights = hunyuan.open_folder(tiny).weights("transformer")
    parts = hunyuan.transformer_parts(TINY.transformer)
    assert parts == [
        "rest", *(f"triple_blocks.{i}" for i in range(3)), *(f"single_blocks.{i}" for i in range(2)),
    ]  # fmt: skip
    joined: dict[str, torch.Tensor] = {}
    for part in parts:
        state = hunyuan.transformer_state(weights, TINY.transformer, [part])
        assert state and not set(state) & set(joined)
        assert part == "rest" or all(name.startswith(f"{part}.") for name in state)
        assert all(value.dtype == torch.bfloat16 for value in state.values())
        joined |= state
    whole = hunyuan.transformer_state(weights, TINY.transformer)
    assert set(joined) == set(whole)
    Transformer(TINY.transformer).load_state_dict(joined, strict=True)
    with pytest.raises(UsageError, match=r"no part single_blocks\.2.*single_blocks\.0 to single_blocks\.1"):
        hunyuan.transformer_state(weights, TINY.transformer, ["single_blocks.2"])


def test_a_part_reads_its_own_tensors_only(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    getitem = Checkpoint.__getitem__
    monkeypatch.setattr(
        Checkpoint, "__getitem__", lambda self, name: (read.append(name), getitem(self, name))[1]
    )
    folder = hunyuan.open_folder(tiny)
    weights = {
        name: folder.weights(name) for name in ("transformer", "synchformer", "siglip2", "clap", "vae")
    }
    assert not read  # opening and checking reads nothing
    hunyuan.transformer_state(weights["transformer"], TINY.transformer, ["triple_blocks.2"])
    assert all(name.startswith("triple_blocks.2.") for name in read)
    assert not set(read) & set(hunyuan.dead_weights(TINY.transformer))
    read.clear()
    for name in ("synchformer", "siglip2", "clap"):
        hunyuan.encoder_state(weights[name])
    hunyuan.vae_state(weights["vae"], TINY.vae)
    used = ("vfeat_extractor.", "vision_model.", "text_model.", "decoder.", "post_quant_conv.")
    assert read and all(name.startswith(used) for name in read)
    unread = {key for name in weights for key in stand_in.unread_shapes(name, TINY)}
    assert not set(read) & unread


@pytest.mark.parametrize("part", ["decoder", "encoder"])
def test_the_codec_is_folded(tiny: Path, part: str) -> None:
    make: Callable[[], torch.nn.Module] = lambda: (DacDecoder if part == "decoder" else DacEncoder)(TINY.vae)  # noqa: E731
    state = hunyuan.vae_state(hunyuan.open_folder(tiny).weights("vae"), TINY.vae, part)
    network = hunyuan.assemble(make, state)
    wanted = fold_weight_norm({k: rule.weight(k, SEED, s) for k, s in published_shapes(make()).items()})
    for name, value in network.state_dict().items():
        assert rule.relative_error(value.numpy(), wanted[name].numpy()) < 1e-5, name


@pytest.mark.parametrize(
    ("component", "make"),
    [
        ("synchformer", lambda: Synchformer(TINY.synchformer)),
        ("siglip2", lambda: SiglipVision(TINY.siglip2)),
        ("clap", lambda: ClapText(TINY.clap)),
    ],
)
def test_encoders_load_strictly(tiny: Path, component: str, make: Callable[[], torch.nn.Module]) -> None:
    weights = hunyuan.open_folder(tiny).weights(component)
    network = hunyuan.assemble(make, hunyuan.encoder_state(weights))
    assert set(weights.extra) >= set(stand_in.unread_shapes(component, TINY))
    for name, value in network.state_dict().items():
        assert rule.relative_error(value.numpy(), rule.weight(name, SEED, tuple(value.shape)).numpy()) < 1e-5


def changed(tiny: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A copy of the folder with another transformer file."""
    shutil.copytree(tiny, folder)
    path = folder / sources.TRANSFORMERS["tiny"]
    state = {name: value.clone() for name, value in open_checkpoint(path).items()}
    change(state)
    torch.save(state, path)
    return folder


def test_a_projector_is_let_pass_and_strangers_are_not(tiny: Path, tmp_path: Path) -> None:
    def rename(state: dict[str, torch.Tensor]) -> None:
        state["head_of_any_name.weight"] = state.pop("projector.0.weight")

    folder = hunyuan.open_folder(changed(tiny, tmp_path / "renamed", rename))
    assert "head_of_any_name.weight" in folder.weights("transformer").extra

    strangers = {
        "triple_blocks.0.gate": (256,),
        "triple_blocks.3.audio_self_proj.bias": (128,),
        "lora.a": (4, 128),
    }
    for number, (name, shape) in enumerate(strangers.items()):
        made = changed(tiny, tmp_path / str(number), lambda s, n=name, k=shape: s.update({n: torch.zeros(k)}))
        with pytest.raises(CheckpointError, match=f"1 unknown: {name}"):
            hunyuan.open_folder(made).weights("transformer")


def test_the_file_of_the_published_size_may_hold_more(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    state = {name: torch.zeros(shape) for name, shape in hunyuan.transformer_shapes(TINY.transformer).items()}
    torch.save({**state, "something.else": torch.zeros(3)}, path)
    checkpoint, size = open_checkpoint(path), path.stat().st_size
    chosen = hunyuan.select("transformer", checkpoint, TINY, published=size)
    assert chosen.extra == ("something.else",)
    for published in (None, size + 1):
        with pytest.raises(CheckpointError, match=r"1 unknown: something\.else"):
            hunyuan.select("transformer", checkpoint, TINY, published=published)


def test_missing_and_misshapen_tensors(tiny: Path, tmp_path: Path) -> None:
    def spoil(state: dict[str, torch.Tensor]) -> None:
        del state["single_blocks.1.linear1.bias"]
        state["cond_in.linear_1.weight"] = torch.zeros(3, 3)

    folder = hunyuan.open_folder(changed(tiny, tmp_path / "spoilt", spoil))
    with pytest.raises(CheckpointError) as caught:
        folder.weights("transformer")
    assert "1 missing: single_blocks.1.linear1.bias" in str(caught.value)
    assert "cond_in.linear_1.weight (3, 3) instead of (128, 64)" in str(caught.value)


def test_folders_that_cannot_be_opened(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        hunyuan.open_folder(tmp_path / "none")
    with pytest.raises(CheckpointError, match="has no transformer of HunyuanVideo-Foley"):
        hunyuan.open_folder(tmp_path)
    with pytest.raises(UsageError, match="there are xl and xxl"):
        hunyuan.open_folder(tmp_path, "big")
    with pytest.raises(CheckpointError, match=r"lacks hunyuanvideo_foley\.pth, vae_128d_48k\.pth"):
        hunyuan.open_folder(tmp_path, "xxl")
    made = shutil.copytree(tiny, tmp_path / "copy")
    (made / sources.PATHS["clap"]).unlink()
    with pytest.raises(CheckpointError, match=r"lacks larger_clap_general.pytorch_model\.bin.*models random"):
        hunyuan.open_folder(made)
    manifest = json.loads((made / hunyuan.STAND_IN).read_text())
    del manifest["sizes"]["vae"]
    (made / hunyuan.STAND_IN).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"stand-in\.json cannot be used"):
        hunyuan.open_folder(made)


def test_files_under_other_names_are_found_by_their_content(tmp_path: Path) -> None:
    """As a folder of another program has them; only the tensors that tell a file are in these."""
    files = {
        "transformers/foley-xl-bf16.pth": {
            "audio_embedder.proj.weight": (1408, 128, 1), "triple_blocks.11.audio_self_proj.bias": (1408,),
        },
        "vae.pth": {"decoder.model.0.weight_v": (2048, 128, 7)},
        "sync/synch.pth": {"vfeat_extractor.cls_token": (1, 1, 768)},
        "vision/model.pth": {
            "vision_model.embeddings.patch_embedding.weight": (768, 3, 16, 16),
            "vision_model.embeddings.position_embedding.weight": (1024, 768),
        },
        "text/pytorch_model.bin": {"text_model.embeddings.word_embeddings.weight": (50265, 768)},
    }  # fmt: skip
    for name, tensors in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        state = {key: torch.zeros(1, dtype=torch.bfloat16).expand(shape) for key, shape in tensors.items()}
        torch.save(state, path)
    (tmp_path / "notes.bin").write_bytes(b"something else")
    (tmp_path / "text" / "tokenizer.json").write_text("{}")
    folder = hunyuan.open_folder(tmp_path)
    assert folder.model == "xl" and folder.stand_in is None
    assert {str(path.relative_to(tmp_path)) for path in folder.paths.values()} == {
        *files, "text/tokenizer.json",
    }  # fmt: skip
    shutil.copy(tmp_path / "vae.pth", tmp_path / "hunyuanvideo_foley.pth")
    with pytest.raises(UsageError, match="both xl and xxl"):
        hunyuan.open_folder(tmp_path)
