"""Give codes their meaning: reorder categories, turn signs, stretch, rename.

Training leaves codes in random order; here category k becomes what is to be
called k, in both networks at once, so that no image and no reading changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from infogan_export.errors import ExportError
from infogan_export.latent import CategoricalCode, Code, LatentSpec, UniformCode
from infogan_export.training.networks import Discriminator, Generator


@dataclass(frozen=True)
class Meaning:
    """What a trained model's codes turned out to be.

    Attributes:
        codes: the codes under their new names, in the old order.  A uniform one's
            prior may be as much wider or narrower as its numbers are to be.
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
        ExportError: an order that is no permutation, or a code turned or
            stretched whose prior is not symmetric.
    """
    renamed = spec.rename(meaning.codes)
    first, out = G.dense[0], D.recognition[-1]
    assert isinstance(first, nn.Linear) and isinstance(out, nn.Linear)
    into = first.weight
    variances = iter(D.residual)
    with torch.no_grad():
        for was, code in zip(spec.codes, renamed.codes, strict=True):
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
                continue
            assert isinstance(was, UniformCode)
            scale = _scale(was, code, turned=code.name in meaning.turned)
            into[:, columns] /= scale
            out.weight[rows] *= scale
            out.bias[rows] *= scale
            next(variances).mul_(scale**2)
    return renamed


def _scale(was: UniformCode, code: UniformCode, *, turned: bool) -> float:
    """What its values are multiplied by, to mean the same under the new prior."""
    same = (code.low, code.high) == (was.low, was.high)
    if same and not turned:
        return 1.0
    for low, high in ((was.low, was.high), (code.low, code.high)):
        if low != -high:
            raise ExportError(
                f"code {code.name!r}: a prior from {low:g} to {high:g} is not "
                f"symmetric, and cannot be turned or stretched"
            )
    return code.high / was.high * (-1 if turned else 1)
