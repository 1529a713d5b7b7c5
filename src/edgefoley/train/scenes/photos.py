"""Photographs of real places behind the drawn things: ``python -m edgefoley.train.scenes.photos --out
runs/photos``.

Drawn backgrounds have neither the clutter nor the statistics of real ones, and a network that has only seen
drawn ones does not know what may be ignored. The pictures are 18 panoramas of halls, workshops, streets,
meadows and rooms (Poly Haven, CC0, in the npm package @pmndrs/assets), so that every film looks in another
direction. Nothing of them is shipped.

A renderer asks ``opened()``, which knows panoramas once ``use`` was called in its process; otherwise every
picture is drawn, and the same seeds give other pictures than with them, but the same truth.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import math
import os
import re
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.errors import UsageError
from edgefoley.train.scenes.motion import Rng
from edgefoley.train.sounds.containers import package_files
from edgefoley.train.sounds.fetch import Rule, fetched

Image = NDArray[np.uint8]

PACKAGE: Final = Rule(
    registry="npm", package="@pmndrs/assets", version="1.7.0",
    sha256="152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
    pattern="package/hdri/*.exr.js", label="", licence="CC0-1.0", attribution="Poly Haven",
    page="https://polyhaven.com/hdris",
)  # fmt: skip
_NAME: Final = re.compile(r"package/hdri/(\w+)\.exr\.js")
_WHITE: Final = 3.0  # of the median brightness, drawn half as bright as white


class Panoramas:
    """Equirectangular pictures (h, 2 h, 3) uint8 RGB, seen through a camera that looks anywhere."""

    def __init__(self, images: dict[str, Image]) -> None:
        if not images:
            raise ValueError("there must be at least one panorama")
        self.images = [images[name] for name in sorted(images)]

    def view(self, rng: Rng, size: int, narrow: bool = False) -> Image:
        """(size, size, 3) uint8 RGB: a random place seen at 45 to 105 degrees, about level; ``narrow``: at 15
        to 40 degrees and mostly downwards, which gives the texture of floors, grass and things."""
        picture = self.images[int(rng.integers(len(self.images)))]
        width = math.radians(rng.uniform(15, 40) if narrow else rng.uniform(45, 105))
        yaw = rng.uniform(0, 2 * math.pi)
        pitch = math.radians(rng.uniform(-75, 10) if narrow else rng.normal(-8, 14))
        return look(picture, size, yaw, pitch, math.radians(rng.normal(0, 4)), width)


def look(picture: Image, size: int, yaw: float, pitch: float, roll: float, width: float) -> Image:
    """What a pinhole camera of angle ``width`` sees of an equirectangular ``picture``; all in radians, pitch
    upwards, yaw to the right from the picture's middle."""
    height, around = picture.shape[:2]
    plane = math.tan(width / 2) * (2 * (np.arange(size) + 0.5) / size - 1)
    x, y = np.meshgrid(plane, -plane)
    x, y = math.cos(roll) * x - math.sin(roll) * y, math.sin(roll) * x + math.cos(roll) * y
    z = np.ones_like(x)
    y, z = math.cos(pitch) * y + math.sin(pitch) * z, math.cos(pitch) * z - math.sin(pitch) * y
    longitude = np.arctan2(x, z) + yaw
    latitude = np.arctan2(y, np.hypot(x, z))
    at_x = ((longitude / (2 * math.pi) + 0.5) % 1.0) * around - 0.5
    at_y = (0.5 - latitude / math.pi) * height - 0.5
    # One column more on either side, so that interpolation goes round.
    wide = np.concatenate([picture[:, -1:], picture, picture[:, :1]], axis=1)
    seen = cv2.remap(
        wide, (at_x + 1).astype(np.float32), at_y.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.ascontiguousarray(seen, np.uint8)


class _Open:
    """The panoramas of this process and a digest of them."""

    panoramas: Panoramas | None = None
    digest: str | None = None


def use(folder: Path | None) -> None:
    """Draw with the panoramas in ``folder`` from now on in this process; None: without any. Raises UsageError
    where there are none."""
    _Open.panoramas, _Open.digest = None, None
    if folder is not None:
        _Open.panoramas, _Open.digest = read(folder), digest(folder)


def opened() -> Panoramas | None:
    """What renderers may use."""
    return _Open.panoramas


def opened_digest() -> str | None:
    """SHA-256 of what renderers use, None without panoramas."""
    return _Open.digest


def read(folder: Path) -> Panoramas:
    """The panoramas in a folder that ``fetch`` wrote. Raises UsageError where there are none."""
    images = dict[str, Image]()
    for path in sorted(folder.glob("*.png")):
        if (image := cv2.imread(str(path))) is not None:
            images[path.stem] = np.ascontiguousarray(image[..., ::-1], np.uint8)
    if not images:
        raise UsageError(
            f"{folder} holds no panoramas that can be read: run python -m edgefoley.train.scenes.photos first"
        )
    return Panoramas(images)


def digest(folder: Path) -> str:
    """SHA-256 over names and bytes of a folder's panoramas."""
    sha = hashlib.sha256()
    for path in sorted(folder.glob("*.png")):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def develop(bright: NDArray[np.float32]) -> Image:
    """Linear light (h, w, 3) -> uint8 for a screen, bright things rolled off (Reinhard et al. 2002)."""
    # Lamps and the sun overflow the file's 16 bits, and the reader makes what it likes of that.
    light = np.nan_to_num(bright, nan=6e4, posinf=6e4, neginf=6e4).clip(0)
    light = light / (_WHITE * np.median(light) + 1e-6)
    return np.asarray((255 * (light / (1 + light) * 1.4).clip(0, 1) ** (1 / 2.2)).round(), np.uint8)


def fetch(out: Path) -> int:
    """Fetch the package, develop every panorama into ``out``; returns how many there are. Raises
    PackageError."""
    out = out.resolve()  # the clients work in folders of their own
    archives = out / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    count = 0
    for path, content in package_files(fetched(PACKAGE, archives)):
        name = _NAME.fullmatch(path)
        data = re.search(rb"base64,([A-Za-z0-9+/=]+)", content) if name else None
        if name is None or data is None:
            continue
        coded = archives / f"{name[1]}.exr"
        coded.write_bytes(base64.b64decode(data[1]))
        with av.open(str(coded)) as container:
            frame = next(container.decode(video=0)).reformat(format="gbrpf32le")
            picture = develop(frame.to_ndarray().astype(np.float32))
        coded.unlink()
        part = out / f".{name[1]}.png"
        cv2.imwrite(str(part), np.ascontiguousarray(picture[..., ::-1]))
        os.replace(part, out / f"{name[1]}.png")
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/photos"))
    out = parser.parse_args().out
    print(f"{fetch(out)} panoramas in {out}")


if __name__ == "__main__":
    main()
