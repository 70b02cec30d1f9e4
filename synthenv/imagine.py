"""From a few real transitions to a policy: collect, condition, learn or plan in imagination, measure once.

With several rounds the agent itself collects what the world model is shown next. Until the last round it is paid for
doubt, so that it goes where the model knows least; in the last it pays for doubt, so that it stays where the model is
right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from synthenv import meta, sb3, worlds
from synthenv.incontext.evolved import evolve
from synthenv.incontext.imagined import ImaginedWorld, cut
from synthenv.incontext.plan import PRICE, Planner
from synthenv.incontext.slots import Numbers
from synthenv.incontext.transitions import Transitions
from synthenv.incontext.world import Simulator, WorldModel
from synthenv.recipe import EnvRecipe, Exam, Inner, InnerStage, Search
from synthenv.report import rollouts
from synthenv.scores import statistics
from synthenv.threads import one_thread

ROLLOUT = 2048
"""Steps between updates of SB3's on-policy defaults, here of all episodes together."""
STEPS, EVOLVED = 50_000, 10
"""Imagined steps of an agent, and how many times that to evolve one: its steps need no gradient."""
LOOKING = 4
"""By how much a search is shorter that is to look around."""
SHARP = 10.0
"""How decided an evolved policy is: logits are this many times its outputs, deviations this share of half a Box."""
FAN = 64
"""Imagined episodes behind the picture's bands."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is done with how much."""

    transitions: int = 1000
    """Real steps a round."""
    rounds: int = 1
    """Times that real steps are collected: first by random actions, then by the agent."""
    algorithm: str = "ppo"
    """Stable-Baselines3's; "evolve" for a search over policies, which needs no reward on the way; or "cem" for planning
    at every step instead of a policy."""
    steps: int | None = None
    """Imagined steps an agent is trained for, each round; None for 50,000, and ten times as many to evolve one."""
    n_envs: int = 16
    """Imagined episodes side by side."""
    hyperparameters: Mapping[str, Any] | None = None
    """As `sb3.train` takes them, and nothing is added to them; None for SB3's defaults with what `usual` adds."""
    penalty: float | None = None
    """Cost of doubt in the last round; see `incontext.world.Conduct`. None for 1, and for `incontext.plan.PRICE` where
    every step is planned."""
    curiosity: float = 10.0
    """What doubt pays in rounds before the last, in typical rewards of the data: more than it costs to go there. Where
    moving is all that has been paid for yet, 1 keeps agents at rest."""
    anywhere: float = 0.5
    """Share of imagined episodes that begin in any state of the data, not at a start."""
    margin: float | None = None
    """Cut imagined episodes that leave the range of the data by more than this share of it."""
    max_std: float | None = None
    """Cut imagined episodes where doubt is above this."""
    sticky: float = 0.9
    """Probability with which a random action is repeated in the first round: it then goes further."""
    noise: float = 0.2
    """Share of random actions while an agent collects."""
    episodes: int = 20
    """Real episodes measured in the end."""
    seed: int = 0


class Imagined(NamedTuple):
    """What came of it.

    returns, lengths: [episodes] of the final policy in the real task.
    agent: an SB3 model, or a planner.  simulator: what it learned in, with all real transitions as its `data`.
    cpu_seconds: of collecting, conditioning and training; measuring left out.
    """

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    agent: Any
    simulator: Simulator
    record: Record
    cpu_seconds: float

    def price(self) -> str:
        """Real steps and time, in words."""
        return (
            f"real transitions spent: {len(self.simulator.data):,} to learn, {int(self.lengths.sum()):,} to measure; "
            f"{self.cpu_seconds:.1f} CPU seconds"
        )


def imagine(target: str, plan: Plan, model: WorldModel, say: Say = print) -> Imagined:
    """A policy for a real task from `plan.rounds * plan.transitions` of its steps, measured there once, at the end."""
    begun = time.process_time()
    with one_thread():
        data = Transitions.collect(target, plan.transitions, seed=plan.seed, sticky=plan.sticky)
        data = replace(data, horizon=sb3.time_limit(target))
        for number in range(1, plan.rounds):
            agent = practised(model.condition(data), plan, plan.seed + number, -plan.curiosity)
            act = wandering(agent, data, plan.noise, plan.seed + number)
            more = Transitions.collect(target, plan.transitions, act, plan.seed + number)
            data = data.join(more)
            say(f"round {number}: {len(data):,} real transitions, {int(data.start.sum())} episodes, mean reward of the "
                f"last {len(more):,}: {more.reward.mean():.3g}")  # fmt: skip
        simulator = model.condition(data)
        usual = PRICE if plan.algorithm == "cem" else 1.0
        agent = practised(simulator, plan, plan.seed, usual if plan.penalty is None else plan.penalty)
        cpu_seconds = time.process_time() - begun
        record = Record(agent)
        returns, lengths = sb3.measure(record, target, plan.episodes, plan.seed + 1, shown=Numbers)
    return Imagined(returns, lengths, agent, simulator, record, cpu_seconds)


def practised(simulator: Simulator, plan: Plan, seed: int, penalty: float) -> Any:
    """An agent trained in a simulator, or a planner in it."""
    conduct: dict[str, Any] = {"penalty": penalty, "margin": plan.margin, "max_std": plan.max_std}
    if plan.algorithm == "cem":
        return Planner(simulator, seed=seed, **conduct)
    conduct["anywhere"] = plan.anywhere
    horizon = simulator.data.real_horizon
    if horizon is None:
        raise ValueError(f"{simulator.data.task} has no time limit; register it with max_episode_steps")
    if plan.algorithm == "evolve":
        return evolved(simulator, plan, seed, horizon, conduct)
    batch = simulator.make_vec(plan.n_envs, **conduct)
    settings = plan.hyperparameters
    if settings is None:
        settings = usual(plan.algorithm, plan.n_envs)
    return sb3.train(plan.algorithm, batch, plan.steps or STEPS, seed=seed, hyperparameters=settings)


def usual(algorithm: str, n_envs: int) -> dict[str, Any]:
    """What SB3's defaults lack in a batch of imagined episodes.

    Who learns from a replay buffer makes an update for every imagined step, however many are made at a time; statistics
    that move would leave its older steps behind. The others see normalised observations and rewards, for numbers of any
    size, and PPO's updates come after as many steps of all episodes together as of one by default.
    """
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

    if issubclass(sb3.algorithm(algorithm), OffPolicyAlgorithm):
        return {"gradient_steps": -1}
    settings: dict[str, Any] = {"normalize": True}
    if algorithm.lower() == "ppo":
        settings["n_steps"] = max(1, ROLLOUT // n_envs)
    return settings


def evolved(simulator: Simulator, plan: Plan, seed: int, horizon: int, conduct: dict[str, Any]) -> Any:
    """An evolved policy as SB3's PPO, which can be saved, loaded and trained further like any other.

    To look around takes less of a search than to be good: from where episodes start, as far as real steps will go.
    Means follow, and an end is where it is as likely as where the data end: returns are compared, so without luck.
    """
    from stable_baselines3 import PPO

    steps = plan.steps or EVOLVED * STEPS
    if conduct["penalty"] < 0:
        steps, horizon, conduct = steps // LOOKING, min(horizon, plan.transitions), {**conduct, "anywhere": 0.0}
    net = evolve(simulator.world(horizon, sampled=False, threshold=cut(simulator), **conduct), steps, seed)
    batch = sb3.SynthVecEnv(simulator.make_vec(1))
    shape = {"net_arch": [net["w0"].shape[2]]}
    agent: Any = PPO("MlpPolicy", batch, seed=seed, device="cpu", policy_kwargs=shape)
    box = not simulator.slots.discrete
    sharp = 1.0 if box else SHARP
    leaves = {
        "mlp_extractor.policy_net.0.weight": net["w0"][0].T, "mlp_extractor.policy_net.0.bias": net["b0"][0, 0],
        "action_net.weight": sharp * net["w1"][0].T, "action_net.bias": sharp * net["b1"][0, 0],
    }  # fmt: skip
    if box:
        leaves["log_std"] = (simulator.slots.half / SHARP).log()
    agent.policy.load_state_dict({**agent.policy.state_dict(), **leaves})
    agent.num_timesteps = steps
    return agent


def wandering(agent: Any, data: Transitions, noise: float, seed: int) -> Callable[[npt.NDArray[np.float32]], Any]:
    """The agent's own policy, undecided where it is, with a share of random actions: [O] -> one action."""
    chance, action = np.random.default_rng(seed), deepcopy(data.spaces.action)
    action.seed(seed)
    seen = sb3.normaliser(agent)

    def act(observation: npt.NDArray[np.float32]) -> Any:
        if chance.random() < noise:
            return action.sample()
        return agent.predict(seen(observation), deterministic=False)[0]

    return act


class Record:
    """An agent that remembers what it saw and did, so that measuring it is enough to draw it."""

    def __init__(self, agent: Any) -> None:
        self.agent, self.observation_space = agent, agent.observation_space
        self.seen: list[npt.NDArray[np.float32]] = []
        self.done: list[npt.NDArray[Any]] = []
        self._seen_as = sb3.normaliser(agent)

    def predict(
        self, observation: npt.NDArray[Any], state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[npt.NDArray[Any], Any]:
        """Actions for observations [N, O], and what recurrent agents carry on; begun episodes are those of [N] bool."""
        action, state = self.agent.predict(
            self._seen_as(observation), state=state, episode_start=episode_start, deterministic=deterministic
        )
        self.seen.append(np.array(observation, dtype=np.float32))
        self.done.append(np.array(action))
        return action, state


def keep(found: Imagined, plan: Plan, folder: Path) -> Path:
    """Save the transitions, and the agent where there is one to save."""
    found.simulator.data.save(folder / "transitions.npz")
    if not isinstance(found.agent, Planner):
        facts = {"target": found.simulator.data.task, "seed": plan.seed, "cpu_seconds": round(found.cpu_seconds, 2)}
        sb3.save_agent(
            found.agent,
            folder / "agent",
            env_id="InContext-v0",
            scores=statistics(found.returns),
            hyperparameters=plan.hyperparameters,
            facts=facts,
        )
    return folder


def draw(path: Path, found: Imagined, seed: int = 0) -> Path:
    """Draw the first measured episode beside what the simulator makes of its first state and its actions."""
    length = int(found.lengths[0])
    real = np.stack([seen[0] for seen in found.record.seen[:length]])  # [T, O]
    actions = np.stack([done[0] for done in found.record.done[:length]])
    generator = torch.Generator().manual_seed(seed)
    state, walks = torch.from_numpy(real[:1]).repeat(FAN, 1), []
    for action in actions:
        walks.append(state.numpy())
        repeated = torch.from_numpy(np.broadcast_to(action, (FAN, *action.shape)).copy())
        following = found.simulator.foresee(state, repeated).sample_next_obs(generator)
        state = torch.where(following.isfinite().all(-1, keepdim=True), following, state)  # some run away
    fan = np.quantile(np.stack(walks), (0.05, 0.5, 0.95), axis=1)  # [3, T, O]
    names = [f"observation[{i}]" for i in range(real.shape[1])]
    known = found.simulator.data
    title = f"{known.task}: the same actions from the same start, {len(known):,} transitions known"
    rollouts(
        path,
        {name: real[:, i] for i, name in enumerate(names)},
        {name: fan[:, :, i] for i, name in enumerate(names)},
        title,
    )
    return path


def stand_in(data: Transitions, model: WorldModel, target: str | None = None) -> ImaginedWorld:
    """A world model's simulation of the task, as what synthetic environments are evolved for.

    Means follow, and an end is where it is as likely as where the data end; episodes that leave the range of the data
    stand still. Raises ValueError where the transitions show the task in another way than agents of synthetic
    environments see it.
    """
    name = target or data.task
    if name is None:
        raise ValueError("the transitions do not name their task: give its id")
    (seen,), (shown,) = (side.observation.shape for side in (worlds.real(name).spaces, data.spaces))
    if seen != shown:
        raise ValueError(
            f"agents of synthetic environments see {name} as {seen} numbers, and the transitions show {shown}: collect "
            "them from the task in gymnasium.wrappers.FlattenObservation"
        )
    simulator = model.condition(data)
    world = simulator.world(sampled=False, threshold=cut(simulator), penalty=1.0, margin=1.0)
    world.name = name
    return world


def thrifty(target: str, form: Any) -> EnvRecipe:
    """`meta.default_recipe` for a stand-in, whose steps are dearer than those of a few equations: no exam.

    Its search ends with policies that PPO and A2C follow, and DQN less so. In the bandit form of Discrete actions a
    short inner stage mends that: DQN's agents are trained inside, and measured in imagination.
    """
    recipe = meta.default_recipe(target, form)
    search = Search(recipe.greedy.search.strategy, recipe.greedy.search.options, population=32, generations=25)
    greedy = replace(recipe.greedy, search=search, episodes=4, stretch=1.0)
    inner = recipe.inner
    if form == "bandit" and isinstance(worlds.real(target).spaces.action, spaces.Discrete):
        search = Search("snes", {"sigma": 0.03}, population=16, generations=6)
        inner = InnerStage(search=search, loops=(Inner("dqn", 6000),), agents=2, episodes=1)
    states = replace(recipe.states, episodes=16)
    return replace(recipe, greedy=greedy, states=states, inner=inner, exam=Exam(agents=0))
