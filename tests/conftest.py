"""What several tests share: the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The generator of the tiny model; make_tiny_model.py made it."""
    return Path(__file__).parent / "data" / "tiny" / "generator.onnx"
