"""The synthetic prior: families of environments, and batches of transitions from fresh ones. One file a family."""

from synthenv.incontext.prior.sample import Batch, families, sample, sample_labelled
from synthenv.incontext.prior.settings import PriorSettings

__all__ = ["Batch", "PriorSettings", "families", "sample", "sample_labelled"]
