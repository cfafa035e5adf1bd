"""Options that several commands share, and the words in them that need reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from infogan_export.errors import UsageError

MOST_IMAGES = 1000
PICTURE_FILE = "File to write: .png, .jpg or .webp; - is stdout."
ANIMATION_FILE = "File to write: .gif, .webp, .apng or .mp4; - is stdout, a GIF."


def output_option(text: str, default: str) -> Any:
    """A command's -o, with what it may be, and what is written without it."""
    return typer.Option(
        "--output", "-o", help=text, show_default=default, metavar="FILE"
    )


ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Model: a name that `models` lists, or the path of a generator's .onnx.",
        metavar="NAME|PATH",
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        "-v",
        help="Code to vary, by name or as `cat`, `cont1`, `cont2`; may be repeated.",
        metavar="CODE",
    ),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        help="First and last value of the varied code; once, or once for each code.",
        metavar="LOW HIGH",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        help="Hold a code at a number, a label, or a mixture's weights W,W,...; "
        "may be repeated.",
        metavar="CODE=VALUE",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Seed of all that is drawn; the same seed gives the same bytes.",
    ),
]
Start = Annotated[
    int,
    typer.Option(
        help="Index of the first image; image i of a seed is always the same.",
    ),
]
Scale = Annotated[
    int | None,
    typer.Option(
        help="Whole factor of enlargement.",
        show_default="fits a screen",
    ),
]
Padding = Annotated[
    int,
    typer.Option(help="Pixels of background around each image."),
]
Show = Annotated[
    bool,
    typer.Option(
        "--show",
        help="Draw in the terminal; a file is written only if -o names one.",
    ),
]
Labels = Annotated[
    bool, typer.Option("--labels", help="Write above each image what it is.")
]
Prepare = Annotated[
    bool,
    typer.Option(
        help="Bring a picture to what the model knows: find the digit and make it "
        "white on black, centred; for other models, crop the middle.",
    ),
]
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        help="An image file to start from, in place of a draw; may be repeated.",
        metavar="IMAGE",
    ),
]
Iterations = Annotated[
    int, typer.Option(help="Steps of refinement at most; 0 keeps the first guess.")
]
Tolerance = Annotated[
    float,
    typer.Option(help="An image whose error falls by a smaller share is done."),
]
Inside = Annotated[bool, typer.Option(help="Keep the latents inside their prior.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def parse_settings(settings: Sequence[str] | None) -> dict[str, str | list[float]]:
    """``["digit=7", "shape=0.5,0.5"]`` as values by code name.

    Numbers stay text: the code itself reads them, since only it knows its labels.

    Raises:
        UsageError: not CODE=VALUE, weights that are no numbers, or a code set twice.
    """
    values: dict[str, str | list[float]] = {}
    for name, value in parse_pairs(settings, "--set", "cat=3").items():
        try:
            weights = [float(part) for part in value.split(",")]
        except ValueError:
            weights = []
        values[name] = weights if len(weights) > 1 else value
    return values


def parse_numbers(
    settings: Sequence[str] | None, option: str, example: str
) -> dict[str, float]:
    """``["cont2=1.6"]`` as numbers by code name.

    Raises:
        UsageError: as `parse_pairs`, or a value that is no number.
    """
    values = {}
    for name, value in parse_pairs(settings, option, example).items():
        try:
            values[name] = float(value)
        except ValueError:
            raise UsageError(
                f"{option} is a code's number, for instance {example}, "
                f"got {f'{name}={value}'!r}"
            ) from None
    return values


def parse_pairs(
    settings: Sequence[str] | None, option: str, example: str
) -> dict[str, str]:
    """Each CODE=VALUE of an option, by code name.

    Raises:
        UsageError: not CODE=VALUE, or a code given twice.
    """
    pairs: dict[str, str] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        if not (name and equals and value):
            raise UsageError(
                f"{option} is CODE=VALUE, for instance {example}, got {setting!r}"
            )
        if name in pairs:
            raise UsageError(f"{option} gives {name!r} twice")
        pairs[name] = value
    return pairs


def parse_edits(
    settings: Sequence[str] | None,
) -> tuple[dict[str, str | list[float]], dict[str, float]]:
    """``["digit=7", "slant=+0.5"]`` as values to set, and amounts to move by.

    ``slant=+0.5`` and ``slant+=0.5`` move a code up, ``slant-=0.5`` moves it down;
    ``slant=0.5`` and ``slant=-0.5`` set it.

    Raises:
        UsageError: as `parse_settings`, an amount that is no number, or a code
            moved twice.
    """
    codes: dict[str, str | list[float]] = {}
    moves: dict[str, float] = {}
    for name, value in parse_settings(settings).items():
        way = name[-1] if name[-1] in "+-" else ""
        own = name.removesuffix(way)
        if not (way or str(value).startswith("+")):
            codes[name] = value
            continue
        try:
            amount = float(str(value))
        except ValueError:
            raise UsageError(
                f"--set moves a code by a number, for instance {own or 'slant'}=+0.5, "
                f"got {value!r}"
            ) from None
        if not own or own in moves:
            raise UsageError(
                f"--set moves {own!r} twice" if own else f"--set names no code: {name}="
            )
        moves[own] = -amount if way == "-" else amount
    return codes, moves


def parse_ranges(ranges: Sequence[str] | None) -> list[tuple[float, float]]:
    """``["-2:2"]`` as pairs.

    Raises:
        UsageError: not two numbers.
    """
    pairs = []
    for text in ranges or ():
        low, _, high = text.partition(":")
        try:
            pairs.append((float(low), float(high)))
        except ValueError:
            raise UsageError(
                f"--range is two numbers, LOW HIGH, for instance -2 2, "
                f"got {text.replace(':', ' ').strip()!r}"
            ) from None
    return pairs


def parse_images(text: str) -> list[int]:
    """``"1,5,7"``, ``"0..2"`` or both as indices, ends included.

    Raises:
        UsageError: not such a list, or one of more than 1000 images.
    """
    images: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        ends = (first, last if dots else first)
        if not all(re.fullmatch(r"\d{1,10}", end, re.ASCII) for end in ends):
            raise UsageError(f"images are indices such as 1,5,7 or 0..2, got {text!r}")
        low, high = map(int, ends)
        if high < low:
            raise UsageError(
                f"a range of images goes upwards, for instance {high}..{low}, "
                f"got {part.strip()!r}"
            )
        if len(images) + high - low >= MOST_IMAGES:
            raise UsageError(
                f"a term is a mean of at most {MOST_IMAGES} images, got {text!r}"
            )
        images += range(low, high + 1)
    return images


def join_ranges(arguments: Iterable[str]) -> list[str]:
    """``--range LOW HIGH`` as ``--range LOW:HIGH``.

    Typer has options of two values and options that repeat, but none that are both.
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--range" and rest and ":" not in rest[0]:
            low = rest.pop(0)
            high = rest.pop(0) if rest else ""
            joined += [word, f"{low}:{high}"]
        else:
            joined.append(word)
    return joined
