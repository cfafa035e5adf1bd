"""Make a fixed set of 20 synthetic phone photos: a handwritten digit on paper.

    python benchmarks/photos.py FOLDER         # 0a.jpg, 0b.jpg, 1a.jpg, ... 9b.jpg
    python benchmarks/photos.py --four docs/four.jpg

Each is 2000 pixels wide (or high, with Exif saying how to turn it): coloured paper
with texture and grain, a shadow across it, a pen's colour, turned by up to 10
degrees, off-centre.  Needs numpy and Pillow alone; same files every run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 2000, 1500
FOUR = (1000, 750, "4a")  # the README's picture, smaller
ORIENTATION = 0x0112  # Exif

# Strokes of two hands: points x,y in a box of 100 x 100, y downwards, that a smooth
# line goes through; a point given twice is a corner.
DIGITS = {
    "0a": "55,0 20,20 10,60 35,100 75,80 85,35 50,0",
    "0b": "60,5 30,2 12,40 22,90 60,100 90,60 75,15 50,4",
    "1a": "58,0 50,50 42,100",
    "1b": "30,20 52,0 52,0 50,50 50,100",
    "2a": "15,25 40,0 75,15 60,55 10,98 10,98 50,93 90,97",
    "2b": "20,20 50,2 75,25 55,65 25,95 20,80 45,85 90,100",
    "3a": "20,10 55,0 75,22 40,47 40,47 80,65 65,95 15,95",
    "3b": "20,3 50,3 75,3 75,3 45,40 45,40 80,60 70,95 20,92",
    "4a": "35,0 15,55 15,55 50,57 90,52 | 72,12 68,60 62,100",
    "4b": "20,2 17,30 25,50 75,45 | 75,0 75,50 72,100",
    "5a": "30,3 25,42 25,42 70,45 75,80 40,100 10,90 | 30,3 55,4 85,0",
    "5b": "85,2 35,4 35,4 28,40 28,40 65,40 78,70 50,98 15,90",
    "6a": "65,0 30,35 18,75 45,100 75,78 55,55 22,72",
    "6b": "50,0 25,30 15,70 40,100 80,85 70,58 40,60 20,80",
    "7a": "15,5 50,6 85,2 85,2 60,50 40,100",
    "7b": "15,8 50,4 82,5 82,5 62,50 50,100",
    "8a": "70,12 40,0 25,22 50,45 78,75 50,100 22,80 48,48 72,15",
    "8b": "75,15 50,0 30,20 55,48 75,78 45,100 25,75 55,42 78,12",
    "9a": "75,20 50,0 22,20 40,45 75,20 75,20 70,60 60,100",
    "9b": "72,25 55,2 25,15 30,42 60,42 74,15 74,50 50,95",
}

PAPERS = [(244, 238, 222), (236, 238, 242), (226, 214, 190), (250, 248, 246)]
PENS = [(28, 30, 44), (24, 44, 130), (150, 28, 34), (20, 90, 60), (60, 60, 64)]
TURNED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
TURNED[8] = Image.Transpose.ROTATE_270


def photo(
    name: str, width: int = WIDTH, height: int = HEIGHT
) -> tuple[Image.Image, int]:
    """A photo as it is stored, and the Exif orientation that sets it upright."""
    index = list(DIGITS).index(name)
    rng = np.random.default_rng([5, index])
    # Not a round number of pixels each, so that nothing lines up by chance.
    size = height * rng.uniform(0.3, 0.6)
    pen = max(3, round(size * rng.uniform(0.035, 0.11)))
    strokes = Image.new("L", (width, height))
    draw = ImageDraw.Draw(strokes)
    left = rng.uniform(0.12, 0.88) * (width - size) * 0.8 + 0.1 * (width - size)
    top = rng.uniform(0.1, 0.9) * (height - size)
    angle = np.deg2rad(rng.uniform(-10, 10))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for stroke in DIGITS[name].split(" | "):
        line = (smooth(stroke) - 0.5) * (0.75, 1) @ turn.T * 0.9 + 0.5
        points = [tuple(p) for p in line * size + (left, top)]
        draw.line(points, fill=255, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    ink = np.asarray(strokes.filter(ImageFilter.GaussianBlur(1.5)), float) / 255
    ink *= 0.85 + 0.15 * clouds(rng, (height, width), 60)  # a pen does not cover evenly
    paper = np.array(PAPERS[index % len(PAPERS)], float)
    colour = np.array(PENS[index % len(PENS)], float)
    picture = paper + (colour - paper) * ink[..., None]
    picture *= (light(rng, height, width) * texture(rng, height, width))[..., None]
    picture += rng.normal(scale=4, size=picture.shape)  # the camera's noise
    image = Image.fromarray(np.rint(picture.clip(0, 255)).astype(np.uint8))
    orientation = list(TURNED)[index % len(TURNED)]
    turned = TURNED[orientation]
    return (image if turned is None else image.transpose(turned)), orientation


def smooth(stroke: str, steps: int = 24) -> np.ndarray:
    """A Catmull-Rom line (n, 2) through points, with corners where one is twice."""
    given = np.array([point.split(",") for point in stroke.split()], float) / 100
    p = np.concatenate([given[:1], given, given[-1:]])
    t = np.linspace(0, 1, steps)[:, None]
    parts = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        if (b == c).all():
            continue
        before = c - b if (a == b).all() else (c - a) / 2
        after = c - b if (c == d).all() else (d - b) / 2
        h = (
            2 * t**3 - 3 * t**2 + 1,
            t**3 - 2 * t**2 + t,
            3 * t**2 - 2 * t**3,
            t**3 - t**2,
        )
        parts.append(h[0] * b + h[1] * before + h[2] * c + h[3] * after)
    return np.concatenate(parts)


def light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Brightness that falls off to one side, and the shadow of a hand or a phone."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    fall = 0.82 + 0.16 * along
    edge = along * rng.choice([-1, 1]) + 0.4 * y - rng.uniform(0, 0.6)
    softness = rng.uniform(0.05, 0.3)
    return fall * (1 - rng.uniform(0.15, 0.35) / (1 + np.exp(-edge / softness)))


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paper: creases and stains of several sizes, a few percent deep."""
    deep = [(400, 0.05), (40, 0.03), (6, 0.025)]
    return 1 + sum(d * (clouds(rng, (height, width), s) - 0.5) for s, d in deep)


def clouds(rng: np.random.Generator, shape: tuple[int, int], size: int) -> np.ndarray:
    """Smooth noise, 0 to 1, that changes over ``size`` pixels."""
    coarse = rng.random([2 + side // size for side in shape]) * 255
    image = Image.fromarray(coarse.astype(np.uint8))
    wide = image.resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(wide, float) / 255


def write(path: Path, name: str, *size: int) -> None:
    image, orientation = photo(name, *size)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, quality=80, exif=exif)


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["--four"]:
        width, height, name = FOUR
        write(Path(arguments[1]), name, width, height)
        return
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in DIGITS:
        write(folder / f"{name}.jpg", name)


if __name__ == "__main__":
    main(sys.argv[1:])
