"""Image encoder: EfficientNet-Lite0, and the projection of its answer into the text encoder's space.

EfficientNet-Lite0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
ICML 2019, https://arxiv.org/abs/1905.11946; the Lite variant drops squeeze-and-excite and uses ReLU6) is a
stack of inverted bottlenecks: 1x1 expansion, depthwise convolution, 1x1 projection, residual where the shapes
agree.

nano does not hand the 1280 pooled features to its transformer. It reads the classifier's answer as words: the
probabilities of the 1000 ImageNet classes weight the sentence vectors of the class names, so that a picture
of a dog and the word "dog" land in the same place, and the transformer learns one space instead of two.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import resources
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

INPUT_NAMES = ("frames",)
OUTPUT_NAMES = ("visual_feat", "class_logits")

INT8_KEEP = (
    "encoder.stem.conv.weight",
    *(f"encoder.blocks.{i}.depthwise.conv.weight" for i in range(16)),
    *(f"encoder.blocks.{i}.project.conv.weight" for i in (0, 1, 2, 3, 5, 8, 11)),
)
"""Weights of `ClassSpaceVisual` (normalisation folded) that `export.compact.store_int8` should leave alone.

Stored as int8 one at a time, the stem, the first nine depthwise and the seven projections cost the logits
most of their precision, yet hold only 250 000 of 4.6 million values. The other depthwise ones add 0.12 MB in
float16 and bring the relative error of the rows from 0.049 to 0.038.
"""


@dataclass(frozen=True)
class Stage:
    """One run of inverted bottlenecks; only the first block of the run changes resolution and width."""

    num_blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


@dataclass(frozen=True)
class VisualConfig:
    """Sizes of the image encoder; the defaults are EfficientNet-Lite0 (4 652 008 parameters, 0.4 G
    multiply-adds).

    `pixel_mean` and `pixel_scale` are in 8-bit pixel values: the network sees (pixel - mean) / scale.
    `norm_eps` is batch normalisation's; all three come from the reference TensorFlow code, not from ImageNet
    habit.
    """

    image_size: int = 224
    num_classes: int = 1000
    stem_width: int = 32
    head_width: int = 1280
    stages: tuple[Stage, ...] = (
        Stage(num_blocks=1, kernel=3, stride=1, expansion=1, width=16),
        Stage(num_blocks=2, kernel=3, stride=2, expansion=6, width=24),
        Stage(num_blocks=2, kernel=5, stride=2, expansion=6, width=40),
        Stage(num_blocks=3, kernel=3, stride=2, expansion=6, width=80),
        Stage(num_blocks=3, kernel=5, stride=1, expansion=6, width=112),
        Stage(num_blocks=4, kernel=5, stride=2, expansion=6, width=192),
        Stage(num_blocks=1, kernel=3, stride=1, expansion=6, width=320),
    )
    pixel_mean: float = 127.0
    pixel_scale: float = 128.0
    norm_eps: float = 1e-3


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, batch normalisation, and ReLU6 unless `linear`.

    At stride 2 that padding is one-sided (the extra row and column go to the bottom right), which
    `nn.Conv2d(padding=...)` cannot say; the weights were trained with it, so it is padded explicitly.
    """

    def __init__(
        self,
        in_size: int,
        width_in: int,
        width_out: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.out_size = -(-in_size // stride)
        total = max((self.out_size - 1) * stride + kernel - in_size, 0)
        before, after = total // 2, total - total // 2
        even = before == after
        self.pad: nn.Module = nn.Identity() if even else nn.ZeroPad2d((before, after, before, after))
        symmetric = before if even else 0
        self.conv = nn.Conv2d(
            width_in, width_out, kernel, stride=stride, padding=symmetric, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(width_out, eps=eps)
        self.act: nn.Module = nn.Identity() if linear else nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, width_in, H, W) to (M, width_out, ceil(H / stride), ceil(W / stride))."""
        return cast(Tensor, self.act(self.norm(self.conv(self.pad(x)))))


class Bottleneck(nn.Module):
    """Inverted bottleneck; adds its input where neither resolution nor width changes."""

    def __init__(self, in_size: int, width_in: int, stage: Stage, stride: int, eps: float) -> None:
        super().__init__()
        hidden = width_in * stage.expansion
        self.expand: nn.Module = nn.Identity()
        if stage.expansion != 1:
            self.expand = ConvNorm(in_size, width_in, hidden, kernel=1, eps=eps)
        self.depthwise = ConvNorm(
            in_size, hidden, hidden, kernel=stage.kernel, stride=stride, groups=hidden, eps=eps
        )
        self.out_size = self.depthwise.out_size
        self.project = ConvNorm(self.out_size, hidden, stage.width, kernel=1, linear=True, eps=eps)
        self.residual = stride == 1 and width_in == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, width_in, H, W) to (M, stage.width, H / stride, W / stride)."""
        y = cast(Tensor, self.project(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class VisualEncoder(nn.Module):
    """EfficientNet-Lite0 from 8-bit RGB frames to class logits and pooled features.

    Dropout of the reference is left out: the encoder is never trained here.
    """

    def __init__(self, config: VisualConfig | None = None) -> None:
        super().__init__()
        self.config = config = config if config is not None else VisualConfig()
        eps = config.norm_eps
        self.stem = ConvNorm(config.image_size, 3, config.stem_width, kernel=3, stride=2, eps=eps)
        size, width = self.stem.out_size, config.stem_width
        blocks: list[Bottleneck] = []
        for stage in config.stages:
            for index in range(stage.num_blocks):
                block = Bottleneck(size, width, stage, stage.stride if index == 0 else 1, eps)
                blocks.append(block)
                size, width = block.out_size, stage.width
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(size, width, config.head_width, kernel=1, eps=eps)
        self.classifier = nn.Linear(config.head_width, config.num_classes)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Classify frames.

        frames: uint8 (M, 224, 224, 3), RGB, 0..255. Returns logits (M, 1000) and pooled features (M, 1280),
        which lie in 0..6. Raises ValueError for another type or another size, since the padding is fixed to
        the size.
        """
        size = self.config.image_size
        if frames.dtype != torch.uint8 or tuple(frames.shape[1:]) != (size, size, 3):
            raise ValueError(
                f"the image encoder takes uint8 frames of shape (M, {size}, {size}, 3), RGB; "
                f"got {frames.dtype} {tuple(frames.shape)}. Scale the frames with edgefoley.preprocess first."
            )
        # Transposed while still 8-bit: a quarter of the memory traffic of transposing floats.
        pixels = frames.permute(0, 3, 1, 2).to(torch.float32)
        x = cast(Tensor, self.stem((pixels - self.config.pixel_mean) / self.config.pixel_scale))
        for block in self.blocks:
            x = block(x)
        pooled = self.head(x).mean(dim=(2, 3))
        return self.classifier(pooled), pooled


class ClassSpaceVisual(nn.Module):
    """The shipped image encoder: frames to vectors in the space of the text encoder's sentence vectors.

    class_vectors: (1000, D) float, the sentence vector of each class name, in class order.
    temperature: divides the logits before the softmax; > 1 spreads the answer over more classes, < 1 sharpens
    it.
    """

    class_vectors: Tensor

    def __init__(self, encoder: VisualEncoder, class_vectors: Tensor, temperature: float = 1.0) -> None:
        super().__init__()
        classes = encoder.config.num_classes
        if class_vectors.ndim != 2 or class_vectors.shape[0] != classes:
            raise ValueError(
                f"class_vectors must be ({classes}, D), one sentence vector for each class name; got "
                f"{tuple(class_vectors.shape)}"
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.encoder = encoder
        self.temperature = float(temperature)
        self.register_buffer("class_vectors", class_vectors.detach().to(torch.float32).clone())

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Map frames uint8 (M, 224, 224, 3) to visual_feat (M, D) and class_logits (M, 1000)."""
        logits, _ = self.encoder(frames)
        weights = torch.softmax(logits / self.temperature, dim=-1)
        return weights @ self.class_vectors, logits


def fold_batch_norm(encoder: VisualEncoder) -> VisualEncoder:
    """Return a copy in evaluation mode whose batch normalisations are inside the convolutions' weights and
    biases.

    The values are the same up to rounding; the graph loses a node per convolution and 0.3 MB. For export
    only: the copy cannot be trained as the original could, and its state dict has other keys.
    """
    folded = copy.deepcopy(encoder).eval()
    for module in folded.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return folded


def class_names() -> tuple[str, ...]:
    """Return the 1000 ImageNet class names in class order: lower case, no duplicates (docs/licences.md)."""
    text = resources.files("edgefoley.models").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
