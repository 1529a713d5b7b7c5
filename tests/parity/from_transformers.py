"""Small reference outputs of SigLIP2's vision tower and CLAP's text tower, computed by the `transformers`
library.

    python -m tests.parity.from_transformers     rewrites data/siglip_tiny.npz and data/clap_tiny.npz

The project does not depend on that library. The stored files were made with transformers 5.23.0; where it is
installed, the tests also compute them anew. Weights and inputs follow rule.py, with one exception: RoBERTa
writes "LayerNorm", which the rule does not take for a norm, so that its weights would be almost zero; here
they are made under the name "layer_norm".
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgefoley.models.clap import PAD_ID, ClapConfig
from edgefoley.models.siglip import SiglipConfig
from tests.parity import rule

SEED = 0
NUM_FRAMES = 3
SIGLIP = SiglipConfig(image_size=64, width=64, heads=4, depth=2, mlp_width=160)
CLAP = ClapConfig(vocab_size=120, positions=130, width=64, heads=4, depth=2, mlp_width=160)
LENGTHS = {"short": (5, 9), "long": (100, 83)}  # tokens of the negative prompt and of the prompt


def weight(key: str, shape: tuple[int, ...]) -> Tensor:
    return rule.weight(key.replace("LayerNorm", "layer_norm"), SEED, shape)


def fill(module: torch.nn.Module) -> None:
    module.load_state_dict({key: weight(key, tuple(old.shape)) for key, old in module.state_dict().items()})


def frames(config: SiglipConfig = SIGLIP, count: int = NUM_FRAMES) -> np.ndarray:
    """Pixels (count, size, size, 3) uint8."""
    shape = (count, config.image_size, config.image_size, 3)
    return rule.generator("input.frames", SEED).integers(0, 256, shape, dtype=np.uint8)


def tokens(lengths: tuple[int, int], config: ClapConfig = CLAP) -> tuple[np.ndarray, np.ndarray]:
    """Ids (2, T) of two prompts, the shorter one padded, and mask (2, T)."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = rule.generator("input.token_ids", SEED).integers(3, config.vocab_size, mask.shape)
    return np.where(mask, ids, PAD_ID), mask.astype(np.float32)


def load(module: Any, ours: str, theirs: str) -> None:
    """Fill a module of the library; ``theirs`` (the start of its keys) is published as ``ours``."""
    state = {}
    for key, old in module.state_dict().items():
        name = ours + key.removeprefix(theirs)
        count = old.dtype == torch.int64  # `position_ids` and `token_type_ids` are no weights
        state[key] = old if count else weight(name, tuple(old.shape))
    module.load_state_dict(state)


def siglip(config: SiglipConfig = SIGLIP, count: int = NUM_FRAMES) -> np.ndarray:
    """Pooled rows (count, width) of the library's vision tower."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    sizes = SiglipVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch,
    )
    model = SiglipVisionModel(sizes).eval()
    load(model, "vision_model.", "vision_model.")
    pixels = torch.from_numpy(frames(config, count)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return model(pixel_values=(pixels - 0.5) / 0.5).pooler_output.numpy()


def clap(lengths: tuple[int, int], config: ClapConfig = CLAP) -> np.ndarray:
    """Last hidden states (2, T, width) of the library's text tower, not cut."""
    from transformers import ClapTextConfig, ClapTextModel

    sizes = ClapTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        max_position_embeddings=config.positions,
        type_vocab_size=1,
        pad_token_id=PAD_ID,
    )
    model = ClapTextModel(sizes, add_pooling_layer=False).eval()
    load(model, "text_model.", "")
    ids, mask = (torch.from_numpy(array) for array in tokens(lengths, config))
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.numpy()


def main() -> None:
    import transformers

    by = {"transformers": transformers.__version__, "seed": SEED}
    meta = json.dumps({**by, "config": asdict(SIGLIP), "num_frames": NUM_FRAMES})
    np.savez(rule.DATA / "siglip_tiny.npz", visual_feat=siglip(), meta=meta)
    rows: dict[str, Any] = {name: clap(lengths) for name, lengths in LENGTHS.items()}
    meta = json.dumps({**by, "config": asdict(CLAP), "lengths": LENGTHS})
    np.savez(rule.DATA / "clap_tiny.npz", **rows, meta=meta)


if __name__ == "__main__":
    main()
