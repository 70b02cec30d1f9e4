"""A set transformer that was pretrained on made-up tasks, and reads other tasks' runs and this one's partial curves.

Nothing is fitted to anybody's runs: `fit` reads them, `rank` reads what was seen of the new task, and the network,
whose weights ship with the package, says what it makes of both. So it costs the same whatever the task, minds costs,
takes pipelines that nobody has run by their settings, and has seen enough unrelated tasks to know when others mislead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthenv import shelf
from synthenv.ranking import network as net
from synthenv.ranking.checks import Floats
from synthenv.ranking.closed_form import KEPT, Seen
from synthenv.ranking.network import LEVELS, Answer, Network
from synthenv.ranking.past import checkpoints, failures
from synthenv.ranking.pretrain import load
from synthenv.ranking.price import Price
from synthenv.ranking.rankers.base import Candidates, Ranking, asked, chances
from synthenv.ranking.related import Related, Table, unsquash
from synthenv.ranking.runs import RunTable, Settings
from synthenv.ranking.space import PipelineSpace

MODEL = "Ranker-v0"
BUDGETS = 64
"""So many budgets are told apart, denser at the beginning; one between them counts as the next lower."""


class Setting(NamedTuple):
    """What is ranked within: other tasks' runs over some pipelines, known and new."""

    place: dict[str, int]
    table: Table
    told: Related
    price: Price


class InContextRanker:
    """Foretells scores and seconds by reading, with no refit.

    model: a name on the shelf models, or a folder.
    """

    name: ClassVar[str] = "in_context"

    def __init__(self, model: str | Path = MODEL) -> None:
        self.model = model

    def fit(self, runs: RunTable) -> InContextRanker:
        """Read the runs of other tasks."""
        grid = runs.grid()
        if not np.isfinite(grid.score).any():
            raise ValueError("expected runs of other tasks with scores, got none")
        self.network_ = loaded(str(shelf.find(self.model, "models").resolve()))
        self.runs_ = runs
        self.space_ = PipelineSpace.infer({name: runs.settings.get(name, {}) for name in grid.pipelines})
        count = len(grid.budgets)
        chosen = np.unique(np.round(np.geomspace(1, count, min(count, BUDGETS))).astype(int)) - 1
        keep = np.arange(count) if count <= BUDGETS else chosen
        score, extent = checkpoints(grid.score, failures(runs))
        last = np.searchsorted(keep, extent, side="right") - 1
        self.score_ = np.where(np.arange(len(keep)) <= last[..., None], score[:, :, keep], np.nan)
        self.logs_, self.budgets_ = np.log(grid.seconds[:, :, keep]), grid.budgets[keep]
        self._settings: dict[tuple[str, ...], Setting] = {}
        self.setting_ = self._setting({name: runs.settings.get(name, {}) for name in grid.pipelines})
        return self

    def rank(
        self,
        task: str = "new",
        candidates: Candidates | None = None,
        observed: RunTable | None = None,
        budget: float | None = None,
        features: Mapping[str, float] | None = None,
    ) -> Ranking:
        """Rank candidates [M]; the gain is the expected improvement on the best score seen, or on a median pipeline."""
        named, own = asked(self.runs_, task, candidates, observed)
        others = {} if own is None else {name: own.settings[name] for name in own.pipelines if name not in named}
        setting = self._among({**named, **others})
        horizon = self._index(np.array([self.budgets_[-1] if budget is None else budget]))[0]
        seen, seconds = self._seen(own, setting)
        pipeline = torch.tensor([[setting.place[name] for name in named]])
        with torch.inference_mode():
            known = self.network_.read(
                setting.told, setting.price, setting.table.when, setting.table.active, seen, seconds
            )
            answer = self.network_.answer(known, pipeline, torch.full_like(pipeline, int(horizon)))
        return self._ranking(tuple(named), answer, seen, seconds, pipeline[0], int(horizon), setting)

    def _among(self, named: Mapping[str, Settings]) -> Setting:
        """What other tasks say of these pipelines."""
        known = self.setting_.place
        if all(name in known and settings == self.runs_.settings[name] for name, settings in named.items()):
            return self.setting_
        return self._setting({**{name: self.runs_.settings[name] for name in known}, **named})

    def _setting(self, named: Mapping[str, Settings]) -> Setting:
        """Read other tasks' runs over the fitted pipelines and others; the last reading is kept."""
        key = tuple(f"{name} {settings!r}" for name, settings in sorted(named.items()))
        if key not in self._settings:
            names = sorted(named)
            place = {name: m for m, name in enumerate(names)}
            rows = np.array([place[name] for name in self.runs_.grid().pipelines])
            encoded = self.space_.encode([named[name] for name in names])
            shape = (self.score_.shape[0], len(names), len(self.budgets_))
            score, logs = np.full(shape, np.nan), np.full(shape, np.nan)
            score[:, rows], logs[:, rows] = self.score_, self.logs_
            when = np.log(self.budgets_ / self.budgets_[-1])
            active = torch.from_numpy(encoded.active)[None]
            values = torch.where(active, torch.from_numpy(encoded.values).clamp(-5, 5)[None], 0.0)
            table = Table(_one(score), _one(logs), _one(when), values, active)
            with torch.inference_mode():
                self._settings = {key: Setting(place, table, *net.context(table))}
        return self._settings[key]

    def _index(self, budgets: Floats) -> npt.NDArray[np.int64]:
        """Of budgets, the indices of those told apart: the next lower."""
        return np.clip(np.searchsorted(self.budgets_, budgets * (1 + 1e-9), side="right") - 1, 0, None)

    def _seen(self, own: RunTable | None, setting: Setting) -> tuple[Seen, Tensor]:
        """The task's own partial curves, and logarithms of seconds [1, P] until their ends."""
        if own is None:
            nothing = torch.zeros(1, 1, KEPT)
            return Seen(nothing[..., 0].long(), nothing.long(), nothing.double(), nothing.bool()), torch.full(
                (1, 1), torch.nan, dtype=torch.float64
            )
        grid = own.grid()
        failed = failures(own)
        best, extent = checkpoints(grid.score, failed)
        best, extent = best[0], extent[0]
        nothing_kept = failed[0].any(1) & ~np.isfinite(grid.score[0]).any(1)
        best[nothing_kept] = -np.inf
        index = self._index(grid.budgets)
        rows, parts, told, known, logs = [], [], [], [], []
        for p, name in enumerate(grid.pipelines):
            there = np.flatnonzero(~np.isnan(best[p]) & (np.arange(len(index)) <= extent[p]))
            if not len(there):
                continue
            n = len(there)
            at = list(dict.fromkeys(there[i] for i in (n - 1, 0, n // 2, 3 * n // 4)))[:KEPT]
            empty = KEPT - len(at)
            rows.append(setting.place[name])
            parts.append([*index[at], *[0] * empty])
            told.append([*best[p, at], *[0.0] * empty])
            known.append([True] * len(at) + [False] * empty)
            spent = grid.seconds[0, p]
            logs.append(np.log(np.nanmax(spent)) if np.isfinite(spent).any() else np.nan)
        seen = Seen(torch.tensor([rows]), torch.tensor(np.array([parts])), _one(np.array(told)), torch.tensor([known]))
        return seen, _one(np.array(logs))

    def _ranking(
        self, names: tuple[str, ...], answer: Answer, seen: Seen, seconds: Tensor, pipeline: Tensor, horizon: int,
        setting: Setting,
    ) -> Ranking:  # fmt: skip
        """The answer on the scale of the task's scores."""
        some = bool(seen.known.any())
        quantiles = answer.quantiles[0] + (0.0 if some else 1.0)  # without runs, 0 is a median pipeline
        reach = torch.full((len(setting.place),), -1)
        last = torch.full((len(setting.place),), torch.nan, dtype=torch.float64)
        spent = torch.zeros(len(setting.place), dtype=torch.float64)
        if some:
            reach[seen.pipeline[0]] = seen.budget[0, :, 0]
            last[seen.pipeline[0]] = answer.belief.told[0, :, 0]
            spent[seen.pipeline[0]] = seconds[0].exp().nan_to_num()
        done = (reach >= horizon)[pipeline]
        quantiles = torch.where(done[:, None], last[pipeline][:, None].nan_to_num(), quantiles)
        mean, sd, gain = moments(quantiles)
        best = chances(mean.numpy(), sd.numpy())
        if some:
            mean = unsquash(mean) * answer.belief.width[0] + answer.belief.top[0]
            sd, gain = sd * answer.belief.width[0], gain * answer.belief.width[0]
        cost = (answer.cost[0] + answer.cost_sd[0].square() / 2).exp() - spent[pipeline]
        cost = torch.where(done, 0.0, cost.clamp_min(0))
        told = bool(setting.price.known.any()) or bool((~seconds.isnan()).any())
        cost = cost if told else torch.full_like(cost, torch.nan)
        return Ranking(
            names, mean.numpy(), sd.numpy(), best, cost.numpy(), torch.where(done, 0.0, gain).numpy(),
            self.runs_.maximize,
        )  # fmt: skip


@lru_cache(maxsize=2)
def loaded(folder: str) -> Network:
    """The network of a folder, read once."""
    return load(folder)


def moments(quantiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and expected part above 0, each [M], of distributions with quantiles [M, L]."""
    levels = torch.tensor(LEVELS, dtype=quantiles.dtype)
    ends = torch.cat(
        (quantiles[:, :1] * 2 - quantiles[:, 1:2], quantiles, quantiles[:, -1:] * 2 - quantiles[:, -2:-1]), 1
    )
    width = torch.cat((torch.zeros(1), levels, torch.ones(1))).diff()
    low, high = ends[:, :-1], ends[:, 1:]
    mean = (width * (low + high) / 2).sum(1)
    square = (width * (low.square() + low * high + high.square()) / 3).sum(1)
    above = high.clamp_min(0).square() - low.clamp_min(0).square()
    apart = (high - low).clamp_min(1e-12)
    gain = (width * torch.where(low >= 0, (low + high) / 2, above / (2 * apart))).sum(1)
    return mean, (square - mean.square()).clamp_min(1e-12).sqrt(), gain


def _one(x: Floats) -> Tensor:
    """An array as a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))[None]
