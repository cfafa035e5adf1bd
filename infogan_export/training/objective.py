"""The objective, a line of mathematics each.

    min_{G,Q} max_D  V(D, G) - lambda * L_I(G, Q)                       (eq. 6)

Source: Chen et al. (2016), "InfoGAN"; consistency on real images as in
Hu et al. (2017), "IMSAT", and Ji et al. (2019), "IIC", on the categorical codes
alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from infogan_export.latent import CategoricalCode, LatentSpec
from infogan_export.training.config import Adversarial

_LEAST_PROBABILITY = 1e-9
_GREATEST_WEIGHT = 4.0  # of an image whose category is rare: a few must not tell all


def training_deviation(spec: LatentSpec) -> Tensor:
    """The fixed sigma of each uniform code's Gaussian in the objective, in order.

    With half the prior's width / sqrt(2), -log N(c; mu, sigma) is the squared
    error of c scaled to -1..1, and a constant.  A fitted sigma in its place would
    let the uniform codes' weight grow without bound as Q learns.
    """
    return torch.tensor([(c.high - c.low) / 2 / math.sqrt(2) for c in spec.uniform])


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z, c)))], from logits (n,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """-E[log D(G(z, c))], the non-saturating form, from logits (n,)."""
    return F.softplus(-fake).mean()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z, c)))], from logits (n,).

    Source: Lim and Ye (2017), Geometric GAN.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """-E[D(G(z, c))], G's half of the hinge loss, from logits (n,)."""
    return -fake.mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """R1: the mean squared gradient of D's logits by the pixels of their images.

    A steep D tells images apart by what nobody sees, and teaches G that.

    Args:
        logits: (n,), of real images.
        images: (n, channels, height, width), which they have a gradient to.

    Source: Mescheder et al. (2018); half of gamma weighs it.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def adversarial(kind: Adversarial) -> tuple[Callable[..., Tensor], ...]:
    """D's half of V(D, G), of real and fake logits, and G's, of fake ones."""
    if kind == "hinge":
        return hinge_discriminator_loss, hinge_generator_loss
    return discriminator_loss, generator_loss


def mutual_information_lower_bound(
    spec: LatentSpec, statistics: Tensor, code: Tensor, deviation: Tensor
) -> dict[str, Tensor]:
    """L_I(c; G(z, c)) = E[log Q(c|x)] + H(c) of each code, in nats.

    In expectation never above I(c; G(z, c)).  H(c) is the entropy of the prior
    that c was drawn from, uniform for a uniform code.  It is the ceiling of a
    categorical code's bound; a uniform code has none, the finer Q reads it.

    Args:
        spec: the latent layout.
        statistics: (n, C), logits of categorical codes, means of uniform ones.
        code: (n, C), the codes that the images were generated from.
        deviation: sigma of each uniform code's Gaussian, in order.

    Returns:
        a scalar for each code, by name.
    """
    bound: dict[str, Tensor] = {}
    sigmas = iter(deviation)
    for c in spec.codes:
        q, truth = (t[:, spec.code_columns(c.name)] for t in (statistics, code))
        if isinstance(c, CategoricalCode):
            log_q = (truth * F.log_softmax(q, dim=1)).sum(dim=1)
        else:
            normal = torch.distributions.Normal(
                q[:, 0], next(sigmas), validate_args=False
            )
            log_q = normal.log_prob(truth[:, 0])  # type: ignore[no-untyped-call]
        bound[c.name] = log_q.mean() + c.entropy
    return bound


def mean_columns(spec: LatentSpec) -> list[int]:
    """Where the uniform codes stand among the codes, and their means in statistics."""
    return [spec.code_columns(code.name).start for code in spec.uniform]


def squared_residuals(spec: LatentSpec, statistics: Tensor, code: Tensor) -> Tensor:
    """E[(c - mu)^2] of each uniform code, in order.

    Args:
        spec: the latent layout.
        statistics: (n, C), of which the means of uniform codes are read.
        code: (n, C), the codes that the images were generated from.
    """
    columns = mean_columns(spec)
    return (statistics[:, columns] - code[:, columns]).square().mean(dim=0)


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of the scalar terms, each by its weight; zero where there are none."""
    if not terms:
        return torch.zeros(())
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def consistency_loss(
    spec: LatentSpec, still: Tensor, moved: Tensor, *, temperature: float
) -> Tensor:
    """Cross-entropy of Q's category on moved real images under that on still ones.

    The uniform codes are left out: a code for slant must follow the movement.

    Args:
        spec: the latent layout.
        still: (n, C), Q's statistics of the images; no gradient flows to them.
        moved: (n, C), Q's statistics of the same images, slightly moved.
        temperature: below 1 sharpens the targets.

    Returns:
        a scalar in nats, summed over the categorical codes.
    """
    loss = still.new_zeros(())
    for c in spec.categorical:
        part = spec.code_columns(c.name)
        target = F.softmax(still[:, part].detach() / temperature, dim=1)
        log_q = F.log_softmax(moved[:, part], dim=1)
        loss = loss - (target * log_q).sum(dim=1).mean()
    return loss


def joint(p: Tensor, q: Tensor) -> Tensor:
    """Of two readings (n, k) of the same images: (k, k), symmetric, its sum 1."""
    product = p.T @ q / len(p)
    return (product + product.T) / 2


def information(joint: Tensor) -> Tensor:
    """What the two sides of a joint distribution (k, k) share: a scalar, nats."""
    joint = joint.clamp_min(_LEAST_PROBABILITY)  # its logarithm has a gradient
    apart = torch.outer(joint.sum(dim=1), joint.sum(dim=0))
    return torch.xlogy(joint, joint).sum() - torch.xlogy(joint, apart).sum()


def shared_information(spec: LatentSpec, still: Tensor, moved: Tensor) -> Tensor:
    """What Q's categories of images and of the same images, moved, share.

    Unlike the cross-entropy of ``consistency_loss`` it has no target: which of two
    categories a few images between them belong to is for both readings to say.

    Args:
        spec: the latent layout.
        still: (n, C), Q's statistics of the images.
        moved: (n, C), Q's statistics of the same images, moved.

    Returns:
        a scalar in nats, summed over the categorical codes; at most log k of each.
    """
    found = still.new_zeros(())
    for c in spec.categorical:
        part = spec.code_columns(c.name)
        p, q = (F.softmax(read[:, part], dim=1) for read in (still, moved))
        found = found + information(joint(p, q))
    return found


def category_shares(spec: LatentSpec, statistics: Tensor) -> dict[str, Tensor]:
    """What part of images has each category of each categorical code, (size,).

    Args:
        spec: the latent layout.
        statistics: (n, C), Q's of the images.
    """
    return {
        code.name: category.bincount(minlength=code.size) / len(category)
        for code, category in _categories(spec, statistics)
    }


def equal_shares(spec: LatentSpec, statistics: Tensor) -> Tensor:
    """Weights (n,) of images, mean 1, with which every category counts alike.

    Args:
        spec: the latent layout.
        statistics: (n, C), Q's of the images.
    """
    weights = torch.ones(len(statistics), device=statistics.device)
    shares = category_shares(spec, statistics)
    for code, category in _categories(spec, statistics):
        weight = 1 / (code.size * shares[code.name][category])
        weights *= weight.clamp_max(_GREATEST_WEIGHT)
    return weights / weights.mean()


def _categories(
    spec: LatentSpec, statistics: Tensor
) -> Iterator[tuple[CategoricalCode, Tensor]]:
    """Each categorical code and what Q takes the images for, (n,)."""
    for code in spec.categorical:
        yield code, statistics[:, spec.code_columns(code.name)].argmax(dim=1)


def steering_loss(spec: LatentSpec, change: Tensor, amounts: Tensor) -> Tensor:
    """1 - r between a uniform code's change and that of the property it follows.

    Summed over the codes that have a property, in order.  Pearson's r over the
    batch has no scale: how far a code goes with its property is left to L_I.  As
    the changes are independent, r = 1 also means that a code follows no other.

    Args:
        spec: the latent layout.
        change: (n, C), Q's statistics of changed images less those of still ones.
        amounts: (n, K), by how much each of K properties changed.
    """
    loss = change.new_zeros(())
    for code, amount in zip(spec.uniform, amounts.T, strict=False):
        follows = change[:, spec.code_columns(code.name).start]
        pair = torch.stack([follows, amount])
        pair = F.normalize(pair - pair.mean(dim=1, keepdim=True), dim=1)
        loss = loss + 1.0 - (pair[0] * pair[1]).sum()
    return loss
