"""Pipeline ranking: which pretrained model, finetuned how, for this dataset and budget.

`runs` holds what was tried, as `readers` find it; `space` and `models` describe pipelines, `features` tasks; `rankers`
order candidates for a new task, `select` spends a budget along that order, `plugin` brings the same to Optuna.
Letters: `T` tasks, `M` pipelines, `K` budgets, `F` features of a pipeline, `n` rows.
"""

from synthenv.ranking.rankers import default
from synthenv.ranking.runs import RunTable
from synthenv.ranking.select import Selector

__all__ = ["RunTable", "Selector", "default"]
