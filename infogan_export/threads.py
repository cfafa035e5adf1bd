"""How many CPUs this process may really use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cpus(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """CPUs by affinity and cgroup quota, at least 1.

    onnxruntime counts the host's cores instead, which in a container starts
    more threads than may run.

    Args:
        cgroup: where cgroups are mounted.
        membership: the file that says which cgroups this process is in.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        allowed = os.cpu_count() or 1
    quotas = filter(None, map(_quota, _groups(cgroup, membership)))
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def _groups(cgroup: Path, membership: Path) -> Iterator[Path]:
    """Folders whose limits hold for this process: its cgroup and those around it.

    In a container the mount usually is the process's own cgroup; under systemd
    the cgroup lies further down.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in ("::", ":cpu:", *lines):  # "number:controllers:path"
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top = cgroup
        elif "cpu" in controllers.split(","):  # version 1
            top = cgroup / "cpu"
        else:
            continue
        parts = path.strip("/").split("/")
        for depth in range(len(parts) + 1):
            yield top.joinpath(*parts[:depth])


def _quota(group: Path) -> float | None:
    """CPUs' worth of time that a cgroup grants; None when it sets no limit."""
    try:
        if (group / "cpu.max").exists():  # version 2: "quota period" or "max period"
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        granted = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return granted if granted > 0 else None
