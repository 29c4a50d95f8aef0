"""Within how long each cause stops the robot. The fault campaign holds the real node to this.

Counted from the first wrong message, or from the last one that came, until the first velocity of
the ramp is published; the ramp itself takes v / braking. What a table cannot know is how late the
operating system lets the reflex run: SLACK_MS stands for that, on a desk that others use too.
"""

from collections.abc import Callable
from dataclasses import dataclass

from safety_reflex.parameters import ReflexParameters
from safety_reflex.reasons import Effect, Reason, effect
from safety_reflex.settings import ENABLE_SILENCE_NS, ESTOP_SILENCE_NS, LOOK_NS

SLACK_MS = 50.0
# Twice round all topics.
_LOOK_MS = 2 * LOOK_NS / 1e6

_Term = Callable[[ReflexParameters, float], float]


@dataclass(frozen=True)
class Promise:
    """`within(parameters, scan period in ms)` in milliseconds, without the slack."""

    counted_from: str
    within: _Term


def _at_once(counted_from: str) -> Promise:
    return Promise(counted_from, lambda p, period_ms: 0.0)


def _at_the_tick(counted_from: str) -> Promise:
    return Promise(counted_from, lambda p, period_ms: 1000 / p.tick_hz)


def _silence(what: str) -> Promise:
    return Promise(f'the last {what}',
                   lambda p, period_ms: p.source_timeout_ms + 1000 / p.tick_hz)


_SCAN = _at_once('the first such scan')
_COMMAND = _at_the_tick('the first such command')

PROMISES = {
    Reason.WARNING_FIELD: _SCAN,
    Reason.APPROACH_FIELD: _SCAN,
    Reason.PROTECTIVE_FIELD: _at_once('the scan that completes the debounce'),
    Reason.COMMAND_STALE: Promise('the last command', lambda p, _: (
        p.command_timeout_ms + 1000 / p.tick_hz)),
    Reason.COMMAND_NOT_FINITE: _COMMAND,
    Reason.COMMAND_OVER_LIMIT: _COMMAND,
    Reason.COMMAND_STAMP: _COMMAND,
    Reason.COMMAND_JOINTS: _COMMAND,
    Reason.COMMAND_MALFORMED: _COMMAND,
    Reason.SCAN_LOST: _silence('scan'),
    Reason.SCAN_SLOW: Promise('the last scan in time, at 80 % of the least rate or less',
                              lambda p, period_ms: 12 * period_ms / p.min_rate_share / 0.8),
    Reason.SCAN_MALFORMED: _at_once('the first such message'),
    Reason.SCAN_GEOMETRY: _SCAN,
    Reason.SCAN_STAMP: _SCAN,
    Reason.SCAN_INVALID: _SCAN,
    Reason.SCAN_EMPTY: _SCAN,
    Reason.SCAN_FROZEN: Promise('the first scan that repeats', lambda p, period_ms: (
        p.frozen_scans * period_ms)),
    Reason.SECTOR_BLOCKED: _SCAN,
    Reason.ODOM_LOST: _silence('odometry'),
    Reason.ODOM_MALFORMED: _at_the_tick('the first such message'),
    Reason.ODOM_NOT_FINITE: _at_the_tick('the first such message'),
    Reason.ODOM_STAMP: _at_the_tick('the first such message'),
    Reason.ODOM_CONTRADICTS: Promise('the begin of the contradiction', lambda p, _: (
        2 * p.odom_lag_ms + 1000 / p.tick_hz)),
    Reason.JOINTS_LOST: _silence('joint state'),
    Reason.JOINTS_MALFORMED: _at_the_tick('the first such message'),
    Reason.JOINTS_NOT_FINITE: _at_the_tick('the first such message'),
    Reason.JOINTS_STAMP: _at_the_tick('the first such message'),
    Reason.JOINTS_CONTRADICT: Promise('the begin of the contradiction', lambda p, _: (
        p.odom_lag_ms + 1000 / p.tick_hz)),
    Reason.CLOCK_FROZEN: Promise('the last step of /clock', lambda p, _: (
        p.loop_gap_ms + 1000 / p.tick_hz)),
    Reason.CLOCK_JUMPED: _at_the_tick('the jump'),
    Reason.ESTOP: _at_the_tick('the first true'),
    Reason.ESTOP_LOST: Promise('the last message', lambda p, _: (
        ESTOP_SILENCE_NS / 1e6 + 1000 / p.tick_hz)),
    Reason.ENABLE_LOST: Promise('the last true', lambda p, _: (
        ENABLE_SILENCE_NS / 1e6 + 1000 / p.tick_hz)),
    Reason.SECOND_PUBLISHER: Promise('its discovery', lambda p, _: _LOOK_MS),
    Reason.PUBLISHER_REPLACED: Promise('its discovery', lambda p, _: _LOOK_MS),
    Reason.LOOP_GAP: _at_the_tick('the end of the pause'),
}


def promised_ms(reason: Reason, parameters: ReflexParameters, period_ms: float) -> float:
    """Milliseconds within which a cause stops the robot; raises KeyError for what is no cause."""
    return PROMISES[reason].within(parameters, period_ms) + SLACK_MS


def table(parameters: ReflexParameters, period_ms: float) -> str:
    """Every cause as Markdown: what it does, and within how long."""
    effects = {Effect.NONE: 'the wish counts as zero', Effect.SLOW: 'slower',
               Effect.STOP: 'stop, then latch', Effect.LATCH: 'latch'}
    rows = ['| reason | effect | stops within, ms | counted from |', '|---|---|---|---|']
    for reason, promise in PROMISES.items():
        what = 'stop' if reason is Reason.PROTECTIVE_FIELD else effects[effect(reason)]
        rows.append(f'| `{reason}` | {what} | {promised_ms(reason, parameters, period_ms):.0f} | '
                    f'{promise.counted_from} |')
    return '\n'.join(rows)
