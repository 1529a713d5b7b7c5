"""Weights come back out of a bundle's graphs, whatever form they were stored in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from edgefoley.bundle import open_bundle
from edgefoley.errors import UsageError

pytest.importorskip("onnxscript", reason="graphs are exported with onnxscript (extra: networks)")
torch = pytest.importorskip("torch")

from edgefoley.export.compact import store_fp16, store_int8  # noqa: E402
from edgefoley.export.components import text_graph, transformer_graphs  # noqa: E402
from edgefoley.export.graph import ExportError, export_graph  # noqa: E402
from edgefoley.export.recover import recover, widened  # noqa: E402
from edgefoley.models.text import TextConfig, TextEncoder  # noqa: E402
from edgefoley.models.transformer import NANO, Transformer  # noqa: E402
from edgefoley.train.from_bundle import recover_text  # noqa: E402
from edgefoley.train.text import load_encoder  # noqa: E402

SMALL = replace(
    NANO,
    hidden_size=64,
    num_heads=2,
    depth_triple_blocks=1,
    depth_single_blocks=1,
    latent_dim=6,
    text_dim=8,
    visual_dim=8,
    timbre_components=0,
)


def transformer(seed: int) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(SMALL).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(std=0.1)
    return model


def test_a_transformer_comes_back_as_it_was_stored() -> None:
    trained, fresh = transformer(1), transformer(2)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    stored = {}
    for spec in transformer_graphs(trained):
        narrow = store_int8(export_graph(spec), min_elements=512, widen="multiply")[0]
        stored[spec.name] = store_fp16(narrow)[0]
    errors = recover(transformer_graphs(fresh), stored)
    assert set(errors) == {"conditioner", "timestep", "denoiser"} and max(errors.values()) < 1e-4
    dead = [k for k in before if torch.equal(before[k], fresh.state_dict()[k])]
    assert dead == ["triple_blocks.0.v_cond_attn_q_norm.weight"], "only what acts on nothing stays"
    for key, value in fresh.state_dict().items():
        if key not in dead:
            scale = trained.state_dict()[key].abs().max()
            assert torch.allclose(value, trained.state_dict()[key], atol=float(scale) / 120), key


def test_full_precision_comes_back_bit_by_bit() -> None:
    config = TextConfig(vocab_size=50, width=24, depth=1, heads=2, mlp_width=32, max_tokens=9, text_dim=8)
    trained, fresh = TextEncoder(config).eval(), TextEncoder(config).eval()
    recover([text_graph(fresh)], {"text": export_graph(text_graph(trained))})
    assert all(torch.equal(a, trained.state_dict()[k]) for k, a in fresh.state_dict().items())


def test_widening_leaves_other_arithmetic_alone() -> None:
    config = TextConfig(vocab_size=50, width=24, depth=1, heads=2, mlp_width=32, max_tokens=9, text_dim=8)
    plain = export_graph(text_graph(TextEncoder(config).eval()))
    narrow = store_fp16(plain, min_elements=64)[0]
    kinds = [[n.op_type for n in model.graph.node] for model in (plain, narrow, widened(narrow))]
    assert kinds[1] != kinds[0] and kinds[2] == kinds[0]


def test_a_graph_of_another_network_is_refused() -> None:
    config = TextConfig(vocab_size=50, width=24, depth=1, heads=2, mlp_width=32, max_tokens=9, text_dim=8)
    graph = export_graph(text_graph(TextEncoder(config).eval()))
    for other in (replace(config, depth=2), replace(config, mlp_width=48)):
        with pytest.raises(ExportError, match=r"in this network"):
            recover([text_graph(TextEncoder(other).eval())], {"text": graph})


def test_a_packaged_text_encoder_becomes_a_run(tmp_path: Path) -> None:
    bundle = open_bundle("nano")
    recover_text(bundle, tmp_path / "text")
    read = load_encoder(tmp_path / "text")
    ids = [Tokenizer.from_file(str(tmp_path / "text" / "tokenizer.json")).encode("rain on a tin roof").ids]
    session = onnxruntime.InferenceSession(str(bundle.artefact("text", "ort")))
    feeds = {"token_ids": np.array(ids), "mask": np.ones((1, len(ids[0])), np.float32)}
    wanted = session.run(None, feeds)[0]
    with torch.no_grad():
        made = read(torch.tensor(ids), torch.ones(1, len(ids[0]))).numpy()
    assert np.allclose(made, wanted, atol=1e-4)
    with pytest.raises(UsageError, match="none of the forms"):
        recover_text(bundle, tmp_path / "other", [replace(TextConfig(), depth=1)])
    assert not (tmp_path / "other").exists()
