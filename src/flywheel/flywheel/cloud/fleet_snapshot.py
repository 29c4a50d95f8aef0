"""`python -m flywheel.cloud.fleet_snapshot`: what is known of each robot, into the lake.

    .. --database postgresql://spinal@host/spinal --to gs://LAKE/telemetry

One row a robot, named `presence`, with its release, phase and the totals of its counters. It only
reads the database, so it may run beside the control plane, every few minutes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from flywheel.cloud.telemetry import ReportError, objects, row, write
from flywheel.rollout.database import Database
from flywheel.rollout.errors import RolloutError
from flywheel.rollout.tables import counters, presence, robots

# A robot reports every 10 s; after a minute's silence it counts as offline, which is no failure.
OFFLINE_MS = 60_000
_LEVELS = {'ready': 0, 'fetching': 1, 'loading': 1, 'waiting': 1, 'failed': 2}
STALE = 3


def rows(connection: Connection, now_ms: int) -> list[dict[str, Any]]:
    """A row of `robot_status` for each robot that was ever heard of, at now_ms (UTC)."""
    totals = select(
        counters.c.robot_id, func.sum(counters.c.exposure_ms).label('exposure_ms'),
        func.sum(counters.c.e_stops).label('e_stops'),
        func.sum(counters.c.interventions).label('interventions')
    ).group_by(counters.c.robot_id).subquery()
    query = (select(presence, robots.c.target, robots.c.desired_release, totals.c.exposure_ms,
                    totals.c.e_stops, totals.c.interventions)
             .join(robots, robots.c.robot_id == presence.c.robot_id)
             .outerjoin(totals, totals.c.robot_id == presence.c.robot_id)
             .where(robots.c.retired_ms.is_(None)).order_by(presence.c.robot_id))
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
    result = []
    for found in connection.execute(query).mappings():
        silent_ms = max(0, now_ms - found['seen_ms'])
        offline = silent_ms > OFFLINE_MS
        result.append(row({
            'robot_id': found['robot_id'], 'stamp': stamp, 'name': 'presence',
            'level': STALE if offline else _LEVELS.get(found['phase'], 2),
            'message': found['failure'] or ('offline' if offline else found['phase']),
            'release': found['actual_release'],
            'values': {'phase': found['phase'], 'target': found['target'],
                       'silent_ms': silent_ms, 'desired_release': found['desired_release'],
                       'fallback_release': found['fallback_release'],
                       'held_by': found['held_by'], 'revision': found['revision'],
                       'exposure_ms': int(found['exposure_ms'] or 0),
                       'e_stops': int(found['e_stops'] or 0),
                       'interventions': int(found['interventions'] or 0)}}))
    return result


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.cloud.fleet_snapshot',
                                     description="Put the fleet's present state into the lake.")
    parser.add_argument('--database', required=True, help='sqlite:///FILE or postgresql://..')
    parser.add_argument('--to', required=True, help='gs://bucket/telemetry or file:///folder')
    options = parser.parse_args(argv)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    try:
        with Database(options.database).engine.connect() as connection:
            found = rows(connection, now_ms)
        new = write(objects(found), options.to)
    except (RolloutError, ReportError, OSError) as error:
        print(f'fleet snapshot: {error}', file=sys.stderr)
        return 2
    print(json.dumps({'robots': len(found), 'objects': new}))
    return 0


if __name__ == '__main__':
    sys.exit(main())
