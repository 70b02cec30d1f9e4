import dataclasses

import numpy as np
import pytest
import torch

from synthenv import pretrained
from synthenv.ranking.network import LEVELS, Architecture, Network
from synthenv.ranking.pretrain import RankerRecipe
from synthenv.ranking.rankers.in_context import InContextRanker, moments
from synthenv.ranking.runs import RunTable

WORDS = ("sgd", "adam", "lamb")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network of random weights, on disk."""
    folder = tmp_path_factory.mktemp("rankers") / "small"
    recipe = RankerRecipe("small", architecture=Architecture(16, 2, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(recipe.architecture)
        torch.nn.init.normal_(network.head.weight, std=0.05)
    pretrained.save(folder, recipe, network, {}, "")
    return folder


def runs(tasks=5, pipelines=30, budgets=(1, 3, 9), seed=0, words=WORDS):
    """Curves that rise to what a pipeline is worth, which its settings tell in part; the last task is `mine`."""
    g = np.random.default_rng(seed)
    rate, kind, common = g.uniform(-4, -1, pipelines), g.integers(0, 3, pipelines), g.normal(size=pipelines)
    settings = {f"p{m:03d}": {"rate": float(10 ** rate[m]), "optimizer": words[kind[m]]} for m in range(pipelines)}
    t, m, k = (i.ravel() for i in np.meshgrid(range(tasks), range(pipelines), range(len(budgets)), indexing="ij"))
    worth = common + 0.3 * kind - (rate + 2.5) ** 2 + 0.4 * g.normal(size=(tasks, pipelines))
    budget = np.array(budgets, float)[k]
    score = (worth[t, m] + 4) * (1 - np.exp(-budget / 3)) + 0.02 * g.normal(size=len(t))
    names = np.array([f"t{i}" for i in range(tasks - 1)] + ["mine"])[t]
    return RunTable.of(names, np.array(list(settings))[m], score, budget, budget * (1 + kind[m]), settings=settings)


def split(table, chosen=("p003", "p011", "p020"), until=3):
    """The other tasks, and some partial curves of `mine`."""
    mine = table.only(tasks=["mine"], pipelines=chosen)
    return table.only(tasks=[t for t in table.tasks if t != "mine"]), mine.take(mine.budget <= until)


def same(one, other, atol=1e-4):
    """Equal rankings, pipeline by pipeline."""
    place = {name: m for m, name in enumerate(other.pipelines)}
    index = [place[name] for name in one.pipelines]
    for name in ("mean", "sd", "best", "seconds", "gain"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name)[index], atol=atol, rtol=atol)


def test_order_of_rows_and_candidates_does_not_matter(model):
    others, mine = split(runs())
    g = np.random.default_rng(1)
    one = InContextRanker(model).fit(others).rank("mine", observed=mine)
    shuffled = InContextRanker(model).fit(others.take(g.permutation(len(others))))
    candidates = list(g.permutation(one.pipelines))
    same(one, shuffled.rank("mine", candidates, mine.take(g.permutation(len(mine)))))


def test_names_of_tasks_and_categories_do_not_matter(model):
    others, mine = split(runs())
    renamed = runs(words=("b", "c", "a"))
    tasks = {t: f"x{9 - i}" for i, t in enumerate(others.tasks)}
    again, own = split(renamed)
    again = RunTable.of(
        np.array([tasks[t] for t in again.task]), again.pipeline, again.score, again.budget, again.seconds,
        settings=again.settings,
    )  # fmt: skip
    same(InContextRanker(model).fit(others).rank(observed=mine), InContextRanker(model).fit(again).rank(observed=own))


def test_units_of_scores_change_only_scores(model):
    others, mine = split(runs())
    one = InContextRanker(model).fit(others).rank("mine", observed=mine)
    moved = [dataclasses.replace(table, score=7 * table.score - 3) for table in (others, mine)]
    other = InContextRanker(model).fit(moved[0]).rank("mine", observed=moved[1])
    np.testing.assert_allclose(other.mean, 7 * one.mean - 3, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(other.sd, 7 * one.sd, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(other.best, one.best, atol=1e-3)


def test_losses_are_scores_upside_down(model):
    others, mine = split(runs())
    one = InContextRanker(model).fit(others).rank("mine", observed=mine)
    flipped = [dataclasses.replace(table, score=-table.score, maximize=False) for table in (others, mine)]
    same(one, InContextRanker(model).fit(flipped[0]).rank("mine", observed=flipped[1]))


def test_finished_runs_are_known(model):
    others, mine = split(runs(), until=9)
    ranking = InContextRanker(model).fit(others).rank("mine", observed=mine)
    ran = [ranking.pipelines.index(name) for name in mine.pipelines]
    truth = [mine.score[mine.pipeline == name].max() for name in mine.pipelines]
    np.testing.assert_allclose(ranking.mean[ran], truth, atol=0.05)
    assert (ranking.gain[ran] == 0).all()
    assert (ranking.seconds[ran] == 0).all()
    assert (ranking.sd[ran] < ranking.sd.min() + 1e-3).all()


def test_seconds_left_are_those_of_the_task(model):
    table = runs()
    others, mine = split(table)
    slow = dataclasses.replace(mine, seconds=50 * mine.seconds)
    ranker = InContextRanker(model).fit(others)
    ratio = ranker.rank("mine", observed=slow).seconds / ranker.rank("mine", observed=mine).seconds
    assert (ratio > 20).all()
    silent = dataclasses.replace(others, seconds=np.full(len(others), np.nan))
    assert np.isnan(InContextRanker(model).fit(silent).rank("mine").seconds).all()


def test_new_pipelines_are_ranked_by_their_settings(model):
    others, mine = split(runs(pipelines=60))
    ranker = InContextRanker(model).fit(others)
    new = {"good": {"rate": 10**-2.5, "optimizer": "lamb"}, "bad": {"rate": 10**-0.9, "optimizer": "sgd"},
           "blank": {}}  # fmt: skip
    ranking = ranker.rank("mine", new, mine)
    assert ranking.pipelines == ("good", "bad", "blank")
    assert ranking.mean[0] > ranking.mean[1]
    assert np.isfinite(ranking.mean).all()
    assert np.isfinite(ranking.sd).all()


def test_failed_runs_are_survived(model):
    others, mine = split(runs())
    score = mine.score.copy()
    score[mine.pipeline == "p011"] = np.nan
    ranking = InContextRanker(model).fit(others).rank("mine", observed=dataclasses.replace(mine, score=score))
    assert np.isfinite(ranking.mean).all()
    assert ranking.mean[ranking.pipelines.index("p011")] < np.median(ranking.mean)


def test_a_budget_that_was_reached_needs_no_seconds(model):
    others, mine = split(runs())
    ranking = InContextRanker(model).fit(others).rank("mine", observed=mine, budget=3)
    assert ranking.seconds[ranking.pipelines.index("p011")] == 0
    assert ranking.seconds.max() > 0


def test_five_thousand_observed_cells(model):
    table = runs(tasks=2, pipelines=1000, budgets=(1, 2, 4, 7, 9))
    others, mine = split(table, table.pipelines, 7)
    ranking = InContextRanker(model).fit(others).rank("mine", observed=mine.take(np.arange(len(mine))))
    assert np.isfinite(ranking.mean).all()


def test_one_task_with_one_pipeline(model):
    others, _ = split(runs(tasks=2, pipelines=21))
    ranking = InContextRanker(model).fit(others.only(pipelines=["p003"])).rank()
    assert ranking.pipelines == ("p003",)
    assert np.isfinite(ranking.mean).all()


def test_no_scores_are_refused(model):
    others, _ = split(runs())
    with pytest.raises(ValueError, match="expected runs of other tasks with scores"):
        InContextRanker(model).fit(others.take(np.zeros(len(others), bool)))


def test_moments_are_those_of_a_normal_distribution():
    quantiles = 0.3 + 2 * torch.special.ndtri(torch.tensor([LEVELS], dtype=torch.float64))
    mean, sd, gain = moments(quantiles)
    assert mean.item() == pytest.approx(0.3, abs=1e-6)
    assert sd.item() == pytest.approx(2, rel=0.03)
    assert gain.item() == pytest.approx(0.9564, rel=0.02)  # 2 (0.15 Phi(0.15) + phi(0.15))
