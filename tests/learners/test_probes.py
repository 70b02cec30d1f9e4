"""Every learner in the catalogue, with each of its switches, solves the probe worlds."""

import pytest
import torch

from synthenv import learners, worlds
from tests.probes import IDS, PROBES, VARIANTS, Endless, quick

FAST, SLOW = 4000, 2000
"""Steps at a rate that learns, then at one that settles."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_solves(name, switches, probe, gamma, horizon=None):
    learner, generator, population = quick(name, probe.spaces, **switches), seeded(), len(gamma)
    params = probe.init(generator, population)
    hyper = learners.fill(learner, population, {"rate": 1e-2, "gamma": gamma})
    agent = learner.init(hyper, FAST + SLOW, generator)
    for steps, rate in ((FAST, 1e-2), (SLOW, 1e-3)):
        agent["hyper.rate"] = torch.full((population,), rate)
        agent = learners.train(learner, agent, probe, params, steps, generator, horizon)
    shown = probe.SHOWN[:, None].expand(population, 2, 1)
    with torch.no_grad():
        worth, best = learner.value(agent, shown), learner.best(agent, shown)
    torch.testing.assert_close(worth, probe.worth(params["pay"], gamma), rtol=0, atol=0.05)
    if (right := probe.right(params["pay"])) is not None:
        assert torch.equal(best, right)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
@pytest.mark.parametrize(("name", "switches"), VARIANTS, ids=IDS)
def test_solves(name, switches, probe):
    assert isinstance(probe, worlds.World)
    check_solves(name, switches, probe, gamma=torch.tensor([0.9, 0.5]))


@pytest.mark.parametrize(("name", "switches"), VARIANTS, ids=IDS)
def test_sees_past_a_time_limit(name, switches):
    check_solves(name, switches, Endless(), gamma=torch.tensor([0.5, 0.2]), horizon=3)
