"""What anybody would fit to the same transitions: the bars that an in-context world model has to clear.

Every method gets the same rows, z-scored: the observation with the action, one-hot where it is discrete, and predicts
the change of the observation, the reward and the end of episodes. None is tuned to a task.

    persistence   nothing changes; mean reward; how often episodes end
    linear        ridge, lambda by exact leave-one-out error, for each number by itself; ends: logistic regression
    quadratic     the same on all products of two inputs as well
    neighbours    the mean of the 5 nearest
    gp            exact Gaussian process for each number, a length-scale an input, by marginal likelihood; ends: one on
                  0 and 1
    ensemble      5 networks of 2 x 128 units, each stopped where its own held-out sixth of the rows is predicted best
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import KDTree
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.gaussian import fitted
from benchmarks.world_data import change, encoded
from synthenv import nets
from synthenv.incontext.transitions import Transitions
from synthenv.tree import Tree

Array = npt.NDArray[np.float64]
Data = npt.NDArray[Any]
Loss = Callable[[Tensor, Tensor], Tensor]

NINETY = 1.6449
"""Standard deviations to either side that hold 90 % of a normal distribution."""
SURE = 10.0
"""Log odds of what has always happened."""


class Guess(NamedTuple):
    """What a model expects of Q state-action pairs.

    change: [Q, O] mean. spread: [Q, O] its standard deviation. low, high: [Q, O] ends of the 90 % interval of the
    change. reward: [Q]. end: [Q] log odds of an end.
    """

    change: Array
    spread: Array
    low: Array
    high: Array
    reward: Array
    end: Array


class Model(Protocol):
    """Fitted to some transitions."""

    def guess(self, observation: Data, action: Data) -> Guess:
        """Everything about Q pairs, observation [Q, O], action [Q] or [Q, A] as `Transitions` has it."""

    def change(self, observation: Data, action: Data) -> Array:
        """The mean change alone, [Q, O], quicker."""


class Scaling(NamedTuple):
    """Mean and standard deviation of columns, [K]; constant columns keep their size."""

    mean: Array
    size: Array

    @classmethod
    def of(cls, values: Array) -> Scaling:
        """That of values [N, K]."""
        size = values.std(0)
        return cls(values.mean(0), np.where(size > 1e-9 * (1 + np.abs(values).max(0)), size, 1.0))

    def scale(self, values: Array) -> Array:
        """[N, K] -> [N, K]."""
        return (values - self.mean) / self.size


class Fitted:
    """What the methods share: scaled inputs and targets. Those are the change and the reward, [N, O + 1]."""

    def __init__(self, log: Transitions) -> None:
        self.actions = log.spaces.action
        raw = encoded(log.observation, log.action, self.actions)
        self.inputs = Scaling.of(raw)
        self.x = self.inputs.scale(raw)
        targets = np.concatenate((change(log), log.reward[:, None]), 1).astype(np.float64)
        self.targets = Scaling.of(targets)
        self.y = self.targets.scale(targets)
        self.ends = log.terminated
        """[N] bool"""

    def guess(self, observation: Data, action: Data) -> Guess:
        """Everything about Q pairs."""
        x = self.scaled(observation, action)
        mean, spread = self.moments(x)
        mean, spread = mean * self.targets.size + self.targets.mean, spread * self.targets.size
        ends = self.ending(x) if self.ends.any() else np.full(len(x), -SURE)
        change, spread = mean[:, :-1], spread[:, :-1]
        return Guess(change, spread, change - NINETY * spread, change + NINETY * spread, mean[:, -1], ends)

    def change(self, observation: Data, action: Data) -> Array:
        """The mean change alone, [Q, O]."""
        mean = self.mean(self.scaled(observation, action))
        return (mean * self.targets.size + self.targets.mean)[:, :-1]

    def scaled(self, observation: Data, action: Data) -> Array:
        """Inputs as methods see them, [Q, K]."""
        return self.inputs.scale(encoded(observation, action, self.actions))

    def mean(self, x: Array) -> Array:
        """Scaled targets, [Q, O + 1], of scaled inputs [Q, K]."""
        return self.moments(x)[0]

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of scaled targets, [Q, O + 1] each."""
        raise NotImplementedError

    def ending(self, x: Array) -> Array:
        """Log odds of an end, [Q]; asked only where the context has some."""
        raise NotImplementedError


class Persistence(Fitted):
    """Nothing changes."""

    def __init__(self, log: Transitions) -> None:
        super().__init__(log)
        self.still = np.append(-self.targets.mean[:-1] / self.targets.size[:-1], 0.0)
        self.spread = np.sqrt(np.square(self.y - self.still).mean(0))

    def moments(self, x: Array) -> tuple[Array, Array]:
        """As far as things changed in the context."""
        return np.tile(self.still, (len(x), 1)), np.tile(self.spread, (len(x), 1))

    def ending(self, x: Array) -> Array:
        """The same everywhere."""
        return np.full(len(x), log_odds(self.ends.mean()))


class Ridge(Fitted):
    """Ridge regression on inputs or, where `quadratic`, on their products as well."""

    LAMBDAS = np.logspace(-9, 4, 40)
    """Times the number of rows."""

    def __init__(self, log: Transitions, quadratic: bool) -> None:
        super().__init__(log)
        self.quadratic = quadratic
        self.columns = Scaling.of(self.expanded(self.x))
        f = self.columns.scale(self.expanded(self.x))
        rows = len(f)
        self.centre = self.y.mean(0)
        u, s, vt = np.linalg.svd(f, full_matrices=False)
        seen = u.T @ (self.y - self.centre)  # [R, O + 1]
        shrink = s**2 / (s**2 + rows * self.LAMBDAS[:, None])  # [L, R]
        free = np.maximum(1 - 1 / rows - shrink @ (u**2).T, 1e-6)  # [L, N], 1 - leverage
        fits = u @ (shrink[..., None] * seen)  # [L, N, O + 1]
        errors = np.square((self.y - self.centre - fits) / free[..., None]).mean(1)  # [L, O + 1]
        best = errors.argmin(0)
        inverse = 1 / (s**2 + rows * self.LAMBDAS[best][:, None])  # [O + 1, R]
        self.weights = vt.T @ (s[:, None] * inverse.T * seen)
        self.vt, self.inverse = vt, inverse
        usual = 1 / rows + np.square(f @ vt.T) @ inverse.T  # [N, O + 1]
        self.noise = np.sqrt(errors.min(0) / (1 + usual.mean(0)))
        if 0 < self.ends.sum() < rows:
            self.logistic = LogisticRegression(C=100.0, max_iter=300).fit(f, self.ends)

    def expanded(self, x: Array) -> Array:
        """Inputs, and their products: [Q, K] -> [Q, F]."""
        if not self.quadratic:
            return x
        left, right = np.triu_indices(x.shape[1])
        return np.concatenate((x, x[:, left] * x[:, right]), 1)

    def mean(self, x: Array) -> Array:
        """Linear in the features."""
        found: Array = self.columns.scale(self.expanded(x)) @ self.weights + self.centre
        return found

    def moments(self, x: Array) -> tuple[Array, Array]:
        """The leave-one-out error, wider where the features are unusual."""
        f = self.columns.scale(self.expanded(x))
        leverage = 1 / len(self.x) + np.square(f @ self.vt.T) @ self.inverse.T
        return f @ self.weights + self.centre, self.noise * np.sqrt(1 + leverage)

    def ending(self, x: Array) -> Array:
        """Log odds."""
        if self.ends.all():
            return np.full(len(x), SURE)
        odds: Array = self.logistic.decision_function(self.columns.scale(self.expanded(x)))
        return odds


class Neighbours(Fitted):
    """The mean of the nearest."""

    NEAREST = 5

    def __init__(self, log: Transitions) -> None:
        super().__init__(log)
        self.index = KDTree(self.x)

    def near(self, x: Array) -> npt.NDArray[np.int64]:
        """Rows of the nearest, [Q, 5]."""
        count = range(1, 1 + min(self.NEAREST, len(self.x)))
        return np.asarray(self.index.query(x, list(count))[1])

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and scatter of the nearest."""
        found = self.y[self.near(x)]  # [Q, 5, O + 1]
        return found.mean(1), found.std(1, ddof=min(1, len(self.x) - 1)) + 1e-3

    def ending(self, x: Array) -> Array:
        """How many of the nearest ended."""
        return log_odds(self.ends[self.near(x)].mean(1))


class Gaussian(Fitted):
    """Exact Gaussian processes, one a target."""

    def __init__(self, log: Transitions) -> None:
        super().__init__(log)
        self.processes = [fitted(self.x, column) for column in self.y.T]
        if self.ends.any():
            self.end = fitted(self.x, self.ends - self.ends.mean())

    def mean(self, x: Array) -> Array:
        """Each target's process at [Q, K]."""
        return np.stack([process.mean(x) if process else np.zeros(len(x)) for process in self.processes], 1)

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Each target's process at [Q, K], noise included."""
        none = np.zeros(len(x)), np.zeros(len(x))
        mean, spread = zip(*(process.moments(x) if process else none for process in self.processes), strict=True)
        return np.stack(mean, 1), np.stack(spread, 1)

    def ending(self, x: Array) -> Array:
        """The process on 0 and 1, stretched: 0 is as good as never."""
        return 2 * SURE * (self.end.mean(x) + self.ends.mean() - 0.5) if self.end else np.full(len(x), SURE)


class Ensemble(Fitted):
    """Networks from different starts and rows, whose disagreement and held-out error are the spread."""

    def __init__(self, log: Transitions) -> None:
        super().__init__(log)
        random = torch.Generator().manual_seed(0)
        x, y = (torch.tensor(values, dtype=torch.float32) for values in (self.x, self.y))
        self.networks, error = trained(x, y, squared, random)
        self.held = error.double().numpy().mean(0)
        """Squared error on held-out rows, [O + 1]."""
        if self.ends.any():
            ends = torch.tensor(self.ends, dtype=torch.float32)[:, None]
            self.end, _ = trained(x, ends, entropy, random)

    def mean(self, x: Array) -> Array:
        """The members' mean."""
        found: Array = answers(self.networks, x).mean(0)
        return found

    def moments(self, x: Array) -> tuple[Array, Array]:
        """The members' mean, and their variance plus that of their held-out errors."""
        found = answers(self.networks, x)
        return found.mean(0), np.sqrt(found.var(0, ddof=1) + self.held)

    def ending(self, x: Array) -> Array:
        """The members' mean log odds."""
        found: Array = answers(self.end, x).mean((0, 2))
        return found


MEMBERS, HIDDEN, STEPS, BATCH, RATE = 5, 128, 2_000, 64, 1e-2
EVERY, PATIENCE = 50, 500
"""Steps between looks at the held-out rows, and without a better one until training stops."""


def trained(x: Tensor, y: Tensor, loss: Loss, random: torch.Generator) -> tuple[Tree, Tensor]:
    """MEMBERS networks for x [N, K] -> y [N, M], and their losses [P, M] on the rows that each was not shown."""
    held = max(1, len(x) // 6)
    order = torch.stack([torch.randperm(len(x), generator=random) for _ in range(MEMBERS)])  # [P, N]
    out, kept = order[:, :held], order[:, held:]
    leaves = nets.init_uniform(random, MEMBERS, (x.shape[1], HIDDEN, HIDDEN, y.shape[1]))
    optimiser = torch.optim.Adam([leaf.requires_grad_() for leaf in leaves.values()], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    best, least, waited = leaves, torch.full((MEMBERS, y.shape[1]), torch.inf), 0
    for step in range(STEPS):
        index = kept.gather(1, torch.randint(kept.shape[1], (MEMBERS, min(BATCH, kept.shape[1])), generator=random))
        loss(nets.mlp(leaves, x[index], "silu"), y[index]).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if (step + 1) % EVERY:
            continue
        with torch.no_grad():
            error = loss(nets.mlp(leaves, x[out], "silu"), y[out])  # [P, M]
            better = error.sum(1) < least.sum(1)
            best = {key: torch.where(better[:, None, None], leaf, best[key]) for key, leaf in leaves.items()}
            least = torch.where(better[:, None], error, least)
        waited = 0 if better.any() else waited + EVERY
        if waited >= PATIENCE:
            break
    return best, least


def answers(networks: Tree, x: Array) -> Array:
    """Every member's outputs, [Q, K] -> [P, Q, M]."""
    with torch.no_grad():
        rows = torch.tensor(x, dtype=torch.float32).expand(MEMBERS, -1, -1)
        found: Array = nets.mlp(networks, rows, "silu").double().numpy()
    return found


def squared(seen: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error, [P, N, M] -> [P, M]."""
    return (seen - wanted).square().mean(1)


def entropy(seen: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross entropy, [P, N, M] -> [P, M]."""
    return binary_cross_entropy_with_logits(seen, wanted, reduction="none").mean(1)


def log_odds(share: npt.ArrayLike) -> Array:
    """Of shares in [0, 1], no surer than SURE."""
    found: Array = np.clip(logit(np.asarray(share, np.float64)), -SURE, SURE)
    return found


METHODS: Mapping[str, Callable[[Transitions], Model]] = {
    "persistence": Persistence,
    "linear": lambda log: Ridge(log, quadratic=False),
    "quadratic": lambda log: Ridge(log, quadratic=True),
    "neighbours": Neighbours,
    "gp": Gaussian,
    "ensemble": Ensemble,
}
