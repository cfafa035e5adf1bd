"""One ONNX file, opened: its session, its metadata, and whether it is ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from infogan_export.errors import ModelError, ProviderError, UsageError
from infogan_export.metadata import KEY, ModelMetadata, Role
from infogan_export.threads import usable_cpus

if TYPE_CHECKING:
    import onnxruntime

_LOG_ERRORS_ONLY = 3


@dataclass(frozen=True)
class RuntimeOptions:
    """How onnxruntime is to run a graph.

    Attributes:
        threads: for one operator; None means the CPUs this process may use.
        providers: execution providers, first choice first; None means the CPU.
        session_options: the caller's own, in place of ``threads``.
    """

    threads: int | None = None
    providers: Sequence[str] | None = None
    session_options: onnxruntime.SessionOptions | None = None


@dataclass(frozen=True)
class Graph:
    """An opened network.  ``run`` may be called from many threads at once."""

    session: onnxruntime.InferenceSession
    metadata: ModelMetadata
    sha256: str

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Inputs to outputs, both by name."""
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))


def open_graph(
    path: Path, role: Role, options: RuntimeOptions, *, sha256: str | None = None
) -> Graph:
    """Read, verify and load one file.

    Args:
        path: the ``.onnx`` file.
        role: the network that it must hold.
        options: how to run it.
        sha256: the digest that it must have, if known.

    Raises:
        ModelError: unreadable, damaged, not of this package, or another role.
        ProviderError: a provider that this onnxruntime lacks.
    """
    import onnxruntime

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ModelError(
            f"{path} is damaged: its SHA-256 is {digest[:12]}..., not "
            f"{sha256[:12]}...; reinstall it"
        )
    providers = _providers(options.providers)
    try:
        # From memory: what was verified is what runs, and a graph that keeps its
        # weights in other files cannot reach them.
        session = onnxruntime.InferenceSession(
            content, _session_options(options), providers=providers
        )
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelError(
            f"{path} is not an ONNX model that onnxruntime "
            f"{onnxruntime.__version__} can load: {_first_line(error)}"
        ) from None
    return wrap_session(session, role, source=str(path), sha256=digest)


def wrap_session(
    session: onnxruntime.InferenceSession, role: Role, *, source: str, sha256: str = ""
) -> Graph:
    """A ready session as a graph, if it is one of ours.

    Raises:
        ModelError: no metadata, another role, or inputs and outputs that do not
            fit the metadata.
    """
    found = session.get_modelmeta().custom_metadata_map
    if KEY not in found:
        raise ModelError(
            f"{source} is not a model of this package: it has no {KEY!r} metadata; "
            f"export one with infogan-gen export"
        )
    metadata = ModelMetadata.from_json(found[KEY], source=source)
    if metadata.role != role:
        raise ModelError(f"{source} holds a {metadata.role}, not a {role}")
    spec = metadata.spec
    wanted = {
        "generator": (
            {"noise": spec.noise_dim, "code": spec.code_dim},
            ["image"],
        ),
        "recognition": ({"image": None}, [*(c.name for c in spec.codes), "logit"]),
    }
    inputs, outputs = wanted[role]
    has = {i.name: i.shape for i in session.get_inputs()}
    for name, width in inputs.items():
        if name not in has or (width is not None and has[name][-1] != width):
            size = "" if width is None else f" of width {width}"
            raise ModelError(f"{source} lacks the input {name!r}{size}")
    missing = set(outputs) - {o.name for o in session.get_outputs()}
    if missing:
        raise ModelError(f"{source} lacks the output {sorted(missing)[0]!r}")
    return Graph(session, metadata, sha256)


def _providers(wanted: Sequence[str] | None) -> list[str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    chosen = ["CPUExecutionProvider"] if wanted is None else list(wanted)
    for provider in chosen:
        if provider not in available:
            raise ProviderError(
                f"no execution provider {provider!r}; this onnxruntime has "
                f"{', '.join(available)}"
            )
    if not chosen:
        raise ProviderError(f"no execution provider given; {', '.join(available)} are")
    return chosen


def _session_options(options: RuntimeOptions) -> onnxruntime.SessionOptions:
    import onnxruntime

    if options.session_options is not None:
        if options.threads is not None:
            raise UsageError("give threads or session_options, not both")
        return options.session_options
    threads = usable_cpus() if options.threads is None else options.threads
    if threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    result = onnxruntime.SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.log_severity_level = _LOG_ERRORS_ONLY
    return result


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
