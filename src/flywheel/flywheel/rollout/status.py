"""What an operator sees of a rollout: by cohort, desired, actual, offline, failed; rates; who did
what. Offline is not failed: a robot that is silent has said nothing bad."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from . import rows
from .cohort import sizes
from .database import Database
from .evaluation import MS_PER_H, figures
from .sequential import rates
from .states import ACTIVE
from .tables import actions, evidence, members, presence, releases, robots, rollouts


def overview(database: Database) -> list[dict[str, Any]]:
    """Every rollout, the newest first."""
    with database.begin() as connection:
        found = connection.execute(
            select(rollouts, releases.c.name, releases.c.version)
            .join(releases, releases.c.digest == rollouts.c.release)
            .order_by(rollouts.c.id.desc())).mappings().all()
        return [{'id': row['id'], 'release': row['release'],
                 'model': f'{row["name"]}:{row["version"]}', 'state': row['state'],
                 'stage': row['stage'], 'fleet': row['fleet'], 'planned_ms': row['planned_ms'],
                 'started_ms': row['started_ms'], 'ended_ms': row['ended_ms']} for row in found]


def status(database: Database, rollout_id: int, *, now_ms: int) -> dict[str, Any]:
    """Ready for JSON; pending: online, asked, and not there yet. Raises RolloutError."""
    with database.begin() as connection:
        row = rows.read(connection, rollout_id)
        counts = sizes(row.fleet, [stage.share for stage in row.plan.stages],
                       row.plan.control_share).stages
        found = figures(connection, row)
        people = connection.execute(
            select(members.c.position, members.c.held_out, robots.c.desired_release,
                   presence.c.actual_release, presence.c.failed_release, presence.c.held_by,
                   presence.c.seen_ms)
            .join(robots, robots.c.robot_id == members.c.robot_id)
            .outerjoin(presence, presence.c.robot_id == members.c.robot_id)
            .where(members.c.rollout_id == row.id)).all()
        names = [f'stage {number} ({stage.share * 100:g} %)'
                 for number, stage in enumerate(row.plan.stages, 1)] + ['control']
        tally = {name: dict.fromkeys(('robots', 'desired', 'actual', 'pending', 'offline',
                                      'failed', 'held'), 0) for name in names}
        for each in people:
            stage = next((number for number, count in enumerate(counts) if each.position < count),
                         len(counts))
            into = tally[names[-1] if each.held_out else names[stage]]
            into['robots'] += 1
            wanted, actual = each.desired_release == row.release, each.actual_release
            into['desired'] += wanted
            into['actual'] += actual == row.release
            into['held'] += bool(each.held_by)
            if each.seen_ms is None or now_ms - each.seen_ms > row.plan.offline_after_s * 1000:
                into['offline'] += 1
            elif each.failed_release == each.desired_release != actual:
                into['failed'] += 1
            elif actual != each.desired_release:
                into['pending'] += 1
        history = [{'at_ms': each.at_ms, 'who': each.who, 'action': each.action,
                    'why': each.why, 'before': each.before, 'after': each.after,
                    'stage': each.stage} for each in connection.execute(
                        select(actions).where(actions.c.rollout_id == row.id)
                        .order_by(actions.c.id))]
        return {
            'id': row.id, 'release': row.release, 'state': row.state.value, 'stage': row.stage,
            'stages': len(row.plan.stages), 'fleet': row.fleet, 'salt': row.salt,
            'started_ms': row.started_ms, 'ended_ms': row.ended_ms,
            'cohorts': [{'name': name} | tally[name] for name in names],
            'stage_exposure_h': round(found.stand.treated_h, 2),
            'stage_needs_h': (row.plan.stages[row.stage].min_exposure_h
                              if row.state in ACTIVE else None),
            'rates': _rates(found.totals), 'e_values': dict(found.stand.e_values),
            'stop_e_value': row.plan.stop_e_value,
            'verdict': found.decision.verdict.value if row.state in ACTIVE else None,
            'reasons': list(found.decision.reasons) if row.state in ACTIVE else [],
            'actions': history}


def history(database: Database, rollout_id: int) -> list[dict[str, Any]]:
    """Every evaluation: when, stage, exposure and events by group, e-values, verdict."""
    with database.begin() as connection:
        return [{'at_ms': each.at_ms, 'stage': each.stage, 'totals': json.loads(each.totals),
                 'e_values': json.loads(each.e_values), 'verdict': each.verdict,
                 'reasons': each.reasons} for each in connection.execute(
                     select(evidence).where(evidence.c.rollout_id == rollout_id)
                     .order_by(evidence.c.id))]


def _rates(totals: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """Hours, events and events an hour, by group."""
    found = {}
    for group, values in totals.items():
        hours = values['exposure_ms'] / MS_PER_H
        events = {name: count for name, count in values.items() if name != 'exposure_ms'}
        per_h = rates(list(events.values()), [hours] * len(events))
        found[group] = {'hours': round(hours, 2), **events,
                        **{f'{name}_per_h': value
                           for name, value in zip(events, per_h, strict=True)}}
    return found
