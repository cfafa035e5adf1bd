"""The explorer as a folder of static files, which draw in the visitor's browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infogan_export import catalog
from infogan_export.atomic import make_folder
from infogan_export.errors import OutputError, UsageError
from infogan_export.runtime import load
from infogan_export.web import PAGE
from infogan_export.web.cards import page_card

ORT_VERSION = "1.30.0"
ORT_URL = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{ORT_VERSION}/dist/"
ORT_FILES = {
    "entry": "ort.wasm.min.mjs",
    "glue": "ort-wasm-simd-threaded.mjs",
    "binary": "ort-wasm-simd-threaded.wasm",
}
"""The parts of onnxruntime-web's plain WebAssembly build, a third of its default."""
ORT_INTEGRITY = {
    "ort.wasm.min.mjs": "sha384-"
    "SfFfy/pvthiOsgaw3KX0bV5TfQ6Iq+oY9KutMe4SxIuHH4cl+DCSD4rTsYOoG1tJ",
    "ort-wasm-simd-threaded.mjs": "sha384-"
    "XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
    "ort-wasm-simd-threaded.wasm": "sha384-"
    "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}


def write_site(
    out: Path, models: Sequence[str], *, ort: Path | None = None, force: bool = False
) -> int:
    """Write the page, its models and where onnxruntime-web is.

    Args:
        out: the folder; it appears when all of it is written.
        models: names or paths; the page shows the first one first.
        ort: a folder with onnxruntime-web's files, to be copied for use offline;
            without one the page loads them from a public CDN.
        force: write into a folder that is not empty, over what has the same name.

    Returns:
        the bytes written.

    Raises:
        UsageError: no such model, two of one name, files missing in ``ort``, or
            a folder that is not empty.
        ModelError: a damaged model.
        OutputError: it cannot be written.
    """
    _require_room(out, force=force)
    make_folder(out.parent)
    beside = out if out.is_dir() else out.parent
    try:
        with tempfile.TemporaryDirectory(dir=beside, prefix=".site-") as made:
            site = Path(made) / "site"
            site.mkdir()
            for path in PAGE.iterdir():
                shutil.copyfile(path, site / path.name)
            names = [_add_model(site, model) for model in models]
            content = {"drawing": "wasm", "models": names, "ort": _runtime(site, ort)}
            (site / "models.json").write_text(json.dumps(content), "utf-8")
            size = sum(p.stat().st_size for p in site.rglob("*") if p.is_file())
            _move(site, out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {(error.strerror or '').lower()}"
        ) from error
    return size


def _require_room(out: Path, *, force: bool) -> None:
    try:
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; name a folder")
        if not force and out.is_dir() and any(out.iterdir()):
            raise UsageError(
                f"{out} is not empty; name another folder, or add --force to write "
                f"over the files in it"
            )
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror}") from None


def _add_model(site: Path, name: str) -> dict[str, str]:
    files, model = catalog.find(name), load(name)
    # A folder that any file server and any browser take.
    folder = re.sub(r"[^\w.-]+", "-", model.name, flags=re.ASCII).strip(".-") or "model"
    target = site / "models" / folder
    if target.exists():
        raise UsageError(f"two of the models are named {model.name!r}")
    target.mkdir(parents=True)
    networks: dict[str, Any] = {}
    for role, path in (
        ("generator", files.generator),
        ("recognition", files.recognition),
    ):
        if path is not None:
            file = target / f"{role}.onnx"
            shutil.copyfile(path, file)
            networks[role] = {
                "file": file.name,
                "integrity": integrity(file),
                "bytes": file.stat().st_size,
            }
    card = page_card(model, recognizes="recognition" in networks)
    (target / "card.json").write_text(json.dumps({**card, **networks}), "utf-8")
    return {"name": model.name, "folder": folder}


def _runtime(site: Path, ort: Path | None) -> dict[str, Any]:
    """Where onnxruntime-web is, and the hashes that its files must have."""
    if ort is None:
        hashes, base = ORT_INTEGRITY, ORT_URL
    else:
        missing = [name for name in ORT_FILES.values() if not (ort / name).is_file()]
        if missing:
            raise UsageError(
                f"{ort} has no {missing[0]}; it takes the folder dist/ of the npm "
                f"package onnxruntime-web"
            )
        (site / "ort").mkdir()
        hashes, base = {}, "ort/"
        for name in ORT_FILES.values():
            shutil.copyfile(ort / name, site / "ort" / name)
            hashes[name] = integrity(site / "ort" / name)
    parts = {
        part: {"name": name, "integrity": hashes[name]}
        for part, name in ORT_FILES.items()
    }
    return {"base": base, "files": parts}


def integrity(path: Path) -> str:
    """A file's hash, as browsers take it."""
    digest = hashlib.sha384(path.read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def _move(site: Path, out: Path) -> None:
    if not out.is_dir():
        site.replace(out)
        return
    # The page itself goes last: until then it shows what was there.
    for path in sorted(site.rglob("*"), key=lambda p: p.name == "index.html"):
        target = out / path.relative_to(site)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)
