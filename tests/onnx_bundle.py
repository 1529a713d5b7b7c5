"""The networks of the fake back end written as ONNX graphs, so that a real engine can be held against known
answers.

Import only behind ``pytest.importorskip("onnx")``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from edgefoley.backends.fake import CONTEXT
from edgefoley.bundle import MANIFEST, write_manifest
from tests.fake_bundle import SIZES, make_fake_bundle

_HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def make_onnx_bundle(folder: str | Path, **defaults: object) -> Path:
    """``make_fake_bundle`` with a second artefact, for "ort", of every component. ``folder`` is made if
    missing."""
    folder = make_fake_bundle(folder, **defaults)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for component, graph in graphs().items():
        save(graph, folder / f"{component}.onnx")
        manifest["components"][component]["artefacts"]["ort"] = {"path": f"{component}.onnx"}
    write_manifest(folder, manifest)
    return folder


def make_chained_bundle(folder: str | Path, **defaults: object) -> Path:
    """``make_onnx_bundle`` whose denoiser is a chain of two parts, for "ort" alone: the same nodes, cut where
    the latents and the condition have been weighed."""
    folder = make_onnx_bundle(folder, **defaults)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    components = manifest["components"]
    for component in components.values():
        component["artefacts"].pop("fake")
    whole, latent = components["denoiser"], SIZES["latent"]
    wide = {"shape": [1, latent, "L"], "dtype": "float32"}
    between = [{"name": name, **wide} for name in ("weighed", "pull")]
    inputs = {entry["name"]: entry for entry in whole["inputs"]}
    sides = {
        "denoiser.00": ([inputs[name] for name in ("latents", "target", "clock")], between),
        "denoiser.01": ([*between, inputs["text_level"]], whole["outputs"]),
    }
    for (name, (takes, gives)), graph in zip(sides.items(), _denoiser_parts(latent), strict=True):
        save(graph, folder / f"{name}.onnx")
        components[name] = {
            "inputs": takes,
            "outputs": gives,
            "artefacts": {"ort": {"path": f"{name}.onnx"}},
        }
    whole["artefacts"], whole["attributes"]["parts"] = {}, list(sides)
    write_manifest(folder, manifest)
    return folder


def _denoiser_parts(latent: int) -> tuple[str, str]:
    return (
        f"""first (float[1,{latent},L] latents, float[1,{latent},N] target, float[1] clock)
            => (float[1,{latent},L] weighed, float[1,{latent},L] pull)
            <float a = {{0.8}}, float b = {{0.1}}, float one = {{1}}, int64[1] last = {{3}},
             int64[3] flat = {{1, {latent}, -1}}> {{
            once = Unsqueeze(target, last)
            twice = Concat <axis = 3> (once, once)
            wide = Reshape(twice, flat)
            weighed = Mul(latents, a)
            late = Mul(clock, b)
            share = Add(late, one)
            pull = Mul(wide, share)
        }}""",
        f"""second (float[1,{latent},L] weighed, float[1,{latent},L] pull, float[1] text_level)
            => (float[1,{latent},L] velocity) <float c = {{0.01}}> {{
            shift = Mul(text_level, c)
            difference = Sub(weighed, pull)
            velocity = Add(difference, shift)
        }}""",
    )


def save(graph: str, path: Path) -> None:
    """Check a graph in ONNX's text form and write it as a model file."""
    model = onnx.parser.parse_model(_HEADER + graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def graphs() -> dict[str, str]:
    """Component -> graph in ONNX's text form, for the sizes of the fake bundle."""
    text, visual, sync, latent, hop = (SIZES[name] for name in ("text", "visual", "sync", "latent", "hop"))
    (vh, vw), (sh, sw) = SIZES["size_visual"], SIZES["size_sync"]
    colours = np.cos(np.arange(visual)) * (np.arange(visual) % 3 == np.arange(3)[:, None])
    tones = np.sin(2 * np.pi * np.outer(2 + 3 * np.arange(latent), np.arange(hop)) / hop) / latent
    near_sync, near_latent = 2 * CONTEXT["sync"] + 1, 2 * CONTEXT["decoder"] + 1
    return {
        "text": f"""text (int64[1,T] token_ids, float[1,T] mask) => (float[1,T,{text}] text_feat)
            <float[{text}] d = {_list(np.arange(1, text + 1) / 7)}, float one = {{1}}, int64[1] last = {{2}},
             int64[1] second = {{1}}, int64[1] end = {{9999}}, int64[1] rows = {{1}}> {{
            ids = Cast <to = 1> (token_ids)
            above = Add(ids, one)
            column = Unsqueeze(above, last)
            angle = Mul(column, d)
            wave = Sin(angle)
            cover = Unsqueeze(mask, last)
            feat = Mul(wave, cover)
            total = ReduceSum <keepdims = 1> (feat, rows)
            count = ReduceSum <keepdims = 1> (cover, rows)
            mean = Div(total, count)
            others = Slice(feat, second, end, rows)
            text_feat = Concat <axis = 1> (mean, others)
        }}""",
        "visual": f"""visual (uint8[M,{vh},{vw},3] frames) => (float[M,{visual}] visual_feat)
            <float[3,{visual}] w = {_list(colours / 255)}> {{
            x = Cast <to = 1> (frames)
            mean = ReduceMean <axes = [1, 2], keepdims = 0> (x)
            visual_feat = MatMul(mean, w)
        }}""",
        "sync": f"""sync (uint8[1,S,{sh},{sw}] frames, float[1,S] ages)
            => (float[1,S,{sync}] sync_feat, float[1,S2] event_logits)
            <float full = {{255}}, float ten = {{10}},
             float[1,1,{near_sync}] k = {_list(np.ones(near_sync) / near_sync)},
             float[{sync}] w = {_list(np.cos(np.arange(sync)))},
             int64[1] last = {{2}}, int64[1] first = {{0}}, int64[2] flat = {{1, -1}}> {{
            x = Cast <to = 1> (frames)
            sum = ReduceMean <axes = [2, 3], keepdims = 0> (x)
            bright = Div(sum, full)
            old = Mul(ages, ten)
            level = Add(bright, old)
            row = Unsqueeze(level, first)
            smooth = Conv <pads = [{CONTEXT["sync"]}, {CONTEXT["sync"]}]> (row, k)
            near = Squeeze(smooth, first)
            column = Unsqueeze(near, last)
            sync_feat = Mul(column, w)
            above = Sub(level, near)
            strong = Mul(above, ten)
            once = Unsqueeze(strong, last)
            twice = Concat <axis = 2> (once, once)
            event_logits = Reshape(twice, flat)
        }}""",
        "conditioner": _conditioner(text, visual, sync, latent),
        "timestep": """timestep (float[1] t) => (float[1] clock) <float thousand = {1000}> {
            clock = Div(t, thousand)
        }""",
        "denoiser": f"""denoiser (float[1,{latent},L] latents, float[1,{latent},N] target,
            float[1] text_level, float[1] clock)
            => (float[1,{latent},L] velocity)
            <float a = {{0.8}}, float b = {{0.1}}, float c = {{0.01}}, float one = {{1}},
             int64[1] last = {{3}}, int64[3] flat = {{1, {latent}, -1}}> {{
            once = Unsqueeze(target, last)
            twice = Concat <axis = 3> (once, once)
            wide = Reshape(twice, flat)
            part = Mul(latents, a)
            late = Mul(clock, b)
            share = Add(late, one)
            pull = Mul(wide, share)
            shift = Mul(text_level, c)
            difference = Sub(part, pull)
            velocity = Add(difference, shift)
        }}""",
        "decoder": f"""decoder (float[1,{latent},L] latents) => (float[1,1,samples] waveform)
            <float[{latent},1,{near_latent}] k = {_list(np.ones(latent * near_latent) / near_latent)},
             float[{latent},{hop}] tones = {_list(tones)},
             float half = {{0.5}}, int64[3] flat = {{1, 1, -1}}> {{
            smooth = Conv <pads = [{CONTEXT["decoder"]}, {CONTEXT["decoder"]}], group = {latent}> (latents, k)
            rows = Transpose <perm = [0, 2, 1]> (smooth)
            loud = MatMul(rows, tones)
            soft = Tanh(loud)
            scaled = Mul(soft, half)
            waveform = Reshape(scaled, flat)
        }}""",
    }


def _conditioner(text: int, visual: int, sync: int, latent: int) -> str:
    d = np.arange(latent)
    return f"""conditioner (float[1,T,{text}] text_feat, float[1,M,{visual}] visual_feat,
        float[1,S,{sync}] sync_feat, float[1] visual_present, float[1] sync_present,
        int64[N] sync_index, float[M] visual_position)
        => (float[1,{latent},N] target, float[1] text_level)
        <int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}}, int64[1] column = {{1}},
         float two = {{2}}, float reach = {{-20}}, float width = {{{visual}}},
         float[{latent},1] w = {_list(np.cos(d))},
         float[{latent},1] rising = {_list(d + 1)}, int64[1] row = {{0}}> {{
        shape = Shape(sync_index)
        count = Squeeze(shape, first)
        places = Range(zero, count, one)
        real = Cast <to = 1> (places)
        doubled = Mul(real, two)
        tokens = Unsqueeze(doubled, column)
        away = Sub(tokens, visual_position)
        distance = Abs(away)
        exponent = Div(distance, reach)
        nearness = Exp(exponent)
        pictures = Squeeze(visual_feat, first)
        mixed = MatMul(nearness, pictures)
        sum = ReduceSum <keepdims = 0> (mixed, column)
        mean = Div(sum, width)
        seen = Mul(mean, visual_present)
        motion = Squeeze(sync_feat, first)
        rows = Gather(motion, sync_index)
        pushed = ReduceSum <keepdims = 0> (rows, column)
        moved = Mul(pushed, sync_present)
        both = Add(seen, moved)
        flat = Mul(w, both)
        sentences = Squeeze(text_feat, first)
        sentence = Gather(sentences, row)
        text_level = ReduceSum <keepdims = 0> (sentence, column)
        angle = Mul(rising, text_level)
        said = Sin(angle)
        together = Add(flat, said)
        target = Unsqueeze(together, first)
    }}"""


def _list(values: Iterable[float]) -> str:
    return "{" + ", ".join(f"{value:.9g}" for value in np.ravel(np.asarray(values, dtype=np.float64))) + "}"
