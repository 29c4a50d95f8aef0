"""The rollout engine: orders by people, and what follows by itself from the robots' reports.

Each order is one transaction with its attribution in it. Time is an argument: milliseconds of the
server's clock.
"""

import json
import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from . import cohort, rows
from .database import Database
from .decision import Decision, Verdict
from .errors import RolloutError
from .evaluation import Figures, figures
from .fleet import FLEET, release_of
from .plan import Plan
from .rows import Row
from .states import Order, State, after
from .tables import evidence, members, releases, robots, rollouts

AUTOMATIC = 'flywheel (automatic)'


class Rollouts:
    """One fleet's rollouts, of which one at most is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, release: str, plan: Plan, *, who: str, why: str, now_ms: int,
             salt: str | None = None) -> int:
        """Check that the plan can be carried out now, and keep it. Raises RolloutError.

        release: the digest of one that is known. salt: of the cohorts; drawn if absent.
        """
        with self._database.begin() as connection:
            fleet = len(self._eligible(connection, release))
            found = cohort.sizes(fleet, [stage.share for stage in plan.stages],
                                 plan.control_share)
            number = connection.execute(insert(rollouts).values(
                release=release, salt=salt or secrets.token_hex(16),
                plan=json.dumps(plan.to_mapping()), state=State.PLANNED.value, stage=-1,
                stage_treated_ms=0, stage_control_ms=0, fleet=fleet, held_out=found.held_out,
                planned_ms=now_ms).returning(rollouts.c.id)).scalar_one()
            rows.note(connection, number, Order.PLAN, before=None, reached=State.PLANNED,
                      who=who, why=why, stage=-1, now_ms=now_ms)
            return int(number)

    def start(self, rollout_id: int, *, who: str, why: str, now_ms: int) -> None:
        """The first stage gets the release; all others count as control from now on."""
        with self._database.begin() as connection:
            row = rows.read(connection, rollout_id, lock=True)
            after(row.state, Order.START)
            if (other := rows.active(connection)) is not None:
                raise RolloutError(f'rollout {other} is under way; one at a time')
            bases = self._eligible(connection, row.release)
            ahead = [name for name, base in bases.items() if base == row.release]
            if ahead:
                raise RolloutError(f'{len(ahead)} robots are to run this release already, '
                                   f'{ahead[0]} for one: there is nothing to compare')
            sizes = cohort.sizes(len(bases), [stage.share for stage in row.plan.stages],
                                 row.plan.control_share)
            order = cohort.ordered(bases, row.salt)
            first_held_out = sizes.fleet - sizes.held_out
            connection.execute(insert(members), [
                {'rollout_id': row.id, 'robot_id': name, 'position': position,
                 'held_out': position >= first_held_out, 'base_release': bases[name],
                 'treated': False} for position, name in enumerate(order)])
            try:
                rows.move(connection, row, Order.START, who=who, why=why, now_ms=now_ms, stage=0,
                          stage_began_ms=now_ms, started_ms=now_ms, fleet=sizes.fleet,
                          held_out=sizes.held_out)
            except IntegrityError:
                raise RolloutError('another rollout was started at the same moment; one at a '
                                   'time') from None
            self._assign(connection, self._members(row), assignment=row.control)
            self._treat(connection, row, sizes.stages[0])

    def pause(self, rollout_id: int, *, who: str, why: str, now_ms: int) -> None:
        """No further stage; the robots stay watched."""
        self._order(rollout_id, Order.PAUSE, who, why, now_ms)

    def resume(self, rollout_id: int, *, who: str, why: str, now_ms: int) -> None:
        self._order(rollout_id, Order.RESUME, who, why, now_ms)

    def abort(self, rollout_id: int, *, who: str, why: str, now_ms: int) -> None:
        """No further robot gets the release, for good; robots that were given it keep it."""
        self._order(rollout_id, Order.ABORT, who, why, now_ms, self._release_fleet)

    def rollback(self, rollout_id: int, *, who: str, why: str, now_ms: int) -> None:
        """Every robot of the rollout goes back to what it was to run before."""
        self._order(rollout_id, Order.ROLLBACK, who, why, now_ms, self._back)

    def evaluate(self, rollout_id: int, *, now_ms: int) -> Decision:
        """Look at the figures, keep the evidence, and do what follows: advance, complete, or stop
        and roll back. Harmless at any time and as often as one likes."""
        with self._database.begin() as connection:
            row = rows.read(connection, rollout_id, lock=True)
            if row.state not in (State.RUNNING, State.PAUSED):
                return Decision(Verdict.HOLD, (f'it is {row.state.value}',))
            found = figures(connection, row)
            decision = found.decision
            connection.execute(insert(evidence).values(
                rollout_id=row.id, at_ms=now_ms, stage=row.stage, totals=json.dumps(found.totals),
                tests=json.dumps({name: test.log_ratios for name, test in found.tests.items()}),
                e_values=json.dumps(dict(found.stand.e_values)), verdict=decision.verdict.value,
                reasons='; '.join(decision.reasons)))
            why = '; '.join(decision.reasons)
            if decision.verdict is Verdict.STOP:
                rows.move(connection, row, Order.ROLLBACK, who=AUTOMATIC, why=why, now_ms=now_ms)
                self._back(connection, row)
            elif decision.verdict is Verdict.ADVANCE and row.state is State.RUNNING:
                self._advance(connection, row, found, why, now_ms)
            return decision

    def evaluate_active(self, *, now_ms: int) -> Decision | None:
        """evaluate of the one under way, if there is one."""
        with self._database.begin() as connection:
            number = rows.active(connection)
        return None if number is None else self.evaluate(number, now_ms=now_ms)

    def _advance(self, connection: Connection, row: Row, found: Figures, why: str,
                 now_ms: int) -> None:
        if row.stage + 1 < len(row.plan.stages):
            stage = row.stage + 1
            rows.move(connection, row, Order.ADVANCE, who=AUTOMATIC, why=why, now_ms=now_ms,
                      stage=stage, stage_began_ms=now_ms,
                      stage_treated_ms=found.treated_ms, stage_control_ms=found.control_ms)
            sizes = cohort.sizes(row.fleet, [each.share for each in row.plan.stages],
                                 row.plan.control_share)
            self._treat(connection, row, sizes.stages[stage])
            return
        rows.move(connection, row, Order.COMPLETE, who=AUTOMATIC, why=why, now_ms=now_ms)
        # The robots held out follow, and those that were enrolled meanwhile.
        bases = select(members.c.base_release).where(members.c.rollout_id == row.id)
        self._assign(connection, or_(self._members(row), robots.c.desired_release.in_(bases)),
                     assignment=FLEET, release=row.release,
                     targets=release_of(connection, row.release).targets)

    def _order(self, rollout_id: int, order: Order, who: str, why: str, now_ms: int,
               consequence: Callable[[Connection, Row], None] | None = None) -> None:
        with self._database.begin() as connection:
            row = rows.read(connection, rollout_id, lock=True)
            if order is Order.ROLLBACK:
                self._refuse_if_overtaken(connection, row)
            rows.move(connection, row, order, who=who, why=why, now_ms=now_ms)
            if consequence:
                consequence(connection, row)

    def _treat(self, connection: Connection, row: Row, count: int) -> None:
        """The first `count` robots of the order are to run the release."""
        newly = select(members.c.robot_id).where(
            members.c.rollout_id == row.id, members.c.position < count,
            members.c.treated.is_(False), members.c.held_out.is_(False))
        self._assign(connection, robots.c.robot_id.in_(newly), assignment=row.treated,
                     release=row.release)
        connection.execute(update(members).where(
            members.c.rollout_id == row.id, members.c.position < count,
            members.c.held_out.is_(False)).values(treated=True))

    def _back(self, connection: Connection, row: Row) -> None:
        base = (select(members.c.base_release)
                .where(members.c.rollout_id == row.id, members.c.robot_id == robots.c.robot_id)
                .scalar_subquery())
        self._assign(connection, self._members(row), assignment=FLEET, release=base)
        # Robots enrolled during the rollout were never members; their release is the newest base.
        newest = connection.execute(
            select(members.c.base_release).join(
                releases, releases.c.digest == members.c.base_release)
            .where(members.c.rollout_id == row.id)
            .order_by(releases.c.version.desc()).limit(1)).scalar()
        if newest is not None:
            self._assign(connection, robots.c.desired_release == row.release, assignment=FLEET,
                         release=newest)

    def _release_fleet(self, connection: Connection, row: Row) -> None:
        self._assign(connection, self._members(row), assignment=FLEET)

    @staticmethod
    def _members(row: Row) -> ColumnElement[bool]:
        return robots.c.robot_id.in_(
            select(members.c.robot_id).where(members.c.rollout_id == row.id))

    @staticmethod
    def _assign(connection: Connection, which: ColumnElement[bool], *, assignment: str,
                release: Any = None, targets: tuple[str, ...] | None = None) -> None:
        values = {'assignment': assignment, 'revision': robots.c.revision + 1}
        if release is not None:
            values['desired_release'] = release
        statement = update(robots).where(which).values(values)
        if targets is not None:
            statement = statement.where(robots.c.target.in_(targets))
        connection.execute(statement.execution_options(synchronize_session=False))

    @staticmethod
    def _eligible(connection: Connection, release: str) -> dict[str, str]:
        """Robots that the release has an artifact for, and what each is to run now."""
        targets = release_of(connection, release).targets
        return {row.robot_id: row.desired_release for row in connection.execute(
            select(robots.c.robot_id, robots.c.desired_release)
            .where(robots.c.retired_ms.is_(None), robots.c.target.in_(targets)))}

    @staticmethod
    def _refuse_if_overtaken(connection: Connection, row: Row) -> None:
        later = connection.execute(
            select(rollouts.c.id).where(rollouts.c.started_ms.is_not(None),
                                        rollouts.c.id != row.id,
                                        rollouts.c.started_ms >= (row.started_ms or 0))
            .order_by(rollouts.c.id.desc())).scalars().first()
        if later is not None and row.started_ms is not None:
            raise RolloutError(f'rollout {later} came after rollout {row.id}: roll that back '
                               'first')
        if row.started_ms is None:
            raise RolloutError(f'rollout {row.id} was never started: there is nothing to roll '
                               'back')
