"""People who walk along way points at their own pace and do not stop for the robot."""

import dataclasses
import math

import numpy as np

from .layout import Point
from .scenario import Person, Scenario


@dataclasses.dataclass(frozen=True)
class Walk:
    """One person's walk after the seeded draws: position and velocity are functions of time."""

    path: tuple[Point, ...]
    speed_mps: float
    robot_x_m: float | None

    def at(self, walked_s: float) -> tuple[float, float, float, float]:
        """x, y, vx, vy so many seconds after the first step; at rest before it and at the end."""
        left_m = walked_s * self.speed_mps
        if left_m <= 0.0:
            return (*self.path[0], 0.0, 0.0)
        for (ax, ay), (bx, by) in zip(self.path[:-1], self.path[1:], strict=True):
            leg_m = math.hypot(bx - ax, by - ay)
            if left_m < leg_m:
                ux, uy = (bx - ax) / leg_m, (by - ay) / leg_m
                return (ax + ux * left_m, ay + uy * left_m,
                        ux * self.speed_mps, uy * self.speed_mps)
            left_m -= leg_m
        return (*self.path[-1], 0.0, 0.0)

    def triggered(self, robot_x_m: float) -> bool:
        return self.robot_x_m is None or robot_x_m >= self.robot_x_m


class Walker:
    """A walk and the instant at which it began."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.began_ns: int | None = None

    def at(self, t_ns: int, robot_x_m: float) -> tuple[float, float, float, float]:
        """x, y, vx, vy at t_ns. Times must not go back."""
        if self.began_ns is None:
            if not self.walk.triggered(robot_x_m):
                return self.walk.at(0.0)
            self.began_ns = t_ns
        return self.walk.at((t_ns - self.began_ns) * 1e-9)


def draw_walks(scenario: Scenario, seed: int) -> list[Walk]:
    """Everybody's walk for this seed; independent of the noise of the sensors."""
    random = np.random.default_rng([seed, 1])
    return [_draw(person, random) for person in scenario.people]


def _draw(person: Person, random: np.random.Generator) -> Walk:
    dx, dy, speed, trigger = random.uniform(-1.0, 1.0, 4).tolist()
    jitter = person.jitter
    start = (person.start[0] + dx * jitter.start_m, person.start[1] + dy * jitter.start_m)
    return Walk(
        path=(start, *person.way_points), speed_mps=person.speed_mps + speed * jitter.speed_mps,
        robot_x_m=None if person.robot_x_m is None
        else person.robot_x_m + trigger * jitter.trigger_m)
