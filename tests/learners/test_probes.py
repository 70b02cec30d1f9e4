"""Every learner in the catalogue, with each of its switches, solves the probe worlds whose actions it accepts."""

import pytest
import torch

from synthenv import learners, worlds
from tests.probes import ENDLESS, PROBES, calm, pairs, quick

FAST, SLOW = 4000, 2000
"""Steps at a rate that learns, then at one that settles."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_solves(name, switches, probe, gamma, horizon=None):
    learner, generator, population = quick(name, probe.spaces, **switches), seeded(), len(gamma)
    params = probe.init(generator, population)
    hyper = learners.fill(learner, population, {**calm(learner), "gamma": gamma})
    agent = learner.init(hyper, FAST + SLOW, generator)
    for steps, rate in ((FAST, agent["hyper.rate"]), (SLOW, torch.full((population,), 1e-3))):
        agent["hyper.rate"] = rate
        agent = learners.train(learner, agent, probe, params, steps, generator, horizon)
    shown = probe.SHOWN[:, None].expand(population, 2, 1)
    with torch.no_grad():
        worth, best = learner.value(agent, shown), learner.best(agent, shown)
    torch.testing.assert_close(worth, probe.worth(params["pay"], gamma), rtol=0, atol=0.06)
    assert probe.regret(params["pay"], best).max() < 0.06


@pytest.mark.parametrize(("name", "switches", "probe"), pairs(PROBES))
def test_solves(name, switches, probe):
    assert isinstance(probe, worlds.World)
    check_solves(name, switches, probe, gamma=torch.tensor([0.9, 0.5]))


@pytest.mark.parametrize(("name", "switches", "probe"), pairs(ENDLESS))
def test_sees_past_a_time_limit(name, switches, probe):
    check_solves(name, switches, probe, gamma=torch.tensor([0.5, 0.2]), horizon=3)
