"""How the codec sounds, in figures: python benchmarks/codec.py --codec runs/codec [--limit N] [--quick]

Held-out lossless recordings (15 % of the groups, none of which trained anything), each coded and compared
with itself by: the codec in FP32 and with FP16 weights, Opus at 16 and 32 kbit/s (libopus through PyAV), and
40 rounds of Griffin and Lim from 128 mel bands (window 2048, hop 512). Zimtohrli and ViSQOL (audio) predict
what listeners would say; `aisfx` is the cosine of sound-effect embeddings (package aisfx, unpacked: --aisfx
FOLDER holds cnn2d.py and checkpoint.pth); distances are in metrics/audio_quality.py, artefacts in
metrics/artefacts.py. The first --seconds of each recording count; shorter ones than a second get silence
behind them.

Beside the table: Zimtohrli by class of sound, silence and clicks that were made here, statistics of the
latents, arithmetic, parameters and speed of the exported decoder in ONNX Runtime. Prints a card, tables and
one last line of JSON; --json writes it to a file too. Needs torch, av, zimtohrli, visqol-python, onnxruntime.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgefoley.evaluation.embedders import Aisfx as Embedder
from edgefoley.metrics import artefacts, audio_quality
from edgefoley.models.codec import Codec, CodecConfig, ExportDecoder
from edgefoley.models.phase import dft_bases, griffin_lim
from edgefoley.train.codec import batches, load_codec
from edgefoley.train.sounds.recordings import Pool, load_pool

RATE, HOP = 48_000, 960
Wave = np.ndarray[Any, np.dtype[np.float32]]
# Class of a sound by words in its label; the first that fits.
CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("voice", ("adventurer", "alchemist", "scream", "puka", "chippie hurt")),
    ("tonal", ("choir", "synth", "bell", "guitar", "drone", "loop", "tabla", "bass drum pure", "electronic")),
    ("noise", ("fire", "rain", "sauna", "heli", "hydrolics", "scratch")),
    ("impact", ("",)),
)


def class_of(label: str) -> str:
    return next(name for name, words in CLASSES if any(word in label for word in words))


def sounds(pool: Pool, seconds: float, limit: int | None) -> list[tuple[str, Wave]]:
    """(label, wave) of the held-out lossless recordings; whole latents, silence behind the short ones."""
    chosen = [r for r in pool.recordings if r.held_out and r.lossless]
    order = np.random.default_rng(0).permutation(len(chosen))[:limit]
    made = []
    for i in sorted(order.tolist()):
        wave = pool.wave(chosen[i], 0, round(seconds * RATE))
        length = -(-max(len(wave), RATE) // HOP) * HOP
        made.append((chosen[i].label, np.pad(wave, (0, length - len(wave)))))
    return made


def coded(codec: Codec, wave: Wave) -> Wave:
    with torch.inference_mode():
        made: Wave = codec.decode(codec.encode(torch.from_numpy(wave)[None]))[0, 0].numpy()
    return made


def opus(wave: Wave, kbits: int) -> Wave:
    """Through libopus and back, aligned to the sample by cross-correlation."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = 1000 * kbits
        frame = av.AudioFrame.from_ndarray(np.pad(wave, (0, 4800))[None].copy(), format="flt", layout="mono")
        frame.rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    file.seek(0)
    with av.open(file, mode="r") as back:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        parts = [f.to_ndarray()[0] for frame in back.decode(audio=0) for f in resampler.resample(frame)]
    made = np.concatenate(parts)
    size = 1 << (len(made) + len(wave)).bit_length()
    product = np.fft.rfft(made, size) * np.conj(np.fft.rfft(wave, size))
    shifts = np.arange(-1000, 1001)
    delay = int(shifts[np.fft.irfft(product)[shifts].argmax()])
    made = np.pad(made, (max(0, -delay), len(wave)))[max(0, delay) :][: len(wave)]
    return made.astype(np.float32)


def griffin_lim_mel(wave: Wave, rounds: int = 40, window: int = 2048, bands: int = 128) -> Wave:
    """The true levels of 128 mel bands, random phases, plain Griffin-Lim."""
    bases = dft_bases(window)
    hop, hann = window // 4, torch.hann_window(window)
    padded = torch.from_numpy(np.pad(wave, (0, -len(wave) % hop)))[None]
    side = 3 * hop // 2
    frames = torch.nn.functional.pad(padded, (side, side)).unfold(-1, window, hop) * hann
    power = torch.fft.rfft(frames).abs().square()
    order = [*range(0, window // 2 + 1, 2), *range(1, window // 2, 2)]
    filters = torch.tensor(audio_quality.mel_filters(window, bands), dtype=torch.float32)
    spread = filters / filters.sum(1, keepdim=True).clamp(min=1e-9)
    magnitude = (power @ filters @ spread.T).sqrt()[..., order]
    angle = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    start = magnitude * angle.cos(), magnitude * angle.sin()
    made = griffin_lim(magnitude, start, torch.ones_like(padded), rounds, 0.0, bases)
    found: Wave = made[0, : len(wave)].numpy()
    return found


def compare(made: Wave, true: Wave, embedder: Embedder | None, quick: bool) -> dict[str, float]:
    stft = audio_quality.stft_distance(made, true)
    level = made / max(1.0, float(np.abs(made).max()))  # what is louder than full scale is scaled, not cut
    found = {
        "zimtohrli": audio_quality.zimtohrli_mos(made, true),
        "stft_convergence": stft["convergence"], "stft_db": stft["log_db"],
        "log_mel_db": audio_quality.log_mel_distance(made, true),
        "pops": float(len(artefacts.added_pops(made, true))),
        "clipped": float(len(artefacts.clipped_runs(level)) > len(artefacts.clipped_runs(true))),
        "peak": float(np.abs(made).max()), "cancelled": artefacts.cancelled(made, true),
    }  # fmt: skip
    if not quick:
        found["visqol"] = audio_quality.visqol_mos(made, true)
    if embedder is not None:
        found["aisfx"] = embedder.cosine(made, true)
    return found


def remade(config: CodecConfig, state: Mapping[str, torch.Tensor]) -> Codec:
    made = Codec(config).eval()
    made.load_state_dict(state)
    return made


def halved(codec: Codec) -> Codec:
    """The same codec with its weights rounded to FP16, as they are shipped."""
    state = codec.state_dict()
    rounded = {k: v.half().float() if k.startswith("decoder.") else v for k, v in state.items()}
    return remade(codec.config, rounded)


def with_unsaid_noise(codec: Codec) -> Codec:
    """The same codec whose noise lacks what latents say of it: better copies, not shipped (docs/LOG.md)."""
    return remade(replace(codec.config, unsaid=1.0), codec.state_dict())


def table(codec: Codec, chosen: list[tuple[str, Wave]], arguments: argparse.Namespace) -> dict[str, Any]:
    half, unsaid = halved(codec), with_unsaid_noise(codec)
    systems: dict[str, Callable[[Wave], Wave]] = {
        "nano FP32": lambda w: coded(codec, w), "nano FP16": lambda w: coded(half, w),
        "nano, unsaid noise": lambda w: coded(unsaid, w),
        "Opus 16 kbit/s": lambda w: opus(w, 16), "Opus 32 kbit/s": lambda w: opus(w, 32),
        "Griffin-Lim, 128 mel bands": griffin_lim_mel,
    }  # fmt: skip
    chosen_names = tuple(arguments.systems or (["nano FP32"] if arguments.quick else systems))
    systems = {name: system for name, system in systems.items() if name.startswith(chosen_names)}
    embedder = Embedder(arguments.aisfx) if arguments.aisfx else None
    found: dict[str, Any] = {}
    for name, system in systems.items():
        rows = [compare(system(wave), wave, embedder, arguments.quick) for _, wave in chosen]
        summary: dict[str, Any] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        by_class: dict[str, list[float]] = {}
        for (label, _), row in zip(chosen, rows, strict=True):
            by_class.setdefault(class_of(label), []).append(row["zimtohrli"])
        summary["zimtohrli_classes"] = {
            k: {"mean": float(np.mean(v)), "n": len(v)} for k, v in by_class.items()
        }
        summary["zimtohrli_worst_class"] = min(float(np.mean(v)) for v in by_class.values())
        summary["zimtohrli_min"] = min(row["zimtohrli"] for row in rows)
        summary["peak"] = max(row["peak"] for row in rows)
        summary["clipped"] = sum(row["clipped"] for row in rows)
        summary["pops"] = sum(row["pops"] for row in rows)
        found[name] = summary
        print(f"{name}: {len(rows)} sounds", file=sys.stderr, flush=True)
    return found


def synthetic(codec: Codec) -> dict[str, float]:
    """Silence in dBFS; worst onset shift and pre-echo of twelve clicks, bursts and pings at random places."""
    rng = np.random.default_rng(5)
    silence = coded(codec, np.zeros(RATE, np.float32))
    shift, echo = [], []
    for k in range(12):
        wave, n, at = np.zeros(RATE, np.float32), np.arange(4800), RATE // 2 + int(rng.integers(0, HOP))
        if k < 4:
            wave[at] = 0.9
        elif k < 8:
            wave[at : at + 4800] = 0.3 * rng.standard_normal(4800) * np.exp(-n / (48 * rng.uniform(0.5, 20)))
        else:
            wave[at : at + 4800] = (
                0.8 * np.sin(2 * np.pi * rng.uniform(200, 4000) * n / RATE) * np.exp(-n / 480)
            )
        late, before = audio_quality.attack_error(coded(codec, wave), wave)
        shift.append(1000 * abs(late))
        echo.append(before)
    level = 20 * np.log10(float(np.abs(silence).max()) + 1e-9)
    return {"silence_peak_dbfs": level, "onset_shift_ms": max(shift), "pre_echo_db": max(echo)}


def statistics(codec: Codec, pool: Pool) -> dict[str, Any]:
    """Of each latent channel on held-out sound: mean, deviation, kurtosis, correlation with the next one."""
    batch_at = batches(pool, True, 4, 16, 96_000)
    with torch.inference_mode():
        latents = torch.cat([codec.encode(batch_at(i)) for i in range(10)]).double()
    rows = latents.transpose(1, 2).flatten(0, 1)
    mean, std = rows.mean(0), rows.std(0)
    centred = (rows - mean) / std
    after = ((latents[:, :, 1:] - mean[:, None]) * (latents[:, :, :-1] - mean[:, None])).mean((0, 2)) / std**2
    return {
        "mean": mean.tolist(), "std": std.tolist(), "kurtosis": centred.pow(4).mean(0).tolist(),
        "largest": rows.abs().amax(0).tolist(), "next": after.tolist(),
    }  # fmt: skip


def cost(codec: Codec, seconds: int = 10) -> dict[str, float]:
    """Arithmetic per second of sound, parameters, size and speed (ONNX Runtime, two threads)."""
    import onnxruntime

    from edgefoley.export.components import decoder_graph
    from edgefoley.export.graph import export_graph, verify

    latents = torch.randn(1, codec.config.latent_dim, 50 * seconds)
    graph = ExportDecoder(codec.decoder).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph(latents)
    spec = decoder_graph(codec.decoder)
    model = export_graph(spec)
    error = verify(spec, model, 1.0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        session.run(None, {"latents": latents.numpy()})
        times.append(time.perf_counter() - begin)
    stored = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    return {
        "gflop_per_s": counter.get_total_flops() / 1e9 / seconds,
        "parameters": float(sum(p.numel() for p in codec.decoder.parameters())),
        "fp16_mb": 2 * stored / 1e6, "export_error": error,
        "times_real_time": seconds / float(np.median(times[1:])),
        "times_real_time_best": seconds / min(times[1:]),
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    keys = ("zimtohrli", "zimtohrli_worst_class", "zimtohrli_min", "visqol", "aisfx", "stft_convergence",
            "stft_db", "log_mel_db", "cancelled", "pops", "clipped", "peak")  # fmt: skip
    print("| " + " | ".join(["", *keys]) + " |\n|" + "---|" * (len(keys) + 1))
    for name, row in found["systems"].items():
        print("| " + " | ".join([name, *(f"{row[k]:.3f}" if k in row else "" for k in keys)]) + " |")
    for name, row in found["systems"].items():
        classes = ", ".join(f"{k} {v['mean']:.2f} ({v['n']})" for k, v in row["zimtohrli_classes"].items())
        print(f"\n{name}, Zimtohrli by class (n): {classes}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", type=Path, default=Path("runs/codec"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sfx"))
    parser.add_argument("--recordings", type=Path, default=Path("runs/recordings"), help="the decoded data")
    parser.add_argument("--aisfx", type=Path, help="folder with cnn2d.py and checkpoint.pth")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--limit", type=int, help="only so many recordings, drawn with a fixed seed")
    parser.add_argument("--systems", nargs="+", help="only systems whose names begin so, as nano or Opus")
    parser.add_argument("--quick", action="store_true", help="FP32 alone, no ViSQOL")
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    pool, codec = load_pool(arguments.data, arguments.recordings), load_codec(arguments.codec)
    chosen = sounds(pool, arguments.seconds, arguments.limit)
    card = {
        "recordings": len(chosen), "seconds": sum(len(w) for _, w in chosen) / RATE,
        "latent_dim": codec.config.latent_dim, "rounds": codec.config.rounds,
        "load_average": os.getloadavg()[0], "torch": torch.__version__,
    }  # fmt: skip
    print(json.dumps(card), flush=True)
    found = {
        "card": card, "systems": table(codec, chosen, arguments), "synthetic": synthetic(codec),
        "latents": statistics(codec, pool), "cost": cost(codec),
    }  # fmt: skip
    show(found)
    print("\n" + json.dumps(found["synthetic"]) + "\n" + json.dumps(found["cost"]))
    line = json.dumps(found)
    if arguments.json:
        arguments.json.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
