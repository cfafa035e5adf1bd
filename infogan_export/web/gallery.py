"""The models that an explorer shows, each opened when it is first asked for."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from infogan_export import catalog
from infogan_export.errors import InfoganError
from infogan_export.runtime import Model, load


class Gallery:
    """Models by name: the one asked for first, then all that are installed.

    May be shared between threads.
    """

    def __init__(self, first: str) -> None:
        """Find the models.

        Args:
            first: a model's name or path.

        Raises:
            UsageError: there is no such model.
            ModelError: the installation is damaged.
        """
        found = catalog.find(first)
        others = [files for files in catalog.installed() if files.name != found.name]
        self._files = {files.name: files for files in (found, *others)}
        self._first = first
        self._lock = threading.Lock()
        self._opened: dict[str, Future[Model]] = {}

    @property
    def names(self) -> list[str]:
        """Every name, that of the first model first."""
        return list(self._files)

    def recognizes(self, name: str) -> bool:
        """Whether a model has a recognition network."""
        return self._files[name].recognition is not None

    def open(self, name: str) -> Model:
        """The model of that name, opened once and by one thread.

        Raises:
            KeyError: there is none.
            ModelError: it is damaged.
        """
        files = self._files[name]
        with self._lock:
            future = self._opened.get(name)
            mine = future is None
            if future is None:
                future = self._opened[name] = Future()
        if mine:
            try:
                path = files.origin == "path"
                future.set_result(load(self._first if path else name))
            except InfoganError as error:
                with self._lock:
                    del self._opened[name]  # to be tried again
                future.set_exception(error)
        return future.result()
