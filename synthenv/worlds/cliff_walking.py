"""CliffWalking-v1 in torch, seen as Gymnasium's FlattenObservation shows it."""

from __future__ import annotations

from typing import ClassVar

from synthenv.worlds.grid_world import GridWorld


class CliffWalking(GridWorld):
    """A walk along a cliff, short at its edge and safe away from it.

    Sutton and Barto (2018), example 6.6; layout and rewards of Gymnasium CliffWalking-v1, whose every step it repeats.
    Gymnasium sets it no time limit and shows the number of the cell; here it has one, and O = 48 is its one-hot.
    """

    name: ClassVar[str] = "CliffWalking-v1"
    horizon: ClassVar[int] = 200
    LAYOUT: ClassVar[tuple[str, ...]] = (
        "............",
        "............",
        "............",
        "SCCCCCCCCCCG",
    )
    CONSTANTS: ClassVar[dict[str, float]] = {"step": -1.0, "arrival": -1.0, "fall": -100.0}
