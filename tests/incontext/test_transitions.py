"""Transitions: what is taken, what is refused and how, and that nothing is lost on the way to disk or to rows."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synthenv.incontext import Transitions, WorldModel
from synthenv.incontext.rows import ACTIONS, OBSERVATIONS
from tests.incontext.standin import Quadratic, context

ARRAYS = ("observation", "action", "reward", "following", "terminated", "truncated", "start")


def arrays(count: int = 6, size: int = 3, seed: int = 0) -> dict[str, Any]:
    """Sound arguments of `from_arrays`: one walk, choices of two."""
    chance = np.random.default_rng(seed)
    walk = chance.normal(size=(count + 1, size))
    return {
        "observation": walk[:-1].copy(),
        "action": np.arange(count) % 2,
        "reward": chance.normal(size=count),
        "following": walk[1:].copy(),
        "terminated": np.zeros(count, bool),
    }


def same(one: Transitions, other: Transitions) -> None:
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, name)
    assert one.spaces == other.spaces
    assert (one.task, one.horizon) == (other.task, other.horizon)


# What they are


def test_are_read_only_and_in_the_types_they_promise() -> None:
    data = Transitions.from_arrays(**arrays())
    types = [np.float32, np.int64, np.float32, np.float32, np.bool_, np.bool_, np.bool_]
    assert [getattr(data, name).dtype for name in ARRAYS] == types
    with pytest.raises(ValueError, match="read-only"):
        data.reward[0] = 1
    with pytest.raises(AttributeError):
        data.reward = data.reward  # type: ignore[misc]


def test_do_not_follow_what_they_were_made_from() -> None:
    given_arrays = arrays()
    given_arrays["observation"] = given_arrays["observation"].astype(np.float32)
    data = Transitions.from_arrays(**given_arrays)
    first = data.observation[0, 0]
    given_arrays["observation"][0, 0] += 1
    assert data.observation[0, 0] == first


def test_starts_follow_from_ends_and_from_breaks() -> None:
    given_arrays = arrays(6)
    given_arrays["terminated"][1] = True
    given_arrays["following"][3] += 1  # not what is seen next
    data = Transitions.from_arrays(**given_arrays)
    assert data.start.tolist() == [True, False, True, False, True, False]
    told = Transitions.from_arrays(**given_arrays, start=[1, 0, 0, 0, 0, 1])
    assert told.start.tolist() == [True, False, False, False, False, True]


def test_an_episode_that_ended_is_not_truncated_as_well() -> None:
    given_arrays = arrays(3)
    given_arrays["terminated"][2] = True
    data = Transitions.from_arrays(**given_arrays, truncated=[0, 1, 1])
    assert data.truncated.tolist() == [False, True, False]
    assert data.start.tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_any_number_type_will_do(dtype: type) -> None:
    mixed = arrays()
    mixed["observation"], mixed["following"] = mixed["observation"].astype(dtype), mixed["following"].astype(np.float32)
    mixed["terminated"] = [0, 0, 1, 0, 0, 0]
    assert Transitions.from_arrays(**mixed).observation.dtype == np.float32


def test_single_columns_may_lack_their_axis_or_have_one_too_many() -> None:
    flat = Transitions.from_arrays([0.0, 1.0], [0, 1], [[1.0], [2.0]], [1.0, 2.0], [False, True])
    assert flat.observation.shape == (2, 1)
    assert flat.reward.shape == (2,)
    column = Transitions.from_arrays([[0.0], [1.0]], [[0], [1]], [1.0, 2.0], [[1.0], [2.0]], [[0], [1]])
    same(flat, column)


def test_spaces_follow_from_the_data() -> None:
    assert Transitions.from_arrays(**arrays()).spaces.action == spaces.Discrete(2)
    steered = {**arrays(), "action": np.linspace(-3, 1, 6)}
    data = Transitions.from_arrays(**steered)
    assert data.spaces.action == spaces.Box(-3, 1, (1,))
    assert data.action.shape == (6, 1)


def test_numbers_of_discrete_observations_are_observed() -> None:
    grid = spaces.MultiDiscrete([8, 5], start=[0, 2])
    cells = np.array([[0, 2], [7, 6], [3, 3]])
    data = Transitions.from_arrays(cells, [0, 1, 3], [0, 0, 1], cells, [0, 0, 1], observation_space=grid,
                                   action_space=spaces.Discrete(4))  # fmt: skip
    assert data.spaces.observation == spaces.Box(np.float32([0, 2]), np.float32([7, 6]))
    one = Transitions.from_arrays([4, 5], [0, 0], [0, 0], [5, 6], [0, 0], observation_space=spaces.Discrete(48))
    assert one.spaces.observation == spaces.Box(0, 47, (1,))
    assert one.observation.tolist() == [[4], [5]]


def test_actions_beyond_the_box_count_as_clipped() -> None:
    box = spaces.Box(np.float32([-1, 0]), np.float32([1, 3]))
    data = Transitions.from_arrays(**{**arrays(2), "action": [[-5.0, 1.5], [1, 9]]}, action_space=box)
    assert data.action.tolist() == [[-1, 1.5], [1, 3]]
    rows, _ = data.rows()
    assert rows.action[0, :, :3].tolist() == [[-1, 0, 0], [1, 1, 0]]


# What is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observation": [[np.nan, 0, 0]] * 6}, r"finite numbers as observation, got \[nan, 0.0, 0.0\] in row 0"),
        ({"following": np.full((6, 3), 1e300)}, "finite numbers as following"),
        ({"reward": [0, 0, np.inf, 0, 0, 0]}, "in row 2 and 1 such rows"),
        ({"action": [[0.1], [np.nan], [0], [0], [0], [0]]}, "finite numbers as action"),
        ({"observation": np.zeros((6, 3, 2))}, r"observation of 2 dimensions, got shape \(6, 3, 2\)"),
        ({"observation": [[1, 2], [3]]}, "observation as one array"),
        ({"observation": np.array([["a"] * 3] * 6)}, "numbers as observation, got <U1"),
        ({"reward": np.zeros(6, dtype=complex)}, "numbers as reward, got complex128"),
        ({"following": np.zeros((6, 2))}, r"following shaped as observation, \(6, 3\), got \(6, 2\)"),
        ({"reward": np.zeros(5)}, "reward of as many rows as observation, 6, got 5"),
        ({"reward": np.zeros((6, 2))}, "reward of 1 dimensions"),
        ({"action": np.zeros(7, dtype=int)}, "action of as many rows as observation, 6, got 7"),
        ({"terminated": np.zeros(5, dtype=bool)}, "terminated of as many rows"),
        ({"terminated": [0, 0, 0.5, 0, 0, 0]}, "terminated to be true or false"),
        ({"truncated": [0, 0, 2, 0, 0, 0]}, "truncated to be true or false"),
        ({"start": [True]}, "start of as many rows"),
        ({"action": [0, 1, 2, 5, 6, 0]}, "7 choices, and world models take 6 at most"),
        ({"action": [-1, 0, 0, 0, 0, 0]}, "choices from 0 to 1"),
        ({"action": [0, 3, 0, 0, 0, 0], "action_space": spaces.Discrete(3)}, "choices from 0 to 2"),
        ({"action": [0, 0.5, 0, 0, 0, 0], "action_space": spaces.Discrete(2)}, "choices from 0 to 1"),
        ({"action": np.zeros((6, 2), dtype=int)}, "give action_space"),
        ({"action": np.zeros((6, 2)), "action_space": spaces.Box(-1, 1, (1,))}, "1 numbers each"),
        ({"action": np.zeros((6, 7))}, "7 numbers an action, and world models take 6"),
        ({"observation_space": spaces.Box(-1, 1, (2,))}, "expected observations of 2 numbers"),
        ({"observation_space": spaces.Dict({"a": spaces.Discrete(2)})}, "expected a Box of one dimension"),
        ({"observation_space": spaces.Box(0, 255, (3,), np.uint8)}, "expected a Box of one dimension"),
        ({"action_space": spaces.MultiDiscrete([2, 2])}, "expected Discrete actions from 0"),
        ({"horizon": 0}, "horizon of at least one step"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Transitions.from_arrays(**{**arrays(), **changes})


def test_nothing_is_too_little_and_many_numbers_are_too_many() -> None:
    with pytest.raises(ValueError, match="at least one transition"):
        Transitions.from_arrays(np.zeros((0, 3)), [], [], np.zeros((0, 3)), [])
    with pytest.raises(ValueError, match=f"shows 17 numbers, and world models look at {OBSERVATIONS} at most"):
        Transitions.from_arrays(**arrays(6, 17))


# Disk, rows, parts


def test_saved_and_loaded_is_the_same(tmp_path: Any) -> None:
    for data in (context(), context("Pendulum-v1"), Transitions.from_arrays(**arrays(1))):
        path = data.save(tmp_path / "deep" / "data")
        assert path.name == "data.npz"
        same(Transitions.load(path), data)


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Any) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "cut.npz").write_bytes(context().save(tmp_path / "a").read_bytes()[:-100])
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps([1]))
    np.savez(tmp_path / "other.npz", observation=np.zeros(3))
    np.savez(tmp_path / "objects.npz", **{name: np.array([None]) for name in ("observation", "format")})
    for name in ("text", "cut", "pickle", "other", "objects"):
        with pytest.raises(ValueError, match=f"{name}.npz is no file of transitions"):
            Transitions.load(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        Transitions.load(tmp_path / "none.npz")


def test_a_file_with_false_contents_is_refused(tmp_path: Any) -> None:
    with np.load(context().save(tmp_path / "a")) as file:
        stored = dict(file)
    for changes, said in (
        ({"reward": np.full(400, np.nan)}, "is damaged: expected finite numbers as reward"),
        ({"low": np.zeros(2)}, "is damaged"),
        ({"format": 99}, "has format 99, and this version of synthenv reads 1"),
    ):
        np.savez(tmp_path / "b.npz", **{**stored, **changes})
        with pytest.raises(ValueError, match=said):
            Transitions.load(tmp_path / "b.npz")


def test_rows_fill_slots_from_the_front() -> None:
    rows, shape = context().rows()
    assert rows.observation.shape == (1, 400, OBSERVATIONS)
    assert rows.action.shape == (1, 400, ACTIONS)
    np.testing.assert_array_equal(rows.following[0, :, :4], context().following)
    assert not rows.observation[..., 4:].any()
    assert shape.observed[0].tolist() == [True] * 4 + [False] * 12
    assert shape.acting[0].tolist() == [True] * 2 + [False] * 4
    assert shape.discrete.tolist() == [True]
    np.testing.assert_array_equal(rows.action[0].argmax(-1), context().action)
    assert (rows.action.sum(-1) == 1).all()
    assert {leaf.dtype for leaf in rows} == {torch.float32, torch.bool}


def test_joined_and_taken_apart_again() -> None:
    first, second = context(), Transitions.collect("CartPole-v1", 50, seed=9)
    both = first.join(second)
    assert len(both) == 450
    assert both.start[400]
    same(both.subset(slice(400, None)), second)
    same(both.subset(np.arange(450) < 400), first)
    assert both.horizon == 500
    with pytest.raises(ValueError, match="expected more transitions of"):
        first.join(context("Pendulum-v1"))
    with pytest.raises(ValueError, match="rows that leave some of 400"):
        first.subset([])


def test_the_horizon_is_told_or_seen() -> None:
    assert context().real_horizon == 500
    cut = Transitions.from_arrays(**arrays(6), truncated=[0, 0, 0, 1, 0, 0])
    assert cut.real_horizon == 4
    assert Transitions.from_arrays(**arrays(6)).real_horizon is None


# Anything at all


NUMBERS = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, np.bool_])


@st.composite
def anything(draw: Any) -> dict[str, Any]:
    """Arrays of any type with any numbers, mostly of the right shapes."""
    count, size, wide = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.booleans())

    def array(shape: tuple[int, ...]) -> Any:
        dtype = np.dtype(draw(NUMBERS))
        if dtype.kind == "f":
            limit = 60_000 if dtype == np.float16 or draw(st.booleans()) else None
            bounds = {} if limit is None else {"min_value": -limit, "max_value": limit, "allow_nan": False}
            return draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **bounds)))
        return draw(hnp.arrays(dtype, shape))

    return {
        "observation": array((count, size)),
        "action": array((count, draw(st.integers(1, 3))) if wide else (count,)),
        "reward": array((count,)),
        "following": array((count, size)),
        "terminated": draw(hnp.arrays(np.bool_, (count,))),
        "truncated": draw(st.none() | hnp.arrays(np.bool_, (count,))),
    }


@settings(max_examples=150, deadline=None)
@given(anything())
def test_anything_is_refused_in_words_or_kept_as_it_is(given_arrays: dict[str, Any]) -> None:
    with np.errstate(all="ignore"):
        try:
            data = Transitions.from_arrays(**given_arrays)
        except ValueError as error:
            assert len(str(error)) > 20  # noqa: PT017 - any of many reasons
            return
        np.testing.assert_array_equal(data.observation, np.asarray(given_arrays["observation"], dtype=np.float32))
    assert data.start[0]
    assert not (data.terminated & data.truncated).any()
    rows, shape = data.rows()
    assert all(leaf.isfinite().all() for leaf in rows)
    assert rows.action.abs().max() <= 1
    same(data.join(data).subset(slice(len(data))), data)


@settings(max_examples=40, deadline=None)
@given(anything(), st.integers(0, 2**16))
def test_whatever_is_taken_can_be_conditioned_on(given_arrays: dict[str, Any], seed: int) -> None:
    """Few rows, huge and tiny numbers, constant columns: predictions have shapes, and probabilities are some."""
    with np.errstate(all="ignore"):
        try:
            data = Transitions.from_arrays(**given_arrays)
        except ValueError:
            return
    if max(np.abs(data.observation).max(), np.abs(data.following).max()) > 1e12:
        return  # the stand-in squares them
    sim = WorldModel(Quadratic()).condition(data)
    found = sim.predict(data.observation, data.action)
    assert found.next_obs.shape == data.observation.shape
    assert ((found.terminated >= 0) & (found.terminated <= 1)).all()
    env = sim.make_env(5)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(5):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(observation).all()
        if terminated or truncated:
            env.reset()
