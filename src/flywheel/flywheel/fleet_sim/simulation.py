"""The discrete-event simulation: a heap of what happens next, the real engine and database.

What the robots send in the same half hour goes to the database as one group, as the control
plane does with what comes in the same twenty milliseconds.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flywheel.rollout import fleet, rows
from flywheel.rollout.database import Database
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.intake import Intake
from flywheel.rollout.reports import Report
from flywheel.rollout.states import ACTIVE
from flywheel.rollout.status import status

from .robots import H, Robots, SimRobot
from .scenario import Scenario

SPARE, BASE, CANDIDATE = '0' * 64, 'a' * 64, 'b' * 64
_SLOT_MS = 1_800_000
_START_MS = 24 * H          # the fleet has driven for a day when the rollout begins
_MS = 1_700_000_000_000     # the server's clock then


class Killed(RuntimeError):
    """The control plane dies in the middle of a transaction."""


@dataclass
class Outcome:
    """ended_h: after the start, None while under way. stages: hours at which each began.
    killed, duplicates: transactions lost, reports that came again."""
    state: str
    ended_h: float | None
    stages: list[float]
    reason: str
    reports: int = 0
    duplicates: int = 0
    killed: int = 0
    status: dict[str, Any] = field(default_factory=dict)


class Simulation:
    """One rollout. url: of an empty database. watch: called after each group of reports."""

    def __init__(self, scenario: Scenario, url: str = 'sqlite://',
                 watch: Callable[['Simulation'], None] | None = None) -> None:
        self.scenario = scenario
        self.database = Database(url, durable=False)
        self.database.migrate()
        self.robots = Robots(scenario, BASE, CANDIDATE, SPARE)
        self.rollout = 0
        self.now_ms = 0
        self._watch = watch
        self._intake, self._engine = Intake(), Rollouts(self.database)
        self._rng = self.robots.rng
        self._heap: list[tuple[int, int, str, str]] = []
        self._number = 0
        self._late: list[tuple[int, Report]] = []
        self._away_until_ms = -1
        self._kills = [(int(_START_MS + at * H), int(_START_MS + (at + long) * H))
                       for at, long in scenario.faults.outages]
        self._outcome = Outcome('planned', None, [], '')

    def run(self) -> Outcome:
        """Until the rollout has ended or the days are over."""
        self._enrol()
        end_ms = int(_START_MS + self.scenario.days * 24 * H)
        next_look_ms = _START_MS
        while self._heap and self.now_ms < end_ms:
            slot = min(self._heap[0][0] // _SLOT_MS * _SLOT_MS + _SLOT_MS, next_look_ms, end_ms)
            self.now_ms = slot
            self._slot()
            if slot < next_look_ms:
                continue
            if not self.rollout:
                self._start()
            elif slot >= self._away_until_ms:
                self._engine.evaluate(self.rollout, now_ms=self.clock_ms)
            next_look_ms = slot + int(self.scenario.evaluate_h * H)
            if self._look():
                break
        return self._finish()

    @property
    def clock_ms(self) -> int:
        """The server's."""
        return _MS + self.now_ms

    def settle(self) -> None:
        """Everybody comes online and reports until nothing is left to tell."""
        self._away_until_ms, self._kills = -1, []
        for _ in range(4):
            self.now_ms += H
            self._heap = [each for each in self._heap if each[2] != 'report']
            self.robots.drive(self.robots.all, self.now_ms)
            self._exchange(list(self.robots.all), faults=False)
            for robot in self.robots.all:
                if robot.desired != robot.active:
                    robot.loaded.add(robot.desired)
                    self.robots.swap(robot, self.now_ms)

    def _enrol(self) -> None:
        with self.database.begin() as connection:
            for version, digest in enumerate((SPARE, BASE, CANDIDATE), 1):
                fleet.add_release(connection, fleet.Release(digest, 'amr', version, ('sim',)),
                                  who='simulation', now_ms=self.clock_ms)
            fleet.enrol(connection, [fleet.Robot(each.robot_id, 'sim', 'none')
                                     for each in self.robots.all], BASE, now_ms=self.clock_ms)
        firsts = self._rng.uniform(0, self.scenario.report_h * H, self.scenario.robots)
        for robot, first in zip(self.robots.all, firsts.tolist(), strict=True):
            self._push(int(first), 'report', robot)

    def _start(self) -> None:
        self.rollout = self._engine.plan(CANDIDATE, self.scenario.plan, who='simulation',
                                         why='to be judged', now_ms=self.clock_ms,
                                         salt=f'seed {self.scenario.seed}')
        self._engine.start(self.rollout, who='simulation', why='to be judged',
                           now_ms=self.clock_ms)

    def _push(self, at_ms: int, kind: str, robot: SimRobot) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at_ms, self._number, kind, robot.robot_id))

    def _slot(self) -> None:
        """All that happens up to now."""
        due: list[SimRobot] = []
        while self._heap and self._heap[0][0] <= self.now_ms:
            _, _, kind, name = heapq.heappop(self._heap)
            robot = self.robots.by_id[name]
            if kind == 'report':
                due.append(robot)
            elif kind == 'load':
                self._load(robot)
            elif robot.desired in robot.loaded and robot.desired != robot.active:
                self.robots.swap(robot, self.now_ms)
        if due:
            self._report(due)

    def _report(self, due: list[SimRobot]) -> None:
        faults = self.scenario.faults
        draws = self._rng.random(len(due))
        lengths = self._rng.uniform(*faults.offline_h, len(due))
        online = []
        for robot, draw, length in zip(due, draws.tolist(), lengths.tolist(), strict=True):
            if draw < faults.offline:
                self._push(self.now_ms + int(length * H), 'report', robot)
            else:
                online.append(robot)
        if not online:
            return
        if self.now_ms < self._away_until_ms:
            for robot in online:            # they try again, a little later each
                self._push(self.now_ms + int(self._rng.uniform(0.2, 1.0) * H), 'report', robot)
            return
        self.robots.drive(online, self.now_ms)
        if self._exchange(online):
            for robot in online:
                self._push(self.now_ms + int(self.scenario.report_h * H), 'report', robot)
        else:
            for robot in online:
                self._push(self.now_ms + _SLOT_MS, 'report', robot)

    def _exchange(self, robots: list[SimRobot], *, faults: bool = True) -> bool:
        """Post, and pull what is desired where it changed; False when the server died over it."""
        reports = [self.robots.report(each) for each in robots]
        sent = list(reports)
        if faults and self.scenario.faults.duplicate:
            for report, draw in zip(reports, self._rng.random(len(reports)).tolist(),
                                    strict=True):
                if draw < self.scenario.faults.duplicate:
                    sent.append(report)
                    self._late.append((self.now_ms + int(36 * H * draw * 20), report))
            sent += [report for at, report in self._late if at <= self.now_ms]
            self._late = [each for each in self._late if each[0] > self.now_ms]
        try:
            with self.database.begin() as connection:
                acks = self._intake.take(connection, sent, self.clock_ms)
                self._maybe_kill()
        except Killed:
            return False
        self._outcome.reports += len(acks)
        self._outcome.duplicates += sum(each.outcome == 'duplicate' for each in acks)
        refused = [each for each in acks if each.outcome == 'refused']
        if refused:
            raise AssertionError(f'a true report was refused: {refused[0].reason}')
        behind = []
        for robot, ack in zip(robots, acks, strict=False):
            self.robots.confirmed(robot)
            if ack.revision > robot.revision:
                behind.append(robot)
        if behind:
            with self.database.begin() as connection:
                found = fleet.desired(connection, [each.robot_id for each in behind])
            for robot in behind:
                if self.robots.order(robot, found[robot.robot_id]):
                    self._load(robot)
        if self._watch:
            self._watch(self)
        return True

    def _maybe_kill(self) -> None:
        if self._kills and self.now_ms >= self._kills[0][0]:
            self._away_until_ms = self._kills.pop(0)[1]
            self._outcome.killed += 1
            # What a process forgets when it dies; the database is all that stays.
            self._intake, self._engine = Intake(), Rollouts(self.database)
            raise Killed

    def _load(self, robot: SimRobot) -> None:
        """Load beside what leads; then wait for the robot to be idle."""
        if robot.desired == robot.active:
            return
        if robot.desired not in robot.loaded and \
                self._rng.random() < self.scenario.faults.failed_load:
            robot.failed_release = robot.desired
            self._push(self.now_ms + H, 'load', robot)
            return
        robot.loaded.add(robot.desired)
        robot.failed_release = ''
        self._push(self.now_ms + int(self._rng.exponential(0.7) * H) + 1, 'swap', robot)

    def _look(self) -> bool:
        """Whether the rollout has ended."""
        with self.database.begin() as connection:
            state = rows.read(connection, self.rollout).state
        self._outcome.state = state.value
        return state not in ACTIVE

    def _finish(self) -> Outcome:
        found = status(self.database, self.rollout, now_ms=self.clock_ms)
        self._outcome.status = found
        began_ms = found['started_ms']
        self._outcome.stages = [(each['at_ms'] - began_ms) / H for each in found['actions']
                                if each['action'] in ('start', 'advance')]
        if found['ended_ms'] is not None:
            self._outcome.ended_h = (found['ended_ms'] - began_ms) / H
        self._outcome.reason = found['actions'][-1]['why']
        return self._outcome
