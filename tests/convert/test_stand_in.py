"""Random weights: the rule, the files, the tokenizer, and that nothing half-written remains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")

from safetensors import safe_open  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from edgefoley.convert import hunyuan, sources, stand_in  # noqa: E402
from edgefoley.convert.checkpoint import open_checkpoint  # noqa: E402
from edgefoley.errors import OutputError, UsageError  # noqa: E402
from edgefoley.hub import DownloadError  # noqa: E402
from tests.parity import rule  # noqa: E402

SEED = 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tiny"
    for _ in stand_in.write_folder(folder, "tiny", SEED):
        pass
    return folder


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("decoder.model.1.block.0.alpha", (1, 64, 1)),
        ("decoder.model.0.weight_g", (64, 1, 1)),
        ("decoder.model.0.weight_v", (64, 16, 7)),
        ("triple_blocks.0.audio_self_q_norm.weight", (64,)),
        ("triple_blocks.0.audio_mlp.fc1.bias", (50,)),
        ("single_blocks.0.linear1.weight", (9, 8, 3)),
        ("vfeat_extractor.spatial_attn_agg.self_attn.in_proj_weight", (30, 10)),
        ("text_model.embeddings.LayerNorm.weight", (40,)),
        ("empty_clip_feat", (1, 33)),
        ("sync_pos_emb", (1, 1, 8, 5)),
    ],
)
def test_numbers_are_those_of_the_parity_rule(name: str, shape: tuple[int, ...]) -> None:
    """Against the implementation that the reference outputs are compared with."""
    wanted = rule.weight(name, SEED, shape).flatten().numpy()
    for chunk in (stand_in.CHUNK, 7):
        made = np.concatenate([piece.copy() for piece in stand_in.values(name, SEED, shape, chunk)])
        np.testing.assert_allclose(made, wanted, rtol=3e-7, atol=1e-9)
    other = np.concatenate([piece.copy() for piece in stand_in.values(name, SEED + 1, shape)])
    assert not np.allclose(other, wanted)


def test_every_file_has_every_published_tensor_and_its_numbers(tiny: Path) -> None:
    for component in sources.COMPONENTS[:-1]:
        checkpoint = open_checkpoint(tiny / sources.component_path(component, "tiny"))
        wanted = hunyuan.wanted_shapes(component, hunyuan.TINY)
        dtype = torch.bfloat16 if component == "transformer" else torch.float32
        for name in list(wanted)[:: max(1, len(wanted) // 12)]:
            made = rule.weight(name, SEED, wanted[name]).to(dtype)
            found = checkpoint[name]
            assert found.dtype == dtype and found.shape == made.shape
            assert rule.relative_error(found.float().numpy(), made.float().numpy()) < 1e-4
        for name in stand_in.unread_shapes(component, hunyuan.TINY):
            assert not checkpoint[name].any()


def test_the_libraries_read_the_files_too(tiny: Path) -> None:
    path = tiny / sources.TRANSFORMERS["tiny"]
    ours = open_checkpoint(path)
    for how in ({"mmap": True}, {}):
        theirs = torch.load(path, weights_only=True, **how)
        assert set(theirs) == set(ours)
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert len({value.untyped_storage().data_ptr() for value in theirs.values()}) == 1  # views of one storage
    vae = torch.load(tiny / sources.PATHS["vae"], weights_only=True)
    assert vae["metadata"]["kwargs"]["latent_dim"] == 16
    ours = open_checkpoint(tiny / sources.PATHS["siglip2"])
    with safe_open(tiny / sources.PATHS["siglip2"], "pt") as theirs:
        assert set(theirs.keys()) == set(ours)
        assert all(torch.equal(theirs.get_tensor(name), ours[name]) for name in ours)


def test_the_folder_says_what_it_is_and_is_small(tiny: Path) -> None:
    assert "make noise" in (tiny / "README.txt").read_text()
    manifest = json.loads((tiny / hunyuan.STAND_IN).read_text())
    assert "noise" in manifest["what"] and manifest["model"] == "tiny" and manifest["seed"] == SEED
    assert hunyuan.Sizes.from_json(manifest["sizes"]) == hunyuan.TINY
    assert sum(path.stat().st_size for path in tiny.rglob("*") if path.is_file()) < 20e6
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["tiny"]


def test_the_tokenizer_is_roberta_like(tiny: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny / sources.PATHS["tokenizer"]))
    text = "heavy rain on a tin roof, Größe 3 雨"
    encoded = tokenizer.encode(text)
    assert encoded.ids[0] == 0 and encoded.ids[-1] == 2 and 3 not in encoded.ids
    assert tokenizer.token_to_id("<pad>") == 1
    assert tokenizer.decode(encoded.ids) == text
    assert tokenizer.get_vocab_size() <= hunyuan.TINY.clap.vocab_size
    assert len(tokenizer.encode("footsteps on gravel").ids) < 10  # 19 bytes: it has learnt larger pieces
    assert stand_in.tokenizer_json(512) == stand_in.tokenizer_json(512)


def test_the_same_seed_gives_the_same_files(tiny: Path, tmp_path: Path) -> None:
    for _ in stand_in.write_folder(tmp_path / "again", "tiny", SEED):
        pass
    name = sources.PATHS["siglip2"]
    assert (tmp_path / "again" / name).read_bytes() == (tiny / name).read_bytes()


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    run = stand_in.write_folder(tmp_path / "half", "tiny", 0)
    next(run)
    assert list(tmp_path.iterdir())
    run.close()
    assert not list(tmp_path.iterdir())


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    for folder, model, seed, error, words in (
        (tmp_path / "full", "tiny", 0, OutputError, "not empty"),
        (tmp_path / "no" / "where", "tiny", 0, OutputError, "no folder"),
        (tmp_path / "new", "huge", 0, UsageError, "xl, xxl, tiny"),
        (tmp_path / "new", "tiny", -1, UsageError, "0 or more"),
    ):
        with pytest.raises(error, match=words):
            next(stand_in.write_folder(folder, model, seed))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("edgefoley.hub.shutil.disk_usage", lambda _: usage._replace(free=8_000_000_000))
    with pytest.raises(DownloadError, match=r"8\.7 GB are needed, 8\.0 GB are free"):
        next(stand_in.write_folder(tmp_path / "new", "xl", 0))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "precious"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for _ in stand_in.write_folder(tmp_path / "empty", "tiny", 0):
        pass
    assert (tmp_path / "empty" / hunyuan.STAND_IN).is_file()
