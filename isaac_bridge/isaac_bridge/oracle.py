"""A kinematic oracle over what truly happened: contacts, and whether they could be avoided.

A contact is *moving* if the fastest point of the outline, |v| + |w| r with r the outline's
circumradius, is above 0.05 m/s at its first instant; else the person walked into a resting robot.

A contact at t_c is *avoidable* if a robot that brakes as its file promises, from the first instant
of the unbroken sight that led to the contact, would have been at rest by then:

    t_rest = t_brake + max(|v| / braking_mps2, |w| / turn_braking_radps2),   t_rest <= t_c
    t_brake = t_sight + reaction

with v and w as they were at t_brake. Sight is the lidar's: in range, with no rack between its
origin and the person's axis. It is a strict rule: somebody who stood beside the lane in full view
and stepped in at the last moment counts as avoidable.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .layout import Point, Sight
from .outline import clearance_m
from .robot import Robot
from .scenario import PERSON_RADIUS_M

RESTING_MPS = 0.05
# A scan until the person is measured, one until the command is there, and as much again.
REACTION_S = 0.1


@dataclasses.dataclass(frozen=True)
class Row:
    """One instant of the truth."""

    t_ns: int
    robot: tuple[float, float, float, float, float]             # x, y, yaw, v, w
    people: tuple[tuple[float, float, float, float], ...]       # x, y, vx, vy
    contact: int = -1                                           # touched since the row before

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> 'Row':
        """From a record of `world/truth`; raises KeyError or TypeError for what is none."""
        x, y, yaw, v, w = map(float, truth['robot'])
        people = []
        for px, py, vx, vy in truth['people']:
            people.append((float(px), float(py), float(vx), float(vy)))
        return cls(int(truth['t_ns']), (x, y, yaw, v, w), tuple(people), int(truth['contact']))


@dataclasses.dataclass(frozen=True)
class Contact:
    t_ns: int
    person: int
    speed_mps: float            # of the outline's fastest point
    moving: bool
    avoidable: bool
    sighted_ns: int | None      # begin of the unbroken sight; None: never seen
    rest_ns: int | None         # when a braking robot would have been at rest


def contacts(rows: Iterable[Row], robot: Robot, sight: Sight,
             reaction_s: float = REACTION_S) -> list[Contact]:
    """Every contact in the order of time; one lasts until the person is clear again."""
    rows = list(rows)
    touching: set[int] = set()
    found = []
    for i, row in enumerate(rows):
        now = {person for person in range(len(row.people)) if _touches(row, person, robot)}
        found += [_judge(rows[:i + 1], person, robot, sight, reaction_s)
                  for person in sorted(now - touching)]
        touching = now
    return found


def _touches(row: Row, person: int, robot: Robot) -> bool:
    return row.contact == person or clearance_m(
        robot.outline, row.robot[:3], row.people[person][:2], PERSON_RADIUS_M) <= 0.0


def _judge(rows: Sequence[Row], person: int, robot: Robot, sight: Sight,
           reaction_s: float) -> Contact:
    end = rows[-1]
    speed = abs(end.robot[3]) + abs(end.robot[4]) * robot.circumradius_m
    sighted_ns = _sighted_ns(rows, person, robot, sight)
    rest_ns = None if sighted_ns is None else _rest_ns(
        rows, sighted_ns + round(reaction_s * 1e9), robot)
    return Contact(
        t_ns=end.t_ns, person=person, speed_mps=speed, moving=speed > RESTING_MPS,
        avoidable=rest_ns is not None and rest_ns <= end.t_ns,
        sighted_ns=sighted_ns, rest_ns=rest_ns)


def _sighted_ns(rows: Sequence[Row], person: int, robot: Robot, sight: Sight) -> int | None:
    seen_ns = None
    for row in reversed(rows):
        if not sight.sees(_lidar_at(row, robot), row.people[person][:2]):
            break
        seen_ns = row.t_ns
    return seen_ns


def _rest_ns(rows: Sequence[Row], brake_ns: int, robot: Robot) -> int | None:
    """None if the contact came before the brakes."""
    for row in rows:
        if row.t_ns >= brake_ns:
            v, w = row.robot[3:]
            braking_s = max(abs(v) / robot.limits.braking_mps2,
                            abs(w) / robot.limits.turn_braking_radps2)
            return brake_ns + round(braking_s * 1e9)
    return None


def _lidar_at(row: Row, robot: Robot) -> Point:
    x, y, yaw = row.robot[:3]
    lx, ly, _ = robot.lidar.pose
    c, s = math.cos(yaw), math.sin(yaw)
    return x + c * lx - s * ly, y + s * lx + c * ly
