"""Faults: which broken learners an integration test of some seconds catches, by form of the environment.

    python -m benchmarks.faults
    python -m benchmarks.faults --seeds 1 --budget 0.1 --results runs/quick      a quick look

PPO, A2C and DQN of this package are broken in ten ways each, one at a time, by classes that override a method. They
play Gymnasium vector environments as anybody's learner would, and are examined as `synthenv.testing.assert_learns`
does, with its default demand. The tests are the bandit, the MDP, the MDP with its signal put off (delay 1), and that
with episodes cut every two steps besides, where A2C is left out: it needs longer episodes. Sound learners are examined
as well: one that is caught is a false alarm. Hyperparameters and budgets are the same for the sound and the broken;
they were chosen on the sound ones, with other seeds.

Writes faults.csv, one row a run; faults_caught.csv, one row a test; and faults.png.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.harness import SYNTHETIC, arguments, gather, name, origin, write_rows
from synthenv import catalogue, learners, seeding, shelf
from synthenv.learners import Agent, Learner
from synthenv.report import grid
from synthenv.rollout import Steps
from synthenv.testing import SHARE, examine
from synthenv.tree import Tree, ravel, unravel
from synthenv.worlds import Spaces

FIRST_SEED = 71_000
SOUND = "none"


class Setting(NamedTuple):
    """How an algorithm is used: structure, hyperparameters, and steps by test."""

    structure: dict[str, Any]
    hyper: dict[str, float]
    steps: dict[str, int]


class Test(NamedTuple):
    """What is asked: the form of the environment, and settings of `examine`."""

    form: str
    settings: dict[str, Any]


TESTS = {
    "bandit": Test("bandit", {}),
    "MDP": Test("mdp", {}),
    "delayed": Test("mdp", {"delay": 1.0}),
    "delayed and cut": Test("mdp", {"delay": 1.0, "horizon": 2}),
}
"""From easy to hard."""
SETTINGS = {
    "ppo": Setting(
        {"envs": 8, "length": 64},
        {"rate": 1e-3},
        {"bandit": 10_240, "MDP": 20_480, "delayed": 20_480, "delayed and cut": 30_720},
    ),
    "a2c": Setting(
        {"envs": 32, "length": 16},
        {"rate": 1e-3, "lam": 0.95, "max_norm": 10.0},
        {"bandit": 40_960, "MDP": 40_960, "delayed": 40_960},
    ),
    "dqn": Setting(
        {"envs": 8, "length": 2, "updates": 4, "warmup": 500, "target_every": 500},
        {"rate": 1e-3},
        {"bandit": 10_000, "MDP": 10_000, "delayed": 20_000, "delayed and cut": 20_000},
    ),
}


# The faults. Each class comes before a learner's in the order of inheritance.


class Sound:
    """Nothing wrong."""


class NegatedAdvantage:
    """Climbs down the policy gradient."""

    def targets(self, agent: Agent, steps: Steps) -> tuple[Tensor, Tensor]:
        """Advantages of the wrong sign."""
        gain, target = super().targets(agent, steps)  # type: ignore[misc]
        return -gain, target


class Told:
    """Learns from something else than what happened."""

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """One update from what `told` makes of the steps."""
        return super().update(agent, self.told(steps), generator)  # type: ignore[misc, no-any-return]

    def told(self, steps: Steps) -> Steps:
        """The experience, leaves [P, T, N, ...], as it is wrongly passed on."""
        raise NotImplementedError


class NegatedReward(Told):
    """Takes rewards for costs."""

    def told(self, steps: Steps) -> Steps:
        """Rewards of the wrong sign."""
        return steps._replace(reward=-steps.reward)


class LateReward(Told):
    """Books each reward on the step after its own."""

    def told(self, steps: Steps) -> Steps:
        """Rewards off by one."""
        return steps._replace(reward=steps.reward.roll(1, 1))


class LateObservation(Told):
    """Stores an action with the observation that came after it."""

    def told(self, steps: Steps) -> Steps:
        """Observations off by one."""
        return steps._replace(observation=steps.following)


class Transposed(Told):
    """Reads rewards and ends as [N, T] where they are [T, N]."""

    def told(self, steps: Steps) -> Steps:
        """Time and episodes swapped, the shape as it should be."""
        swapped = {key: getattr(steps, key) for key in ("reward", "terminated", "truncated")}
        return steps._replace(**{key: x.transpose(1, 2).reshape(x.shape) for key, x in swapped.items()})


class EndIsLimit(Told):
    """Bootstraps through the end of an episode."""

    def told(self, steps: Steps) -> Steps:
        """Every termination a truncation."""
        never = torch.zeros_like(steps.terminated)
        return steps._replace(terminated=never, truncated=steps.truncated | steps.terminated)


class LimitIsEnd(Told):
    """Takes the time limit for the end of the world."""

    def told(self, steps: Steps) -> Steps:
        """Every truncation a termination."""
        never = torch.zeros_like(steps.truncated)
        return steps._replace(terminated=steps.terminated | steps.truncated, truncated=never)


class Mistuned:
    """Runs with hyperparameters that switch something off."""

    off: ClassVar[dict[str, float]]

    def init(self, hyper: Tree, steps: int, generator: torch.Generator) -> Agent:
        """Fresh agents, some hyperparameters [P] replaced."""
        wrong = {key: torch.full_like(hyper["rate"], value) for key, value in self.off.items()}
        return super().init({**hyper, **wrong}, steps, generator)  # type: ignore[misc, no-any-return]


class Myopic(Mistuned):
    """Never bootstraps."""

    off: ClassVar[dict[str, float]] = {"gamma": 0.0}


class StaleCritic(Mistuned):
    """Never trains its critic."""

    off: ClassVar[dict[str, float]] = {"value": 0.0}


class StaleTarget(Mistuned):
    """Never moves its target network."""

    off: ClassVar[dict[str, float]] = {"tau": 0.0}


class Greedy:
    """Never explores."""

    def act(self, agent: Agent, observation: Tensor, generator: torch.Generator) -> Tensor:
        """What it thinks best."""
        return self.best(agent, observation)  # type: ignore[attr-defined, no-any-return]


class Detached:
    """Stops the gradient before the hidden layers."""

    def update(self, agent: Agent, steps: Steps, generator: torch.Generator) -> Agent:
        """One update of last layers alone."""
        after = super().update(agent, steps, generator)  # type: ignore[misc]
        shapes, last = self.shapes, str(len(self.hidden))  # type: ignore[attr-defined]
        old, new = unravel(agent["flat"].detach(), shapes), unravel(after["flat"].detach(), shapes)
        return {**after, "flat": ravel({key: new[key] if key.endswith(last) else old[key] for key in new})}


def each(fault: type) -> dict[str, type]:
    """The same fault in every algorithm."""
    return dict.fromkeys(SETTINGS, fault)


FAULTS: dict[str, dict[str, type]] = {
    SOUND: each(Sound),
    "wrong sign": {"ppo": NegatedAdvantage, "a2c": NegatedAdvantage, "dqn": NegatedReward},
    "rewards off by one": each(LateReward),
    "observations off by one": each(LateObservation),
    "time and batch swapped": each(Transposed),
    "no exploration": each(Greedy),
    "hidden layers untrained": each(Detached),
    "no bootstrap": each(Myopic),
    "stale target or critic": {"ppo": StaleCritic, "a2c": StaleCritic, "dqn": StaleTarget},
    "bootstraps through ends": each(EndIsLimit),
    "time limit is an end": each(LimitIsEnd),
}


class Patient(NamedTuple):
    """One run: a learner, what is wrong with it, what it is asked. `budget` is a factor on its steps."""

    environment: str
    test: str
    algorithm: str
    fault: str
    seed: int
    budget: float


def main(argv: Sequence[str] | None = None) -> None:
    """Examine every patient, then write, draw and count."""
    parser = arguments(__doc__, SYNTHETIC)
    parser.add_argument("--algorithms", nargs="+", default=tuple(SETTINGS), choices=tuple(SETTINGS))
    parser.add_argument("--faults", nargs="+", default=tuple(FAULTS), choices=tuple(FAULTS), help="besides none")
    parser.add_argument("--seeds", type=int, default=3, help="runs each (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--budget", type=float, default=1.0, help="factor on all steps (default %(default)s)")
    args = parser.parse_args(argv)
    forms = {environment: shelf.card(shelf.find(environment))["form"] for environment in args.environments}
    patients = [
        Patient(environment, test, algorithm, fault, seed, args.budget)
        for test, asked in TESTS.items()
        for environment, form in forms.items()
        for fault in dict.fromkeys((SOUND, *args.faults))
        for algorithm in args.algorithms
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        if form == asked.form and test in SETTINGS[algorithm].steps
    ]
    rows = gather(diagnosis, patients, args.workers)
    write_rows(args.results / "faults.csv", rows)
    draw(args.results / "faults.png", rows)
    write_rows(args.results / "faults_caught.csv", counted(rows))


def diagnosis(patient: Patient) -> dict[str, Any]:
    """The row of one run."""
    setting = SETTINGS[patient.algorithm]
    kind = catalogue.named("synthenv.learners", patient.algorithm, "learner")
    broken = type(kind.__name__, (FAULTS[patient.fault][patient.algorithm], kind), {})

    def train(env: Any, steps: int, seed: int) -> Any:
        spaces = Spaces(env.single_observation_space, env.single_action_space)
        return practise(broken(spaces, **setting.structure), setting.hyper, env, steps, seed)

    steps, asked = int(patient.budget * setting.steps[patient.test]), TESTS[patient.test].settings
    began = time.process_time()
    marks = examine(
        train, patient.environment, steps=steps, seeds=(patient.seed,), num_envs=setting.structure["envs"], **asked
    )
    (share,) = marks.shares
    return {
        "test": patient.test,
        "fault": patient.fault,
        "algorithm": kind.__name__,
        "seed": patient.seed,
        "steps": steps,
        "share": round(share, 4),
        "caught": share < SHARE,
        "cpu_seconds": round(time.process_time() - began, 2),
        "environment": name(patient.environment),
        "origin": origin(patient.environment),
    }


def practise(learner: Learner, hyper: dict[str, float], env: Any, steps: int, seed: int) -> Any:
    """Train one agent in a Gymnasium vector environment; returns its policy, observation [O] to action."""
    generator = seeding.generator(seed, learner.name)
    agent = learner.init(learners.fill(learner, 1, hyper), steps, generator)
    observation, _ = env.reset()
    for _ in range(-(-steps // (learner.envs * learner.length))):
        seen = []
        for _ in range(learner.length):
            now = torch.from_numpy(observation)[None]  # [1, N, O]
            with torch.no_grad():
                action = learner.act(agent, now, generator)
            step = env.advance(action[0].numpy())
            after = (step.reward, step.terminated, step.truncated, step.following)
            seen.append(Steps(now, action, *(torch.from_numpy(leaf)[None] for leaf in after)))
            observation = step.observation
        agent = learner.update(agent, Steps(*(torch.stack(leaves, 1) for leaves in zip(*seen, strict=True))), generator)

    def policy(observation: Any) -> Any:
        with torch.no_grad():
            return learner.best(agent, torch.from_numpy(observation)[None, None])[0, 0].numpy()

    return policy


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A cell for each fault and each learner in each test: its mean share, and in how many runs it was caught."""
    groups: dict[tuple[str, tuple[str, str]], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["fault"], (row["test"], row["algorithm"])), []).append(row)
    cells = {
        place: (sum(run["share"] for run in runs) / len(runs), f"{sum(run['caught'] for run in runs)}/{len(runs)}")
        for place, runs in groups.items()
    }
    faults, columns = (list(dict.fromkeys(places)) for places in zip(*groups, strict=True))
    grid(path, faults, columns, cells, "share of the way from random to best actions")


def counted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each test: broken runs caught, faults caught in most of their runs, false alarms about the sound."""
    counts = []
    for test in dict.fromkeys(row["test"] for row in rows):
        caught: dict[str, list[bool]] = {}
        for row in rows:
            if row["test"] == test:
                caught.setdefault(row["fault"], []).append(row["caught"])
        sound = caught.pop(SOUND)
        counts.append(
            {
                "test": test,
                "broken runs": sum(map(len, caught.values())),
                "caught": sum(map(sum, caught.values())),
                "faults": len(caught),
                "caught in most runs": sum(2 * sum(runs) > len(runs) for runs in caught.values()),
                "sound runs": len(sound),
                "false alarms": sum(sound),
            }
        )
    return counts


if __name__ == "__main__":
    main()
