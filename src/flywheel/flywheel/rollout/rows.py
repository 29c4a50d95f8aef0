"""A rollout as it lies in the database."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from . import plan as plans
from .errors import RolloutError
from .fleet import named
from .plan import Plan
from .states import ACTIVE, ENDED, Order, State, after
from .tables import actions, rollouts


@dataclass(frozen=True)
class Row:
    """stage: -1 before the first. *_ms without a clock: exposure."""
    id: int
    release: str
    salt: str
    plan: Plan
    state: State
    stage: int
    stage_treated_ms: int
    stage_control_ms: int
    fleet: int
    held_out: int
    planned_ms: int
    started_ms: int | None
    ended_ms: int | None

    @property
    def treated(self) -> str:
        """The assignment of robots that are to run the release."""
        return f'r{self.id}.t'

    @property
    def control(self) -> str:
        return f'r{self.id}.c'


def read(connection: Connection, rollout_id: int, *, lock: bool = False) -> Row:
    """Raises RolloutError. lock: nobody else orders until the transaction ends (PostgreSQL;
    SQLite's transactions are alone anyway)."""
    query = select(rollouts).where(rollouts.c.id == rollout_id)
    found = connection.execute(query.with_for_update() if lock else query).first()
    if found is None:
        raise RolloutError(f'there is no rollout {rollout_id}')
    return Row(found.id, found.release, found.salt, plans.from_mapping(json.loads(found.plan)),
               State(found.state), found.stage, found.stage_treated_ms, found.stage_control_ms,
               found.fleet, found.held_out, found.planned_ms, found.started_ms, found.ended_ms)


def active(connection: Connection) -> int | None:
    """The rollout that is running or paused; there is one at most."""
    return connection.execute(
        select(rollouts.c.id).where(rollouts.c.state.in_(ACTIVE))).scalar()


def move(connection: Connection, row: Row, order: Order, *, who: str, why: str, now_ms: int,
         **values: int) -> State:
    """Write the state that an order leads to, and who gave it. Raises RolloutError."""
    reached = after(row.state, order)
    if reached in ENDED:
        values['ended_ms'] = now_ms
    connection.execute(update(rollouts).where(rollouts.c.id == row.id)
                       .values(state=reached.value, **values))
    note(connection, row.id, order, before=row.state, reached=reached, who=who, why=why,
         stage=values.get('stage', row.stage), now_ms=now_ms)
    return reached


def note(connection: Connection, rollout_id: int, order: Order, *, before: State | None,
         reached: State, who: str, why: str, stage: int, now_ms: int) -> None:
    """Attribute an action. Raises RolloutError for one without a name or a reason."""
    reason = why.strip()
    if not reason:
        raise RolloutError('an action needs a reason: why is it ordered?')
    connection.execute(insert(actions).values(
        rollout_id=rollout_id, at_ms=now_ms, who=named(who), action=order.value,
        why=reason[:1000], before=before.value if before else '', after=reached.value,
        stage=stage))
