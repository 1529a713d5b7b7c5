"""Recordings to learn from: decoded once to 48 kHz mono int16, split by group, kept in one file.

``manifest.tsv`` columns: path, label, seconds, sample_rate, lossy, group, licence, source, attribution.
Recordings of one ``group`` share an origin, so a whole group is either trained on or held out.
"""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len

from edgefoley.timeline import SAMPLE_RATE


@dataclass(frozen=True)
class Recording:
    """One recording: ``start`` and ``length`` in samples inside the pool's ``samples``."""

    path: str
    label: str
    group: str
    licence: str
    attribution: str
    source: str
    lossless: bool
    held_out: bool
    start: int
    length: int
    gain_db: float = 0.0  # what levelling added to the file's own level


@dataclass(frozen=True)
class Pool:
    """All recordings in one int16 array (memory-mapped)."""

    samples: npt.NDArray[np.int16]
    recordings: tuple[Recording, ...]

    def wave(self, recording: Recording, begin: int = 0, end: int | None = None) -> npt.NDArray[np.float32]:
        """Samples ``begin`` to ``end`` of a recording, full scale 1.0."""
        stop = recording.length if end is None else min(end, recording.length)
        part = self.samples[recording.start + begin : recording.start + stop]
        return part.astype(np.float32) / 32768.0


def decode_mono(path: Path) -> npt.NDArray[np.float32]:
    """The whole file at 48 kHz, channels averaged, full scale 1.0."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            try:
                frames = packet.decode()
            except av.error.ArgumentError:  # an odd last packet, as some WAV files have
                continue
            for frame in frames:
                frame.pts = None
                parts += [f.to_ndarray()[0] for f in resampler.resample(frame)]
    parts += [f.to_ndarray()[0] for f in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def high_pass(wave: npt.NDArray[np.float32], corner: float = 30.0) -> npt.NDArray[np.float32]:
    """Remove offset and rumble below ``corner`` Hz: inaudible, but it would take the level of what is
    heard."""
    if not len(wave):
        return wave
    # Silence after the end, so that the filter does not wrap around; a length of small factors is transformed
    # twenty times as fast as a prime one.
    size = next_fast_len(len(wave) + SAMPLE_RATE // 10, real=True)
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    gain = 1 / np.sqrt(1 + (corner / np.maximum(frequency, 1e-3)) ** 8)
    return np.fft.irfft(np.fft.rfft(wave, size) * gain, size)[: len(wave)].astype(np.float32)


def levelled(wave: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int16], float]:
    """Without rumble, and with a peak of 0.9 so that int16 keeps quiet recordings; also the gain in dB."""
    wave = high_pass(wave)
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    gain = 0.9 / peak if peak > 0 else 1.0
    return (wave * (gain * 32767)).astype(np.int16), float(20 * np.log10(gain))


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """Rows of a folder's manifest.tsv."""
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def is_held_out(group: str, share: float = 0.15) -> bool:
    """A stable split by the group's name."""
    return zlib.crc32(group.encode()) % 1000 < 1000 * share


def load_pool(source: Path, cache: Path) -> Pool:
    """Decode ``source`` (a folder with manifest.tsv) into ``cache``, or open it again from there."""
    cache.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(source)
    lengths_file, data_file = cache / "lengths.npy", cache / "samples.i16"
    if not lengths_file.exists():
        lengths = []
        with data_file.open("wb") as out:
            for row in rows:
                samples, _ = levelled(decode_mono(source / row["path"]))
                out.write(samples.tobytes())
                lengths.append(len(samples))
        np.save(lengths_file, np.array(lengths, dtype=np.int64))
    lengths = np.load(lengths_file).tolist()
    if len(lengths) != len(rows):
        raise ValueError(f"{cache} was made from another manifest: delete it and run again")
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    recordings = tuple(
        Recording(
            row["path"],
            row["label"],
            row["group"],
            row["licence"],
            row["attribution"],
            row["source"],
            row["lossy"] == "no",
            is_held_out(row["group"]),
            start,
            length,
        )
        for row, start, length in zip(rows, starts, lengths, strict=False)
    )
    return Pool(np.memmap(data_file, dtype=np.int16, mode="r"), recordings)
