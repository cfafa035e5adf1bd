"""The second part of a run: what the game of D and G leaves to be done.

D and G have played until neither learns much.  They play on, but now D and Q as they
are then are the measure of G: it descends the Frechet distance of its images to the
real ones in the features of both, which gives back the variety on which D did not
insist and the doubt for which Q left no room, and learns what traversals need, that a
category stays what it is at the ends of the uniform codes.  G draws categories equally
often, and real images weigh so that theirs are alike as well: otherwise G draws of a
rare category what looks like a frequent one.  Q learns of real images as well: its
categories of still ones, and of the same moved and with a band along a side hidden, are
to share what they can.  With a part hidden a few odd images of a class look as the rest
of it, and nothing holds them to the class that Q took them for before.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from infogan_export.latent import Latents, LatentSpec
from infogan_export.training import objective
from infogan_export.training.batches import Batches
from infogan_export.training.calibration import calibrate, latent_batches
from infogan_export.training.config import TrainingConfig
from infogan_export.training.movement import hide, move
from infogan_export.training.networks import Discriminator
from infogan_export.training.state import TrainingState, bare, frozen, restart
from infogan_export.training.step import (
    MOVEMENT,
    Disguise,
    draws,
    judge_all,
    tightest_bound,
)

_ENDS = 5  # beside the seed, what a draw is for; 1 to 4 are those of the game


def begin(state: TrainingState, config: TrainingConfig, batches: Batches) -> None:
    """Go on from the averages of the game, and measure what is to be descended.

    Args:
        state: after the last step of the game; changed in place.
        config: weights and schedules.
        batches: the real images, each of which is looked at.
    """
    calibrate(state, batches, config)
    _agree(state.fabric, state.G_ema.module, state.D_ema.module)
    measure = restart(state, config)
    G, D = bare(state.G).eval(), measure.D
    size = config.batch_size * config.refinement.batches
    latents = latent_batches(state, config, count=batches.epoch, size=size)
    disguise = Disguise(state, config)

    def look(images: Iterable[Tensor]) -> list[Tensor]:
        looks = [D.look(x, disguise.for_Q(x)) for x in images]
        return [torch.cat(part) for part in zip(*looks, strict=True)]

    with torch.no_grad(), state.fabric.autocast():
        real, statistics = look(map(batches.at, range(batches.epoch)))
        generated, _ = look(map(G, latents))
        weights = objective.equal_shares(config.spec, statistics)
        measure.calibrate(real, weights, generated)
    _agree(state.fabric, measure)


def _agree(fabric: Fabric, *networks: nn.Module) -> None:
    """Let all processes have the first one's statistics: each saw other images."""
    if fabric.world_size > 1:
        for network in networks:
            network.load_state_dict(fabric.broadcast(network.state_dict()))


def refinement_step(
    x: Tensor, state: TrainingState, config: TrainingConfig
) -> dict[str, Tensor]:
    """One descent for G by what the game has left, then one for D and Q.

        min_G  V(D, G) + w F(G) - lambda * (L_I(G, Q0) + e L_I(G at the ends, Q0))
        min_{D,Q}  -V(D, G) - lambda * L_I(G, Q) - a I(Q(x); Q(moved x))

    F is the Frechet distance in the features of D and Q, and Q0 is Q, all as the game
    left them; I is ``objective.shared_information``.  w and e are weights of
    ``Refinement``, and a is that of ``Consistency``.  At the ends, and in I, only
    categorical codes count.

    Args:
        x: real images in [0, 1], (n, channels, height, width).
        state: networks and optimizers, changed in place.
        config: weights and schedules.

    Returns:
        the losses and, as ``L_I/name``, each code's bound in nats; scalars of
        this process's images.
    """
    first = config.images_at(state.step) + state.fabric.global_rank * len(x)
    drawn = config.spec.sample(len(x), seed=config.seed, start=first)
    latents = torch.from_numpy(drawn).to(state.fabric.device)
    ends = at_the_ends(config.spec, drawn, draws(_ENDS, state, config))
    x_fake, distance = _descend_G(
        latents, torch.from_numpy(ends).to(state.fabric.device), state, config
    )
    loss_D, shared, statistics = _descend_D(x, x_fake, latents, state, config)
    D = bare(state.D)
    assert isinstance(D, Discriminator)
    L_I = tightest_bound(
        config.spec, statistics, latents[:, config.spec.noise_dim :], D
    )
    state.G_ema.update_parameters(bare(state.G))
    state.D_ema.update_parameters(D)
    state.step += 1
    report = {"loss_D": loss_D, "frechet": distance, "shared": shared}
    report = {name: value.detach() for name, value in report.items()}
    return report | {f"L_I/{name}": bound for name, bound in L_I.items()}


def _descend_G(
    latents: Tensor, ends: Tensor, state: TrainingState, config: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """G's images of the latents, and F, without gradients."""
    spec, fabric, recipe, G = config.spec, state.fabric, config.refinement, state.G
    measure = state.measure
    assert measure is not None, "begin comes first"
    disguise = Disguise(state, config)
    lam = config.weights()
    _, adversarial = objective.adversarial(config.adversarial)
    with fabric.autocast():
        bare(G).train()
        x_fake = G(latents)
        bare(G).eval()  # the statistics are those of the prior
        x_ends = G(ends)
        features, inside = measure.D.look(x_fake, disguise.for_Q(x_fake))
        outside = measure.D.read(x_ends, disguise.for_Q(x_ends))
        distance, moments = measure(features, recipe.memory)
    with frozen(state.D) as judge, fabric.autocast():
        fake, _ = judge(disguise.for_D(x_fake), disguise.for_Q(x_fake))
    # As if all the images that are remembered moved with those of the batch.
    loss = recipe.weight * distance / (1 - recipe.memory)
    loss = loss + adversarial(fake.float())
    loss = loss - objective.weighted(_bound(spec, inside, latents), lam)
    L_I = _bound(spec, outside, ends)
    categories = {code.name: L_I[code.name] for code in spec.categorical}
    loss = loss - recipe.ends * objective.weighted(categories, lam)
    state.G_optimizer.zero_grad()
    fabric.backward(loss)
    state.G_optimizer.step()
    measure.remember(*(_mean(fabric, moment) for moment in moments))
    return x_fake.detach(), distance.detach()


def _descend_D(
    x: Tensor,
    x_fake: Tensor,
    latents: Tensor,
    state: TrainingState,
    config: TrainingConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """D's half of V(D, G), what Q reads alike in real images, and its statistics.

    The latter are those of G's images.
    """
    spec, fabric, weight = config.spec, state.fabric, config.consistency.weight
    images = [x, x_fake]
    if weight:
        rng = draws(MOVEMENT, state, config)
        moved = move(x, config.consistency, rng).images
        images.append(hide(moved, config.refinement.hidden, rng))
    with fabric.autocast():
        real, fake, statistics, of_real = judge_all(
            state.D, images, Disguise(state, config)
        )
    adversarial, _ = objective.adversarial(config.adversarial)
    loss_D = adversarial(real, fake)
    L_I = objective.weighted(_bound(spec, statistics, latents), config.weights_of_Q())
    shared = x.new_zeros(())
    if weight:
        shared = objective.shared_information(spec, *of_real)
    state.D_optimizer.zero_grad()
    fabric.backward(loss_D - L_I - weight * shared)
    state.D_optimizer.step()
    return loss_D, shared, statistics


def _bound(spec: LatentSpec, statistics: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """L_I of each code, with the sigma that is descended."""
    sigma = objective.training_deviation(spec).to(statistics.device)
    c = latents[:, spec.noise_dim :]
    return objective.mutual_information_lower_bound(spec, statistics.float(), c, sigma)


def at_the_ends(
    spec: LatentSpec, latents: Latents, rng: np.random.Generator
) -> Latents:
    """The same latents with each uniform code at an end of its traversal, by lot.

    Args:
        spec: the latent layout.
        latents: (n, Z + C), left as they are.
        rng: source of the lots.
    """
    ends = {c.name: rng.choice(c.sweep_range, len(latents)) for c in spec.uniform}
    return spec.assign(latents, ends)


def _mean(fabric: Fabric, moment: Tensor) -> Tensor:
    """Over the processes, each with as many images."""
    mean = fabric.all_reduce(moment)
    assert isinstance(mean, Tensor)
    return mean
