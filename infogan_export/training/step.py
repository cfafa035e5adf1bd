"""One step of the paper's algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from infogan_export.latent import LatentSpec
from infogan_export.training import objective
from infogan_export.training.augmentation import augment
from infogan_export.training.config import TrainingConfig
from infogan_export.training.movement import move, steered_by
from infogan_export.training.networks import Discriminator, low_passed
from infogan_export.training.photography import rephotograph
from infogan_export.training.state import TrainingState, bare, frozen

# Beside the seed, what a draw is for; 1 and 3 are those of the real images, 5 is that
# of the refinement.
MOVEMENT, _DISGUISE, _GUIDANCE = 2, 4, 7
_RESIDUAL_MOMENTUM = 0.02
_PENALTY_EVERY = 4  # steps; a gradient of a gradient is dear, and moves D slowly


def training_step(
    x: Tensor, state: TrainingState, config: TrainingConfig
) -> dict[str, Tensor]:
    """One descent for D and Q, then one for G.

        min_{G,Q} max_D  V(D, G) - lambda * L_I(G, Q)                   (eq. 6)

    Source: Chen et al. (2016).  The L_I that is reported is the tightest of the
    family, with each uniform code's sigma fitted; the one that is descended has
    it fixed (``objective.training_deviation``).

    Args:
        x: real images in [0, 1], (n, channels, height, width).
        state: networks and optimizers, changed in place.
        config: weights and schedules.

    Returns:
        the losses and, as ``L_I/name``, each code's bound in nats; scalars of
        this process's images.
    """
    spec, fabric, G, D = config.spec, state.fabric, state.G, state.D
    first = state.step * config.batch_size + fabric.global_rank * len(x)
    drawn = spec.sample(len(x), seed=config.seed, start=first)
    latents = torch.from_numpy(drawn).to(fabric.device)
    c = latents[:, spec.noise_dim :]
    sigma = objective.training_deviation(spec).to(fabric.device)
    adversarial_D, _ = objective.adversarial(config.adversarial)

    movement, guidance = config.consistency, config.guidance
    moved = changed = amounts = None
    if movement.moves_at(state.step):
        moved = move(x, movement, draws(MOVEMENT, state, config))
        if movement.steering:
            amounts = steered_by(x, moved)

    disguise = Disguise(state, config)
    with fabric.autocast():  # one for all: D's weights are rounded once
        x_fake = G(latents)
        images = [x, x_fake.detach()]
        if moved is not None:
            images.append(moved.images)
        elif guidance.active:
            changed, amounts = rephotograph(
                x_fake.detach().float(), guidance, draws(_GUIDANCE, state, config)
            )
        real, fake, statistics, of_pair = judge_all(D, images, disguise, changed)
    L_I = objective.mutual_information_lower_bound(spec, statistics, c, sigma)
    loss_D = adversarial_D(real, fake)
    loss_Q = -objective.weighted(L_I, config.weights_of_Q())
    consistency = steering = x.new_zeros(())
    if moved is not None:
        consistency = objective.consistency_loss(
            spec, *of_pair, temperature=movement.temperature
        )
        loss_Q = loss_Q + movement.weight_at(state.step) * consistency
    if amounts is not None:
        before, after = of_pair
        steering = objective.steering_loss(spec, after - before, amounts)
        loss_Q = loss_Q + config.steering_weight * steering
    state.D_optimizer.zero_grad()
    fabric.backward(loss_D + loss_Q + _penalty(x, state, config))
    state.D_optimizer.step()

    loss_G, statistics = descend_G(x_fake, c, disguise, state, config)

    judge = bare(D)
    assert isinstance(judge, Discriminator)
    L_I = tightest_bound(spec, statistics, c, judge)
    state.G_ema.update_parameters(bare(G))
    state.D_ema.update_parameters(bare(D))
    state.step += 1
    report = {
        "loss_D": loss_D,
        "loss_G": loss_G,
        "consistency": consistency,
        "steering": steering,
    }
    report |= {f"L_I/{name}": bound for name, bound in L_I.items()}
    return {name: value.detach() for name, value in report.items()}


def _penalty(x: Tensor, state: TrainingState, config: TrainingConfig) -> Tensor:
    """R1 for all the steps up to the next one; 0 where it is not due."""
    if not config.gradient_penalty or state.step % _PENALTY_EVERY:
        return x.new_zeros(())
    images = x.detach().requires_grad_()
    D = bare(state.D)  # the engine's wrapper allows no gradient but its own
    assert isinstance(D, Discriminator)
    with state.fabric.autocast():
        logits = D.judge(images)
    weight = config.gradient_penalty / 2 * _PENALTY_EVERY
    return weight * objective.gradient_penalty(logits.float(), images)


def descend_G(
    x_fake: Tensor,
    c: Tensor,
    disguise: Disguise,
    state: TrainingState,
    config: TrainingConfig,
) -> tuple[Tensor, Tensor]:
    """One descent for G by what D and Q, at rest, make of its images.

    Args:
        x_fake: G's images, (n, channels, height, width), with their gradient to G.
        c: the codes that they were generated from, (n, C).
        disguise: how they are shown.
        state: G is changed in place.
        config: weights.

    Returns:
        G's half of V(D, G), and Q's statistics of the images, (n, C).
    """
    spec, fabric = config.spec, state.fabric
    _, adversarial_G = objective.adversarial(config.adversarial)
    sigma = objective.training_deviation(spec).to(fabric.device)
    with frozen(state.D) as judge, fabric.autocast():
        fake, statistics = judge(disguise.for_D(x_fake), disguise.for_Q(x_fake))
    statistics = statistics.float()
    L_I = objective.mutual_information_lower_bound(spec, statistics, c, sigma)
    loss_G = adversarial_G(fake.float())
    state.G_optimizer.zero_grad()
    fabric.backward(loss_G - objective.weighted(L_I, config.weights()))
    state.G_optimizer.step()
    return loss_G, statistics


def draws(
    purpose: int, state: TrainingState, config: TrainingConfig
) -> np.random.Generator:
    """The random numbers of a step and a process, for a purpose."""
    return np.random.default_rng(
        [config.seed, purpose, state.step, state.fabric.global_rank]
    )


def tightest_bound(
    spec: LatentSpec, statistics: Tensor, code: Tensor, D: Discriminator
) -> dict[str, Tensor]:
    """L_I of each code with the sigmas fitted, which learn from these images.

    Args:
        spec: the latent layout.
        statistics: (n, C), Q's of generated images.
        code: (n, C), the codes that these were generated from.
        D: its ``residual`` is changed in place.
    """
    with torch.no_grad():
        fitted = objective.squared_residuals(spec, statistics, code)
        D.residual.lerp_(fitted, _RESIDUAL_MOMENTUM)
        return objective.mutual_information_lower_bound(
            spec, statistics, code, D.residual.sqrt()
        )


class Disguise:
    """How a step's images are shown to D and to Q, draw after draw."""

    def __init__(self, state: TrainingState, config: TrainingConfig) -> None:
        self._config = config
        fabric = state.fabric
        draws = [config.seed, _DISGUISE, state.step, fabric.global_rank]
        seed = np.random.SeedSequence(draws).generate_state(1, np.uint64)
        self._rng = torch.Generator(fabric.device).manual_seed(int(seed[0]))

    def for_D(self, images: Tensor) -> Tensor:
        """Augmented."""
        return augment(images, self._config.augmentation, self._rng)

    def for_Q(self, images: Tensor) -> Tensor | None:
        """Blurred and noisy, never augmented; None where D's images are Q's."""
        if not self._config.reads_apart:
            return None
        seen = low_passed(images, self._config.architecture.blur)
        deviation = self._config.recognition_noise
        if not deviation:
            return seen
        noise = torch.empty_like(seen).normal_(generator=self._rng)
        return seen + deviation * noise


def judge_all(
    D: nn.Module,
    images: Sequence[Tensor],
    disguise: Disguise,
    changed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]:
    """All through D at once: one large product is faster than several small ones.

    Args:
        D: in training.
        images: real ones, generated ones and, if at all, moved real ones.
        disguise: of real and generated ones.
        changed: generated ones, for a Q that reads other images than D judges.

    Returns:
        D's logits of real and of generated images, Q's statistics of generated
        ones, and its statistics before and after: of still and moved real images,
        or of generated ones, where Q reads those apart.
    """
    x, x_fake, *moved = images
    shown = x_fake if changed is None else torch.cat([x_fake, changed])
    apart = disguise.for_Q(shown)
    together = torch.cat([disguise.for_D(x), disguise.for_D(x_fake), *moved])
    logits, statistics = D(together, apart, kinds=len(images))
    real, fake, *_ = logits.chunk(len(images))
    if apart is not None:
        of_shown = statistics.split(len(x_fake))
        return real, fake, of_shown[0], of_shown
    still, of_fake, *after = statistics.chunk(len(images))
    return real, fake, of_fake, (still, *after)
