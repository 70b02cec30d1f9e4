"""The tasks on which world models are measured, with a simple controller for each: twelve, and CartPole cut at 200.

Six are those of OSWM (automl/oswm, arXiv 2409.14084): CartPole, Pendulum, MountainCar, its grid, its one-dimensional
task, and Reacher. Three are classic ones that it did not try. The last three are ours and unlike anything that the
shipped model's prior draws: a room with a door in its inner wall, a ball that a paddle keeps in the air, and a car
whose gears shift with hysteresis. What they have in common is that no polynomial is right everywhere.

    import benchmarks.world_tasks                  registers them
    gymnasium.make("benchmarks.world_tasks:Room-v0")

All are deterministic but for where episodes start, and that follows from the seed of `reset`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Array = npt.NDArray[Any]
Expert = Callable[[Array], Any]
"""What a simple controller does in a state [O]: a number of a Discrete space, or the numbers of a Box."""
Step = tuple[Array, float, bool, bool, dict[str, Any]]


class Grid(gymnasium.Env[Array, np.int64]):
    """An 8 x 8 grid with a deadly border and a column of goals on the right, as in OSWM.

    Observation: x and y. Moves: x+1, x-1, y+1, y-1. A move costs 1 less a hundredth of the new x; the border (0 or 7)
    costs 10 more and ends the episode, the goal (x = 6) pays 10 and ends it. Always x+1 is best: 5.2.
    """

    MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])

    def __init__(self) -> None:
        self.observation_space = spaces.MultiDiscrete([8, 8])
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """At x = 1, in any row inside the border."""
        super().reset(seed=seed)
        self.cell = np.array([1, self.np_random.integers(1, 7)])
        return self.cell.copy(), {}

    def step(self, action: np.int64) -> Step:
        """One move."""
        self.cell = self.cell + self.MOVES[int(action)]
        border = bool(((self.cell == 0) | (self.cell == 7)).any())
        goal = not border and self.cell[0] == 6
        reward = -10.0 * border + 10.0 * goal - 1 + 0.01 * self.cell[0]
        return self.cell.copy(), float(reward), bool(border or goal), False, {}


class Line(gymnasium.Env[Array, Array]):
    """A number that the action is added to, within +-30; nearer to 0 is better. OSWM's SimpleEnv."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-30.0, 30.0, (1,), np.float32)
        self.action_space = spaces.Box(-10.0, 10.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Anywhere within +-5."""
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-5, 5, 1).astype(np.float32)
        return self.place.copy(), {}

    def step(self, action: Array) -> Step:
        """Add, and stay inside."""
        self.place = np.clip(self.place + np.asarray(action, np.float32), -30, 30).astype(np.float32)
        return self.place.copy(), -float(abs(self.place[0])), False, False, {}


class Room(gymnasium.Env[Array, Array]):
    """A puck in a square room that an inner wall divides; the goal is on the other side of the door.

    Observation: position x, y within +-1 and velocity a step. Action: a force in x and y, within +-1. Outer walls and
    the inner one (x = 0) throw the puck back with half its speed; the door is where y is above 0.4. A step costs a
    tenth of the distance to the goal (0.6, -0.6); within 0.3 of it the episode ends and pays 1.
    """

    FORCE, DRAG, BOUNCE, DOOR, REACH = 0.03, 0.05, -0.5, 0.4, 0.3
    GOAL = np.array([0.6, -0.6])

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """At rest, anywhere but at the goal."""
        super().reset(seed=seed)
        self.place = self.GOAL
        while self.away() < self.REACH:
            self.place = self.np_random.uniform(-0.95, 0.95, 2)
        self.velocity = np.zeros(2)
        return self.seen(), {}

    def step(self, action: Array) -> Step:
        """Push, slide, meet the walls."""
        force = self.FORCE * np.clip(np.asarray(action, np.float64), -1, 1)
        self.velocity = (1 - self.DRAG) * self.velocity + force
        following = self.place + self.velocity
        side = math.copysign(1.0, self.place[0])
        if following[0] * side < 0 and following[1] <= self.DOOR:
            following[0] *= self.BOUNCE
            self.velocity[0] *= self.BOUNCE
        outside = np.abs(following) > 1
        following = np.where(outside, np.sign(following) * (1 + self.BOUNCE * (np.abs(following) - 1)), following)
        self.velocity = np.where(outside, self.BOUNCE * self.velocity, self.velocity)
        self.place = following
        arrived = self.away() < self.REACH
        return self.seen(), 1.0 if arrived else -0.1 * self.away(), arrived, False, {}

    def away(self) -> float:
        """The distance to the goal."""
        return float(np.linalg.norm(self.place - self.GOAL))

    def seen(self) -> Array:
        """Position and velocity, [4]."""
        return np.concatenate((self.place, self.velocity)).astype(np.float32)


class Paddle(gymnasium.Env[Array, np.int64]):
    """A ball between two walls that a paddle on the floor keeps in the air.

    Observation: the ball's x within +-1, its height, its velocity a step, and the paddle's x. Actions: left, stay,
    right by 0.1. A ball that comes down on the paddle, 0.25 to either side, is kicked up with 0.16 and, the further
    from the middle, sideways; that pays 1. One that misses it ends the episode.
    """

    GRAVITY, KICK, SPIN, HALF, SPEED = 0.01, 0.16, 0.08, 0.25, 0.1

    def __init__(self) -> None:
        reach = np.array([1, 3, 0.2, 0.5, 1], np.float32)
        self.observation_space = spaces.Box(-reach, reach)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """The ball high up, moving sideways; the paddle in the middle."""
        super().reset(seed=seed)
        x, sideways = self.np_random.uniform((-0.5, -0.03), (0.5, 0.03))
        self.state = np.array([x, 1.0, sideways, 0.0, 0.0])
        return self.state.astype(np.float32), {}

    def step(self, action: np.int64) -> Step:
        """Move the paddle, let the ball fly, bounce it off walls and paddle."""
        x, height, sideways, upward, paddle = self.state
        paddle = min(max(paddle + self.SPEED * (int(action) - 1), -1.0), 1.0)
        upward -= self.GRAVITY
        x, height = x + sideways, height + upward
        if abs(x) > 1:
            x, sideways = math.copysign(2 - abs(x), x), -sideways
        down = height <= 0
        hit = down and abs(x - paddle) <= self.HALF
        if hit:
            height, upward = -height, self.KICK
            sideways = min(max(sideways + self.SPIN * (x - paddle), -0.1), 0.1)
        self.state = np.array([x, height, sideways, upward, paddle])
        return self.state.astype(np.float32), float(hit), bool(down and not hit), False, {}


class Gearbox(gymnasium.Env[Array, Array]):
    """A car with three automatic gears that is to hold a speed.

    Observation: speed in m/s, gear 1 to 3, and the speed that is wanted, which an episode keeps. Action: throttle, or
    brake below 0. Gear g pulls with 6/g m/s^2 and shifts up above 9 g m/s, down below 9 (g - 1) - 3 m/s, so that the
    gear depends on the past. A step is half a second and costs the tenth of the error in speed; nothing ends.
    """

    PULL, BRAKE, DRAG, UP, LAG, DT = 6.0, 8.0, 0.002, 9.0, 3.0, 0.5

    def __init__(self) -> None:
        self.observation_space = spaces.Box(np.array([0, 1, 0], np.float32), np.array([60, 3, 60], np.float32))
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Any speed up to 25 m/s, in the gear for it, and any wish from 5 to 30."""
        super().reset(seed=seed)
        self.speed, self.wish = self.np_random.uniform((0, 5), (25, 30))
        self.gear = min(1 + int(self.speed // self.UP), 3)
        return self.seen(), {}

    def step(self, action: Array) -> Step:
        """Pull or brake, then shift."""
        pedal = min(max(float(np.asarray(action).reshape(-1)[0]), -1.0), 1.0)
        push = pedal * (self.PULL / self.gear if pedal > 0 else self.BRAKE)
        self.speed = max(self.speed + self.DT * (push - self.DRAG * self.speed**2), 0.0)
        if self.speed > self.UP * self.gear:
            self.gear = min(self.gear + 1, 3)
        elif self.speed < self.UP * (self.gear - 1) - self.LAG:
            self.gear -= 1
        return self.seen(), -0.1 * abs(self.speed - self.wish), False, False, {}

    def seen(self) -> Array:
        """Speed, gear, wish, [3]."""
        return np.array([self.speed, self.gear, self.wish], np.float32)


def balance(s: Array) -> int:
    """CartPole: push to where the pole falls."""
    return int(s @ (0.1, 0.3, 1.0, 0.6) > 0)


def swing(s: Array) -> Array:
    """Pendulum: pump energy until the top is near, then hold; s is cos, sin and spin."""
    cos, sin, spin = s
    if cos > 0.9:
        return np.array([min(max(-12 * sin - 3 * spin, -2), 2)])
    lack = 10 - (spin**2 / 6 + 5 * cos + 5)
    return np.array([min(max(math.copysign(lack, lack * spin), -2), 2)])


def climb(s: Array) -> int:
    """MountainCar: push with the movement."""
    return 2 if s[1] >= 0 else 0


def crank(s: Array) -> int:
    """Acrobot: push the lower link with its movement."""
    return 2 if s[5] > 0 else 0


def skirt(s: Array) -> int:
    """CliffWalking: up, along the cliff, down; the observation is the number of the cell."""
    row, column = divmod(int(s[0]), 12)
    return 2 if column == 11 else 0 if row == 3 else 1


def reach(s: Array) -> Array:
    """Reacher: pull the fingertip to the target through the transposed Jacobian, with damping."""
    first, second = math.atan2(s[2], s[0]), math.atan2(s[3], s[1])
    both = first + second
    jacobian = np.array([
        [-0.1 * math.sin(first) - 0.11 * math.sin(both), -0.11 * math.sin(both)],
        [0.1 * math.cos(first) + 0.11 * math.cos(both), 0.11 * math.cos(both)],
    ])  # fmt: skip
    torque: Array = np.clip(-20 * jacobian.T @ s[8:10] - 0.1 * s[6:8], -1, 1)
    return torque


def through_the_door(s: Array) -> Array:
    """Room: to the door while on the left, then to the goal."""
    aim = np.array([0.1, 0.7]) if s[0] < 0 else Room.GOAL
    if s[0] < 0 and s[1] < Room.DOOR:
        aim = np.array([-0.2, 0.7])
    force: Array = np.clip(4 * (aim - s[:2]) - 20 * s[2:], -1, 1)
    return force


def follow(s: Array) -> int:
    """Paddle: stay a little behind the ball's side of the middle, which kicks it back there."""
    return 1 + int(np.sign(round((s[0] + 0.1 * np.sign(s[0]) - s[4]) / (2 * Paddle.SPEED))))


class Task(NamedTuple):
    """A task to measure on.

    horizon: steps after which episodes are cut. expert: a simple controller. own: not one of OSWM's.
    """

    id: str
    horizon: int
    expert: Expert
    own: bool = True
    needs: str = ""
    """The module without which it is left out."""


TASKS = {
    task.id: task
    for task in (
        Task("CartPole-v1", 500, balance, own=False),
        Task("Pendulum-v1", 200, swing, own=False),
        Task("MountainCar-v0", 200, climb, own=False),
        Task("OSWMGrid-v0", 27, lambda s: 0, own=False),
        Task("OSWMLine-v0", 20, lambda s: np.clip(-s, -10, 10), own=False),
        Task("Reacher-v5", 50, reach, own=False, needs="mujoco"),
        Task("Acrobot-v1", 500, crank),
        Task("MountainCarContinuous-v0", 999, lambda s: np.array([1.0 if s[1] >= 0 else -1.0])),
        Task("CliffWalking-v1", 200, skirt),
        Task("Room-v0", 100, through_the_door),
        Task("Paddle-v0", 200, follow),
        Task("Gearbox-v0", 100, lambda s: np.clip([0.5 * (s[2] - s[0])], -1, 1)),
        Task("CartPole200-v0", 200, balance, own=False),
    )
}
"""By Gymnasium id. CartPole200-v0 is CartPole-v1 cut earlier: for agents, not for errors."""
ACCURACY = tuple(task for task in TASKS if task != "CartPole200-v0")

_KINDS: tuple[tuple[str, Any], ...] = (
    ("OSWMGrid-v0", Grid), ("OSWMLine-v0", Line), ("Room-v0", Room), ("Paddle-v0", Paddle), ("Gearbox-v0", Gearbox),
    ("CartPole200-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv"),
)  # fmt: skip
for _id, _kind in _KINDS:
    gymnasium.register(_id, _kind, max_episode_steps=TASKS[_id].horizon)


def make(task: str) -> gymnasium.Env[Any, Any]:
    """The task's environment, cut at its horizon."""
    return gymnasium.make(task, max_episode_steps=TASKS[task].horizon)


def available(tasks: tuple[str, ...] | list[str]) -> list[str]:
    """Those of the tasks whose packages are there; a line for each that is left out."""
    found = []
    for task in tasks:
        needs = TASKS[task].needs
        if needs and importlib.util.find_spec(needs) is None:
            print(f"{task} is left out: it needs {needs}; try: pip install 'synthenv[{needs}]'")
        else:
            found.append(task)
    return found
