"""When a run is lost, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from infogan_export.errors import TrainingError
from infogan_export.latent import CategoricalCode
from infogan_export.training.config import TrainingConfig
from infogan_export.training.state import bare

_COLLAPSED = 0.05  # of log(size): a category that is told apart by luck alone


def stop_if_diverged(
    metrics: Mapping[str, float], networks: Mapping[str, nn.Module], *, step: int
) -> None:
    """Stop a run whose figures or weights are no longer numbers.

    The figures precede a step's last update.  So the weights are looked at as
    well, and a state that is lost is never saved.

    Args:
        metrics: the figures of the log.
        networks: those that are trained, by name.
        step: steps done.

    Raises:
        TrainingError: with what to try.
    """
    lost = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    for name, network in networks.items():
        if not all(weight.isfinite().all() for weight in bare(network).parameters()):
            lost[f"a weight of {name}"] = math.nan
    for name, value in lost.items():
        raise TrainingError(
            f"{name} is {value} at step {step}: training has diverged. Try "
            f"lower learning rates, or precision 32-true; what was saved is intact"
        )


def stop_if_collapsed(
    metrics: Mapping[str, float], config: TrainingConfig, *, step: int
) -> None:
    """Stop a run in which G ignores a code that it should write.

    Raises:
        TrainingError: with what to try.
    """
    if step < config.collapse_after:
        return
    for name, weight in config.weights().items():
        code = config.spec[name]
        # Of a uniform code, whatever its range, a Q that reads nothing has
        # L_I = log(12 / (2 pi e)) / 2 = -0.18 nats.
        floor = _COLLAPSED * code.entropy if isinstance(code, CategoricalCode) else 0.0
        bound = metrics[f"L_I/{name}"]
        if weight > 0 and bound < floor:
            raise TrainingError(
                f"code {name!r} has collapsed: L_I is {bound:.3f} nats at step {step}, "
                f"and should be above {floor:.3f}. Try a larger lambda, another seed, "
                f"or fewer codes"
            )
