"""Draw examples/bouncing_ball.mp4 and write down when its sounds happen: python examples/make_example.py

A ball is dropped on a wooden floor and bounces until it rolls; then a stick hits a wooden box. 6 s, 640x360,
30 frames per second, H.264, no sound. The motion is computed, not drawn by hand, so the event times in
examples/bouncing_ball.events.json are exact: a frame is exposed around its time stamp (four instants over
half the frame's duration), and an event is the instant of contact. Needs numpy, PyAV and OpenCV (the extra
"train").
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

SECONDS, RATE, SIZE = 6, 30, (640, 360)
SCALE = 2  # drawn at twice the size, then averaged down: smooth edges
EXPOSURES, SHUTTER = 4, 0.5  # instants per frame, and the part of a frame's duration that they cover

GRAVITY, METRE = 9.81, 170.0  # m/s^2; pixels of the finished picture per metre
BALL_RADIUS, BALL_FLOOR = 26.0, 300.0  # pixels; height at which the ball touches the floor
DROP_S, DROP_HEIGHT, RESTITUTION = 0.40, 1.10, 0.74  # s, m, -
SLOWEST = 0.45  # m/s; slower contacts are inaudible
BALL_X, BALL_SPEED = 95.0, 62.0  # pixels, pixels/s
BOX = (438, 222, 590, 306)  # left, top, right, bottom of its front
PIVOT, REACH, LIFT = (668.0, 168.0), 178.0, 0.62  # the hand (outside), stick length in pixels, radians lifted
HITS = ((3.90, 1.0), (4.50, 0.8), (4.80, 0.6), (5.35, 1.0), (5.60, 0.7))  # seconds, strength


@dataclass(frozen=True)
class Event:
    """A contact: ``time_s`` seconds, ``kind`` "ball" or "stick", ``strength`` 0..1 (1: hardest)."""

    time_s: float
    kind: str
    strength: float


def ball_contacts() -> list[tuple[float, float]]:
    """(time in s, speed in m/s) of every audible contact of the ball: free fall, then lower parabolas."""
    time, speed = DROP_S + math.sqrt(2 * DROP_HEIGHT / GRAVITY), math.sqrt(2 * GRAVITY * DROP_HEIGHT)
    contacts = []
    while speed >= SLOWEST:
        contacts.append((time, speed))
        speed *= RESTITUTION
        time += 2 * speed / GRAVITY
    return contacts


CONTACTS = ball_contacts()


def events() -> list[Event]:
    """All contacts in order of time."""
    hardest = CONTACTS[0][1]
    found = [Event(round(t, 4), "ball", round(v / hardest, 3)) for t, v in CONTACTS]
    found += [Event(t, "stick", strength) for t, strength in HITS]
    return sorted(found, key=lambda event: event.time_s)


def ball_height(t: float) -> float:
    """Metres between the ball's lowest point and the floor at ``t`` seconds."""
    if t < DROP_S:
        return DROP_HEIGHT
    if t < CONTACTS[0][0]:
        return DROP_HEIGHT - GRAVITY / 2 * (t - DROP_S) ** 2
    at, speed = max((c for c in CONTACTS if c[0] <= t), key=lambda c: c[0])
    since = t - at
    return max(0.0, speed * RESTITUTION * since - GRAVITY / 2 * since**2)


def ball_x(t: float) -> float:
    """Pixels from the left: steady while it bounces, then slowed to a stop by rolling."""
    last = CONTACTS[-1][0]
    moving, rolling = max(0.0, min(t, last) - DROP_S), max(0.0, t - last)
    return BALL_X + BALL_SPEED * (moving + 0.5 * (1 - math.exp(-rolling / 0.5)))


def stick_lift(t: float) -> float:
    """Radians between the stick and its place on the box; 0 exactly at every hit."""
    times = [time for time, _ in HITS]
    if t <= times[0]:
        return LIFT if t < times[0] - 0.16 else LIFT * (1 - ((t - times[0] + 0.16) / 0.16) ** 2)
    if t >= times[-1]:
        return LIFT * (1 - math.exp(-(t - times[-1]) / 0.12))
    index = max(i for i, time in enumerate(times) if time <= t)
    gap = times[index + 1] - times[index]
    part = (t - times[index]) / gap
    return LIFT * HITS[index + 1][1] * 4 * part * (1 - part)


def box_shake(t: float) -> float:
    """Pixels by which the box gives way after a hit."""
    past = [(t - time, strength) for time, strength in HITS if time <= t]
    if not past:
        return 0.0
    since, strength = past[-1]
    return 3.0 * strength * math.exp(-since / 0.05) * math.cos(2 * math.pi * 9 * since)


def background(random: np.random.Generator) -> Picture:
    """The room, BGR at drawing size: a wall, a skirting board and a floor of planks in perspective."""
    width, height = SIZE[0] * SCALE, SIZE[1] * SCALE
    edge = round(0.60 * height)
    picture = np.empty((height, width, 3), np.float32)
    wall = np.array([196, 205, 208], np.float32)
    fall = np.linspace(1.04, 0.90, edge, dtype=np.float32)[:, None, None]
    side = (1.03 - 0.14 * np.abs(np.linspace(-0.8, 1, width, dtype=np.float32)) ** 2)[None, :, None]
    picture[:edge] = wall * fall * side
    rows = np.arange(height - edge, dtype=np.float32) + 60.0
    depth = 60.0 / rows  # 1 at the wall, smaller towards the viewer
    across = (np.arange(width, dtype=np.float32)[None, :] - width / 2) * depth[:, None] / 46.0 + 100.0
    plank, inside = np.floor(across), across % 1.0
    tones = random.uniform(0.84, 1.08, 400).astype(np.float32)[plank.astype(int)]
    grain = (
        cv2.GaussianBlur(random.normal(0, 1, (height - edge, width)).astype(np.float32), (3, 61), 0) * 0.55
    )
    seam = 1 - 0.5 * np.exp(-((np.minimum(inside, 1 - inside) / 0.022) ** 2))
    bright = np.linspace(0.86, 1.06, height - edge, dtype=np.float32)[:, None]
    picture[edge:] = np.array([78, 122, 170], np.float32) * (tones * seam * (bright + grain))[..., None]
    board = slice(edge - 26, edge)
    picture[board] = np.array([226, 232, 234], np.float32) * side
    picture[edge - 28 : edge - 26] *= 0.82
    picture[edge : edge + 5] *= 0.62
    return np.clip(picture, 0, 255).astype(np.uint8)


def shade(picture: Picture, centre: tuple[float, float], radii: tuple[float, float], strength: float) -> None:
    """Darken a soft ellipse in place (a shadow on the floor); pixels of the finished picture."""
    x, y, a, b = (SCALE * value for value in (*centre, *radii))
    top, bottom = max(0, int(y - 2 * b)), min(picture.shape[0], int(y + 2 * b) + 1)
    left, right = max(0, int(x - 2 * a)), min(picture.shape[1], int(x + 2 * a) + 1)
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    distance = ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2
    factor = 1 - strength * np.exp(-1.2 * distance)
    picture[top:bottom, left:right] = (picture[top:bottom, left:right] * factor[..., None]).astype(np.uint8)


def draw_ball(picture: Picture, centre: tuple[float, float], angle: float) -> None:
    """An orange ball with dark seams, lit from the upper left, turned by ``angle`` radians."""
    radius = BALL_RADIUS * SCALE
    x, y = SCALE * centre[0], SCALE * centre[1]
    top, left = int(y - radius) - 2, int(x - radius) - 2
    side = int(2 * radius) + 5
    rows, columns = np.mgrid[top : top + side, left : left + side].astype(np.float32)
    u, v = (columns - x) / radius, (rows - y) / radius
    square = u**2 + v**2
    cover = np.clip((1 - np.sqrt(square)) * radius + 0.5, 0, 1)[..., None]
    depth = np.sqrt(np.clip(1 - square, 0, 1))
    light = np.clip(-0.45 * u - 0.62 * v + 0.64 * depth, 0, 1)
    p, q = u * math.cos(angle) + v * math.sin(angle), -u * math.sin(angle) + v * math.cos(angle)
    lines = np.minimum(np.minimum(np.abs(p), np.abs(q)), np.abs(np.hypot(np.abs(p) - 1.15, q) - 0.75))
    seam = np.clip((0.045 - lines) / 0.03, 0, 1)[..., None]
    colour = np.array([38, 104, 226], np.float32) * (1 - seam) + np.array([24, 26, 34], np.float32) * seam
    colour = colour * (0.38 + 0.72 * light)[..., None] + 70 * (light**18)[..., None]
    place = (slice(top, top + side), slice(left, left + side))
    picture[place] = (cover * np.clip(colour, 0, 255) + (1 - cover) * picture[place]).astype(np.uint8)


def fill(picture: Picture, corners: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    """A polygon with smooth edges; corners in pixels of the finished picture."""
    points = np.round(np.array(corners) * SCALE * 16).astype(np.int32)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA, shift=4)


def draw_box(picture: Picture, shake: float) -> None:
    """A wooden crate: front of three boards, top and side."""
    left, top, right, bottom = BOX
    top, back = top + shake, 22.0
    fill(
        picture,
        [(left, top), (left + back, top - 16), (right + back, top - 16), (right, top)],
        (128, 176, 214),
    )
    fill(
        picture,
        [(right, top), (right + back, top - 16), (right + back, bottom - 16), (right, bottom)],
        (60, 92, 122),
    )
    third = (bottom - top) / 3
    for i, colour in enumerate(((92, 140, 182), (86, 132, 174), (80, 124, 164))):
        low, high = top + i * third, top + (i + 1) * third - 1.5
        fill(picture, [(left, low), (right, low), (right, high), (left, high)], colour)
        fill(picture, [(left, high), (right, high), (right, high + 1.5), (left, high + 1.5)], (40, 62, 84))
    for x in (left + 4, right - 16):
        fill(picture, [(x, top + 2), (x + 12, top + 2), (x + 12, bottom), (x, bottom)], (70, 110, 148))


def draw_stick(picture: Picture, lift: float) -> None:
    """A stick held from the right; at lift 0 its tip lies on the box."""
    rest = math.atan2(BOX[1] - 12 - PIVOT[1], -math.sqrt(REACH**2 - (BOX[1] - 12 - PIVOT[1]) ** 2))
    angle = rest + lift
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    tip = (PIVOT[0] + REACH * along[0], PIVOT[1] + REACH * along[1])
    for low, high, colour in (
        (-6.0, 6.0, (36, 52, 70)),
        (-4.5, 4.5, (66, 98, 128)),
        (-1.0, 3.6, (112, 152, 186)),
    ):
        wide = [(PIVOT[0] + across[0] * w, PIVOT[1] + across[1] * w) for w in (low, high)]
        thin = [(tip[0] + across[0] * w * 0.7, tip[1] + across[1] * w * 0.7) for w in (high, low)]
        fill(picture, [*wide, *thin], colour)
    middle = (round(tip[0] * SCALE * 16), round(tip[1] * SCALE * 16))
    cv2.circle(picture, middle, round(6.5 * SCALE * 16), (70, 104, 134), -1, cv2.LINE_AA, shift=4)


def expose(room: Picture, t: float) -> Picture:
    """The picture at one instant, BGR at drawing size."""
    picture = room.copy()
    height, x = ball_height(t) * METRE, ball_x(t)
    near = 1 / (1 + height / 60)
    shade(picture, ((BOX[0] + BOX[2]) / 2 + 6, BOX[3]), (96.0, 9.0), 0.45)
    draw_box(picture, box_shake(t))
    draw_stick(picture, stick_lift(t))
    shade(
        picture, (x + 0.10 * height, BALL_FLOOR), (BALL_RADIUS * (1.35 - 0.3 * near), 7.0), 0.15 + 0.45 * near
    )
    draw_ball(picture, (x, BALL_FLOOR - BALL_RADIUS - height), (x - BALL_X) / BALL_RADIUS)
    return picture


def frame(room: Picture, t: float) -> Picture:
    """The finished frame (h, w, 3) BGR with time stamp ``t`` s; motion is blurred as by a shutter."""
    offsets = ((np.arange(EXPOSURES) + 0.5) / EXPOSURES - 0.5) * SHUTTER / RATE
    total = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for offset in offsets:
        total += cv2.resize(expose(room, max(0.0, t + float(offset))), SIZE, interpolation=cv2.INTER_AREA)
    return np.round(total / EXPOSURES).astype(np.uint8)


def render(path: Path) -> None:
    """Write the clip."""
    cv2.setNumThreads(1)
    room = background(np.random.default_rng(11))
    options = {"crf": "23", "preset": "slow", "threads": "1"}  # one thread: the same bytes every time
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(SECONDS * RATE):
            picture = av.VideoFrame.from_ndarray(frame(room, number / RATE), "bgr24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "bouncing_ball.mp4")
    parser.add_argument("--frame", type=float, help="write only the frame at this time (s), as PNG, to --out")
    arguments = parser.parse_args()
    if arguments.frame is not None:
        room = background(np.random.default_rng(11))
        cv2.imwrite(str(arguments.out), frame(room, arguments.frame))
        return
    render(arguments.out)
    listed = [{"time_s": e.time_s, "kind": e.kind, "strength": e.strength} for e in events()]
    lines = ",\n".join("  " + json.dumps(event) for event in listed)
    text = f'{{"clip": "{arguments.out.name}", "seconds": {SECONDS}, "events": [\n{lines}\n]}}\n'
    arguments.out.with_suffix(".events.json").write_text(text, encoding="utf-8")
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB, {len(listed)} events")


if __name__ == "__main__":
    main()
