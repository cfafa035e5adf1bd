"""Two categories that share their images between them, parted.

In the first steps of a game two categories may come to draw some of two classes each.
No later step parts them: Q reads them as G draws them, and G draws what Q reads.  But
D's features hold the classes apart by then.  So the images of the two categories that
small movements exchange most are divided anew, by what of the features is left alone
by movements; Q's head learns that division of real images, and G to draw it.  Where the
division is what Q had made of them itself, nothing happens.  No label is seen.

Sources: the splits and merges of Ueda et al. (2000), "SMEM"; the information of a
division as in Ji et al. (2019), "IIC".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infogan_export.datasets import ImageSet
from infogan_export.training import objective
from infogan_export.training.batches import as_input
from infogan_export.training.config import TrainingConfig
from infogan_export.training.movement import move
from infogan_export.training.networks import Discriminator
from infogan_export.training.state import TrainingState, adam, bare
from infogan_export.training.step import Disguise, descend_G

_PURPOSE = 6  # beside the seed, what a draw is for; 1 to 5 and 7 are those of the steps
_IMAGES, _READ = 20_000, 500  # that are looked at, and how many at a time
_STARTS, _HIDDEN, _BATCH, _STEPS, _RATE = 8, 64, 512, 300, 1e-3
_CHANGED = 0.1  # of the images of two categories: less than that is the same division
_CLEAR = 0.7  # of the most that a division in two can hold: less than that is none
_DRAWING = 50  # steps of G; with more it leaves what D has seen


def part(state: TrainingState, config: TrainingConfig, images: ImageSet) -> int:
    """Part the categories that share their images, and teach Q and G the division.

    Args:
        state: in the game; Q's head and G are changed in place.
        config: latents, movements and weights.
        images: the training images, of which up to 20,000 are looked at.

    Returns:
        how many pairs of categories were parted.
    """
    D = deepcopy(bare(state.D)).train()
    assert isinstance(D, Discriminator)
    rng = np.random.default_rng([config.seed, _PURPOSE, state.step])
    still, moved = _features(D, config, images, rng)
    with torch.no_grad():
        before = D.recognition(still)
        reads = [F.softmax(before[:, c], dim=1) for c in _columns(config)]
        after = D.recognition(moved)
        follows = [F.softmax(after[:, c], dim=1) for c in _columns(config)]
    parted = 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        for read, follow in zip(reads, follows, strict=True):
            done: set[tuple[int, int]] = set()
            while (pair := most_exchanged(objective.joint(read, follow))) not in done:
                if not _redivide(pair, still, moved, read, follow):
                    break
                done.add(pair)
            parted += len(done)
        if not parted:
            return 0
        _teach_Q(D, still, moved, reads, before, config)
    taught = state.fabric.broadcast(D.recognition.state_dict())
    network = bare(state.D)
    assert isinstance(network, Discriminator)
    network.recognition.load_state_dict(taught)
    _teach_G(state, config)
    return parted


def _columns(config: TrainingConfig) -> list[slice]:
    return [config.spec.code_columns(c.name) for c in config.spec.categorical]


def _features(
    D: Discriminator,
    config: TrainingConfig,
    images: ImageSet,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """The trunk's features (n, F) of images, and of the same moved."""
    few = np.sort(rng.permutation(len(images))[:_IMAGES])
    device = next(D.parameters()).device
    still, moved = [], []
    with torch.no_grad():
        for some in np.array_split(few, -(-len(few) // _READ)):
            x = as_input(torch.from_numpy(images.images[some]).to(device))
            still.append(D.trunk(x))
            moved.append(D.trunk(move(x, config.consistency, rng).images))
    return torch.cat(still), torch.cat(moved)


def most_exchanged(joint: Tensor) -> tuple[int, int]:
    """The two categories between which movements carry most, of their joint (k, k)."""
    across = joint.triu(diagonal=1)
    first, second = divmod(int(across.argmax()), len(joint))
    return first, second


def _redivide(
    categories: tuple[int, int],
    still: Tensor,
    moved: Tensor,
    read: Tensor,
    follow: Tensor,
) -> bool:
    """Divide two categories anew in both readings, in place, unless that is no change.

    Args:
        categories: the two.
        still: features of images, (n, F).
        moved: of the same images, moved.
        read: probabilities of the categories of the former, (n, k).
        follow: of the latter.
    """
    pair = list(categories)
    theirs = torch.isin(read.argmax(dim=1), torch.tensor(pair, device=read.device))
    if theirs.sum() < _BATCH:
        return False
    now = F.one_hot(read[theirs][:, pair].argmax(dim=1), 2).float()
    then = F.one_hot(follow[theirs][:, pair].argmax(dim=1), 2).float()
    division = divide(still[theirs], moved[theirs])
    new = F.one_hot(division(still[theirs]).argmax(dim=1), 2).float()
    new_moved = F.one_hot(division(moved[theirs]).argmax(dim=1), 2).float()
    same = float((new * now).sum(dim=1).mean())
    unchanged = max(same, 1 - same) > 1 - _CHANGED
    held, found = (
        objective.information(objective.joint(*readings))
        for readings in ((now, then), (new, new_moved))
    )
    if unchanged or found < max(float(held), _CLEAR * math.log(2)):
        return False
    order = pair if same >= 1 / 2 else pair[::-1]
    for readings, features in ((read, still), (follow, moved)):
        both = readings[:, pair].sum(dim=1, keepdim=True)
        readings[:, order] = both * division(features)
    return True


def divide(still: Tensor, moved: Tensor) -> Callable[[Tensor], Tensor]:
    """The division in two that movements leave most of, of several starts.

    Args:
        still: features of images, (n, F).
        moved: of the same images, moved.

    Returns:
        what gives the probabilities of both halves, (n, 2), of features (n, F).
    """
    return max(
        (_division(still, moved) for _ in range(_STARTS)),
        key=lambda division: float(
            objective.information(objective.joint(division(still), division(moved)))
        ),
    )


def _division(still: Tensor, moved: Tensor) -> Callable[[Tensor], Tensor]:
    """One start of it."""
    mean, deviation = still.mean(dim=0), still.std(dim=0) + 1e-3
    head = nn.Sequential(
        nn.Linear(still.shape[1], _HIDDEN),
        nn.BatchNorm1d(_HIDDEN),
        nn.ReLU(),
        nn.Linear(_HIDDEN, 2),
    ).to(still.device)
    before, after = (still - mean) / deviation, (moved - mean) / deviation

    def loss(chosen: Tensor) -> Tensor:
        p, q = (F.softmax(head(x[chosen]), dim=1) for x in (before, after))
        return -objective.information(objective.joint(p, q))

    _descend(loss, head, len(still))
    head.eval()

    def halves(features: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = head((features - mean) / deviation)
            return F.softmax(logits, dim=1)

    return halves


def _teach_Q(
    D: Discriminator,
    still: Tensor,
    moved: Tensor,
    reads: Iterable[Tensor],
    before: Tensor,
    config: TrainingConfig,
) -> None:
    """Let D's head for Q read real images, still and moved, so; uniform codes stay."""
    targets = list(zip(_columns(config), reads, strict=True))
    uniform = objective.mean_columns(config.spec)

    def loss(chosen: Tensor) -> Tensor:
        of_still = D.recognition(still[chosen])
        total: Tensor = (of_still - before[chosen])[:, uniform].square().sum(1).mean()
        for statistics in (of_still, D.recognition(moved[chosen])):
            for columns, target in targets:
                total = total + F.cross_entropy(statistics[:, columns], target[chosen])
        return total

    _descend(loss, D.recognition, len(still))


def _descend(loss: Callable[[Tensor], Tensor], network: nn.Module, images: int) -> None:
    """Adam's steps on a loss of some images, by their numbers."""
    device = next(network.parameters()).device
    optimizer = adam(network, _RATE, (0.9, 0.999))
    for _ in range(_STEPS):
        chosen = torch.randint(images, (min(_BATCH, images),)).to(device)
        optimizer.zero_grad()
        torch.autograd.backward(loss(chosen))
        optimizer.step()


def _teach_G(state: TrainingState, config: TrainingConfig) -> None:
    """Let G draw what Q reads by now, with D and Q at rest."""
    spec, fabric = config.spec, state.fabric
    share = config.batch_size // fabric.world_size
    unused = config.images_at(config.total_steps) + fabric.global_rank * share
    disguise = Disguise(state, config)
    for k in range(_DRAWING):
        start = unused + k * config.batch_size
        drawn = spec.sample(share, seed=config.seed, start=start)
        latents = torch.from_numpy(drawn).to(fabric.device)
        with fabric.autocast():
            x_fake = state.G(latents)
        descend_G(x_fake, latents[:, spec.noise_dim :], disguise, state, config)
