"""Synthetic environments in Stable-Baselines3: exact ends, training, agents on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env as make_real
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from synthenv import agents
from synthenv.agents import load_agent, save_agent
from synthenv.gym import SynthVectorEnv
from synthenv.imagine import Record
from synthenv.sb3 import GymVectorToSB3, SynthVecEnv, evaluate, make_vec_env, measure, normaliser, time_limit, train
from tests.conftest import HORIZON, random_artifact

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 32, "batch_size": 32, "n_epochs": 2},
    "a2c": {"policy_kwargs": {"net_arch": [16], "activation_fn": torch.nn.ReLU}},
    "dqn": {"learning_starts": 10, "buffer_size": 1000, "policy_kwargs": {"net_arch": [16, 16]}},
    "trpo": {"n_steps": 32, "batch_size": 32},
    "qrdqn": {"learning_starts": 10, "buffer_size": 1000},
}
ZOO = {
    "normalize": True,
    "use_sde": True,
    "sde_sample_freq": 4,
    "learning_rate": "lin_7e-4",
    "policy_kwargs": {"log_std_init": -2, "ortho_init": False, "activation_fn": "nn.ReLU"},
}
"""What rl_zoo3 asks for in continuous tasks."""
REPLAY = {"learning_starts": 20, "buffer_size": 1000, "batch_size": 16, "policy_kwargs": {"net_arch": [16]}}
CONTINUOUS: dict[str, dict[str, Any]] = {
    "ppo": {**SMALL["ppo"], **ZOO},
    "a2c": {**ZOO, "normalize": {"norm_reward": False, "clip_obs": 5.0}},
    "sac": REPLAY,
    "td3": {**REPLAY, "train_freq": [1, "episode"]},
    "ddpg": {**REPLAY, "normalize": {"norm_obs": False}},
    "tqc": {**REPLAY, "ent_coef": "auto_0.1"},
    "ars": {"policy": "LinearPolicy", "n_delta": 2},
}
CONTRIB = ("ars", "qrdqn", "tqc", "trpo")


def continuous(tmp_path: Path, form: str = "mdp") -> Path:
    """A small environment with Pendulum's actions."""
    return random_artifact(tmp_path / "Continuous-v0", form, target="Pendulum-v1")


class Constant:
    """An agent that always pushes one way."""

    def __init__(self, action: Any) -> None:
        self.action = action

    def predict(self, observation: Any, **_: Any) -> tuple[Any, None]:
        return np.array([self.action] * len(observation)), None


# Environments


def test_any_gymnasium_batch_looks_like_sb3s_own() -> None:
    """Against DummyVecEnv with Monitor, value by value."""
    batch = gymnasium.make_vec(
        "CartPole-v1", 4, "sync", vector_kwargs={"autoreset_mode": "SameStep"}, max_episode_steps=12
    )
    ours, theirs = GymVectorToSB3(batch), make_real("CartPole-v1", 4, env_kwargs={"max_episode_steps": 12})
    for env in (ours, theirs):
        env.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    random, causes = np.random.default_rng(0), set()
    for _ in range(60):
        action = random.integers(2, size=4)
        (observation, reward, done, infos), expected = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        np.testing.assert_array_equal(reward, expected[1])
        np.testing.assert_array_equal(done, expected[2])
        for info, wanted, ended in zip(infos, expected[3], done, strict=True):
            if not ended:
                assert info == {}
                continue
            np.testing.assert_array_equal(info["terminal_observation"], wanted["terminal_observation"])
            assert info["TimeLimit.truncated"] is bool(wanted["TimeLimit.truncated"])
            assert {k: info["episode"][k] for k in "rl"} == {k: wanted["episode"][k] for k in "rl"}
            assert info["episode"]["t"] >= 0
            causes.add(info["TimeLimit.truncated"])
    assert causes == {True, False}


def test_only_batches_that_restart_within_the_step_fit() -> None:
    with pytest.raises(ValueError, match=r"expected a vector environment with autoreset_mode SAME_STEP, got .*NEXT"):
        GymVectorToSB3(gymnasium.make_vec("CartPole-v1", 2))


def test_a_synthetic_batch_gives_what_gymnasium_gets(any_folder: Path) -> None:
    env, witness = make_vec_env(any_folder, 8, seed=4), SynthVectorEnv(any_folder, 8)
    general = GymVectorToSB3(SynthVectorEnv(any_folder, 8))
    general.seed(4)
    np.testing.assert_array_equal(env.reset(), witness.reset(seed=4)[0])
    general.reset()
    witness.action_space.seed(0)
    for _ in range(3 * HORIZON):
        action = witness.action_space.sample()
        observation, reward, done, infos = env.step(action)
        wanted, pay, terminated, truncated, facts = witness.step(action)
        np.testing.assert_array_equal(observation, wanted)
        np.testing.assert_array_equal(reward, pay)
        np.testing.assert_array_equal(done, terminated | truncated)
        for i, info in enumerate(infos):
            assert bool(info) == done[i]
            if info:
                assert info["TimeLimit.truncated"] is bool(truncated[i])
                np.testing.assert_array_equal(info["terminal_observation"], facts["final_obs"][i])
        twin = general.step(action)
        np.testing.assert_array_equal(observation, twin[0])
        assert [info.get("TimeLimit.truncated") for info in infos] == [i.get("TimeLimit.truncated") for i in twin[3]]


def test_a_delay_reaches_the_batch(mdp_folder: Path) -> None:
    env, plain = make_vec_env(mdp_folder, 8, seed=4, delay=1.0, discount=0.9), make_vec_env(mdp_folder, 8, seed=4)
    witness = SynthVectorEnv(mdp_folder, 8, delay=1.0, discount=0.9)
    np.testing.assert_array_equal(env.reset(), witness.reset(seed=4)[0])
    plain.reset()
    witness.action_space.seed(0)
    for _ in range(HORIZON):
        action = witness.action_space.sample()
        reward = env.step(action)[1]
        np.testing.assert_array_equal(reward, witness.step(action)[1])
        assert not np.allclose(reward, plain.step(action)[1])


def test_sb3s_own_tools_take_the_batch(mdp_folder: Path) -> None:
    env = make_vec_env(mdp_folder, 4, seed=0)
    assert env.env_is_wrapped(Monitor, indices=0) == [True]
    assert env.get_attr("max_episode_steps", [0, 1]) == [HORIZON] * 2
    env.set_attr("max_episode_steps", 3)
    assert env.get_attr("max_episode_steps") == [3] * 4
    returns, lengths = evaluate_policy(Constant(0), env, 8, return_episode_rewards=True)  # type: ignore[arg-type]
    assert len(returns) == 8
    assert max(lengths) <= 3
    PPO("MlpPolicy", VecNormalize(env), n_steps=8, batch_size=8, n_epochs=1).learn(64)
    env.close()


def test_pictures_are_tiled(mdp_folder: Path) -> None:
    pytest.importorskip("pygame")
    env = make_vec_env(mdp_folder, 4, render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert picture is not None
    assert picture.shape == (800, 1200, 3)
    assert len(env.env_method("render", indices=[0])) == 1
    env.close()


# Training and measuring


def test_training_repeats_under_a_seed(artifact_folder: Path) -> None:
    twins = [train("ppo", artifact_folder, 64, seed=1, hyperparameters=SMALL["ppo"]) for _ in range(2)]
    assert isinstance(twins[0].get_env(), SynthVecEnv)
    for one, two in zip(twins[0].policy.parameters(), twins[1].policy.parameters(), strict=True):
        assert torch.equal(one, two)


def test_training_knows_ids_and_real_tasks(registered_id: str, tmp_path: Path) -> None:
    ours = train("a2c", f"synthenv:{registered_id}", 20, seed=0, n_envs=2, tensorboard=tmp_path, progress=False)
    assert isinstance(ours.get_env(), SynthVecEnv)
    assert ours.num_timesteps == 20
    assert list(tmp_path.rglob("events.out*"))
    real = train("dqn", "CartPole-v1", 20, seed=0, hyperparameters={**SMALL["dqn"], "policy": "MlpPolicy"})
    assert real.observation_space == gymnasium.make("CartPole-v1").observation_space


@pytest.mark.parametrize("form", ["bandit", "mdp"])
@pytest.mark.parametrize("algo", CONTINUOUS)
def test_continuous_actions_are_learned_from(algo: str, form: str, tmp_path: Path) -> None:
    if algo in CONTRIB:
        pytest.importorskip("sb3_contrib")
    n_envs = 1 if algo in ("td3", "ars") else 2
    model = train(algo, continuous(tmp_path, form), 200, seed=0, hyperparameters=CONTINUOUS[algo], n_envs=n_envs)
    assert model.num_timesteps >= 200
    assert evaluate(model, "Pendulum-v1", episodes=2).shape == (2,)


def test_what_an_algorithm_cannot_do_is_said(mdp_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"SAC cannot be trained in .*mdp-v0: .*Box.* as action spaces"):
        train("sac", mdp_folder, 10, seed=0)


def test_schedules_fall_to_nothing(mdp_folder: Path) -> None:
    settings = {**SMALL["ppo"], "learning_rate": "lin_0.001", "clip_range": "lin_0.2"}
    model: Any = train("ppo", mdp_folder, 64, seed=0, hyperparameters=settings)
    for left in (1.0, 0.25, 0.0):
        assert model.lr_schedule(left) == pytest.approx(0.001 * left)
        assert model.clip_range(left) == pytest.approx(0.2 * left)


def test_normalised_training_is_sb3s_own(mdp_folder: Path) -> None:
    """Against a VecNormalize put around the batch by hand."""
    settings = {**SMALL["ppo"], "gamma": 0.9}
    ours = train("ppo", mdp_folder, 64, seed=1, hyperparameters={**settings, "normalize": {"clip_obs": 2.0}}, n_envs=2)
    venv = VecNormalize(make_vec_env(mdp_folder, 2, seed=1), gamma=0.9, clip_obs=2.0)
    theirs = PPO("MlpPolicy", venv, seed=1, device="cpu", **settings).learn(64)
    for one, two in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(one, two)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_array_equal(normaliser(ours)(observations), venv.normalize_obs(observations))


def test_evaluation_shows_an_agent_what_it_was_trained_to_see(tmp_path: Path) -> None:
    """Against SB3's evaluate_policy in the real task under the same statistics."""
    model = train("ppo", continuous(tmp_path), 200, seed=0, hyperparameters=CONTINUOUS["ppo"])
    statistics = model.get_vec_normalize_env()
    assert statistics is not None
    before = statistics.obs_rms.mean.copy()  # type: ignore[union-attr]
    venv = VecNormalize(make_real("Pendulum-v1", 3, seed=5), training=False, norm_reward=False)
    venv.obs_rms = statistics.obs_rms
    expected, _ = evaluate_policy(model, venv, 3, return_episode_rewards=True)
    returns = evaluate(model, "Pendulum-v1", episodes=3, seed=5)
    np.testing.assert_allclose(returns, expected, rtol=1e-4)
    np.testing.assert_array_equal(statistics.obs_rms.mean, before)  # type: ignore[union-attr]


def test_an_unknown_algorithm_gets_a_hint() -> None:
    with pytest.raises(ValueError, match="no algorithm is called 'pp'; did you mean 'ppo'"):
        train("pp", "CartPole-v1", 1, seed=0)


def test_evaluation_counts_whole_first_episodes() -> None:
    returns = evaluate(Constant(1), "CartPole-v1", episodes=20, seed=0)
    assert returns.shape == (20,)
    assert set(returns) <= set(range(8, 12)), "a pole pushed one way falls after 8 to 11 steps"
    np.testing.assert_array_equal(returns, evaluate(Constant(1), "CartPole-v1", episodes=20, seed=0))
    limited = evaluate(Constant(0), "MountainCar-v0", episodes=2)
    np.testing.assert_array_equal(limited, -200)
    still = evaluate(Constant([0.0]), "MountainCarContinuous-v0", episodes=2)
    np.testing.assert_array_equal(still, 0)


class Counting:
    """A recurrent agent: it remembers how many steps ago each episode began, and pushes to and fro."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,))

    def __init__(self) -> None:
        self.ages: list[Any] = []

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        before = np.full(len(episode_start), 99) if state is None else state
        age = np.where(episode_start, 0, before + 1)
        self.ages.append(age)
        return (age if observation.ndim > 1 else age[0]) % 2, age


@pytest.mark.parametrize("recorded", [False, True])
def test_a_recurrent_agent_keeps_its_memory(recorded: bool) -> None:
    agent = Counting()
    _, lengths = measure(Record(agent) if recorded else agent, "CartPole-v1", episodes=5)
    assert lengths.min() > 11, "alternate pushes balance longer than one way"
    for episode, length in enumerate(lengths):
        assert [age[episode] for age in agent.ages[:length]] == list(range(length))
    assert any(age[lengths.argmin()] < step for step, age in enumerate(agent.ages)), "it knows of later episodes"


def test_a_recurrent_agent_is_measured_as_sb3_does() -> None:
    pytest.importorskip("sb3_contrib")
    settings = {"policy": "MlpLstmPolicy", "n_steps": 16, "policy_kwargs": {"lstm_hidden_size": 8}}
    model = train("recurrentppo", "CartPole-v1", 32, seed=0, hyperparameters=settings)
    for leaf in model.policy.parameters():
        leaf.data *= 1000  # so that what it remembers changes what it does
    venv = make_real("CartPole-v1", 1, seed=7)
    expected, _ = evaluate_policy(model, venv, 1, return_episode_rewards=True)
    assert evaluate(model, "CartPole-v1", 1, seed=7).tolist() == expected


@pytest.mark.parametrize(("shape", "first"), [((16,), np.eye(16)[0]), ((1,), np.zeros(1))])
def test_a_task_of_whole_numbers_is_shown_as_in_training(shape: tuple[int], first: Any) -> None:
    """One-hot, or as the number that it is."""

    class Reader(Constant):
        observation_space = gymnasium.spaces.Box(0, 15, shape)
        seen: ClassVar[list[Any]] = []

        def predict(self, observation: Any, **options: Any) -> tuple[Any, None]:
            self.seen.append(observation)
            return super().predict(observation, **options)

    np.testing.assert_array_equal(evaluate(Reader(0), "FrozenLake-v1", episodes=3), 0)
    np.testing.assert_array_equal(Reader.seen[0], [first] * 3)


def test_a_task_without_end_is_ended() -> None:
    np.testing.assert_array_equal(evaluate(Constant(0), "CliffWalking-v1", episodes=2), -200)


# Agents on disk


@pytest.mark.parametrize(
    ("algo", "settings", "target"),
    [
        *((algo, settings, "CartPole-v1") for algo, settings in SMALL.items()),
        *((algo, settings, "Pendulum-v1") for algo, settings in CONTINUOUS.items()),
    ],
)
def test_a_loaded_agent_predicts_as_the_saved_one(
    algo: str, settings: dict[str, Any], target: str, tmp_path: Path
) -> None:
    if algo in CONTRIB:
        pytest.importorskip("sb3_contrib")
    place = random_artifact(tmp_path / "place", "mdp", target=target)
    model = train(algo, place, 64, seed=0, hyperparameters=settings)
    folder = save_agent(
        model,
        tmp_path / "agent",
        env_id="Some-v0",
        scores={"mean": 1.0},
        hyperparameters=settings,
        facts={"seed": 0},
    )
    loaded = load_agent(folder)
    assert type(loaded) is type(model)
    assert loaded.observation_space == model.observation_space
    shape = (200, *model.observation_space.shape)  # type: ignore[misc]
    observations = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected, _ = model.predict(normaliser(model)(observations), deterministic=True)
    got, _ = loaded.predict(normaliser(loaded)(observations), deterministic=True)
    np.testing.assert_array_equal(got, expected)
    assert {path.name for path in folder.iterdir()} == {"policy.safetensors", "config.json", "card.json"}
    card = json.loads((folder / "card.json").read_text())
    assert (card["algorithm"], card["env_id"], card["scores"]) == (type(model).__name__, "Some-v0", {"mean": 1.0})
    assert card.get("normalize", False) == (algo in ("ppo", "a2c") and target == "Pendulum-v1")
    for key in settings.keys() - {"policy", "policy_kwargs", "normalize", "learning_rate", "clip_range"}:
        assert getattr(loaded, key) == getattr(model, key)
    assert loaded.lr_schedule(0.5) == model.lr_schedule(0.5)


def test_an_agent_goes_on_in_the_real_task(mdp_folder: Path, tmp_path: Path) -> None:
    model = train("ppo", mdp_folder, 64, seed=0, hyperparameters=SMALL["ppo"])
    with pytest.raises(ValueError, match="spaces do not match"):
        model.set_env(make_real("CartPole-v1"))
    save_agent(model, tmp_path / "agent", env_id="Some-v0", scores={}, hyperparameters=SMALL["ppo"])
    going_on = load_agent(tmp_path / "agent", env="CartPole-v1")
    assert np.isinf(going_on.observation_space.high).any()  # type: ignore[attr-defined]
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        going_on.predict(observations, deterministic=True)[0], model.predict(observations, deterministic=True)[0]
    )
    going_on.learn(64)
    assert going_on.num_timesteps >= 64
    save_agent(going_on, tmp_path / "later", env_id="CartPole-v1", scores={})
    assert load_agent(tmp_path / "later").observation_space == going_on.observation_space


def test_a_normalised_agent_goes_on_with_its_statistics(tmp_path: Path) -> None:
    settings = {**CONTINUOUS["sac"], "normalize": {"clip_obs": 3.0}}
    model = train("sac", continuous(tmp_path), 64, seed=0, hyperparameters=settings)
    folder = save_agent(model, tmp_path / "agent", env_id="Some-v0", scores={}, hyperparameters=settings)
    for env in ("Pendulum-v1", gymnasium.make("Pendulum-v1"), make_real("Pendulum-v1")):
        going_on: Any = load_agent(folder, env=env)
        then, now = (agent.get_vec_normalize_env() for agent in (model, going_on))
        assert now.clip_obs == 3.0
        assert now.training
        np.testing.assert_array_equal(now.obs_rms.mean, then.obs_rms.mean)  # type: ignore[union-attr]
        assert going_on.log_ent_coef == model.log_ent_coef != 0  # type: ignore[attr-defined]
        going_on.learn(30)
        assert now.obs_rms.count == pytest.approx(then.obs_rms.count + 31)  # type: ignore[union-attr]


def test_a_doctored_agent_is_refused(mdp_folder: Path, tmp_path: Path) -> None:
    model = train("a2c", mdp_folder, 10, seed=0)
    folder = save_agent(model, tmp_path / "agent", env_id="Some-v0", scores={})
    path, card = folder / "config.json", folder / "card.json"
    text = path.read_text()
    path.write_text(text.replace("MlpPolicy", "CnnPolicy"))
    with pytest.raises(ValueError, match=r"config\.json: card\.json says its sha256"):
        load_agent(folder)
    facts = json.loads(card.read_text())
    del facts["config_sha256"]  # older agents lack it
    card.write_text(json.dumps(facts))
    for name in ("os.system", "subprocess.Popen", "torch.nn.relu"):
        path.write_text(text.replace("stable_baselines3.a2c.a2c.A2C", name))
        with pytest.raises(ValueError, match=f"names {name}; expected a class of torch"):
            load_agent(folder)
    path.write_text(text)
    weights = folder / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"policy\.safetensors: card\.json says its sha256"):
        load_agent(folder)


def test_what_cannot_be_written_is_said(mdp_folder: Path, tmp_path: Path) -> None:
    class Own(A2C.policy_aliases["MlpPolicy"]):  # type: ignore[misc]
        """A policy that no file could rebuild."""

    model = A2C(Own, make_vec_env(mdp_folder))
    with pytest.raises(ValueError, match="expected one of MlpPolicy"):
        save_agent(model, tmp_path / "agent", env_id="Some-v0", scores={})
    noise = NormalActionNoise(np.zeros(1), np.ones(1))
    settings = {**CONTINUOUS["td3"], "action_noise": noise}
    noisy = train("td3", continuous(tmp_path), 10, seed=0, hyperparameters=settings)
    with pytest.raises(ValueError, match=r"expected numbers, words, lists, .* got NormalActionNoise"):
        save_agent(noisy, tmp_path / "agent", env_id="Some-v0", scores={}, hyperparameters=settings)
    with pytest.raises(ValueError, match="Box or Discrete"):
        agents._space_facts(gymnasium.spaces.Dict())


def test_a_task_of_a_module_that_nobody_has_imported_yet_has_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for an agent that was trained in the task's environment and is measured in the task for the first time."""
    line = "gymnasium.register('Fresh-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=7)"
    (tmp_path / "somebodys_task.py").write_text(f"import gymnasium\n\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert time_limit("somebodys_task:Fresh-v0") == 7
    assert evaluate(PPO("MlpPolicy", "CartPole-v1", device="cpu"), "somebodys_task:Fresh-v0", 3, 0).max() <= 7
