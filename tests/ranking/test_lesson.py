import torch

from synthenv.ranking.lesson import LessonSettings, kept, lesson, pinball
from synthenv.ranking.network import LEVELS, Architecture, Network
from synthenv.ranking.prior import PriorSettings

SMALL = LessonSettings(tables=3, questions=8, curves=6, prior=PriorSettings(pipelines=(8, 16), tasks=(1, 4)))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def fresh():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(Architecture(16, 1, 2))


def test_an_untrained_network_says_what_closed_forms_say():
    for seed in range(6):
        losses = lesson(fresh(), generator(seed), 0.0, SMALL)
        torch.testing.assert_close(losses["pinball"], losses["closed_form"])


def test_equal_generators_give_equal_lessons_and_gradients_are_finite():
    network = fresh()
    for seed in range(6):
        one, other = (lesson(network, generator(seed), 0.0, SMALL)["loss"] for _ in range(2))
        assert one == other
        one.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_pinball_is_least_for_true_quantiles():
    truth = torch.randn(4000, 1, generator=generator(0))
    right = torch.special.ndtri(torch.tensor(LEVELS))
    losses = [pinball((shift + scale * right).expand(4000, 1, -1), truth).mean()
              for shift, scale in ((0.0, 1.0), (0.3, 1.0), (0.0, 0.6), (0.0, 1.6))]  # fmt: skip
    assert min(losses) == losses[0]


def test_no_observation_is_kept_twice():
    score = torch.arange(12.0).view(1, 2, 6)
    seen = kept(score, torch.tensor([[4, 7]]), torch.tensor([[5, 0]]), True)
    assert seen.known.tolist() == [[[True, True, True, True], [True, False, False, False]]]
    assert seen.score[0, 0].tolist() == [5.0, 0.0, 2.0, 3.0]
    assert seen.score[0, 1, 0] == 6.0
