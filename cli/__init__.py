"""The command line, ``infogan-gen``: arguments in, one call a step, exit code out."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
