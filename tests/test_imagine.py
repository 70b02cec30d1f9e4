"""From a few transitions to a policy, and to a synthetic environment, by function and by command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from synthenv import cli, meta
from synthenv import imagine as room
from synthenv.artifact import load
from synthenv.imagine import Plan, draw, imagine, keep, stand_in, thrifty
from synthenv.incontext import Transitions, WorldModel, weights
from synthenv.incontext.plan import CEM, PRICE, Planner
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS
from synthenv.recipe import GreedyStage, InnerStage, Search
from synthenv.sb3 import load_agent
from synthenv.worlds.cartpole import CartPole
from tests.incontext.standin import Quadratic, context

MODEL = WorldModel(Quadratic())
LITTLE = Plan(transitions=150, steps=256, n_envs=4, hyperparameters={"n_steps": 32, "batch_size": 32}, episodes=2)


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in, where the model that ships would be loaded."""
    monkeypatch.setattr(weights, "load", lambda name=None: Quadratic())


def test_what_was_spent_is_what_was_collected(tmp_path: Path) -> None:
    said: list[str] = []
    found = imagine("CartPole-v1", dataclasses.replace(LITTLE, rounds=3), MODEL, said.append)
    assert len(found.simulator.data) == 3 * 150
    assert [line.split(":")[0] for line in said] == ["round 1", "round 2"]
    assert found.returns.shape == found.lengths.shape == (2,)
    np.testing.assert_array_equal(found.returns, found.lengths)  # CartPole pays 1 a step
    assert found.price().startswith(f"real transitions spent: 450 to learn, {found.lengths.sum()} to measure; ")
    folder = keep(found, LITTLE, tmp_path / "out")
    assert len(Transitions.load(folder / "transitions.npz")) == 450
    state = context().observation[:3]
    kept, agent = (who.predict(state, deterministic=True)[0] for who in (load_agent(folder / "agent"), found.agent))
    np.testing.assert_array_equal(kept, agent)


@pytest.mark.parametrize(
    ("algorithm", "asked", "price"), [("cem", None, PRICE), ("cem", 0.5, 0.5), ("evolve", None, 1.0), ("ppo", 0.0, 0.0)]
)
def test_what_doubt_costs(algorithm: str, asked: float | None, price: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def practised(simulator: Any, plan: Plan, seed: int, penalty: float) -> Any:
        seen.append(penalty)
        return Planner(simulator, CEM(horizon=1, candidates=1, elites=1, kept=0))

    seen: list[float] = []
    monkeypatch.setattr(room, "practised", practised)
    plan = Plan(transitions=40, rounds=2, algorithm=algorithm, penalty=asked, episodes=1)
    imagine("CartPole-v1", plan, MODEL, say=lambda _: None)
    assert seen == [-plan.curiosity, price]


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_an_evolved_policy_is_an_agent_like_others(task: str, tmp_path: Path) -> None:
    plan = Plan(transitions=150, rounds=2, algorithm="evolve", steps=100, episodes=2)
    found = imagine(task, plan, MODEL, say=lambda _: None)
    assert len(found.simulator.data) == 300
    seen = context(task).observation[:50]
    kept = load_agent(keep(found, plan, tmp_path / "out") / "agent")
    done, again = (who.predict(seen, deterministic=True)[0] for who in (found.agent, kept))
    np.testing.assert_array_equal(done, again)
    assert len(np.unique(done)) > 1


def test_evolves_a_policy_that_balances() -> None:
    """Of a log of random actions, whose episodes last 22 steps."""
    plan = Plan(transitions=300, algorithm="evolve", steps=20_000, episodes=5, sticky=0.0)
    assert imagine("CartPole-v1", plan, MODEL).returns.mean() > 100


def test_equal_seeds_imagine_equally() -> None:
    one, again = (imagine("Pendulum-v1", LITTLE, MODEL) for _ in range(2))
    np.testing.assert_array_equal(one.returns, again.returns)


def test_an_agent_of_discrete_observations_is_measured_on_numbers() -> None:
    found = imagine("CliffWalking-v1", LITTLE, MODEL)
    assert found.agent.observation_space.shape == (1,)
    assert found.record.seen[0].tolist() == [[36.0]] * 2


@pytest.mark.parametrize(("task", "algorithm"), [("Pendulum-v1", "sac"), ("CartPole-v1", "dqn")])
def test_who_replays_makes_an_update_a_step_and_sees_plain_numbers(task: str, algorithm: str) -> None:
    plan = Plan(transitions=150, algorithm=algorithm, steps=256, n_envs=8, episodes=1)
    agent = imagine(task, plan, MODEL).agent
    assert 100 <= agent._n_updates <= 256  # none in the first 100 steps
    assert agent.get_vec_normalize_env() is None


def test_who_does_not_replay_sees_normalised_numbers() -> None:
    assert room.usual("ppo", 16) == {"normalize": True, "n_steps": 128}
    assert room.usual("a2c", 16) == {"normalize": True}


def test_learns_the_task_in_imagination() -> None:
    """A few thousand imagined steps make an agent far better than chance, which is 22."""
    plan = Plan(transitions=300, steps=4096, n_envs=8, hyperparameters={"n_steps": 64, "n_epochs": 10}, episodes=5)
    assert imagine("CartPole-v1", plan, MODEL).returns.mean() > 50


def test_draws_the_measured_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    whole = room.rollouts

    def rollouts(path: Path, real: Any, imagined: Any, title: str) -> None:
        drawn.update(real=real, imagined=imagined)
        whole(path, real, imagined, title)

    monkeypatch.setattr(room, "rollouts", rollouts)
    found = imagine("CartPole-v1", dataclasses.replace(LITTLE, sticky=0.0), MODEL)
    assert draw(tmp_path / "a.png", found).stat().st_size > 10_000
    happened, (low, middle, high) = drawn["real"]["observation[0]"], drawn["imagined"]["observation[0]"]
    assert len(happened) == len(middle) == found.lengths[0]
    assert low[0] == middle[0] == high[0] == happened[0]
    assert np.abs(middle - happened).max() < 0.05  # quadratic ridge knows the cart


def test_a_task_without_time_limit_is_refused() -> None:
    data = dataclasses.replace(context("CliffWalking-v1", 50), horizon=None)
    with pytest.raises(ValueError, match="CliffWalking-v1 has no time limit"):
        room.practised(MODEL.condition(data), LITTLE, 0, 0.0)


# The bridge


def tiny(target: str, form: Any) -> Any:
    recipe = meta.default_recipe(target, form)
    search = Search(recipe.greedy.search.strategy, recipe.greedy.search.options, population=8, generations=4)
    return dataclasses.replace(
        thrifty(target, form),
        greedy=GreedyStage(search=search, episodes=2, slips=0.05),
        states=dataclasses.replace(recipe.states, episodes=4, updates=5),
        inner=InnerStage(enabled=False),
    )


def test_evolves_inside_the_world_model(tmp_path: Path) -> None:
    """No real step beyond the transitions."""
    made = meta.evolve(
        tiny("CartPole-v1", "bandit"), tmp_path / "made", run_folder=tmp_path / "run", workers=1, progress=False,
        stand_in=stand_in(context(), MODEL), spent=len(context()),
    )  # fmt: skip
    assert made.recipe.target == "CartPole-v1"
    assert made.card["real_steps"] == 400
    assert made.card["imagined_steps"] > 3200  # to look around at first
    assert made.card["exam"] == {}
    assert made.card["stages"]["greedy"]["last_fitness"] > 8  # the fewest steps that a pole takes to fall


def test_goes_on_in_the_same_imagination(tmp_path: Path) -> None:
    def made(world: Any, resume: bool = True) -> Any:
        options = {"run_folder": tmp_path / "run", "workers": 1, "progress": False, "spent": len(context())}
        recipe = tiny("CartPole-v1", "bandit")
        return meta.evolve(recipe, tmp_path / "made", stand_in=world, resume=resume, **options)

    first = made(stand_in(context(), MODEL), resume=False)
    assert made(stand_in(context(), MODEL)).card["sha256"] == first.card["sha256"]
    fewer = stand_in(context().subset(slice(300)), MODEL)
    for other, said in (
        (fewer, "one imagined from 300"),
        (CartPole(), "CartPole"),
        (None, "the real task"),
    ):
        with pytest.raises(ValueError, match=f"expected one imagined from 400 transitions.*got {said}"):
            made(other)


@pytest.mark.parametrize(
    ("target", "form", "taught"),
    [("CartPole-v1", "bandit", ["dqn"]), ("CartPole-v1", "mdp", []), ("Pendulum-v1", "bandit", [])],
)
def test_only_bandits_of_choices_are_tried_on_agents(target: str, form: str, taught: list[str]) -> None:
    recipe = thrifty(target, form)
    assert [loop.algorithm for loop in recipe.inner.loops if recipe.inner.enabled] == taught


def test_transitions_of_no_task_need_one() -> None:
    data = dataclasses.replace(context(), task=None)
    with pytest.raises(ValueError, match="do not name their task"):
        stand_in(data, MODEL)
    assert stand_in(data, MODEL, "CartPole-v1").name == "CartPole-v1"


def test_transitions_must_show_what_agents_will_see() -> None:
    task = "FrozenLake-v1"
    with pytest.raises(ValueError, match=f"see {task} as 16 numbers, and the transitions show 1: .*FlattenObservation"):
        stand_in(Transitions.collect(task, 20), MODEL)
    flat = gymnasium.wrappers.FlattenObservation(gymnasium.make(task))
    assert stand_in(Transitions.collect(flat, 20), MODEL).spaces.observation.shape == (16,)


# Commands


def synthenv(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_imagine(capsys: Any, tmp_path: Path) -> None:
    options = ("--transitions", 100, "--steps", 64, "--n-envs", 2, "--episodes", 2, "--out", tmp_path / "out")
    code, out, err = synthenv(capsys, "imagine", "CartPole-v1", "--algo", "a2c", "--rounds", 2, *options)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("round 1: 200 real transitions")
    assert lines[1].startswith("return in CartPole-v1 over 2 episodes: mean")
    assert lines[2].startswith("real transitions spent: 200 to learn")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["agent", "imagined.png", "transitions.npz"]


@pytest.mark.parametrize(
    ("preset", "asked", "plan"),
    [
        ("{n_timesteps: 96, n_envs: 3, gamma: 0.9}", (), Plan(steps=96, n_envs=3, hyperparameters={"gamma": 0.9})),
        ("{n_timesteps: 96}", ("--steps", 64, "--n-envs", 2), Plan(steps=64, n_envs=2, hyperparameters={})),
        ("{}", (), Plan(n_envs=1, hyperparameters={})),
    ],
)
def test_the_command_imagine_follows_a_preset(
    preset: str, asked: tuple[Any, ...], plan: Plan, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imagine(target: str, plan: Plan, model: WorldModel) -> None:
        seen.append(plan)
        raise ValueError("far enough")

    seen: list[Plan] = []
    monkeypatch.setattr(room, "imagine", imagine)
    path = tmp_path / "ppo.yml"
    path.write_text(f"CartPole-v1: {preset}")
    code, _, err = synthenv(capsys, "imagine", "CartPole-v1", "--hyperparameters", path, *asked)
    assert (code, err, seen) == (2, "synthenv: far enough\n", [plan])


def test_imagine_helps_with_what_is_refused(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        cli.main(["imagine", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"more than {OBSERVATIONS} numbers an observation, or more than {ACTIONS} choices or numbers" in told


def test_the_command_imagine_plans(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brief = CEM(horizon=3, candidates=4, elites=2, kept=1)
    monkeypatch.setattr(room, "Planner", lambda sim, **options: Planner(sim, brief, **options))
    monkeypatch.chdir(tmp_path)
    options = ("--transitions", 100, "--episodes", 1)
    monkeypatch.setattr(room, "keep", lambda found, plan, folder: folder)
    (tmp_path / "runs" / "imagine-CartPole-v1").mkdir(parents=True)
    code, out, err = synthenv(capsys, "imagine", "CartPole-v1", "--plan", "cem", *options)
    assert (code, err) == (0, "")
    assert "real transitions spent: 100 to learn" in out


def test_the_command_evolve_takes_a_context(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "thrifty", tiny)
    monkeypatch.chdir(tmp_path)
    path = context().save(tmp_path / "data")
    code, out, err = synthenv(capsys, "evolve", "--context", path, "--workers", 1)
    assert (code, err.splitlines()[-1:]) in ((0, []), (0, err.splitlines()[-1:]))
    assert "400 steps of CartPole-v1, " in out
    assert load(tmp_path / "runs" / "SynthBandit-CartPole-v0" / "artifact").card["real_steps"] == 400


def test_the_command_evolve_takes_a_context_of_its_task_alone(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = context().save(tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text("id: Synth-X-v0\ntarget: Acrobot-v1\n")
    for what in (("recipe.yaml",), ("--target", "Acrobot-v1")):
        code, _, err = synthenv(capsys, "evolve", *what, "--context", path)
        assert code == 2
        assert "expected transitions of Acrobot-v1, got those of CartPole-v1 in" in err
    dataclasses.replace(context(), task=None).save(tmp_path / "nameless")
    asked: list[Any] = []
    monkeypatch.setattr(meta, "evolve", lambda recipe, *_, stand_in, **__: asked.append(stand_in.name) or 1 / 0)
    for target in ("CartPole-v1", "gymnasium:CartPole-v1"):
        (tmp_path / "recipe.yaml").write_text(f"id: Synth-X-v0\ntarget: {target}\n")
        for data in (path, "nameless.npz"):
            with pytest.raises(ZeroDivisionError):
                synthenv(capsys, "evolve", "recipe.yaml", "--context", data)
    assert asked == ["CartPole-v1"] * 2 + ["gymnasium:CartPole-v1"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("imagine", "CartPole-v7"), "no task is called 'CartPole-v7'"),
        (("imagine", "CartPole-v1", "--algo", "pppo", "--transitions", 20), "no algorithm is called 'pppo'"),
        (("imagine", "GridWorld-v0"), "shows 54 numbers"),
        (("evolve", "--context", "none.npz"), "none.npz"),
        (("evolve",), "a recipe.yaml, a --target, or a --context"),
    ],
)
def test_commands_say_what_is_wrong(capsys: Any, arguments: tuple[Any, ...], said: str) -> None:
    code, out, err = synthenv(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
