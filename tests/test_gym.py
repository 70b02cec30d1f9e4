"""Synthetic environments as Gymnasium environments: contracts, exact restarts, errors."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics

from synthenv import artifact
from synthenv import gym as synth
from synthenv.gym import SynthEnv, SynthVectorEnv, synthetic
from synthenv.players import TorchPlayer
from synthenv.render import Renderer
from tests.conftest import HORIZON, random_artifact


def play(env: Any, actions: list[int]) -> list[Any]:
    """Everything one single environment returns, restarting at each end."""
    seen = []
    for action in actions:
        step = env.step(action)
        seen.append(step)
        if step[2] or step[3]:
            seen.append(env.reset())
    return seen


def play_batch(env: SynthVectorEnv, steps: int, seed: int = 0) -> list[Any]:
    """Everything a batch returns, from a seeded start under seeded random actions."""
    random = np.random.default_rng(seed)
    return [env.reset(seed=seed), *(env.step(random.integers(2, size=env.num_envs)) for _ in range(steps))]


def first_end(env: Any) -> dict[str, Any]:
    """The infos of the first step that ends an episode of a batch."""
    env.reset(seed=0)
    infos: dict[str, Any] = {}
    while not infos:
        *_, infos = env.step(np.zeros(env.num_envs, dtype=int))
    return infos


# One environment


def test_check_env_is_content(registered_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(registered_id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="pygame|pkg_resources")
        check_env(env.unwrapped)


def test_same_seed_same_episodes(artifact_folder: Path) -> None:
    one, two, other = SynthEnv(artifact_folder), SynthEnv(artifact_folder), SynthEnv(artifact_folder)
    two.reset(seed=9)
    firsts = [one.reset(seed=5), two.reset(seed=5), other.reset(seed=6)]
    seen = [play(env, [0, 1, 1, 0] * 100) for env in (one, two, other)]
    assert data_equivalence(firsts[0], firsts[1], exact=True)
    assert data_equivalence(seen[0], seen[1], exact=True)
    assert not data_equivalence(firsts[0], firsts[2], exact=True)


def test_forms_end_as_they_should(artifact_folder: Path) -> None:
    form = artifact.load(artifact_folder).recipe.form
    env = SynthEnv(artifact_folder)
    env.reset(seed=0)
    for observation, *rest in (seen for seen in play(env, [0, 1] * 200)):
        assert env.observation_space.contains(observation)
        if len(rest) == 4:
            reward, terminated, truncated, info = rest
            assert (truncated, info) == (False, {})
            assert type(reward) is float
            assert type(terminated) is bool
            assert terminated or form == "mdp"
            assert reward <= 0 or form == "bandit"


def test_make_adds_the_time_limit_to_the_multi_step_form_only(registered_id: str) -> None:
    env, lengths = gymnasium.make(registered_id), []
    for seed in range(20):
        env.reset(seed=seed)
        length, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            *_, terminated, truncated, _ = env.step(0)
            length += 1
        assert truncated == (length == HORIZON and not terminated)
        lengths.append(length)
    assert max(lengths) == (HORIZON if "mdp" in registered_id else 1)


def test_registered_ids_take_a_prefix_and_survive_json(registered_id: str) -> None:
    spec = gymnasium.make(f"synthenv:{registered_id}").spec
    assert spec is not None
    again = gymnasium.envs.registration.EnvSpec.from_json(spec.to_json())
    assert again == spec
    assert gymnasium.make(again).reset(seed=0)[0].shape == (4,)


@pytest.mark.parametrize("action", [2, -1, 0.0, float("nan"), np.array([0, 1]), None, "left"])
def test_an_impossible_action_is_refused(bandit_folder: Path, action: Any) -> None:
    env = SynthEnv(bandit_folder)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected an action of Discrete\(2\), got .*sample"):
        env.step(action)


def test_a_step_needs_a_running_episode(bandit_folder: Path) -> None:
    env = SynthEnv(bandit_folder)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)
    env.reset()
    env.step(0)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)


def test_an_unknown_artifact_and_foreign_weights_are_refused(bandit_folder: Path) -> None:
    with pytest.raises(ValueError, match="no environment is called 'Synth-CartPol-v0'"):
        SynthEnv("Synth-CartPol-v0")
    loaded = artifact.load(bandit_folder)
    with pytest.raises(ValueError, match=r"Random-bandit-v0 .*shaped"):
        synthetic(loaded.recipe, {**loaded.weights, "reward.w0": torch.zeros(1, 4, 9)})


def test_global_randomness_is_untouched(artifact_folder: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    env, batch = SynthEnv(artifact_folder), SynthVectorEnv(artifact_folder, 3)
    env.reset()
    env.step(0)
    play_batch(batch, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


# Pictures


def test_pictures_are_the_real_tasks(mdp_folder: Path) -> None:
    pytest.importorskip("pygame")
    env, batch = SynthEnv(mdp_folder, "rgb_array"), SynthVectorEnv(mdp_folder, 2, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    picture = env.render()
    witness: Any = gymnasium.make("CartPole-v1", render_mode="rgb_array").unwrapped
    witness.reset()
    witness.state = observation
    assert np.array_equal(picture, witness.render())
    assert env.metadata["render_fps"] == 50
    batch.reset(seed=0)
    pictures = batch.render()
    assert pictures is not None
    assert [p.shape for p in pictures] == [picture.shape] * 2
    assert not np.array_equal(*pictures)
    env.close()
    batch.close()


def test_a_human_sees_every_step(mdp_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown: list[Any] = []
    monkeypatch.setattr(Renderer, "draw", lambda self, observation: shown.append(observation))
    env = SynthEnv(mdp_folder, "human")
    expected = [env.reset(seed=0)[0], env.step(1)[0]]
    np.testing.assert_array_equal(shown, expected)
    env.close()


def test_what_cannot_be_drawn_is_said(bandit_folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot draw Acrobot-v1"):
        Renderer("Acrobot-v1", "rgb_array")
    with pytest.raises(ValueError, match="expected render_mode in"):
        SynthEnv(bandit_folder, "ansi")
    for env in (SynthEnv(bandit_folder), SynthVectorEnv(bandit_folder)):
        env.reset()
        with pytest.warns(UserWarning, match="nothing to render"):
            assert env.render() is None
        env.close()


# A batch


def test_same_seed_same_batch(artifact_folder: Path) -> None:
    one, two = SynthVectorEnv(artifact_folder, 5), SynthVectorEnv(artifact_folder, 5)
    play_batch(two, 3, seed=1)
    assert data_equivalence(play_batch(one, 30), play_batch(two, 30), exact=True)
    assert not data_equivalence(play_batch(one, 1), play_batch(two, 1, seed=1), exact=True)


def test_every_observation_is_in_the_space_and_fresh(artifact_folder: Path) -> None:
    env = SynthVectorEnv(artifact_folder, 16)
    seen = [result[0] for result in play_batch(env, 50)]
    copies = [observation.copy() for observation in seen]
    play_batch(env, 20)
    for observation, copy in zip(seen, copies, strict=True):
        assert env.observation_space.contains(observation)
        np.testing.assert_array_equal(observation, copy)
    assert not any(np.shares_memory(one, two) for one, two in pairwise(seen))


def test_episodes_restart_within_the_step(mdp_folder: Path) -> None:
    """Against a witness that steps the same states without restarts."""
    folder = random_artifact(mdp_folder, "mdp", noise=0.0)
    env = SynthVectorEnv(folder, 32)
    loaded = artifact.load(folder)
    world, params = synthetic(loaded.recipe, loaded.weights)
    observation, _ = env.reset(seed=0)
    elapsed, causes = np.zeros(32, dtype=int), set()
    random = np.random.default_rng(0)
    for _ in range(60):
        action = random.integers(2, size=32)
        state = {"u": world.unit(torch.from_numpy(observation))[None]}
        _, expected = world.step(params, state, torch.from_numpy(action)[None])
        observation, reward, terminated, truncated, infos = env.step(action)
        elapsed += 1
        ended = terminated | truncated
        np.testing.assert_allclose(reward, expected.reward[0], atol=1e-4)
        np.testing.assert_array_equal(terminated, expected.terminated[0])
        np.testing.assert_array_equal(truncated, (elapsed == HORIZON) & ~terminated)
        elapsed[ended] = 0
        np.testing.assert_allclose(observation[~ended], expected.observation[0][~ended], atol=1e-4)
        for i in np.flatnonzero(ended):
            np.testing.assert_allclose(infos["final_obs"][i], expected.observation[0, i], atol=1e-4)
            assert not np.allclose(observation[i], infos["final_obs"][i])
        causes |= {"end"} if terminated.any() else set()
        causes |= {"limit"} if truncated.any() else set()
    assert causes == {"end", "limit"}


def test_infos_look_like_gymnasiums_own(artifact_folder: Path) -> None:
    theirs = SyncVectorEnv([lambda: TimeLimit(SynthEnv(artifact_folder), HORIZON)] * 6, autoreset_mode="SameStep")
    ours = SynthVectorEnv(artifact_folder, 6)
    expected, infos = (first_end(env) for env in (theirs, ours))
    assert expected.keys() == infos.keys()
    for key in ("_final_obs", "_final_info", "final_obs"):
        assert infos[key].dtype == expected[key].dtype
        assert infos[key].shape == expected[key].shape
    assert infos["final_info"] == expected["final_info"] == {}
    for row, ended in zip(infos["final_obs"], infos["_final_obs"], strict=True):
        assert (row is not None) == ended
    row = infos["final_obs"][infos["_final_obs"]][0]
    assert (row.shape, row.dtype) == ((4,), np.float32)


def test_gymnasiums_batch_wrappers_work(registered_id: str) -> None:
    env = RecordEpisodeStatistics(NormalizeReward(gymnasium.make_vec(f"synthenv:{registered_id}", num_envs=4)))
    env.reset(seed=0)
    lengths = []
    for _ in range(2 * HORIZON):
        *_, infos = env.step(env.action_space.sample())
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert max(lengths) == (HORIZON if "mdp" in registered_id else 1)


def test_a_shorter_time_limit_can_be_asked_for(mdp_folder: Path) -> None:
    env = SynthVectorEnv(mdp_folder, 4, max_episode_steps=2)
    env.reset(seed=0)
    first, second = (env.advance(np.zeros(4, dtype=int)) for _ in range(2))
    assert not first.truncated.any()
    assert (second.terminated | second.truncated)[~first.terminated].all()


def test_next_step_mode_ignores_the_action_after_an_end(mdp_folder: Path) -> None:
    env = SynthVectorEnv(mdp_folder, 8, autoreset_mode="NextStep")
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    over, elapsed, restarts = np.zeros(8, dtype=bool), np.zeros(8, dtype=int), 0
    for _ in range(40):
        observation, reward, terminated, truncated, infos = env.step(np.ones(8, dtype=int))
        assert infos == {}
        assert not (terminated | truncated)[over].any()
        assert (reward[over] == 0).all()
        elapsed = np.where(over, 0, elapsed + 1)
        np.testing.assert_array_equal(truncated, (elapsed == HORIZON) & ~terminated)
        restarts += over.sum()
        over = terminated | truncated
    assert restarts > 0


def test_disabled_mode_waits_for_the_caller(mdp_folder: Path) -> None:
    env, random = SynthVectorEnv(mdp_folder, 16, autoreset_mode=AutoresetMode.DISABLED), np.random.default_rng(0)
    env.reset(seed=0)
    over = np.zeros(16, dtype=bool)
    while not over.any():
        before, _, terminated, truncated, _ = env.step(random.integers(2, size=16))
        over = terminated | truncated
    assert not over.all()
    with pytest.raises(ResetNeeded, match="reset_mask"):
        env.step(np.zeros(16, dtype=int))
    after, _ = env.reset(options={"reset_mask": over})
    np.testing.assert_array_equal(after[~over], before[~over])
    assert (after[over] != before[over]).any(axis=1).all()
    env.step(np.zeros(16, dtype=int))
    for mask in (np.zeros(3, dtype=bool), np.zeros(16), [0] * 16):
        with pytest.raises(ValueError, match="expected a reset_mask of 16 booleans"):
            env.reset(options={"reset_mask": mask})


def test_torch_output_has_the_same_values(artifact_folder: Path) -> None:
    arrays = play_batch(SynthVectorEnv(artifact_folder, 5), 20)
    tensors = play_batch(SynthVectorEnv(artifact_folder, 5, output="torch"), 20)
    for (*got, infos), (*expected, _) in zip(tensors, arrays, strict=True):
        for tensor, array in zip(got, expected, strict=True):
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_array_equal(tensor.numpy(), array)
        if infos:
            assert infos["final_obs"].shape == (5, 4)
            assert infos["_final_obs"].dtype is torch.bool


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_torch_player_plays_the_same_batch(
    artifact_folder: Path, mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on other devices, on this one; one step where episodes restart only on demand."""
    steps = 1 if mode is AutoresetMode.DISABLED else 20
    expected = play_batch(SynthVectorEnv(artifact_folder, 5, autoreset_mode=mode), steps)
    monkeypatch.setattr(synth, "player", TorchPlayer)
    for output in ("torch", "numpy"):
        env = SynthVectorEnv(artifact_folder, 5, autoreset_mode=mode, output=output)  # type: ignore[arg-type]
        for got, wanted in zip(play_batch(env, steps), expected, strict=True):
            for value, array in zip(got[:-1], wanted[:-1], strict=True):
                assert isinstance(value, torch.Tensor if output == "torch" else np.ndarray)
                np.testing.assert_allclose(value, array, atol=1e-4)
        env.reset(seed=0)
        with pytest.raises(ValueError, match="expected 5 integers"):
            env.advance(torch.full((5,), 0.5))


@pytest.mark.parametrize(
    "actions", [np.zeros(3, dtype=int), np.zeros((4, 1), dtype=int), np.full(4, np.nan), [0, 1, 2, 0], [-1, 0, 0, 0], 1]
)
def test_impossible_actions_are_refused(bandit_folder: Path, actions: Any) -> None:
    env = SynthVectorEnv(bandit_folder, 4)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.zeros(4, dtype=int))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected 4 integers from 0 to 1, shape \(4,\), got .*sample"):
        env.step(actions)


def test_other_settings_are_checked(bandit_folder: Path) -> None:
    with pytest.raises(ValueError, match="expected output 'numpy' or 'torch', got 'jax'"):
        SynthVectorEnv(bandit_folder, output="jax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'Never'"):
        SynthVectorEnv(bandit_folder, autoreset_mode="Never")
