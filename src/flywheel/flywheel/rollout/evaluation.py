"""A rollout's figures out of the database: exposure, events, robots; and what they mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from .decision import Decision, Stand, decide
from .intake import totals
from .plan import METRICS
from .rows import Row
from .sequential import RateTest
from .tables import evidence, members, presence

MS_PER_H = 3_600_000


@dataclass(frozen=True)
class Figures:
    """totals: by group (`treated`, `control`), the sums that the tests have seen."""
    treated_ms: int
    control_ms: int
    totals: Mapping[str, Mapping[str, int]]
    tests: Mapping[str, RateTest]
    stand: Stand
    decision: Decision


def figures(connection: Connection, row: Row) -> Figures:
    """The state of the comparison with everything that was reported up to now."""
    now = {'treated': totals(connection, row.treated, row.release, equal=True),
           'control': totals(connection, row.control, row.release, equal=False)}
    seen, tests = _last(connection, row)
    grown = {group: {name: now[group][name] - seen[group][name] for name in now[group]}
             for group in now}
    if grown['treated']['exposure_ms'] > 0 and grown['control']['exposure_ms'] > 0:
        tests = {name: test.after(grown['treated'][name], grown['control'][name],
                                  grown['treated']['exposure_ms'] / MS_PER_H,
                                  grown['control']['exposure_ms'] / MS_PER_H)
                 for name, test in tests.items()}
        seen = now
    # Otherwise nothing is compared yet: the same interval goes on until both groups have driven.
    treated_ms, control_ms = now['treated']['exposure_ms'], now['control']['exposure_ms']
    asked, loaded, failed = _robots(connection, row)
    stand = Stand(row.stage, (treated_ms - row.stage_treated_ms) / MS_PER_H,
                  (control_ms - row.stage_control_ms) / MS_PER_H,
                  {name: test.e_value for name, test in tests.items()}, asked, loaded, failed)
    return Figures(treated_ms, control_ms, seen, tests, stand, decide(row.plan, stand))


def _last(connection: Connection, row: Row) -> tuple[dict[str, dict[str, int]],
                                                    dict[str, RateTest]]:
    """What the tests had seen at the last evaluation, and what they said."""
    found: Any = connection.execute(
        select(evidence.c.totals, evidence.c.tests).where(evidence.c.rollout_id == row.id)
        .order_by(evidence.c.id.desc()).limit(1)).first()
    if found is None:
        nothing = dict.fromkeys(('exposure_ms', *METRICS), 0)
        return ({'treated': dict(nothing), 'control': dict(nothing)},
                {name: RateTest(row.plan.tolerated_ratio) for name in METRICS})
    return (json.loads(found.totals),
            {name: RateTest(row.plan.tolerated_ratio, tuple(log_ratios))
             for name, log_ratios in json.loads(found.tests).items()})


def _robots(connection: Connection, row: Row) -> tuple[int, int, int]:
    """Treated robots; those that run the release; those that said that they cannot."""
    loaded = presence.c.actual_release == row.release
    failed = and_(presence.c.actual_release != row.release,
                  presence.c.failed_release == row.release)
    counts = connection.execute(
        select(func.count(), func.coalesce(func.sum(case((loaded, 1), else_=0)), 0),
               func.coalesce(func.sum(case((failed, 1), else_=0)), 0))
        .select_from(members.outerjoin(presence, presence.c.robot_id == members.c.robot_id))
        .where(members.c.rollout_id == row.id, members.c.treated.is_(True))).one()
    return int(counts[0]), int(counts[1]), int(counts[2])
