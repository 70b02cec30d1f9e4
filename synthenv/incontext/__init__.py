"""In-context world models: a simulator of a task never seen before, from a few transitions, with no training."""

from __future__ import annotations

from synthenv.incontext.transitions import Transitions
from synthenv.incontext.world import Prediction, Simulator, WorldModel

__all__ = ["Prediction", "Simulator", "Transitions", "WorldModel"]
