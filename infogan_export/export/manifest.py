"""The manifest of the embedded models: which there are, and their digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from infogan_export.atomic import atomic_path
from infogan_export.catalog import GENERATOR

MANIFEST = "manifest.json"


def write_manifest(pretrained: Path) -> None:
    """List every model folder in ``pretrained`` with its files' full SHA-256."""
    models = {
        generator.parent.name: {
            "sha256": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(generator.parent.iterdir())
                if path.suffix in (".onnx", ".png")
            }
        }
        for generator in sorted(pretrained.glob(f"*/{GENERATOR}"))
    }
    text = json.dumps({"models": models}, indent=2) + "\n"
    with atomic_path(pretrained / MANIFEST) as partial:
        partial.write_text(text, encoding="utf-8")
