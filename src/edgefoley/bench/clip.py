"""The clip that everything is measured with: a person walks through a room, a door opens and closes, a bird
sings at the window. 10 s, 1280 x 720 pixels, 30 frames per second, H.264, without sound.

It is the scene of the published study that this project is compared with, drawn anew, so that anyone has the
same clip: no random numbers but those of a fixed seed, no file from elsewhere. When its sounds happen follows
from the motion (``EVENTS``). The bird can be seen too, small; its song has no visible attack.

NumPy and PyAV.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.canvas import Canvas, Colour
from edgefoley.errors import OutputError
from edgefoley.types import ByteArray

Point = npt.NDArray[np.float64]
Box = tuple[slice, slice]

VERSION: Final = 1  # of the drawing
PROMPT: Final = "footsteps on a wooden floor, a door opens and closes, birdsong"
WIDTH, HEIGHT, RATE, SECONDS = 1280, 720, 30, 10

STEP: Final = 0.5  # seconds from one footfall to the next
_STRIDE, _START, _GROUND = 72.0, 70.0, 628.0
_LAST, _FADES, _GONE = 13, 5.9, 7.0  # footfalls; seconds: steps into the dark, cannot be seen any more
OPENS, OPEN, SHUTS, SHUT = (
    5.2,
    6.2,
    7.2,
    7.9,
)  # seconds: the door begins to open, is open, begins to shut, is shut
SONG: Final = ((0.6, 2.4), (8.3, 9.7))

EVENTS: Final[tuple[tuple[float, str], ...]] = tuple(
    sorted(
        [(round(STEP * k, 3), "footstep") for k in range(1, _LAST + 1)]
        + [(OPENS, "door opens"), (SHUT, "door closes"), *((begin, "birdsong") for begin, _ in SONG)]
    )
)
"""(seconds, what) of all that sounds: the instants of contact, and where a stretch begins."""

_WALL: Final[Colour] = (196, 187, 170)
_SKIN: Final[Colour] = (214, 164, 130)
_COAT: Final[Colour] = (44, 74, 120)
_TROUSERS: Final[Colour] = (52, 50, 58)
_SHOE: Final[Colour] = (30, 24, 22)
_BIRD: Final[Colour] = (150, 78, 46)
_DARK: Final[Colour] = (38, 34, 40)
_DOOR = 890.0, 190.0, 190.0, 438.0  # left, top, width, height of the opening
_WINDOW = 190.0, 130.0, 270.0, 210.0
_PERCH = 330.0, 262.0


def study_clip(folder: Path) -> Path:
    """The clip's file in ``folder``, drawn unless it is there. Raises OutputError."""
    path = folder / f"study-{VERSION}.mp4"
    if path.exists():
        return path
    partial = folder / f".{path.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_clip(partial)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_clip(path: Path, seconds: Fraction = Fraction(SECONDS)) -> None:
    """Encode the clip, or its first ``seconds``."""
    import av

    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "21"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, picture in enumerate(frames(seconds)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def frames(seconds: Fraction = Fraction(SECONDS)) -> Iterator[ByteArray]:
    """The pictures (720, 1280, 3) uint8 in order; each is overwritten by the next."""
    room = _room()
    canvas, picture = Canvas(WIDTH, HEIGHT), room.astype(np.uint8)
    canvas.pixels[:] = room
    drawn: list[Box] = []
    for number in range(math.ceil(seconds * RATE)):
        for box in drawn:
            canvas.pixels[box] = room[box]
        now = [_bird(canvas, number / RATE), _doorway(canvas, number / RATE)]
        if number / RATE < _GONE:
            now.append(_person(canvas, number / RATE))
        for box in (*drawn, *now):  # where something was is empty now
            picture[box] = np.clip(np.rint(canvas.pixels[box]), 0, 255)
        drawn = now
        yield picture


def _room() -> npt.NDArray[np.float32]:
    """Wall, floor of planks, window with sky and branches, frame of the door; fine grain over all."""
    random = np.random.default_rng(7)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.area(0, 0, WIDTH, 560, _WALL)
    canvas.area(0, 540, WIDTH, 20, (150, 138, 120))
    for row in range(4):
        top = 560 + row * 40
        canvas.area(0, top, WIDTH, 40, (146 - 9 * row, 104 - 7 * row, 66 - 5 * row))
        canvas.area(0, top, WIDTH, 2, (88, 62, 40))
        for k in range(5):
            canvas.area((row * 130 + k * 290) % WIDTH, top, 2, 40, (92, 66, 44))
    x, y, width, height = _WINDOW
    canvas.area(x - 14, y - 14, width + 28, height + 28, (232, 228, 218))
    canvas.area(x, y, width, height, (158, 200, 232))
    canvas.line([(x, y + 150), (x + 150, y + 142), (x + width, y + 122)], 9, (92, 70, 52))
    canvas.line([(x + 150, y + 142), (x + 205, y + 90)], 5, (92, 70, 52))
    for _ in range(70):
        place = x + random.uniform(10, width - 10), y + random.uniform(60, 200)
        green = int(random.integers(90, 150))
        canvas.dot(*place, float(random.uniform(4, 8)), (green - 50, green, green - 60))
    canvas.area(_PERCH[0] - 34, _PERCH[1] - 40, 70, 46, (158, 200, 232))
    x, y, width, height = _DOOR
    canvas.area(x - 18, y - 18, width + 36, height + 18, (110, 84, 60))
    grain = random.normal(0, 4.0, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return np.clip(canvas.pixels + grain, 0, 255)


def _bird(canvas: Canvas, time: float) -> Box:
    """It lifts its head and opens its beak while it sings."""
    singing = any(begin <= time < end for begin, end in SONG)
    beat = math.sin(2 * math.pi * 6 * time) if singing else 0.0
    x, y = _PERCH[0], _PERCH[1] - 16
    head = np.array([x + 15, y - 13 - (4 if singing else 0)])
    canvas.line([(x - 26, y + 6), (x - 8, y + 1)], 7, _BIRD)
    canvas.line([(x - 6, y), (x + 6, y - 3)], 24, _BIRD)
    canvas.dot(*_place(head), 9.5, (176, 92, 54))
    gap = 3.0 + 2.5 * beat if singing else 0.0
    for side in (-1, 1):
        canvas.line([_off(head, 7, 0), _off(head, 17, side * gap - 1)], 3, (226, 178, 60))
    canvas.dot(head[0] + 3, head[1] - 2, 2, (20, 16, 14))
    return slice(190, 300), slice(280, 380)


def _opened(time: float) -> float:
    """How far the door is open, 0 … 1: slow to begin, and shut with a swing."""
    if OPENS <= time < SHUTS:
        share = min(1.0, (time - OPENS) / (OPEN - OPENS))
        return share * share * (3 - 2 * share)
    if SHUTS <= time < SHUT:
        return 1 - ((time - SHUTS) / (SHUT - SHUTS)) ** 2
    return 0.0


def _doorway(canvas: Canvas, time: float) -> Box:
    """The opening, dark behind, and the leaf that turns about its right edge towards us."""
    x, y, width, height = _DOOR
    angle = _opened(time) * math.radians(82)
    rows, columns = (slice(int(a), int(a + b)) for a, b in ((y, height), (x, width)))
    canvas.pixels[rows, columns] = _DARK  # Canvas.area would go through the whole picture
    canvas.pixels[int(y + height) - 60 : rows.stop, columns] = (60, 48, 38)
    edge = x + width - width * math.cos(angle)
    near = 26 * math.sin(angle)  # the free edge comes towards us, so it grows
    places = np.arange(math.floor(edge), math.ceil(x + width))
    share = np.clip((x + width - places - 0.5) / max(x + width - edge, 1.0), 0, 1)
    light = 1 - 0.35 * math.sin(angle)
    leaf: Colour = (round(150 * light), round(106 * light), round(66 * light))
    canvas.columns(int(places[0]), y - near * share, y + height + near * share, leaf)
    if len(places) > 40:
        inner = (share > 0.16) & (share < 0.84)
        panel: Colour = (round(128 * light), round(88 * light), round(54 * light))
        for low, high in ((0.08, 0.46), (0.54, 0.92)):
            tops = np.where(inner, y + low * height, y + height)
            canvas.columns(int(places[0]), tops, np.where(inner, y + high * height, y), panel)
    knob = edge + 0.09 * (x + width - edge)
    canvas.dot(knob, y + 0.52 * height, 8, (214, 186, 104))
    return slice(int(y) - 30, int(y + height) + 30), slice(int(x) - 20, int(x + width) + 20)


def _foot(number: int, time: float) -> Point:
    """Where foot ``number`` (0 left, 1 right) is: it stands still from one of its footfalls to shortly before
    the other foot's next, then swings forward."""
    fall = time / STEP
    k = math.floor((fall - number) / 2) * 2 + number  # its last footfall
    k = max(k, -2 + number)
    share = np.clip((fall - k - 0.9) / 1.1, 0.0, 1.0)  # of its swing
    if k >= _LAST - 1:
        share = 0.0
    forward = share * share * (3 - 2 * share)
    x = _START + _STRIDE * (k + 2 * forward)
    return np.array([x, _GROUND - 34 * math.sin(math.pi * share)])


def _person(canvas: Canvas, time: float) -> Box:
    """Walks to the right; the hips follow the feet, and rise and fall with each step."""
    feet = [_foot(0, time), _foot(1, time)]
    middle = (feet[0][0] + feet[1][0]) / 2
    spread = min(abs(feet[0][0] - feet[1][0]), 2 * _STRIDE)
    hips = np.array([middle + 6, _GROUND - 200 + 0.1 * spread])
    neck = _off(hips, 8, -128)
    swing = math.sin(math.pi * time / STEP) * (0.5 if time < STEP * (_LAST - 1) else 0.0)
    seen = float(np.clip((_GONE - 0.1 - time) / (_GONE - 0.1 - _FADES), 0, 1))
    for side in (1, 0):
        shade = 1.0 if side == 0 else 0.72
        _limb(canvas, hips, _off(feet[side], 0, -14), 98.0, 26.0, _dimmed(_TROUSERS, shade, seen))
        canvas.line([_off(feet[side], -8, -8), _off(feet[side], 20, -6)], 15, _dimmed(_SHOE, shade, seen))
        _arm(canvas, _off(neck, 0, 14), swing if side else -swing, (shade, seen))
        if side:
            canvas.line([hips, neck], 58, _dimmed(_COAT, 1, seen))
            canvas.line([neck, _off(neck, 2, -16)], 20, _dimmed(_SKIN, 1, seen))
            canvas.dot(*_place(_off(neck, 6, -44)), 33, _dimmed(_SKIN, 1, seen))
            hair = [_off(neck, -14, -62), _off(neck, 4, -74), _off(neck, 22, -68)]
            canvas.line(hair, 20, _dimmed((58, 40, 28), 1, seen))
    left, right = max(0, int(middle) - 150), min(WIDTH, int(middle) + 150)
    return slice(190, 650), slice(left, right)


def _limb(canvas: Canvas, hip: Point, ankle: Point, bone: float, width: float, colour: Colour) -> None:
    """Two bones of equal length; the knee bends forward."""
    way = ankle - hip
    reach = min(float(np.hypot(*way)), 2 * bone - 1e-3)
    across = np.array([way[1], -way[0]]) / max(float(np.hypot(*way)), 1e-6)
    knee = hip + way / 2 + across * math.sqrt(bone**2 - (reach / 2) ** 2)
    canvas.line([hip, knee, ankle], width, colour)


def _arm(canvas: Canvas, shoulder: Point, angle: float, light: tuple[float, float]) -> None:
    elbow = shoulder + 62 * np.array([math.sin(angle), math.cos(angle)])
    hand = elbow + 56 * np.array([math.sin(angle + 0.35), math.cos(angle + 0.35)])
    canvas.line([shoulder, elbow, hand], 19, _dimmed(_COAT, *light))
    canvas.dot(*_place(hand), 10, _dimmed(_SKIN, 1, light[1]))


def _off(point: Point, x: float, y: float) -> Point:
    return point + np.array([x, y])


def _place(point: Point) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _dimmed(colour: Colour, share: float, seen: float) -> Colour:
    """Darker by ``share``, and mixed with the dark behind the door: ``seen`` 0 is all dark."""
    red, green, blue = (
        round(dark + (part * share - dark) * seen) for part, dark in zip(colour, _DARK, strict=True)
    )
    return red, green, blue
