"""Sounds inside package files: Debian packages, wheels, npm tarballs, and the containers that games use.

`package_files` walks a package, `open_container` one of its files. Nothing is ever written at a path that an
archive names: contents are handed out as bytes. Formats: SoundFont 2.04 (sdta/smpl and pdta/shdr chunks),
Doom's WAD (lumps DS*, format 3: 8-bit sound with a rate), zip (pk3), and Clonk's group files (a gzip stream
with other magic bytes; a 204-byte header scrambled by exclusive or with 237 and swaps of every first and
third byte; 316 bytes an entry). Left out: compressed SoundFonts (sf3).
"""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgefoley.errors import EdgeFoleyError

Files = Iterator[tuple[str, bytes]]
LARGEST = 400_000_000  # bytes of one file inside a package


class PackageError(EdgeFoleyError):
    """A package cannot be fetched or read; the message names it."""


def package_files(path: Path) -> Files:
    """(path inside the package, contents) of every regular file of a .deb, .whl or .tgz."""
    if path.suffix == ".whl":
        yield from _zip_files(zipfile.ZipFile(path))
    elif path.suffix == ".deb":
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield from _tar_files(archive)
        if process.returncode:
            raise PackageError(f"{path.name}: dpkg-deb cannot read it")
    else:
        with tarfile.open(path) as archive:
            yield from _tar_files(archive)


def _tar_files(archive: tarfile.TarFile) -> Files:
    for member in archive:
        if member.isfile() and member.size <= LARGEST:
            file = archive.extractfile(member)
            if file is not None:
                yield member.name.removeprefix("./"), file.read()


def _zip_files(archive: zipfile.ZipFile) -> Files:
    with archive:
        for info in archive.infolist():
            if not info.is_dir() and info.file_size <= LARGEST:
                yield info.filename, archive.read(info)


def open_container(name: str, content: bytes) -> Files:
    """(path inside, contents) of the sounds in a container, by the suffix of its ``name``; samples as WAV."""
    suffix = name.rsplit(".", 1)[-1].lower()
    if suffix == "sf2":
        yield from sf2_samples(content)
    elif suffix == "wad":
        yield from wad_sounds(content)
    elif suffix == "ocg":
        yield from group_files(gzip.decompress(b"\x1f\x8b" + content[2:]))
    elif suffix in ("pk3", "zip"):
        yield from _zip_files(zipfile.ZipFile(io.BytesIO(content)))
    else:
        raise PackageError(f"{name}: no reader for this kind of container")


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """16-bit mono WAV of int16 samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def _chunks(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while begin + 8 <= end:
        name, size = content[begin : begin + 4], struct.unpack_from("<I", content, begin + 4)[0]
        if name in (b"RIFF", b"LIST"):
            yield from _chunks(content, begin + 12, begin + 8 + size)
        else:
            yield name, begin + 8, size
        begin += 8 + size + (size & 1)


def sf2_samples(content: bytes) -> Files:
    """("name.wav", WAV) of every sample of a SoundFont. The right half of a stereo pair is left out; a name
    that comes twice gets a number."""
    found = {name: (begin, size) for name, begin, size in _chunks(content, 0, len(content))}
    if b"smpl" not in found or b"shdr" not in found:
        raise PackageError("a SoundFont without smpl and shdr chunks")
    begin, size = found[b"smpl"]
    samples = np.frombuffer(content, "<i2", size // 2, begin)
    begin, size = found[b"shdr"]
    taken: dict[str, int] = {}
    for at in range(begin, begin + size - 46, 46):  # the last record only marks the end
        name = content[at : at + 20].split(b"\0")[0].decode("latin-1").strip()
        first, last, _, _, rate = struct.unpack_from("<5I", content, at + 20)
        kind = struct.unpack_from("<H", content, at + 44)[0]
        if kind == 2 or last - first < 64 or not 4000 <= rate <= 192_000:
            continue
        taken[name] = taken.get(name, 0) + 1
        number = f" {taken[name]}" if taken[name] > 1 else ""
        yield f"{name}{number}.wav".replace("/", "_"), wav_bytes(samples[first:last], rate)


def wad_sounds(content: bytes) -> Files:
    """("DSPISTOL.wav", WAD) of every sound lump."""
    count, directory = struct.unpack_from("<II", content, 4)
    for k in range(count):
        at, size = struct.unpack_from("<II", content, directory + 16 * k)
        name = content[directory + 16 * k + 8 : directory + 16 * k + 16].split(b"\0")[0].decode("latin-1")
        if not name.startswith("DS") or size < 64:
            continue
        kind, rate, length = struct.unpack_from("<HHI", content, at)
        if kind == 3 and length > 32:  # 16 samples of padding at both ends
            raw = np.frombuffer(content, np.uint8, min(length, size - 8) - 32, at + 24)
            yield f"{name}.wav", wav_bytes((raw.astype(np.int16) - 128) * 256, rate)


def group_files(content: bytes, path: str = "") -> Files:
    """Files of an unpacked Clonk group, groups inside groups included."""
    header = bytearray(b ^ 237 for b in content[:204])
    for i in range(0, len(header) - 2, 3):
        header[i], header[i + 2] = header[i + 2], header[i]
    count = struct.unpack_from("<i", header, 36)[0]
    if not 0 <= count <= 100_000:
        raise PackageError("a Clonk group with a broken header")
    base = 204 + 316 * count
    for k in range(count):
        entry = 204 + 316 * k
        name = content[entry : entry + 260].split(b"\0")[0].decode("latin-1")
        _, child, size, _, offset = struct.unpack_from("<5i", content, entry + 260)
        body = content[base + offset : base + offset + size]
        if child:
            yield from group_files(body, f"{path}{name}/")
        else:
            yield path + name, body
