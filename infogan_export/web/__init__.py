"""The explorer: one page, drawn by a local server or by WebAssembly."""

from pathlib import Path

PAGE = Path(__file__).parent / "page"
"""The page's own files."""
