"""One ONNX file, opened: its session, its metadata, and whether it is ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from infogan_export.errors import ModelError, ProviderError, UsageError, first_line
from infogan_export.external_data import has_external_data
from infogan_export.latent import CategoricalCode
from infogan_export.metadata import KEY, ModelMetadata, Role
from infogan_export.threads import usable_cpus

if TYPE_CHECKING:
    import onnxruntime

_CPU = "CPUExecutionProvider"
_LOG_FATAL_ONLY = 4  # errors are raised, and need not be printed as well


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

    @property
    def threads_or_cpus(self) -> int:
        """The threads asked for, or the CPUs."""
        return usable_cpus() if self.threads is None else self.threads

    @property
    def shared_among(self) -> int:
        """Threads among which many images may be shared: 1 where it is not ours to say.

        That is where the caller's own session options say how to run a graph, or
        another provider than the CPU does the work.
        """
        ours = self.session_options is None and _listed(self.providers) == [_CPU]
        return self.threads_or_cpus if ours else 1


@dataclass(frozen=True)
class Graph:
    """An opened network.  ``run`` may be called from many threads at once.

    Attributes:
        session: of onnxruntime.
        metadata: what the file says of itself.
        sha256: of the file; empty for a session that came ready.
        size: of the file, in bytes; 0 for such a session.
    """

    session: onnxruntime.InferenceSession
    metadata: ModelMetadata
    sha256: str = ""
    size: int = 0

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Inputs to outputs, both by name.

        Raises:
            ModelError: onnxruntime failed, or made arrays of other shapes than the
                metadata promises: a damaged file.
        """
        names = [output.name for output in self.session.get_outputs()]
        try:
            arrays = self.session.run(names, inputs)
        except Exception as error:  # onnxruntime's own classes share no base
            raise ModelError(
                f"the {self.metadata.role} of {self.metadata.name!r} failed: "
                f"{first_line(error)}"
            ) from error
        outputs = dict(zip(names, arrays, strict=True))
        batch = len(next(iter(inputs.values())))
        for name, shape in _interface(self.metadata)[1].items():
            if outputs[name].shape != (batch, *shape):
                raise ModelError(
                    f"the {self.metadata.role} of {self.metadata.name!r} is damaged: "
                    f"{name!r} came out as {outputs[name].shape}"
                )
        return outputs


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
    session = start_session(content, path, options)
    graph = wrap_session(session, role, source=str(path))
    return replace(graph, sha256=digest, size=len(content))


def start_session(
    content: bytes, path: Path, options: RuntimeOptions
) -> onnxruntime.InferenceSession:
    """Load a whole ONNX file from memory, so that what was verified is what runs.

    Args:
        content: the file.
        path: what errors call it.
        options: how to run it.

    Raises:
        ModelError: no ONNX file, or one that keeps weights in other files.
        ProviderError: a provider that this onnxruntime lacks.
    """
    import onnxruntime

    providers = _providers(options.providers)
    session_options = _session_options(options)
    try:
        external = has_external_data(content)
    except ValueError as error:
        raise ModelError(f"{path} is not an ONNX model: {error}") from None
    if external:
        raise ModelError(
            f"{path} keeps weights in other files; a model is one file, export it "
            f"with infogan-gen export"
        )
    try:
        # Without onnxruntime's fallback, which prints, and runs on other providers
        # than were asked for.
        session = onnxruntime.InferenceSession(
            content, session_options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelError(
            f"{path} is not an ONNX model that onnxruntime "
            f"{onnxruntime.__version__} can load: {first_line(error)}"
        ) from None
    idle = set(providers) - set(session.get_providers())
    if idle:
        raise ProviderError(
            f"onnxruntime could not start {sorted(idle)[0]!r}, only "
            f"{', '.join(session.get_providers())}"
        )
    return session


def written_in(session: onnxruntime.InferenceSession, *, source: str) -> dict[str, str]:
    """What was written into a file beside its graph, by key.

    Args:
        session: the file, opened.
        source: what errors call it.

    Raises:
        ModelError: text that is none.
    """
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError:
        raise ModelError(
            f"{source} is damaged: a name in its metadata is no text"
        ) from None


def wrap_session(
    session: onnxruntime.InferenceSession, role: Role, *, source: str
) -> Graph:
    """A ready session as a graph, if it is one of ours.

    Raises:
        ModelError: no metadata, another role, or inputs and outputs that do not
            fit the metadata.
    """
    found = written_in(session, source=source)
    try:
        has_inputs = {i.name: i.shape[1:] for i in session.get_inputs()}
        has_outputs = {o.name: o.shape[1:] for o in session.get_outputs()}
    except UnicodeDecodeError:
        raise ModelError(f"{source} is damaged: a name in it is no text") from None
    if KEY not in found:
        raise ModelError(
            f"{source} is not a model of this package: it has no {KEY!r} metadata; "
            f"export one with infogan-gen export"
        )
    metadata = ModelMetadata.from_json(found[KEY], source=source)
    if metadata.role != role:
        raise ModelError(f"{source} holds a {metadata.role}, not a {role}")
    inputs, outputs = _interface(metadata)
    for kind, wanted, has in (
        ("input", inputs, has_inputs),
        ("output", outputs, has_outputs),
    ):
        for name, shape in wanted.items():
            if name not in has or not _fits(has[name], shape):
                sizes = " x ".join(map(str, ("batch", *shape)))
                raise ModelError(f"{source} lacks the {kind} {name!r}, {sizes}")
    return Graph(session, metadata)


def _interface(
    metadata: ModelMetadata,
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The inputs and outputs of a graph, with their sizes after the batch."""
    spec = metadata.spec
    if metadata.role == "generator":
        return (
            {"noise": (spec.noise_dim,), "code": (spec.code_dim,)},
            {"image": metadata.image_shape},
        )
    if metadata.role == "encoder":
        return (
            {"image": metadata.image_shape},
            {"noise": (spec.noise_dim,), "code": (spec.code_dim,)},
        )
    statistics = {
        code.name: (code.size if isinstance(code, CategoricalCode) else 2,)
        for code in spec.codes
    }
    return {"image": metadata.image_shape}, {**statistics, "logit": ()}


def _fits(has: Sequence[int | str | None], wanted: tuple[int, ...]) -> bool:
    """Whether sizes agree; one that a graph leaves open (a name) may be any."""
    return len(has) == len(wanted) and all(
        not isinstance(size, int) or size == want
        for size, want in zip(has, wanted, strict=True)
    )


def _providers(wanted: Sequence[str] | None) -> list[str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    chosen = _listed(wanted)
    missing = [provider for provider in chosen if provider not in available]
    if missing or not chosen:
        named = f" {missing[0]!r}" if missing else " given"
        raise ProviderError(
            f"no execution provider{named}; this onnxruntime has {', '.join(available)}"
        )
    return chosen


def _listed(providers: Sequence[str] | None) -> list[str]:
    if providers is None:
        return [_CPU]
    return [providers] if isinstance(providers, str) else list(providers)


def _session_options(options: RuntimeOptions) -> onnxruntime.SessionOptions:
    import onnxruntime

    if options.session_options is not None:
        if options.threads is not None:
            raise UsageError("give threads or session_options, not both")
        return options.session_options
    threads = options.threads_or_cpus
    if threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    result = onnxruntime.SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.log_severity_level = _LOG_FATAL_ONLY
    # Else its threads keep the CPUs busy for 40 ms after each run, waiting for another.
    result.add_session_config_entry("session.force_spinning_stop", "1")
    return result
