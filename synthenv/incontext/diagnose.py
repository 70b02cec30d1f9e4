"""How good a simulator is on transitions it was not shown, and where not to trust it.

Errors are those of the change, in units of the change: 1 is what "nothing changes" would miss, 0 is perfect.

Letters: H transitions held out, O observation size, K steps ahead, L quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from synthenv.incontext.belief import level
from synthenv.incontext.model import LEVELS
from synthenv.incontext.transitions import Transitions

if TYPE_CHECKING:
    from synthenv.incontext.world import Simulator

Floats = npt.NDArray[np.floating]
MANY = 256
"""Open-loop rollouts at most."""


class Ends(NamedTuple):
    """How well ends are foreseen.

    share: of held-out steps that ended.  auroc: probability that an end is thought likelier than another step, NaN
    where there are not both.  brier: mean squared error of the probability.
    """

    share: float
    auroc: float
    brier: float


@dataclass(frozen=True)
class Diagnosis:
    """What was measured on `rows` held-out transitions.

    nmse:        [O] squared error of the change over the squared change; NaN for numbers that never change.
    reward_nmse: squared error of the reward over its variance; over its square where it never varies.
    coverage:    [O] share of changes within the predicted 90 % interval; NaN as above.
    calibration: [O, L] share of changes below each predicted quantile; NaN as above.
    drift:       [K] error 1 to K steps ahead with the actions really taken, means fed back, over the distance covered;
                 the mean of the numbers that change.
    outside:     share of rows whose observation lies outside the range of the context.
    informed:    rank correlation of doubt and error: whether the simulator knows where it errs.
    doubt, error: [H] of each row; the error is the mean of what `nmse` is the average of.
    warnings:    where not to trust it, in words.
    """

    rows: int
    nmse: Floats
    reward_nmse: float
    coverage: Floats
    calibration: Floats
    ends: Ends
    drift: Floats
    outside: float
    informed: float
    doubt: Floats
    error: Floats
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        from synthenv.report import table

        pairs = zip(self.nmse.tolist(), self.coverage.tolist(), strict=True)
        rows = [[f"observation[{i}]", error, inside] for i, (error, inside) in enumerate(pairs)]
        rows.append(["reward", self.reward_nmse, ""])
        shown = [[str(cell) if cell != cell else cell for cell in row] for row in rows]  # NaN is not itself
        lines = [table(["number", "error", "in the 90 % interval"], shown)]
        lines.append(f"ends: {self.ends.share:.1%} of steps, AUROC {self.ends.auroc:.3f}, Brier {self.ends.brier:.4f}")
        if len(self.drift):
            lines.append(f"{len(self.drift)} steps ahead: error {self.drift[-1]:.3g}")
        lines.append(f"doubt against error: rank correlation {self.informed:.2f}")
        lines += [f"do not trust: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Draw errors, calibration, drift, and doubt against error."""
        from synthenv.report import Checkup, checkup

        title = f"{self.rows:,} transitions held out"
        levels = np.array(LEVELS)
        checkup(Path(path), Checkup(title, self.nmse, levels, self.calibration, self.drift, self.doubt, self.error))
        return Path(path)


def diagnose(simulator: Simulator, holdout: Transitions, steps: int) -> Diagnosis:
    """Measure a simulator on held-out transitions of its task, and `steps` ahead where episodes are long enough."""
    if holdout.spaces != simulator.spaces:
        raise ValueError(f"expected transitions of {simulator.spaces}, got some of {holdout.spaces}")
    prediction = simulator.predict(holdout.observation, holdout.action)
    change = (holdout.following - holdout.observation).astype(np.float64)
    moves = np.where((size := np.square(change).mean(0)) > 0, size, np.nan)  # [O]
    errors = np.square(prediction.next_obs.numpy().astype(np.float64) - holdout.following) / moves  # [H, O]
    below = (change[..., None] <= prediction.quantiles.numpy()).astype(np.float64)  # [H, O, L]
    low, high = (prediction.quantiles[..., level(share)].numpy() for share in (0.05, 0.95))
    inside = ((change >= low) & (change <= high)).astype(np.float64)
    still = np.where(np.isnan(moves), np.nan, 0.0)
    paid = holdout.reward.astype(np.float64)
    spread = paid.var() or np.square(paid).mean() or 1.0
    error, doubt = _mean(errors, 1), simulator.doubt(prediction).numpy()
    outside = (simulator.beyond(torch.tensor(holdout.observation)) > 0).any(-1).numpy()
    found = Diagnosis(
        len(holdout),
        errors.mean(0),
        float(np.square(prediction.reward.numpy() - paid).mean() / spread),
        inside.mean(0) + still,
        below.mean(0) + still[:, None],
        _ends(prediction.terminated.numpy(), holdout.terminated),
        drift(simulator, holdout, steps),
        float(outside.mean()),
        _correlation(_ranks(doubt), _ranks(error)),
        doubt,
        error,
        (),
    )
    return Diagnosis(**{**vars(found), "warnings": tuple(_warnings(simulator, found, outside))})


def drift(simulator: Simulator, holdout: Transitions, steps: int) -> Floats:
    """Error [K] after 1 to K steps of imagination with the actions that were really taken; K is `steps` or fewer."""
    left = _left(holdout)
    ahead = min(steps, int(left.max()))
    begun = np.flatnonzero(left >= ahead)
    begun = begun[:: -(-len(begun) // MANY)]
    imagined = torch.tensor(holdout.observation[begun])
    found = []
    for k in range(ahead):
        action = torch.tensor(holdout.action[begun + k])
        imagined = simulator.foresee(imagined, action).next_obs
        missed = np.square(imagined.numpy().astype(np.float64) - holdout.following[begun + k]).mean(0)  # [O]
        way = np.square(holdout.following[begun + k].astype(np.float64) - holdout.observation[begun]).mean(0)
        found.append(float(_mean(missed[None] / np.where(way > 0, way, np.nan)[None], 1)[0]))
    return np.array(found)


def _left(data: Transitions) -> npt.NDArray[np.int64]:
    """How many rows of the same episode follow in a row from each, itself included, [H]."""
    count = len(data)
    last = np.ones(count, np.bool_)
    joined = (data.following[:-1] == data.observation[1:]).all(1) & ~data.start[1:]
    last[:-1] = data.terminated[:-1] | data.truncated[:-1] | ~joined
    ends = np.flatnonzero(last)
    return ends[np.searchsorted(ends, np.arange(count))] - np.arange(count) + 1


def _ends(probability: Floats, ended: npt.NDArray[np.bool_]) -> Ends:
    """Marks of predicted probabilities [H] of ends."""
    yes, no = int(ended.sum()), int((~ended).sum())
    auroc = float("nan")
    if yes and no:
        auroc = (float(_ranks(probability)[ended].sum()) - yes * (yes - 1) / 2) / (yes * no)
    return Ends(yes / len(ended), auroc, float(np.square(probability - ended).mean()))


def _ranks(values: Floats) -> Floats:
    """Ranks [H] from 0, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    shared: Floats = (count.cumsum() - (count + 1) / 2)[place]
    return shared


def _correlation(one: Floats, other: Floats) -> float:
    """Pearson's, NaN where either does not vary."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size else float("nan")


def _mean(values: Floats, axis: int) -> Floats:
    """The mean over an axis of what is a number; 0 where nothing is."""
    there = ~np.isnan(values)
    mean: Floats = np.where(there, values, 0).sum(axis) / there.sum(axis).clip(min=1)
    return mean


def _warnings(simulator: Simulator, found: Diagnosis, outside: npt.NDArray[np.bool_]) -> list[str]:
    """Where not to trust a simulator."""
    context, said = simulator.data, []
    for i, (error, inside) in enumerate(zip(found.nmse, found.coverage, strict=True)):
        if error > 0.5:
            said.append(f"observation[{i}], whose changes are missed by {error:.0%}")
        if inside < 0.8:
            said.append(f"the intervals of observation[{i}], which hold {inside:.0%} of what should be 90 %")
    if found.reward_nmse > 0.5:
        said.append(f"rewards, missed by {found.reward_nmse:.0%} of their variance")
    if not context.terminated.any():
        said.append("that episodes go on: the context has seen none end")
    if isinstance(action := context.spaces.action, spaces.Discrete):
        unseen = sorted(set(range(int(action.n))) - set(context.action.tolist()))
        said += [f"action {choice}, which the context has never seen" for choice in unseen]
    if outside.any() and not outside.all():
        far, near = found.error[outside].mean(), found.error[~outside].mean()
        if far > 4 * near:
            times = far / max(near, 1e-12)
            said.append(f"states beyond those of the context: errors there are {times:,.0f} times as large")
    if len(gone := np.flatnonzero(found.drift > 0.5)):
        said.append(f"more than {gone[0]} steps of imagination at a time")
    return said
