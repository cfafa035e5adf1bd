"""Refusals that come before the work: memory and disk that it would not fit in."""

from __future__ import annotations

import shutil
from pathlib import Path

from infogan_export.errors import OutputError, UsageError

MAX_BYTES = 2 * 2**30
"""The most memory that one picture or animation may take."""


def require_memory(needed: int, *, purpose: str, advice: str) -> None:
    """Refuse what would take more than `MAX_BYTES` of memory.

    Raises:
        UsageError: with the memory it would take, and what to do instead.
    """
    if needed > MAX_BYTES:
        raise UsageError(
            f"{purpose} would take {readable(needed)} of memory, and "
            f"{readable(MAX_BYTES)} is the most for one file; {advice}"
        )


def require_disk(folder: Path, needed: int) -> None:
    """Refuse what the disk that holds ``folder`` has no room for.

    Raises:
        OutputError: with the size needed and the size that is free.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # writing will say what is wrong with the folder
    if needed > free:
        raise OutputError(
            f"{readable(needed)} are needed in {folder}, and only "
            f"{readable(free)} are free"
        )


def readable(count: int) -> str:
    """Bytes for people: 512 B, 1.5 MB, 27 PB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 999.5 else f"{value:,.0f} {units[0]}"
