"""Synthetic environments as Gymnasium environments: contracts, exact restarts, errors."""

from __future__ import annotations

import warnings
from dataclasses import replace
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
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from synthenv import artifact
from synthenv import gym as synth
from synthenv.gym import SynthEnv, SynthVectorEnv, WorldEnv, synthetic
from synthenv.players import TorchPlayer
from synthenv.render import DRAWN, Renderer
from tests.conftest import HORIZON, TARGETS, random_artifact


def play(env: Any, steps: int) -> list[Any]:
    """Everything one single environment returns under seeded random actions, restarting at each end."""
    env.action_space.seed(0)
    seen = []
    for _ in range(steps):
        step = env.step(env.action_space.sample())
        seen.append(step)
        if step[2] or step[3]:
            seen.append(env.reset())
    return seen


def play_batch(env: SynthVectorEnv, steps: int, seed: int = 0) -> list[Any]:
    """Everything a batch returns, from a seeded start under seeded random actions."""
    env.action_space.seed(seed)
    return [env.reset(seed=seed), *(env.step(env.action_space.sample()) for _ in range(steps))]


def first_end(env: Any) -> dict[str, Any]:
    """The infos of the first step that ends an episode of a batch."""
    env.reset(seed=0)
    infos: dict[str, Any] = {}
    while not infos:
        *_, infos = env.step(np.zeros(env.action_space.shape, dtype=env.action_space.dtype))
    return infos


# One environment


def test_check_env_is_content(registered_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(registered_id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="pygame|pkg_resources")
        # a box as wide as the real task's, not [-1, 1]
        warnings.filterwarnings("ignore", message="(?i).*we recommend .*symmetric and normalized")
        check_env(env.unwrapped)
        check_env_of_sb3(env.unwrapped)


def test_same_seed_same_episodes(any_folder: Path) -> None:
    one, two, other = SynthEnv(any_folder), SynthEnv(any_folder), SynthEnv(any_folder)
    two.reset(seed=9)
    firsts = [one.reset(seed=5), two.reset(seed=5), other.reset(seed=6)]
    seen = [play(env, 400) for env in (one, two, other)]
    assert data_equivalence(firsts[0], firsts[1], exact=True)
    assert data_equivalence(seen[0], seen[1], exact=True)
    assert not data_equivalence(firsts[0], firsts[2], exact=True)


def test_forms_end_as_they_should(any_folder: Path) -> None:
    form = artifact.load(any_folder).recipe.form
    env = SynthEnv(any_folder)
    env.reset(seed=0)
    for observation, *rest in (seen for seen in play(env, 400)):
        assert env.observation_space.contains(observation)
        if len(rest) == 4:
            reward, terminated, truncated, info = rest
            assert (truncated, info) == (False, {})
            assert type(reward) is float
            assert type(terminated) is bool
            assert terminated or form == "mdp"
            assert reward < 0.5, "the best is 0, luck has a deviation of 0.1"


def test_make_adds_the_time_limit_to_the_multi_step_form_only(registered_id: str) -> None:
    env, lengths = gymnasium.make(registered_id), []
    env.action_space.seed(0)
    for seed in range(60):
        env.reset(seed=seed)
        length, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            length += 1
        assert truncated == (length == HORIZON)
        lengths.append(length)
    assert max(lengths) == (HORIZON if "mdp" in registered_id else 1)


def test_registered_ids_take_a_prefix_and_survive_json(registered_id: str) -> None:
    spec = gymnasium.make(f"synthenv:{registered_id}").spec
    assert spec is not None
    again = gymnasium.envs.registration.EnvSpec.from_json(spec.to_json())
    assert again == spec
    env = gymnasium.make(again)
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize("action", [2, -1, 0.0, float("nan"), np.array([0, 1]), None, "left"])
def test_an_impossible_action_is_refused(bandit_folder: Path, action: Any) -> None:
    env = SynthEnv(bandit_folder)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected an action of Discrete\(2\), got .*sample"):
        env.step(action)


@pytest.mark.parametrize("action", [True, 1, np.int64(1), np.uint8(1), np.array(1)])
def test_what_gymnasium_takes_for_a_choice_is_one(bandit_folder: Path, action: Any) -> None:
    for env in (SynthEnv(bandit_folder), WorldEnv("CartPole-v1")):
        assert env.action_space.contains(action)
        env.reset(seed=0)
        expected = env.step(1)
        env.reset(seed=0)
        assert data_equivalence(env.step(action), expected, exact=True)


def test_a_step_needs_a_running_episode(bandit_folder: Path) -> None:
    env = SynthEnv(bandit_folder)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)
    env.reset()
    env.step(0)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(0)


def test_a_box_is_clipped_to_and_all_but_numbers_are_refused(tmp_path: Path) -> None:
    folder = random_artifact(tmp_path / "Box-v0", "bandit", noise=0.0, target="Lopsided-v0")
    env = SynthEnv(folder)
    env.reset(seed=0)

    def paid(action: Any) -> float:
        env.reset(seed=0)
        return env.step(action)[1]

    corner = paid(env.action_space.high)
    assert corner < 0
    assert paid(np.array([7.0, np.inf])) == paid([2, 3]) == corner != paid(env.action_space.low)
    for action in (np.array([0.0, np.nan]), np.zeros(1), np.zeros((1, 2)), 0.5, None, "left", [True, False]):
        env.reset()
        with pytest.raises(ValueError, match=r"expected an action of Box\(.*, got .*sample"):
            env.step(action)


def test_an_unknown_artifact_and_foreign_weights_are_refused(bandit_folder: Path) -> None:
    with pytest.raises(ValueError, match="no environment is called 'Synth-CartPol-v0'"):
        SynthEnv("Synth-CartPol-v0")
    loaded = artifact.load(bandit_folder)
    with pytest.raises(ValueError, match=r"Random-bandit-v0 .*shaped"):
        synthetic(replace(loaded, weights={**loaded.weights, "reward.w0": torch.zeros(1, 4, 9)}))


def test_global_randomness_is_untouched(any_folder: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    env, batch = SynthEnv(any_folder), SynthVectorEnv(any_folder, 3)
    env.reset()
    env.step(env.action_space.sample())
    play_batch(batch, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


# Pictures


@pytest.mark.parametrize("target", DRAWN)
def test_pictures_are_the_real_tasks(target: str) -> None:
    pytest.importorskip("pygame")
    renderer = Renderer(target, "rgb_array")
    witness: Any = gymnasium.make(target, render_mode="rgb_array").unwrapped
    observation, _ = witness.reset(seed=3)
    first = witness.render()
    assert np.array_equal(renderer.draw(observation), first)
    for _ in range(5):
        observation, *_ = witness.step(witness.action_space.sample() * 0)
    if hasattr(witness, "last_u"):
        witness.last_u = None  # the arrow of the last torque, which no state knows
    assert np.array_equal(renderer.draw(observation), witness.render())
    assert not np.array_equal(first, witness.render())
    renderer.close()


def test_every_episode_has_its_picture(mdp_folder: Path) -> None:
    pytest.importorskip("pygame")
    env, batch = SynthEnv(mdp_folder, "rgb_array"), SynthVectorEnv(mdp_folder, 2, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
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


def test_what_cannot_be_drawn_is_said(bandit_folder: Path, tmp_path: Path) -> None:
    strange = random_artifact(tmp_path / "Strange-v0", "bandit", target="Lopsided-v0")
    assert SynthEnv(strange).metadata["render_modes"] == SynthVectorEnv(strange).metadata["render_modes"] == []
    with pytest.raises(ValueError, match="cannot draw Lopsided-v0"):
        SynthEnv(strange, "rgb_array")
    with pytest.raises(ValueError, match="expected render_mode in"):
        SynthEnv(bandit_folder, "ansi")
    for env in (SynthEnv(bandit_folder), SynthVectorEnv(bandit_folder)):
        env.reset()
        with pytest.warns(UserWarning, match="nothing to render"):
            assert env.render() is None
        env.close()


# A batch


def test_same_seed_same_batch(any_folder: Path) -> None:
    one, two = SynthVectorEnv(any_folder, 5), SynthVectorEnv(any_folder, 5)
    play_batch(two, 3, seed=1)
    assert data_equivalence(play_batch(one, 30), play_batch(two, 30), exact=True)
    assert not data_equivalence(play_batch(one, 1), play_batch(two, 1, seed=1), exact=True)


def test_every_observation_is_in_the_space_and_fresh(any_folder: Path) -> None:
    env = SynthVectorEnv(any_folder, 16)
    seen = [result[0] for result in play_batch(env, 50)]
    copies = [observation.copy() for observation in seen]
    play_batch(env, 20)
    for observation, copy in zip(seen, copies, strict=True):
        assert env.observation_space.contains(observation)
        np.testing.assert_array_equal(observation, copy)
    assert not any(np.shares_memory(one, two) for one, two in pairwise(seen))


@pytest.mark.parametrize("target", TARGETS)
def test_episodes_restart_within_the_step(tmp_path: Path, target: str) -> None:
    """Against a witness that steps the same states without restarts."""
    folder = random_artifact(tmp_path / "a", "mdp", noise=0.0, target=target)
    env = SynthVectorEnv(folder, 32)
    loaded = artifact.load(folder)
    world, params = synthetic(loaded)
    observation, _ = env.reset(seed=0)
    elapsed, causes = np.zeros(32, dtype=int), set()
    env.action_space.seed(0)
    for _ in range(60):
        action = env.action_space.sample()
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


def test_infos_look_like_gymnasiums_own(any_folder: Path) -> None:
    theirs = SyncVectorEnv([lambda: TimeLimit(SynthEnv(any_folder), HORIZON)] * 6, autoreset_mode="SameStep")
    ours = SynthVectorEnv(any_folder, 6)
    expected, infos = (first_end(env) for env in (theirs, ours))
    assert expected.keys() == infos.keys()
    for key in ("_final_obs", "_final_info", "final_obs"):
        assert infos[key].dtype == expected[key].dtype
        assert infos[key].shape == expected[key].shape
    assert infos["final_info"] == expected["final_info"] == {}
    for row, ended in zip(infos["final_obs"], infos["_final_obs"], strict=True):
        assert (row is not None) == ended
    row = infos["final_obs"][infos["_final_obs"]][0]
    assert (row.shape, row.dtype) == (ours.single_observation_space.shape, np.float32)


def test_gymnasiums_batch_wrappers_work(registered_id: str) -> None:
    env = RecordEpisodeStatistics(NormalizeReward(gymnasium.make_vec(f"synthenv:{registered_id}", num_envs=4)))
    env.reset(seed=0)
    lengths = []
    env.action_space.seed(0)
    for _ in range(10 * HORIZON):
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


def test_torch_output_has_the_same_values(any_folder: Path) -> None:
    arrays = play_batch(SynthVectorEnv(any_folder, 5), 20)
    tensors = play_batch(SynthVectorEnv(any_folder, 5, output="torch"), 20)
    for (*got, infos), (*expected, _) in zip(tensors, arrays, strict=True):
        for tensor, array in zip(got, expected, strict=True):
            assert isinstance(tensor, torch.Tensor)
            np.testing.assert_array_equal(tensor.numpy(), array)
        if infos:
            assert infos["final_obs"].shape == got[0].shape
            assert infos["_final_obs"].dtype is torch.bool


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_torch_player_plays_the_same_batch(
    any_folder: Path, mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on other devices, on this one; one step where episodes restart only on demand."""
    steps = 1 if mode is AutoresetMode.DISABLED else 20
    expected = play_batch(SynthVectorEnv(any_folder, 5, autoreset_mode=mode), steps)
    monkeypatch.setattr(synth, "player", TorchPlayer)
    for output in ("torch", "numpy"):
        env = SynthVectorEnv(any_folder, 5, autoreset_mode=mode, output=output)  # type: ignore[arg-type]
        for got, wanted in zip(play_batch(env, steps), expected, strict=True):
            for value, array in zip(got[:-1], wanted[:-1], strict=True):
                assert isinstance(value, torch.Tensor if output == "torch" else np.ndarray)
                np.testing.assert_allclose(value, array, atol=1e-4)
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"expected (5 integers|numbers)"):
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


def test_a_box_takes_any_numbers_of_its_shape(tmp_path: Path) -> None:
    env = SynthVectorEnv(random_artifact(tmp_path / "Box-v0", "bandit", noise=0.0, target="Lopsided-v0"), 4)

    def paid(actions: Any) -> Any:
        env.reset(seed=0)
        return env.step(actions)[1]

    np.testing.assert_array_equal(paid(np.full((4, 2), 9.0)), paid(np.tile(env.single_action_space.high, (4, 1))))
    np.testing.assert_array_equal(paid([[0, 1]] * 4), paid(np.tile(np.float32([0, 1]), (4, 1))))
    for actions in (np.zeros(4), np.zeros((4, 1)), np.zeros((4, 2), dtype=bool), np.full((4, 2), np.nan), None):
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"expected numbers, shape \(4, 2\), got .*sample"):
            env.step(actions)


def test_delay_puts_rewards_off_alike_in_one_and_in_a_batch(mdp_folder: Path, bandit_folder: Path) -> None:
    folder = random_artifact(mdp_folder, "mdp", noise=0.0)
    one, batch = SynthEnv(folder, delay=1.0), SynthVectorEnv(folder, 1, delay=1.0, autoreset_mode="Disabled")
    plain = SynthEnv(folder)
    for seed in range(20):
        for env in (one, plain, batch):
            env.reset(seed=seed)
        got, prompt, many = one.step(1), plain.step(1), batch.step(np.ones(1, dtype=int))
        assert got[1] == pytest.approx(many[1][0], rel=1e-5, abs=1e-5)
        assert got[1] != pytest.approx(prompt[1])
        np.testing.assert_array_equal(got[0], prompt[0])
    with pytest.raises(ValueError, match="expected the multi-step form"):
        SynthEnv(bandit_folder, delay=0.5)


def test_other_settings_are_checked(bandit_folder: Path) -> None:
    with pytest.raises(ValueError, match="expected output 'numpy' or 'torch', got 'jax'"):
        SynthVectorEnv(bandit_folder, output="jax")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'Never'"):
        SynthVectorEnv(bandit_folder, autoreset_mode="Never")


# Real tasks that Gymnasium does not have


@pytest.mark.parametrize("target", ["CartPole-v1", "MountainCarContinuous-v0"])
def test_a_world_plays_as_gymnasium_would_have_it(target: str) -> None:
    """Two tasks that Gymnasium does have, and whose state is what is seen."""
    env, witness = WorldEnv(target), gymnasium.make(target).unwrapped
    assert env.observation_space == witness.observation_space
    assert env.action_space == witness.action_space
    witness.reset(seed=0)
    env.action_space.seed(0)
    ends = 0
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        assert info == {}
        for _ in range(30):
            witness.state = observation.astype(float)  # type: ignore[attr-defined]
            action = env.action_space.sample()
            observation, *rest = env.step(action)
            expected, *known = witness.step(action)
            np.testing.assert_allclose(observation, expected, rtol=1e-5, atol=1e-6)
            assert rest == [pytest.approx(known[0], abs=1e-6), *known[1:]]
            assert (type(rest[0]), observation.dtype) == (float, np.float32)
            ends += rest[1]
            if rest[1]:
                witness.reset()
                break
    assert (ends > 0) == (target == "CartPole-v1")


def test_a_world_begins_as_its_seed_says() -> None:
    env, other = WorldEnv("CartPole-v1"), WorldEnv("CartPole-v1")
    firsts = [env.reset(seed=1)[0], env.reset()[0], env.reset()[0]]
    assert len(np.unique(firsts, axis=0)) == 3
    assert data_equivalence([other.reset(seed=1)[0], other.reset()[0], other.reset()[0]], firsts, exact=True)


@pytest.mark.parametrize(
    ("target", "actions"),
    [
        ("GridWorld-v0", [4, 7, -3, 1.0, np.array([1]), None, "left"]),
        ("Pendulum-v1", [np.nan, 0.5, [np.nan], np.zeros(2), [True], None, "left"]),
    ],
)
def test_a_world_refuses_actions_that_it_does_not_have(target: str, actions: list[Any]) -> None:
    env = WorldEnv(target)
    env.reset(seed=0)
    for action in actions:
        with pytest.raises(ValueError, match=r"expected an action of (Discrete|Box)\(.*, got .*sample"):
            env.step(action)


def test_the_maze_is_known_to_gymnasium() -> None:
    env = gymnasium.make("GridWorld-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    up, right, down = 0, 1, 2
    env.reset(seed=0)
    steps = [env.step(move) for move in [down, down, *[right] * 4, up, *[right] * 4, up, up, up]]
    assert [reward for _, reward, *_ in steps] == [-1] * 13 + [0]
    assert [terminated for _, _, terminated, *_ in steps] == [False] * 13 + [True]
    env.reset(seed=0)
    wandering = [env.step(up) for _ in range(200)]
    assert [truncated for *_, truncated, _ in wandering] == [False] * 199 + [True]
