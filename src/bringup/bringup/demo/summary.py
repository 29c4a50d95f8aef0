"""report.json: computed from what was seen, never from what was planned."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from bringup.demo.director import Log, person_stops
from bringup.demo.story import Outcome
from isaac_bridge.oracle import Contact

MOVING_MPS = 0.05


def percentiles(values: Sequence[float]) -> dict[str, float | int | None]:
    """p50, p99, max and n; a percentile is null where fewer than 10 / (1 - p) values stand."""
    found = np.asarray(values, float)

    def at(share: float) -> float | None:
        enough = len(found) >= 10 / (1 - share) - 1e-6
        return round(float(np.quantile(found, share)), 1) if enough else None

    return {'p50': at(0.5), 'p99': at(0.99),
            'max': round(float(found.max()), 1) if len(found) else None, 'n': len(found)}


def fallback_seconds(log: Log) -> float:
    """How long another source than Triton led, from the first moment that one led at all."""
    total, led = 0.0, False
    for (t_s, source), (later_s, _) in zip(log.sources, log.sources[1:], strict=False):
        led = led or source.startswith('triton')
        if led and source == 'onnx':
            total += later_s - t_s
    return total


def clearance(log: Log, *, moving: bool) -> float | None:
    """The smallest gap between the robot's outline and a person, metres; None with nobody."""
    gaps = [row['clearance_m'] for row in log.truth if row['clearance_m'] is not None
            and (not moving or abs(row['robot'][3]) > MOVING_MPS)]
    return round(min(gaps), 3) if gaps else None


def summarise(log: Log, outcomes: Sequence[Outcome], planned: int, contacts: Sequence[Contact],
              goal: tuple[float, float], cases: Sequence[dict], answer_us: Sequence[float],
              server: str, setting: dict) -> dict:
    """The whole report.json. `ok` holds only if every phase, case and contact says so."""
    moving = [contact for contact in contacts if contact.moving]
    end = log.truth[-1]['robot'] if log.truth else [math.inf, math.inf]
    reached = math.hypot(end[0] - goal[0], end[1] - goal[1]) < 0.5
    stops = person_stops(log)
    ok = (len(outcomes) == planned and all(outcome.ok for outcome in outcomes) and reached
          and not moving and len(stops) > 0 and bool(cases)
          and all(case['crc32c_ok'] for case in cases))
    return {
        'ok': ok,
        'goal_reached': reached,
        'contacts': len(moving),
        'contacts_avoidable': sum(contact.avoidable for contact in contacts),
        'contacts_resting': len(contacts) - len(moving),
        'min_clearance_m': clearance(log, moving=True),
        'min_clearance_resting_m': clearance(log, moving=False),
        'person_stops': len(stops),
        'stop_us': percentiles(answer_us),
        'policy': {
            'server': server,
            'requests': int(log.policy.get('requests', 0)),
            'fallback_s': round(fallback_seconds(log), 2),
            'rejected_chunks': int(log.policy.get('rejected_chunks', 0)),
        },
        'reflex': {key: log.reflex.get(key, '') for key in (
            'scans', 'reflex_us_p50', 'reflex_us_p99', 'reflex_us_max', 'trip_count', 'realtime')},
        'cases': list(cases),
        'phases': [asdict(outcome) for outcome in outcomes],
        'setting': setting,
    }
