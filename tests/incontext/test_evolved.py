"""A search over policies finds what pays in imagination, and says it as a plain network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synthenv import seeding
from synthenv.incontext import Simulator, Transitions, WorldModel
from synthenv.incontext.evolved import Evolution, evolve, generations, kind_of, worth
from synthenv.incontext.imagined import cut
from synthenv.nets import mlp
from synthenv.tree import Tree
from tests.incontext.standin import Quadratic, simulator

SMALL = Evolution(hidden=8, population=16, episodes=2, finalists=4)


def ditch(ends: bool = True) -> Transitions:
    """A point that moves by up to 1 a step, every one of which costs 1; the world ends, if at all, from 4 on."""
    chance = np.random.default_rng(0)
    place, push = chance.uniform(-5, 5, (300, 1)), chance.uniform(-1, 1, (300, 1))
    over = (place + push)[:, 0] > 4
    data = Transitions.from_arrays(
        place, push, -np.ones(300), place + push, over & ends, action_space=spaces.Box(-1, 1, (1,)), horizon=20
    )
    return dataclasses.replace(data, start=np.abs(place[:, 0]) < 1)


def shown(ends: bool = True) -> Simulator:
    return WorldModel(Quadratic()).condition(ditch(ends))


def goes(net: Tree, places: list[float]) -> list[float]:
    """What a network does in places."""
    return mlp(net, torch.tensor(places)[None, :, None])[0, :, 0].clamp(-1, 1).tolist()


def test_finds_the_only_thing_that_pays() -> None:
    """Nothing but the end tells policies apart."""
    sim = shown()
    world = sim.world(sampled=False, threshold=cut(sim))
    net = evolve(world, 4000, settings=SMALL)
    assert min(goes(net, [-1.0, 0.0, 1.0, 2.0, 3.0])) > 0.5


def test_goes_on_until_its_steps_are_spent_and_no_longer() -> None:
    world = shown(ends=False).world(sampled=False)
    kind = kind_of(world.simulator, SMALL.hidden)
    each = SMALL.population * SMALL.episodes * 20
    found = [one.steps for one in generations(kind, world, 2 * each + 1, 0, SMALL)]
    assert found == [each, 2 * each, 3 * each]
    assert [one.steps for one in generations(kind, world, 1, 0, SMALL)] == [each]


def test_what_comes_out_is_no_worse_than_the_last_centre() -> None:
    sim = shown()
    world = sim.world(sampled=False, threshold=cut(sim), anywhere=0.5)
    kind = kind_of(sim, SMALL.hidden)
    *_, last = generations(kind, world, 1500, 3, SMALL)
    whole = sim.world(sampled=False, threshold=cut(sim))
    best = evolve(world, 1500, 3, SMALL)
    candidates = torch.cat((last.centre[None], last.candidates))
    fitness, _ = worth(kind, whole, candidates, SMALL.finalists, 0.0, seeding.generator(3, "final"))
    chosen = [at for at, one in enumerate(candidates) if torch.equal(kind.plain(one)["w1"], best["w1"])]
    assert fitness[chosen[0]] >= fitness[0]


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1"])
def test_the_plain_network_does_what_the_candidate_did(task: str) -> None:
    sim = simulator(task)
    kind = kind_of(sim, 8)
    candidate = torch.randn(kind.size, generator=seeding.generator(0))
    seen = torch.tensor(sim.data.observation[:50])
    action = kind.act(candidate[None])(seen[None], torch.Generator())[0]
    out = mlp(kind.plain(candidate), seen[None])[0]
    if sim.slots.discrete:
        assert torch.equal(out.argmax(-1), action)
    else:
        box = sim.spaces.action
        assert isinstance(box, spaces.Box)
        torch.testing.assert_close(out.clamp(torch.tensor(box.low), torch.tensor(box.high)), action)


def test_equal_seeds_find_equal_policies() -> None:
    world = shown().world(sampled=False)
    one, again, other = (evolve(world, 1, seed, SMALL) for seed in (1, 1, 2))
    assert torch.equal(one["w0"], again["w0"])
    assert not torch.equal(one["w0"], other["w0"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"population": 7}, "even population of at least 2, got 7"), ({"finalists": 0}, "at least one hidden unit")],
)
def test_says_what_is_wrong(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Evolution(**settings)
