"""Ctrl-C between two steps, in all processes at the same one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric


@contextmanager
def deferred_interrupt(fabric: Fabric) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into an answer to ask for; a second one is immediate.

    Yields:
        a function that tells whether any process was interrupted.  All processes
        must call it equally often: they get the same answer.
    """
    flag = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    def interrupted() -> bool:
        if fabric.world_size == 1:
            return flag.is_set()
        asked = torch.tensor(float(flag.is_set()), device=fabric.device)
        return bool(fabric.all_reduce(asked, reduce_op="sum"))

    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals are the main thread's alone
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
