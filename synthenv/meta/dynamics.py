"""First half of stage 4: the transition network learns how states change and end, from the real steps of stage 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from synthenv import nets
from synthenv.tree import Tree, prefixed, ravel, shapes, unravel
from synthenv.worlds.mdp import SyntheticMDP

BATCH = 512


def fit_transition(
    synthetic: SyntheticMDP, transition: Tree, seen: Tree, updates: int, generator: torch.Generator
) -> tuple[Tree, dict[str, Any]]:
    """Supervised fit on transitions in unit coordinates.

    seen: observation, following [M, O], action [M] or [M, A], terminated [M]. Half of every batch is drawn from the
    steps that ended, which are rare; `calibrated` makes up for it. Returns the network and, over all steps,
    `change_r2`, the share of the change's variance explained, and the learned end's `end_recall` and `end_precision`.
    """
    like, flat = shapes(transition), ravel(transition)
    memory = nets.adam_memory(flat)
    spread = (seen["following"] - seen["observation"]).std(0).clamp(min=1e-6)  # [O]
    ends = seen["terminated"].nonzero()[:, 0]
    for update in range(updates):
        rows = torch.randint(len(seen["terminated"]), (BATCH,), generator=generator, device=flat.device)
        if len(ends):
            picked = torch.randint(len(ends), (BATCH // 2,), generator=generator, device=flat.device)
            rows = torch.cat((rows[: BATCH // 2], ends[picked]))
        flat.requires_grad_()
        error, end = _guess(synthetic, unravel(flat, like), {name: leaf[rows] for name, leaf in seen.items()}, spread)
        loss = error.mean() + binary_cross_entropy_with_logits(end, seen["terminated"][rows].float())
        (gradient,) = torch.autograd.grad(loss, flat)
        rate = flat.new_tensor([1e-2 * (1 - update / updates)])
        flat, memory = nets.adam(flat.detach(), gradient, memory, rate)
    fitted = calibrated(unravel(flat, like), synthetic, seen)
    error, end = _guess(synthetic, fitted, seen, spread)
    said, truth = end > 0, seen["terminated"]
    variance = ((seen["following"] - seen["observation"]) / spread).var(0).mean()
    return fitted, {
        "change_r2": 1 - float(error.mean() / variance),
        "end_recall": float((said & truth).sum() / truth.sum().clamp(min=1)),
        "end_precision": float((said & truth).sum() / said.sum().clamp(min=1)),
    }


def strided(seen: Tree, episodes: int, stride: int) -> Tree:
    """Real steps as if `stride` of them were one: what followed so many steps later, or at an end before that.

    seen: leaves [T*N, ...] of N episodes under way for T steps, restarted where they ended; returns
    [(T-stride+1)*N, ...]. No time limit may fall within.
    """
    if stride == 1:
        return seen
    walks = {name: leaf.unflatten(0, (-1, episodes)) for name, leaf in seen.items()}  # [T, N, ...]
    starts = len(walks["terminated"]) - stride + 1
    if starts < 1:
        raise ValueError(f"dynamics.stride is {stride}, more than the {starts + stride - 1} steps seen; lower it")
    following, ended = walks["following"][:starts], walks["terminated"][:starts]
    for later in range(1, stride):
        rows = slice(later, later + starts)
        following = torch.where(ended[..., None], following, walks["following"][rows])
        ended = ended | walks["terminated"][rows]
    whole = {**{name: leaf[:starts] for name, leaf in walks.items()}, "following": following, "terminated": ended}
    return {name: leaf.flatten(0, 1) for name, leaf in whole.items()}


def calibrated(transition: Tree, synthetic: SyntheticMDP, seen: Tree) -> Tree:
    """The network with its end's logits shifted so that of the seen steps as many end as really did, or one fewer.

    The logit of the last of them becomes 0, give or take rounding, and ends are logits above 0.
    """
    params = prefixed("transition", transition)
    _, end = synthetic.predict(params, seen["observation"][None], seen["action"][None])  # [1, M]
    ends = int(seen["terminated"].sum())
    if ends == 0:
        return transition
    _, last = nets.last_layer(transition)
    bias = transition[last].clone()  # [1, 1, K * (O + 1)]
    bias.unflatten(-1, (-1, synthetic.observation_size + 1))[..., -1] -= end.flatten().topk(ends).values[-1]
    return {**transition, last: bias}


def _guess(synthetic: SyntheticMDP, transition: Tree, seen: Tree, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors [M, O] of the change over its spread [O], and the end's logits [M]."""
    params = prefixed("transition", transition)
    following, end = synthetic.predict(params, seen["observation"][None], seen["action"][None])
    return ((following[0] - seen["following"]) / spread).square(), end[0]
