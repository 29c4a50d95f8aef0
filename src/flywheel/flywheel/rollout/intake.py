"""Reports into the database: many at once, each counted once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .reports import MOST_LIVES, Report
from .tables import counters, past_lives, presence, releases, robots, rollouts

# A robot's exposure cannot be longer than the time since its assignment was made, but for the
# drift of its oscillator and the time that a report travels.
_SLACK_MS = 60_000
_SLACK_SHARE = 0.001
_CHUNK = 500

_KNOWN = (
    select(robots.c.robot_id, robots.c.retired_ms, robots.c.revision, robots.c.enrolled_ms,
           presence.c.life, presence.c.sequence)
    .outerjoin(presence, presence.c.robot_id == robots.c.robot_id)
    .where(robots.c.robot_id.in_(bindparam('ids', expanding=True))))
_UPDATED = ('sequence', 'seen_ms', 'revision', 'actual_release', 'fallback_release', 'phase',
            'failed_release', 'failure', 'held_by', 'life')
# Of two processes with reports of one robot, the newer report stays.
_UPDATE = (update(presence)
           .where(presence.c.robot_id == bindparam('_robot_id'),
                  or_(presence.c.life != bindparam('life'),
                      presence.c.sequence < bindparam('sequence')))
           .values({name: bindparam(name) for name in _UPDATED}))
_TOTALS = ('exposure_ms', 'e_stops', 'interventions')


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of a report: `accepted`, `duplicate` or `refused` with a reason.

    revision: of the robot's desired state now; a robot that knows an older one asks for it.
    """
    robot_id: str
    life: str
    sequence: int
    outcome: str
    reason: str = ''
    revision: int = 0


class Intake:
    """Books reports. Keeps what never changes: which releases exist, when rollouts were started."""

    def __init__(self) -> None:
        self.releases: set[str] = set()
        self.started_ms: dict[str, int] = {}

    def take(self, connection: Connection, reports: Sequence[Report], now_ms: int) -> list[Ack]:
        """Book the reports, in any order; one Ack each, in the order given.

        now_ms: the server's clock. Within a transaction of Database.begin; only after its commit
        may a robot be answered.
        """
        batch = _Batch(self, connection, now_ms)
        batch.look_up(sorted({each.robot_id for each in reports}))
        order = sorted(range(len(reports)),
                       key=lambda i: (reports[i].robot_id, reports[i].sequence))
        acks = {i: batch.book(reports[i]) for i in order}
        batch.write()
        return [acks[i] for i in range(len(reports))]


class _Batch:
    """The rows that a batch of reports reads, changes and writes."""

    def __init__(self, intake: Intake, connection: Connection, now_ms: int) -> None:
        self._intake = intake
        self._connection = connection
        self._now_ms = now_ms
        self._robots: dict[str, Any] = {}
        self._current: dict[str, tuple[str, int]] = {}       # robot -> life, sequence
        self._seen_before: set[str] = set()
        self._presence: dict[str, dict[str, Any]] = {}
        self._past: dict[tuple[str, str], int] = {}
        self._counters: dict[tuple[str, str, str, str], tuple[int, int, int]] = {}

    def look_up(self, robot_ids: Sequence[str]) -> None:
        for first in range(0, len(robot_ids), _CHUNK):
            ids = robot_ids[first:first + _CHUNK]
            for row in self._connection.execute(_KNOWN, {'ids': ids}):
                self._robots[row.robot_id] = row
                if row.life is not None:
                    self._current[row.robot_id] = (row.life, row.sequence)
                    self._seen_before.add(row.robot_id)

    def book(self, report: Report) -> Ack:
        robot = self._robots.get(report.robot_id)
        if robot is None or robot.retired_ms is not None:
            return self._ack(report, 'refused', 'the robot is not enrolled', 0)
        if report.actual_release and not self._knows(report.actual_release):
            return self._ack(report, 'refused', 'actual_release is not a release', robot.revision)
        for each in report.counters:
            if reason := self._impossible(each, robot.enrolled_ms):
                return self._ack(report, 'refused', reason, robot.revision)
        current = self._current.get(report.robot_id)
        if current is None or current[0] == report.life:
            if current is not None and report.sequence <= current[1]:
                return self._ack(report, 'duplicate', '', robot.revision)
            self._current[report.robot_id] = (report.life, report.sequence)
            self._write_presence(report)
        elif not self._change_life(report, current):
            past = self._past.get((report.robot_id, report.life), -1)
            if past < 0:
                return self._ack(report, 'refused', f'more than {MOST_LIVES} lives of its '
                                 'counters', robot.revision)
            if report.sequence <= past:
                return self._ack(report, 'duplicate', '', robot.revision)
            # An old life's late report: its counts are true, its state is history.
            self._past[report.robot_id, report.life] = report.sequence
        for each in report.counters:
            key = (report.robot_id, report.life, each.assignment, each.release)
            old = self._counters.get(key, (0, 0, 0))
            self._counters[key] = (max(old[0], each.exposure_ms), max(old[1], each.e_stops),
                                   max(old[2], each.interventions))
        return self._ack(report, 'accepted', '', robot.revision)

    def write(self) -> None:
        insert: Any = (sqlite.insert if self._connection.dialect.name == 'sqlite'
                       else postgresql.insert)
        if self._past:
            statement = insert(past_lives)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=['robot_id', 'life'],
                    set_={'sequence': statement.excluded.sequence}),
                [{'robot_id': robot, 'life': life, 'sequence': sequence}
                 for (robot, life), sequence in sorted(self._past.items())])
        known = [row for name, row in sorted(self._presence.items()) if name in self._seen_before]
        new = [row for name, row in sorted(self._presence.items())
               if name not in self._seen_before]
        if known:
            self._connection.execute(_UPDATE, known)
        if new:
            # Another process may have heard of the robot meanwhile; the newer report stays.
            statement = insert(presence)
            rows = [{('robot_id' if name == '_robot_id' else name): value
                     for name, value in row.items()} for row in new]
            self._connection.execute(statement.on_conflict_do_update(
                index_elements=['robot_id'],
                set_={name: statement.excluded[name] for name in _UPDATED},
                where=presence.c.sequence < statement.excluded.sequence), rows)
        if self._counters:
            self._connection.execute(
                _upsert(self._connection.dialect.name, insert),
                [{'robot_id': key[0], 'life': key[1], 'assignment': key[2], 'release': key[3],
                  'exposure_ms': value[0], 'e_stops': value[1], 'interventions': value[2]}
                 for key, value in sorted(self._counters.items())])

    def _write_presence(self, report: Report) -> None:
        self._presence[report.robot_id] = {
            '_robot_id': report.robot_id, 'life': report.life, 'sequence': report.sequence,
            'seen_ms': self._now_ms, 'revision': report.revision,
            'actual_release': report.actual_release, 'fallback_release': report.fallback_release,
            'phase': report.phase, 'failed_release': report.failed_release,
            'failure': report.failure, 'held_by': report.held_by}

    def _change_life(self, report: Report, current: tuple[str, int]) -> bool:
        """Whether the report is the first of a new life; else `_past` says what is known of it."""
        key = (report.robot_id, report.life)
        if key in self._past:
            return False
        rows = self._connection.execute(
            select(past_lives.c.life, past_lives.c.sequence)
            .where(past_lives.c.robot_id == report.robot_id)).all()
        for row in rows:
            self._past.setdefault((report.robot_id, row.life), row.sequence)
        lives = sum(1 for robot, _ in self._past if robot == report.robot_id)
        if key in self._past or lives + 1 >= MOST_LIVES:
            return False
        self._past[report.robot_id, current[0]] = current[1]
        self._current[report.robot_id] = (report.life, report.sequence)
        self._write_presence(report)
        return True

    def _impossible(self, counter: Any, enrolled_ms: int) -> str:
        if not self._knows(counter.release):
            return 'a counter is of no release'
        began = self._began(counter.assignment, enrolled_ms)
        if began is None:
            return f'{counter.assignment} is no assignment'
        most = (self._now_ms - began) * (1 + _SLACK_SHARE) + _SLACK_MS
        if counter.exposure_ms > most:
            return f'an exposure of {counter.exposure_ms} ms under {counter.assignment} is ' \
                   'longer than that exists'
        return ''

    def _began(self, assignment: str, enrolled_ms: int) -> int | None:
        if assignment == 'fleet':
            return enrolled_ms
        known = self._intake.started_ms.get(assignment)
        if known is None:
            number = int(assignment[1:-2])
            known = self._connection.execute(
                select(rollouts.c.started_ms).where(rollouts.c.id == number)).scalar()
            if known is not None:
                self._intake.started_ms[assignment] = known
        return known

    def _knows(self, release: str) -> bool:
        if release in self._intake.releases:
            return True
        self._intake.releases.update(self._connection.execute(
            select(releases.c.digest).where(releases.c.digest == release)).scalars())
        return release in self._intake.releases

    @staticmethod
    def _ack(report: Report, outcome: str, reason: str, revision: int) -> Ack:
        return Ack(report.robot_id, report.life, report.sequence, outcome, reason, revision)


def _upsert(dialect: str, insert: Any) -> Any:
    if dialect not in _UPSERTS:
        statement = insert(counters)
        larger: Any = func.max if dialect == 'sqlite' else func.greatest
        _UPSERTS[dialect] = statement.on_conflict_do_update(
            index_elements=['robot_id', 'life', 'assignment', 'release'],
            set_={name: larger(counters.c[name], statement.excluded[name]) for name in _TOTALS})
    return _UPSERTS[dialect]


_UPSERTS: dict[str, Any] = {}


def totals(connection: Connection, assignment: str, release: str, *,
           equal: bool) -> dict[str, int]:
    """Sums of exposure_ms, e_stops, interventions under an assignment with, or without, a release
    in command."""
    which = counters.c.release == release if equal else counters.c.release != release
    row = connection.execute(
        select(*(func.coalesce(func.sum(counters.c[name]), 0) for name in _TOTALS))
        .where(counters.c.assignment == assignment, which)).one()
    return {name: int(value) for name, value in zip(_TOTALS, row, strict=True)}
