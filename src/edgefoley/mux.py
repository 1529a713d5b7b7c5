"""Put copied pictures and freshly encoded sound into one container.

Packets of the source are copied as they are; only their clock is shifted when the source's clock begins
after zero (MPEG-TS), by the same amount for all streams.

New sound in MP4 and MOV is AAC: every player has it. AAC is lossy, and its decoded wave can be higher than
what went in, so each track is decoded again and encoded more quietly until its true peak holds the ceiling.
In Matroska it is FLAC (24 bit): AAC's run-in would make the muxer start the pictures 21 ms late, and FLAC is
exact.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import heapq
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from edgefoley.errors import OutputError
from edgefoley.loudness import amplitude, as_channels, true_peak_dbtp
from edgefoley.source import MediaWarning, Source, open_source, video_stream
from edgefoley.types import Audio, FloatArray

AAC_BIT_RATE = 192_000  # bit/s per track
_PIECE = 1 << 16  # samples handed to the encoder at once
_ATTEMPTS = 8


class ContainerCannotHoldError(Exception):
    """A stream that this container has no code for; the message names it."""


@dataclass(frozen=True)
class Track:
    """One new sound track: ``title`` shown by players, ``default`` played unless another is chosen,
    ``ceiling_dbtp`` the true peak (dB relative to full scale) that its decoded sound must not exceed.
    ``lossless``: FLAC in MP4 and MOV too, which browsers play and not every player does.
    """

    audio: Audio
    title: str = "Foley"
    default: bool = True
    ceiling_dbtp: float = -1.0
    lossless: bool = False


class _Guarded:
    """A file for PyAV that remembers its first write error: FFmpeg's muxers may go on after one and report
    success.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def mux(
    file: BinaryIO,
    form: str,
    source: Source,
    tracks: Sequence[Track],
    tags: Mapping[str, str],
    keep_original: bool,
) -> None:
    """Write the container ``form`` ("mp4", "mov", "matroska") into ``file``.

    Order of the streams: pictures, new tracks, original sound, the rest. Raises ContainerCannotHoldError,
    OutputError, or the OSError of ``file``.
    """
    guarded = _Guarded(file)
    try:
        with ExitStack() as stack:
            container = stack.enter_context(open_source(source.info.path))
            made = [(encode_flac if form == "matroska" or t.lossless else encode_aac)(t) for t in tracks]
            encoded = [stack.enter_context(av.open(io.BytesIO(data), "r")) for data in made]
            out = stack.enter_context(av.open(guarded, "w", format=form))
            shift = min(Fraction(0), -Fraction(container.start_time or 0, av.time_base))
            pictures = video_stream(container, source.info.path)
            copied = {pictures.index: _add(out, pictures, form)}
            new = [
                _add_track(out, part.streams.audio[0], track)
                for part, track in zip(encoded, tracks, strict=True)
            ]
            copied |= _add_others(out, container, form, pictures, keep_original, bool(tracks))
            _describe(out, container, tags, shift)
            flows = [_lasting(_flow(container, copied, shift), copied[pictures.index], source, shift)]
            flows += [
                _flow(part, {0: stream}, source.origin + shift)
                for part, stream in zip(encoded, new, strict=True)
            ]
            for _, packet in heapq.merge(*flows, key=lambda timed: timed[0]):
                out.mux(packet)
    except av.FFmpegError as error:
        if guarded.error is not None:
            raise guarded.error from error
        name = source.info.path.name
        raise OutputError(
            f"{name} cannot be copied into {form} ({error.strerror}); try .mkv as the ending"
        ) from error
    if guarded.error is not None:
        raise guarded.error


def encode_aac(track: Track) -> bytes:
    """The track as an AAC file in memory whose decoded true peak is at or under the track's ceiling."""
    samples = as_channels(track.audio).astype(np.float32)
    gain = 1.0
    for _ in range(_ATTEMPTS):
        data = _encoded(samples * np.float32(gain), track.audio.rate, "aac")
        peak = true_peak_dbtp(Audio(_decoded(data), track.audio.rate))
        if peak <= track.ceiling_dbtp:
            return data
        gain *= amplitude(track.ceiling_dbtp - peak - 0.05)
    raise OutputError(
        f"track {track.title!r} cannot be encoded under {track.ceiling_dbtp:g} dBTP; lower its loudness"
    )


def encode_flac(track: Track) -> bytes:
    """The track as 24-bit FLAC in memory; samples outside [-1, 1] are clipped."""
    top = 1 << 31
    whole = np.clip(np.rint(as_channels(track.audio).astype(np.float64) * top), -top, top - 256).astype(
        np.int32
    )
    return _encoded(whole, track.audio.rate, "flac")


def _encoded(samples: npt.NDArray[Any], rate: int, codec: str) -> bytes:
    """(channels, n) float32 for "aac", int32 for "flac"."""
    memory = io.BytesIO()
    layout = "mono" if samples.shape[0] == 1 else "stereo"
    form = {"aac": "fltp", "flac": "s32"}[codec]
    with av.open(memory, "w", format={"aac": "mp4", "flac": "matroska"}[codec]) as out:
        stream = out.add_stream(codec, rate=rate)
        context = cast(AudioCodecContext, stream.codec_context)
        context.layout, context.format = layout, form
        if codec == "aac":
            context.bit_rate = AAC_BIT_RATE
        for first in range(0, samples.shape[1], _PIECE):
            piece = samples[:, first : first + _PIECE]
            packed = piece if form == "fltp" else piece.T.reshape(1, -1)
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(packed), format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            out.mux(context.encode(frame))
        out.mux(context.encode(None))
    return memory.getvalue()


def _decoded(data: bytes) -> FloatArray:
    with av.open(io.BytesIO(data), "r") as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def _add(out: OutputContainer, stream: Stream, form: str) -> Stream:
    """A stream of ``out`` that takes ``stream``'s packets as they are. Raises ContainerCannotHoldError."""
    if stream.codec_context is None and stream.type != "attachment":
        raise ContainerCannotHoldError(f"a {stream.type} stream of an unknown kind")
    try:
        # opaque: copying needs no encoder of that kind
        added = out.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        name = stream.codec_context.name if stream.codec_context is not None else stream.type
        raise ContainerCannotHoldError(f"a {stream.type} stream in {name}") from error
    added.metadata.update(stream.metadata)
    added.disposition = stream.disposition
    if form != "matroska" and stream.codec_context is not None and stream.codec_tag == "hvc1":
        added.codec_context.codec_tag = "hvc1"  # Apple's players refuse the muxer's own choice, hev1
    return added


def _add_track(out: OutputContainer, stream: Stream, track: Track) -> Stream:
    added = out.add_stream_from_template(stream, opaque=True)
    added.metadata.clear()
    added.metadata.update({"title": track.title, "handler_name": track.title})
    added.disposition = Disposition.default if track.default else Disposition(0)
    return added


def _add_others(
    out: OutputContainer, container: InputContainer, form: str, pictures: Stream, sound: bool, first: bool
) -> dict[int, Stream]:
    """Original sound (``sound``), subtitles, attachments, cover art. What only Matroska holds sends the
    caller there; what not even Matroska holds is left out with a warning, except the sound. ``first``:
    new tracks stand before, so that no original track is the default.
    """
    copied: dict[int, Stream] = {}
    left: list[str] = []
    for stream in sorted(container.streams, key=lambda s: s.type != "audio"):
        if stream is pictures or stream.index == pictures.index or (stream.type == "audio" and not sound):
            continue
        if stream.type in ("data", "unknown") or (stream.type == "video" and form == "matroska"):
            left.append("cover art or second video" if stream.type == "video" else f"a {stream.type} stream")
            continue
        try:
            copied[stream.index] = _add(out, stream, form)
        except ContainerCannotHoldError as error:
            if form != "matroska" or stream.type == "audio":
                raise
            left.append(str(error))
            continue
        if stream.type == "audio" and first:
            copied[stream.index].disposition = stream.disposition & ~Disposition.default
    if left:
        warnings.warn(
            f"{container.name}: left out of the new file: {', '.join(left)}", MediaWarning, stacklevel=2
        )
    return copied


def _describe(
    out: OutputContainer, container: InputContainer, tags: Mapping[str, str], shift: Fraction
) -> None:
    """The source's tags and chapters; ours go first in the comment."""
    # Matroska gives the names in capitals.
    lowered = {name.lower(): text for name, text in container.metadata.items()}
    inherited = {name: text for name, text in lowered.items() if name not in _OWN_TAGS}
    comment = inherited.pop("comment", None)
    out.metadata.update(inherited | dict(tags))
    if comment:
        ours = out.metadata.get("comment")
        out.metadata["comment"] = f"{ours}\n{comment}" if ours else comment
    chapters = container.chapters()
    for chapter in chapters:
        base = Fraction(chapter["time_base"] or 1)
        chapter["start"] += round(shift / base)
        chapter["end"] += round(shift / base)
    if chapters:
        out.set_chapters(chapters)


# What the muxer states itself.
_OWN_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})


def _flow(
    container: InputContainer, targets: Mapping[int, Stream], shift: Fraction
) -> Iterator[tuple[Fraction, Packet]]:
    """Packets for ``targets`` (by stream index), shifted in time, with their moment of decoding."""
    moment = Fraction(0)
    wanted = [
        stream for stream in container.streams if stream.index in targets and stream.type != "attachment"
    ]
    for packet in container.demux(wanted):
        if not packet.size:
            continue  # the end-of-stream marks
        base = Fraction(packet.time_base)
        ticks = round(shift / base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
            moment = packet.dts * base
        packet.stream = targets[packet.stream_index]
        yield moment, packet


def _lasting(
    flow: Iterator[tuple[Fraction, Packet]], pictures: Stream, source: Source, shift: Fraction
) -> Iterator[tuple[Fraction, Packet]]:
    """The flow with the last picture's duration filled in: where the source only implies it (MPEG-TS), the
    new file would end one picture early."""
    end = source.origin + source.info.duration + shift
    for moment, packet in flow:
        if packet.stream is pictures and packet.pts is not None:
            base = Fraction(packet.time_base)
            rest = end - packet.pts * base
            if (packet.duration or 0) * base < rest <= source.frame_duration * Fraction(3, 2):
                packet.duration = round(rest / base)
        yield moment, packet
