"""People who walk along way points at their own pace and do not stop for the robot."""

import bisect
import dataclasses
import math

import numpy as np

from .layout import Point
from .scenario import Person, Scenario


@dataclasses.dataclass(frozen=True)
class Walk:
    """One person's walk after the seeded draws: position and velocity are functions of time.

    At speed_mps along the path; or, with times_s (seconds since the first step, of each point but
    the first), speed_mps times as fast as recorded. trigger: see `Person`.
    """

    path: tuple[Point, ...]
    speed_mps: float
    trigger: tuple[float, float, float] | None
    times_s: tuple[float, ...] = ()

    def at(self, walked_s: float) -> tuple[float, float, float, float]:
        """x, y, vx, vy so many seconds after the first step; at rest before it and at the end."""
        left_m = walked_s * self.speed_mps
        if left_m <= 0.0:
            return (*self.path[0], 0.0, 0.0)
        if self.times_s:
            return self._as_recorded(left_m)
        for (ax, ay), (bx, by) in zip(self.path[:-1], self.path[1:], strict=True):
            leg_m = math.hypot(bx - ax, by - ay)
            if left_m < leg_m:
                ux, uy = (bx - ax) / leg_m, (by - ay) / leg_m
                return (ax + ux * left_m, ay + uy * left_m,
                        ux * self.speed_mps, uy * self.speed_mps)
            left_m -= leg_m
        return (*self.path[-1], 0.0, 0.0)

    def _as_recorded(self, recorded_s: float) -> tuple[float, float, float, float]:
        i = bisect.bisect(self.times_s, recorded_s)
        if i == len(self.times_s):
            return (*self.path[-1], 0.0, 0.0)
        begin_s = self.times_s[i - 1] if i else 0.0
        leg_s = self.times_s[i] - begin_s
        (ax, ay), (bx, by) = self.path[i], self.path[i + 1]
        vx, vy = (bx - ax) / leg_s, (by - ay) / leg_s
        gone_s = recorded_s - begin_s
        return (ax + vx * gone_s, ay + vy * gone_s, vx * self.speed_mps, vy * self.speed_mps)

    def triggered(self, robot_x_m: float, robot_y_m: float) -> bool:
        if self.trigger is None:
            return True
        x, y, yaw = self.trigger
        return (robot_x_m - x) * math.cos(yaw) + (robot_y_m - y) * math.sin(yaw) >= 0.0


class Walker:
    """A walk and the instant at which it began."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.began_ns: int | None = None

    def at(self, t_ns: int, robot_x_m: float,
           robot_y_m: float = 0.0) -> tuple[float, float, float, float]:
        """x, y, vx, vy at t_ns. Times must not go back."""
        if self.began_ns is None:
            if not self.walk.triggered(robot_x_m, robot_y_m):
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
    start, *rest = ((x + dx * jitter.start_m, y + dy * jitter.start_m)
                    for x, y in (person.start, *person.way_points))
    if not person.times_s:
        rest = list(person.way_points)      # these are places, a recorded track is a shape
    line = person.trigger
    if line is not None:
        later_m = trigger * jitter.trigger_m
        line = (line[0] + later_m * math.cos(line[2]), line[1] + later_m * math.sin(line[2]),
                line[2])
    return Walk(path=(start, *rest),
                speed_mps=person.speed_mps + speed * jitter.speed_mps, trigger=line,
                times_s=person.times_s)
