"""How a file was made: a record that each output carries, and can be made from.

The record names the command, the model and its SHA-256, the seed and every
option that decides the picture, so that the same command makes the same bytes.
The latents are in it as well while they are small; beyond that the seed and the
options define them.
"""

from __future__ import annotations

import base64
import binascii
import shlex
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from infogan_export.errors import UsageError
from infogan_export.latent import Latents
from infogan_export.runtime import Model

MAX_LATENTS = 48_000  # characters: a JPEG holds 65 KB of metadata in all


def make_record(
    command: str,
    model: Model,
    *,
    seed: int | None,
    options: Mapping[str, object],
    latents: Latents | None,
    arguments: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The record of a file.

    Args:
        command: the command that makes it, for instance ``grid``.
        model: what drew it.
        seed: of the latents; None where they are of real images.
        options: the command's other options by name, all that decide the picture.
        latents: float32, (n, dim), one for each image in order; None when there
            are too many to hold.
        arguments: the command's arguments that are no options.
        about: what else is to be known, and decides nothing.
    """
    record: dict[str, object] = {
        "command": command,
        "model": model.name,
        "sha256": model.sha256,
        **({} if seed is None else {"seed": seed}),
        **({"arguments": list(arguments)} if arguments else {}),
        "options": {k: v for k, v in options.items() if not _is_absent(v)},
        **(about or {}),
    }
    packed = None if latents is None else _pack(latents)
    if packed is not None:
        record["latents"] = packed
    return record


def sample_record(
    model: Model,
    count: int,
    *,
    codes: Mapping[str, object],
    seed: int,
    start: int,
    latents: Latents | None = None,
    **layout: object,
) -> dict[str, object]:
    """The record of samples: images ``start`` ... of a seed."""
    options = {"count": count, "start": start, "set": dict(codes), **layout}
    return make_record("sample", model, seed=seed, options=options, latents=latents)


def record_latents(record: Mapping[str, Any]) -> Latents | None:
    """The latents of a record, float32 (n, dim); None when it holds none.

    Raises:
        UsageError: the record is damaged.
    """
    packed = record.get("latents")
    if packed is None:
        return None
    try:
        raw = zlib.decompress(base64.b64decode(packed["zlib"], validate=True))
        latents: Latents = np.frombuffer(raw, "<f4").reshape(packed["shape"])
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
        raise UsageError("the latents in the file's metadata are damaged") from None
    return latents


def command_line(record: Mapping[str, Any], *, output: str = "") -> str:
    """The command that makes the same bytes again, quoted for a shell.

    Raises:
        UsageError: the record is damaged.
    """
    try:
        words = ["infogan-gen", record["command"], *record.get("arguments", ())]
        words += ["--model", record["model"]]
        for name, value in record["options"].items():
            words += _option("--" + name.replace("_", "-"), value)
        if "seed" in record:
            words += ["--seed", str(record["seed"])]
        return shlex.join([*words, "-o", output] if output else words)
    except (KeyError, TypeError, AttributeError):
        raise UsageError("the record in the file's metadata is damaged") from None


def _is_absent(value: object) -> bool:
    return value is None or value is False or value in ([], {})


def _option(flag: str, value: object) -> list[str]:
    if value is True:
        return [flag]
    if isinstance(value, Mapping):  # --set name=value, once for each
        return [
            w for k, v in value.items() for w in (flag, f"{k}={','.join(_words(v))}")
        ]
    if isinstance(value, list):  # an option that repeats
        return [w for item in value for w in (flag, *_words(item))]
    return [flag, *_words(value)]


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence | np.ndarray):
        return [word for item in value for word in _words(item)]
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return [str(int(value))]
    return [str(value)]


def _pack(latents: Latents) -> dict[str, object] | None:
    """Exact and small: a sweep repeats the same noise again and again."""
    raw = np.ascontiguousarray(latents, "<f4").tobytes()
    text = base64.b64encode(zlib.compress(raw, 9)).decode()
    if len(text) > MAX_LATENTS:
        return None
    return {"shape": list(latents.shape), "dtype": "float32", "zlib": text}
