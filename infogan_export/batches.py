"""Any number of images through a graph: a part at a time, many on several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infogan_export.errors import InfoganError
from infogan_export.graph import Graph

BATCH = 128  # images at once: past this a CPU gains little speed, and uses memory
SHARE = 32  # images of a thread's part at most; twice as many are worth sharing
PAYS = 1024  # images after which a session for single threads is worth its opening
LIGHT = 8 << 20  # bytes of a graph that is: a heavier one gains less than its memory

Arrays = dict[str, NDArray[Any]]


class BatchRunner:
    """Runs one graph; may be shared between threads.

    onnxruntime takes the images of a transposed convolution one after another, and
    has its threads help with each, where half of the work cannot be divided.  That is
    the fastest way to one image.  To many it is one thread for each part of them, in
    a session that starts no threads; opening it takes as long as drawing a few
    hundred images, so it is opened when a thousand have been drawn in such numbers.
    It holds the weights once more, so a heavy graph, whose dense layers divide well
    as they are, does without.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        threads: int = 1,
        open_single: Callable[[], Graph] | None = None,
    ) -> None:
        """Wrap a graph.

        Args:
            graph: as opened, for few images.
            threads: among which many are shared.
            open_single: opens the same graph for a single thread; without it
                nothing is shared, nor of a graph over ``LIGHT`` bytes.
        """
        self._graph = graph
        self._threads = threads
        shares = threads > 1 and graph.size <= LIGHT
        self._open_single = open_single if shares else None
        self._single: Graph | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0  # whose threads the pool has
        self._sharable = 0  # images that came in numbers worth sharing
        self._lock = threading.Lock()

    def run(self, inputs: Arrays) -> Arrays:
        """Inputs (n, ...) to outputs (n, ...), both by name; n is 1 or more.

        Raises:
            ModelError: as ``Graph.run``.
        """
        count = len(next(iter(inputs.values())))
        shared = self._opened(count)
        if shared is None:
            outputs = [self._graph.run(part) for part in _parts(inputs, BATCH)]
        else:
            graph, pool = shared
            rounds = -(-count // (SHARE * self._threads))
            size = max(-(-count // (rounds * self._threads)), SHARE // 2)
            outputs = list(pool.map(graph.run, _parts(inputs, size)))
        if len(outputs) == 1:
            return outputs[0]
        return {
            name: np.concatenate([part[name] for part in outputs])
            for name in outputs[0]
        }

    def _opened(self, count: int) -> tuple[Graph, ThreadPoolExecutor] | None:
        """What so many images are shared by, if they are."""
        if self._open_single is None or count < 2 * SHARE:
            return None
        with self._lock:
            self._sharable += count
            if self._sharable < PAYS:
                return None
            if self._single is None:
                try:
                    self._single = self._open_single()
                except InfoganError:  # the file was replaced or removed meanwhile
                    self._open_single = None
                    return None
            if self._pool is None or self._process != os.getpid():  # after a fork
                self._pool = ThreadPoolExecutor(self._threads, "infogan-export")
                self._process = os.getpid()
            return self._single, self._pool


def _parts(inputs: Arrays, size: int) -> Iterator[Arrays]:
    for first in range(0, len(next(iter(inputs.values()))), size):
        yield {name: array[first : first + size] for name, array in inputs.items()}
