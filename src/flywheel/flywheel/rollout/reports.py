"""What a robot reports, and the check of it on the way in. Pure.

Counters are totals since a counters' life began, by assignment and release, and only rise. So a
report that is lost is contained in the next, one that comes twice or late changes nothing (the
larger value counts), and no clock of a robot is needed to tell what belongs to a rollout: the
robot counts under the assignment that it was told, from the moment it heard of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PHASES = ('ready', 'fetching', 'loading', 'waiting', 'failed')
MOST_REPORTS = 100       # in one request
MOST_COUNTERS = 16       # in one report
MOST_LIVES = 64          # of one robot's counters
_LIMIT = 1 << 53
_ROBOT = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_LIFE = re.compile(r'[0-9a-f]{32}')
_DIGEST = re.compile(r'[0-9a-f]{64}')
_ASSIGNMENT = re.compile(r'fleet|r[1-9][0-9]{0,17}\.[tc]')
_COUNTER_KEYS = frozenset(('assignment', 'release', 'exposure_ms', 'e_stops', 'interventions'))
_KEYS = frozenset(('schema_version', 'robot_id', 'life', 'sequence', 'revision', 'actual_release',
                   'fallback_release', 'phase', 'failed_release', 'failure', 'held_by',
                   'counters'))
SCHEMA_VERSION = 1


class ReportError(ValueError):
    """A report is not what it must be; the message says where."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Totals of one life under one assignment with one release in command."""
    assignment: str
    release: str
    exposure_ms: int
    e_stops: int
    interventions: int


@dataclass(frozen=True, slots=True)
class Report:
    """(robot_id, life, sequence) names a report; sequence rises by one each.

    revision: of the desired state that the robot knows. actual_release, fallback_release: empty
    for the file that the robot was delivered with. held_by: who rolled back on the robot itself.
    """
    robot_id: str
    life: str
    sequence: int
    revision: int
    actual_release: str
    fallback_release: str = ''
    phase: str = 'ready'
    failed_release: str = ''
    failure: str = ''
    held_by: str = ''
    counters: tuple[Counter, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        return {
            'schema_version': SCHEMA_VERSION, 'robot_id': self.robot_id, 'life': self.life,
            'sequence': self.sequence, 'revision': self.revision,
            'actual_release': self.actual_release, 'fallback_release': self.fallback_release,
            'phase': self.phase, 'failed_release': self.failed_release, 'failure': self.failure,
            'held_by': self.held_by,
            'counters': [{'assignment': each.assignment, 'release': each.release,
                          'exposure_ms': each.exposure_ms, 'e_stops': each.e_stops,
                          'interventions': each.interventions} for each in self.counters]}


def parse(content: Any) -> Report:
    """One report out of JSON; raises ReportError. Nothing unknown, nothing without a limit."""
    if not isinstance(content, Mapping):
        raise ReportError('a report is an object')
    if content.keys() != _KEYS:
        odd = sorted(map(str, _KEYS ^ content.keys()))[0][:40]
        raise ReportError(f'{odd} is {"missing" if odd in _KEYS else "unknown"}')
    if content['schema_version'] != SCHEMA_VERSION:
        raise ReportError(f'schema_version is not {SCHEMA_VERSION}')
    counters = content['counters']
    if not isinstance(counters, list) or len(counters) > MOST_COUNTERS:
        raise ReportError(f'counters: a list of at most {MOST_COUNTERS}')
    phase = content['phase']
    if phase not in PHASES:
        raise ReportError(f'phase is none of {", ".join(PHASES)}')
    return Report(
        robot_id=_matching(content, 'robot_id', _ROBOT), life=_matching(content, 'life', _LIFE),
        sequence=_count(content, 'sequence'), revision=_count(content, 'revision'),
        actual_release=_digest_or_empty(content, 'actual_release'),
        fallback_release=_digest_or_empty(content, 'fallback_release'), phase=phase,
        failed_release=_digest_or_empty(content, 'failed_release'),
        failure=_sentence(content, 'failure', 300), held_by=_sentence(content, 'held_by', 200),
        counters=tuple(map(_counter, counters)))


def is_robot_id(text: str) -> bool:
    return _ROBOT.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def _counter(content: Any) -> Counter:
    if not isinstance(content, Mapping) or content.keys() != _COUNTER_KEYS:
        raise ReportError(f'counters: each has exactly {", ".join(sorted(_COUNTER_KEYS))}')
    return Counter(_matching(content, 'assignment', _ASSIGNMENT),
                   _matching(content, 'release', _DIGEST), _count(content, 'exposure_ms'),
                   _count(content, 'e_stops'), _count(content, 'interventions'))


def _matching(content: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = content[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ReportError(f'{name} has another form')
    return value


def _digest_or_empty(content: Mapping[str, Any], name: str) -> str:
    return '' if content[name] == '' else _matching(content, name, _DIGEST)


def _count(content: Mapping[str, Any], name: str) -> int:
    value = content[name]
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise ReportError(f'{name} is not a count')
    return value


def _sentence(content: Mapping[str, Any], name: str, most: int) -> str:
    value = content[name]
    if not isinstance(value, str) or len(value) > most or not (value == '' or value.isprintable()):
        raise ReportError(f'{name}: printable text of at most {most} characters')
    return value
