"""The in-context world model: experts in closed form, and a network that has learned whom of them to believe.

A transformer reads each transition of the context with the error that would have been made on it; a query reads the
context. For each output a small network, the same for all, then looks at what the experts say of the query, how sure
they are, and what records they have, and shares out trust. It may also speak for itself, and it states quantiles.

Letters: B tasks, C context rows, Q queries, O observation slots, A action slots, Y outputs in use (the change of a
slot, or the reward, which comes last; see `experts.outputs`), E experts, L quantile levels, W width, H hidden units, F
features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthenv.attention import Memory, SetTransformer
from synthenv.incontext.circles import spread, unrolled
from synthenv.incontext.experts import EXPERTS, PROCESS, Solution, inputs, solve
from synthenv.incontext.gaussian_process import spread_over
from synthenv.incontext.hyperparameters import Search
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS, Rows, Shape

LEVELS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.995)
"""Probabilities at which a belief states quantiles, rising and symmetric about the median."""
OUTPUTS = OBSERVATIONS + 1
STEEP = 3.0
"""Trust begins as this power of the inverse of an expert's record."""
READ = 256
"""Rows that the transformer reads at most; the experts know all of them."""
SHARED, OWN = 24, 8
"""Numbers that a query's token says to all outputs, and to each."""


@dataclass(frozen=True)
class Architecture:
    """Size of the network."""

    width: int = 128
    """Numbers a token."""
    layers: int = 4
    """Layers."""
    heads: int = 4
    """Heads a layer."""
    hidden: int = 64
    """Hidden units of what judges an output."""


class Belief(NamedTuple):
    """What the model expects of queries, in the task's own units.

    change:    [B, Q, O] mean of the change of the observation.
    quantiles: [B, Q, O, L] of that change, at `LEVELS`.
    reward:    [B, Q] mean.  rewards: [B, Q, L] quantiles where nothing ends.
    end:       [B, Q] logit of termination.
    turns:     [B, Q, K, L] quantiles of the angles that all K circles of the shape turn by; None where there are none,
               or the engine makes nothing of them.
    prize:     what an end pays more; its share is in `reward`.
    """

    change: Tensor
    quantiles: Tensor
    reward: Tensor
    rewards: Tensor
    end: Tensor
    turns: Tensor | None = None
    prize: float = 0.0


class Known(NamedTuple):
    """A context read once: what every later query needs."""

    solution: Solution
    memory: Memory
    facts: Tensor
    """[B, 1, W], what all tokens share."""
    records: Tensor
    """[B, 1, Y, H], what is known of an output whatever the query."""
    base: Tensor
    """[B, 1, Y, E + 1], logits of trust by records alone."""
    doubts: Tensor
    """[B, 1, Y, E + 1], variances of those whose doubt is the same everywhere; 0 of the Gaussian process."""
    asked: Tensor
    """[Y * F, W], from what experts say of a query to its token."""
    whisper: Tensor
    """[W, Y * OWN], from its token to each output."""


class Guess(NamedTuple):
    """The model's answer in the context's units, before it is put into the task's.

    mean: [B, Q, Y].  quantiles: [B, Q, Y, L].  unit: [B, Q, Y], how far those believed disagree and doubt themselves.
    end: [B, Q] logit.  trust: [B, Q, Y, E + 1], shares of the experts, then of the network's own answer.
    process: [B, Q, Y], what the Gaussian process says.
    """

    mean: Tensor
    quantiles: Tensor
    unit: Tensor
    end: Tensor
    trust: Tensor
    process: Tensor


class Slotted(nn.Module):
    """A linear map from F features of each output to one vector, or back, with weights of its own for each slot."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        bound = (features * OUTPUTS) ** -0.5
        self.weight = nn.Parameter(torch.empty(OUTPUTS, features, width).uniform_(-bound, bound))

    def of(self, kept: Tensor) -> Tensor:
        """The map of slots `kept` [Y], from [..., Y * F] to [..., W] by a product: [Y * F, W]."""
        return self.weight[kept].flatten(0, 1)


class Network(nn.Module):
    """The trainable part: contexts and queries in, trust, an answer of its own and quantiles out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, hidden = architecture.width, architecture.hidden
        self.seen = nn.Linear(OBSERVATIONS + ACTIONS, width)
        self.kind = nn.Linear(OBSERVATIONS + ACTIONS + 2, width)  # slots in use, size, kind of action
        self.reputation = Slotted(2 * EXPERTS + 1, width)
        self.known = Slotted(2, width)
        self.flags = nn.Linear(3, width, bias=False)
        self.asked = Slotted(2 * (EXPERTS - 1), width)
        self.body = SetTransformer(width, architecture.layers, architecture.heads)
        self.say = nn.Linear(width, SHARED + 2)  # to all outputs, and of the end
        self.whisper = Slotted(OWN, width)
        self.records = nn.Linear(2 * EXPERTS + 3, hidden)
        self.hear = nn.Linear(2 * (EXPERTS - 1) + SHARED + OWN, hidden, bias=False)
        self.weigh = nn.Linear(hidden, hidden)
        self.judge = nn.Linear(hidden, EXPERTS + 3 + len(LEVELS))
        for last in (self.judge, self.say):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def read(self, solution: Solution, rows: Rows, shape: Shape) -> Known:
        """Encode contexts [B, C] that were solved, at most `READ` rows of them."""
        record, doubt, kept = solution.record, solution.doubt, solution.kept
        some = spread_over(rows.reward.shape[1], READ)
        rows = rows.pick(some)
        told, missed, ends = (x[:, some] for x in (solution.told, solution.missed, solution.end.own))
        reputation = torch.cat((*record, doubt[..., None]), -1).float().log() / 4  # [B, Y, 2 E + 1]
        size = torch.full_like(doubt[:, :1], math.log(solution.told.shape[1]) / 4)
        kind = torch.cat((size, shape.discrete[:, None]), -1).float()  # [B, 2]
        facts = self.kind(torch.cat((shape.observed, shape.acting, kind), -1).float())[:, None]
        facts = facts + (reputation * solution.used[..., None]).flatten(1)[:, None] @ self.reputation.of(kept)
        records = self.records(torch.cat((reputation, kind[:, None].expand(-1, len(kept), -1)), -1))[:, None]
        base = functional.pad(-STEEP * torch.maximum(*record).float().log(), (0, 1), value=1.0)[:, None]
        flags = torch.stack((rows.terminated.float(), rows.start.float(), squash(ends)), -1)
        token = self._token(solution, facts, rows.observation, rows.action) + self.flags(flags)
        happened = squash(torch.stack((told, missed / doubt[:, None]), -1)).float()
        token = token + happened.flatten(2) @ self.known.of(kept)
        doubts = functional.pad(record.alone.float().clamp(max=1.0), (0, 1), value=1.0).square()[:, None]
        doubts[..., PROCESS] = 0.0
        slotted = self.asked.of(kept), self.whisper.of(kept).mT.contiguous()
        return Known(solution, self.body.encode(token), facts, records, base, doubts, *slotted)

    def answer(self, known: Known, observation: Tensor, action: Tensor) -> Guess:
        """Queries [B, Q, O], [B, Q, A]."""
        solution = known.solution
        means, spreads = solution.predict(observation, action)  # [B, Q, Y, E]
        record, doubt = solution.record.alone.float()[:, None], solution.doubt.float()[:, None]
        pivot = means[..., PROCESS]
        # what experts say, as seen from the Gaussian process, in units of what it usually misses
        apart = (means - pivot[..., None]) / doubt[..., None]
        apart = torch.cat((apart[..., :PROCESS], apart[..., PROCESS + 1 :]), -1)
        heard = torch.cat((squash(apart), (spreads[..., 1:] / record[..., 1:]).log()), -1)  # [B, Q, Y, 2 (E - 1)]
        token = self._token(solution, known.facts, observation, action) + heard.flatten(2) @ known.asked
        token = self.body(token, known.memory)
        said, ends = self.say(token).float().split([SHARED, 2], -1)
        whispered = (token @ known.whisper).unflatten(-1, (-1, OWN))
        said = said[..., None, :].expand(-1, -1, means.shape[2], -1)
        hidden = functional.gelu(known.records + self.hear(torch.cat((heard, said, whispered), -1)))
        out = self.judge(functional.gelu(self.weigh(hidden))).float()
        trust, own, widen, steps = out.split([EXPERTS + 1, 1, 1, len(LEVELS)], -1)
        trust = solution.shared((known.base + trust).softmax(-1), spreads)
        voices = torch.cat((means, torch.sinh(own.clamp(-4, 4))), -1)
        mean = (trust * voices).sum(-1)
        unit = (trust * ((voices - mean[..., None]).square() + known.doubts)).sum(-1)
        unsure = torch.maximum(spreads[..., PROCESS], doubt).clamp(max=1.0)  # it knows best where
        unit = (unit + trust[..., PROCESS] * unsure.square()).sqrt()
        quantiles = mean[..., None] + (unit * (widen[..., 0] - 1).clamp(-12, 8).exp())[..., None] * fan(steps)
        following = solution.following(observation, mean.detach())
        end = solution.end.predict(following) * torch.exp(ends[..., 0].clamp(-3, 3)) + ends[..., 1]
        return Guess(mean, quantiles, unit, end, trust, pivot)

    def _token(self, solution: Solution, facts: Tensor, observation: Tensor, action: Tensor) -> Tensor:
        """What the tokens of context rows and of queries have in common, [B, N, W]."""
        token: Tensor = self.seen(squash(solution.units.inputs(inputs(observation, action)).float())) + facts
        return token

    def condition(self, rows: Rows, shape: Shape, search: Search | None = None) -> Known:
        """Read contexts [B, C] once."""
        return self.read(solve(rows, shape, search), rows, shape)

    def believe(self, known: Known, observation: Tensor, action: Tensor) -> Belief:
        """What follows from observations [B, Q, O] and actions [B, Q, A], in the task's units."""
        guess, units, kept = self.answer(known, observation, action), known.solution.units, known.solution.kept[:-1]
        circles = known.solution.circles  # slots in use come first, so that `kept` leaves their numbers in place
        middle, size = units.middle.float(), units.size.float()
        mean, quantiles = guess.mean * size + middle, guess.quantiles * size[..., None] + middle[..., None]
        change, fans = torch.zeros_like(observation), observation.new_zeros((*observation.shape, len(LEVELS)))
        change[..., kept] = unrolled(circles, observation, mean[..., :-1])
        fans[..., kept, :] = spread(circles, observation, quantiles[..., :-1, :])
        turns = quantiles[..., [first for first, _ in circles], :] if circles else None
        reward, prize = mean[..., -1], known.solution.prize
        if prize:
            reward = reward + prize * guess.end.sigmoid()
        return Belief(change, fans, reward, quantiles[..., -1, :], guess.end, turns, prize)


def squash(x: Tensor) -> Tensor:
    """A logarithm on either side of 0, [...] -> [...], so that a network can read numbers of any size."""
    return torch.asinh(x)


def fan(steps: Tensor) -> Tensor:
    """Ascending offsets [..., L] from free numbers [..., L]: the middle one shifts all, the others are gaps."""
    half = steps.shape[-1] // 2
    gaps = functional.softplus(steps)
    up = gaps[..., half + 1 :].cumsum(-1)
    down = gaps[..., :half].flip(-1).cumsum(-1).flip(-1)
    return steps[..., half : half + 1] + torch.cat((-down, torch.zeros_like(up[..., :1]), up), -1)
