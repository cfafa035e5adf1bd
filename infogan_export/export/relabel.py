"""Give codes their meaning: reorder categories, turn signs, rename.

Training leaves codes in random order; here category k becomes what is to be
called k, in both networks at once, so that no image and no reading changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from infogan_export.errors import ExportError
from infogan_export.latent import CategoricalCode, Code, LatentSpec
from infogan_export.training.networks import Discriminator, Generator


@dataclass(frozen=True)
class Meaning:
    """What a trained model's codes turned out to be.

    Attributes:
        codes: the codes under their new names, in the old order.
        category_order: by new name, the old category that each new one was.
        turned: new names of uniform codes whose sign is to be turned.
    """

    codes: tuple[Code, ...]
    category_order: Mapping[str, Sequence[int]] = field(default_factory=dict)
    turned: frozenset[str] = frozenset()


def relabel(
    G: Generator, D: Discriminator, spec: LatentSpec, meaning: Meaning
) -> LatentSpec:
    """Change both networks in place so that their codes have these meanings.

    Returns:
        the new specification.

    Raises:
        ExportError: an order that is no permutation, or a turned code whose
            prior is not symmetric.
    """
    renamed = spec.rename(meaning.codes)
    first, out = G.dense[0], D.recognition[-1]
    assert isinstance(first, nn.Linear) and isinstance(out, nn.Linear)
    into = first.weight
    with torch.no_grad():
        for code in renamed.codes:
            columns = renamed.columns(code.name)
            rows = renamed.code_columns(code.name)
            if isinstance(code, CategoricalCode):
                order = list(meaning.category_order.get(code.name, range(code.size)))
                if sorted(order) != list(range(code.size)):
                    raise ExportError(
                        f"code {code.name!r}: {order} is no order of its categories"
                    )
                into[:, columns] = into[:, columns][:, order]
                out.weight[rows] = out.weight[rows][order]
                out.bias[rows] = out.bias[rows][order]
            elif code.name in meaning.turned:
                if code.low != -code.high:
                    raise ExportError(
                        f"code {code.name!r}: a prior from {code.low:g} to "
                        f"{code.high:g} has no sign to turn"
                    )
                into[:, columns] *= -1
                out.weight[rows] *= -1
                out.bias[rows] *= -1
    return renamed
