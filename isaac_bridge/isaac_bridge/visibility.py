"""How long before it matters a person can be seen: no scenario may be unavoidable by construction.

A person matters from the moment when their cylinder could first touch the strip that the robot
sweeps on its straight way from start to goal, whether or not the robot is there yet.
"""

import math

from .layout import Point, Sight
from .people import Walker, draw_walks
from .robot import Robot
from .scenario import PERSON_RADIUS_M, Scenario

PERIOD_NS = 25_000_000


def sight_of(scenario: Scenario, robot: Robot) -> Sight:
    """What the robot's lidar can see between this scenario's racks and walls."""
    return Sight((*scenario.aisle.racks(), *scenario.aisle.walls()), robot.lidar.range_max_m)


def notice_s(scenario: Scenario, robot: Robot, seed: int, speed_mps: float) -> list[float]:
    """Seconds of unbroken sight that each person gives before touching the robot's path.

    The robot drives at a constant speed from start to goal, then stands. +inf for a person who
    never comes near the path.
    """
    sight = sight_of(scenario, robot)
    half_m = robot.half_width_m + PERSON_RADIUS_M
    notices = []
    for walker in map(Walker, draw_walks(scenario, seed)):
        seen_ns: int | None = None
        notice = math.inf
        for t_ns in range(0, _until_ns(scenario, walker, speed_mps), PERIOD_NS):
            robot_at = _along(scenario, speed_mps * t_ns * 1e-9)
            person = walker.at(t_ns, *robot_at)[:2]
            if not sight.sees(robot_at, person):
                seen_ns = None
            elif seen_ns is None:
                seen_ns = t_ns
            if _off_path_m(scenario, person) <= half_m:
                notice = 0.0 if seen_ns is None else (t_ns - seen_ns) * 1e-9
                break
        notices.append(notice)
    return notices


def _until_ns(scenario: Scenario, walker: Walker, speed_mps: float) -> int:
    path, times_s = walker.walk.path, walker.walk.times_s
    walk_s = (times_s[-1] if times_s else sum(map(math.dist, path[:-1], path[1:]))
              ) / walker.walk.speed_mps
    drive_s = math.dist(scenario.start[:2], scenario.goal) / speed_mps
    return round((drive_s + walk_s + 1.0) * 1e9)


def _along(scenario: Scenario, driven_m: float) -> Point:
    (x, y), (gx, gy) = scenario.start[:2], scenario.goal
    share = min(1.0, driven_m / math.dist((x, y), (gx, gy)))
    return x + (gx - x) * share, y + (gy - y) * share


def _off_path_m(scenario: Scenario, person: Point) -> float:
    """Distance from the straight way between start and goal."""
    (x, y), (gx, gy) = scenario.start[:2], scenario.goal
    dx, dy = gx - x, gy - y
    along = ((person[0] - x) * dx + (person[1] - y) * dy) / (dx * dx + dy * dy)
    along = min(1.0, max(0.0, along))
    return math.dist(person, (x + along * dx, y + along * dy))
