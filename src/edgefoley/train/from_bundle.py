"""A bundle -> runs to go on from:
``python -m edgefoley.train.from_bundle --bundle runs/nano-float32 --out runs/recovered``.

Runs live on the machine that trained them; what is packaged outlives it. This writes the folders ``text``
and ``transformer`` of ``--out`` from a bundle of nano's form, with weights as they are computed with (the
transformer's have been rounded to 8 bits once). ``train.transformer --start`` takes the latter,
``train.text --old`` the former.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from edgefoley.bundle import Bundle, open_bundle
from edgefoley.errors import UsageError
from edgefoley.export.components import text_graph, transformer_graphs
from edgefoley.export.graph import ExportError
from edgefoley.export.recover import recover
from edgefoley.models.text import NANO_TEXT, TextConfig, TextEncoder
from edgefoley.models.transformer import NANO, Transformer
from edgefoley.train.loop import save_atomic
from edgefoley.train.text import save_encoder

FORMS: Sequence[TextConfig] = (NANO_TEXT, TextConfig())  # text encoders that were ever packaged


def recover_text(bundle: Bundle, out: Path, forms: Sequence[TextConfig] = FORMS) -> TextEncoder:
    """Write ``out`` as ``train.text`` does: weights, configuration, tokenizer. Raises UsageError where the
    bundle's text encoder has none of the ``forms``."""
    tokenizer = bundle.tokenizer_path()
    graph = onnx.load(str(bundle.artefact("text", "ort")))
    size = Tokenizer.from_file(str(tokenizer)).get_vocab_size()
    for form in forms:
        encoder = TextEncoder(replace(form, vocab_size=size)).eval()
        try:
            recover([text_graph(encoder)], {"text": graph})
        except ExportError:
            continue
        out.mkdir(parents=True, exist_ok=True)
        save_encoder(encoder, {}, out)
        shutil.copyfile(tokenizer, out / "tokenizer.json")
        return encoder
    raise UsageError(f"the text encoder of model {bundle.name!r} is none of the forms that this code knows.")


def recover_transformer(bundle: Bundle, out: Path) -> Transformer:
    """Write ``out`` as ``train.transformer`` does. Raises ExportError where it is not of nano's form."""
    latents = int(bundle.components["denoiser"].attributes["latent_dim"])
    # Of what makes timbres a bundle holds the results only.
    model = Transformer(replace(NANO, latent_dim=latents, timbre_components=0)).eval()
    specs = transformer_graphs(model)
    recover(specs, {s.name: onnx.load(str(bundle.artefact(s.name, "ort"))) for s in specs})
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, out / "transformer.safetensors")
    (out / "transformer.json").write_text(json.dumps(asdict(model.config), indent=1))
    save_atomic({"average": state}, out / "last.pt")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bundle",
        required=True,
        help="a folder, or a built-in model's name; its products must not be integers",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/recovered"))
    args = parser.parse_args()
    bundle = open_bundle(args.bundle)
    for name, work in (("text", recover_text), ("transformer", recover_transformer)):
        if (args.out / name).exists():
            raise SystemExit(f"{args.out / name} is there already; name another --out")
        network: torch.nn.Module = work(bundle, args.out / name)
        count = sum(p.numel() for p in network.parameters())
        print(f"{args.out / name}: {count / 1e6:.2f} M parameters", flush=True)


if __name__ == "__main__":
    main()
