"""Simulated robots: the agent's behaviour without its files. Pure but for the random numbers.

Each holds what the real agent holds: a release that leads, one behind it, totals by assignment and
release, a sequence number. Nothing here knows the server's clock.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from flywheel.rollout.desired import Desired
from flywheel.rollout.reports import Counter, Report

from .scenario import Scenario

H = 3_600_000


@dataclass(slots=True)
class SimRobot:
    """totals: exposure_ms, e_stops, interventions by (assignment, release). wall_ms: the error of
    its wall clock; pace: of its oscillator."""
    robot_id: str
    life: str
    active: str
    factor: float
    pace: float
    wall_ms: int
    fallback: str = ''
    assignment: str = 'fleet'
    desired: str = ''
    revision: int = 0
    sequence: int = 0
    driven_to_ms: int = 0
    failed_release: str = ''
    loading: str = ''
    loaded: set[str] = field(default_factory=set)
    totals: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    unconfirmed: set[tuple[str, str]] = field(default_factory=set)


class Robots:
    """The fleet. candidate: the release whose rates are multiplied by the scenario's ratio."""

    def __init__(self, scenario: Scenario, base: str, candidate: str, spare: str) -> None:
        self._scenario = scenario
        self._candidate = candidate
        self.rng = np.random.default_rng([scenario.seed, 1])
        count, faults = scenario.robots, scenario.faults
        factors = (np.ones(count) if scenario.spread == 0 else self.rng.gamma(
            1 / scenario.spread ** 2, scenario.spread ** 2, count))
        drift = self.rng.uniform(-faults.drift, faults.drift, count)
        skew = self.rng.uniform(-faults.skew_h, faults.skew_h, count) * H
        self.all = [SimRobot(f'robot-{number:05}', f'{number:032x}', base, float(factors[number]),
                             1.0 + float(drift[number]), int(skew[number]), fallback=spare,
                             desired=base, loaded={base, spare})
                    for number in range(count)]
        self.by_id = {each.robot_id: each for each in self.all}

    def drive(self, robots: list[SimRobot], now_ms: int) -> None:
        """Drive up to now under what each knows and runs."""
        if not robots:
            return
        scenario = self._scenario
        spans = np.array([now_ms - each.driven_to_ms for each in robots], float)
        noon = 1 + scenario.day * math.sin(2 * math.pi * now_ms / (24 * H))
        exposure = spans * np.array([each.pace for each in robots]) * np.minimum(
            1.0, scenario.duty * self.rng.uniform(0.6, 1.4, len(robots)))
        weight = exposure / H * noon * np.array([
            each.factor * (scenario.ratio if each.active == self._candidate else 1.0)
            for each in robots])
        stops = self.rng.poisson(weight * scenario.e_stops_per_h)
        helped = self.rng.poisson(weight * scenario.interventions_per_h)
        for robot, driven, stopped, taken in zip(
                robots, exposure.astype(np.int64).tolist(), stops.tolist(), helped.tolist(),
                strict=True):
            key = (robot.assignment, robot.active)
            totals = robot.totals.get(key)
            if totals is None:
                totals = robot.totals[key] = [0, 0, 0]
            totals[0] += driven
            totals[1] += stopped
            totals[2] += taken
            robot.unconfirmed.add(key)
            robot.driven_to_ms = now_ms

    @staticmethod
    def report(robot: SimRobot) -> Report:
        """The next one: all totals that were not confirmed yet."""
        robot.sequence += 1
        phase = 'ready' if robot.active == robot.desired else (
            'failed' if robot.failed_release else 'waiting')
        return Report(
            robot.robot_id, robot.life, robot.sequence, robot.revision, robot.active,
            robot.fallback, phase, robot.failed_release,
            'out of memory' if robot.failed_release else '', '',
            tuple(Counter(*key, *robot.totals[key]) for key in sorted(robot.unconfirmed)))

    @staticmethod
    def confirmed(robot: SimRobot) -> None:
        robot.unconfirmed.clear()

    @staticmethod
    def order(robot: SimRobot, found: Desired) -> bool:
        """Take note of a desired state; whether there is something to load or to swap."""
        if found.revision <= robot.revision:
            return False
        robot.revision, robot.assignment = found.revision, found.assignment
        robot.desired = found.release
        if robot.desired == robot.active:
            robot.failed_release = robot.loading = ''
            return False
        return True

    def swap(self, robot: SimRobot, now_ms: int) -> None:
        """What leads becomes the fallback; what was behind it goes."""
        self.drive([robot], now_ms)
        robot.fallback, robot.active = robot.active, robot.desired
        robot.failed_release = robot.loading = ''
        robot.loaded &= {robot.active, robot.fallback}
