"""When which priority may upload: hours and weekdays.

    time_zone: local             # local, utc, or a name such as Europe/Berlin
    always_from_priority: 80     # these go at any hour
    longest_wait_h: 48           # what has waited so long goes at any hour; leave it out for never
    windows:
      - {days: [mon, tue, wed, thu, fri], from: '20:00', to: '06:00', from_priority: 0}

A window that ends before it begins goes past midnight and belongs to the day it begins on.
The time is the bucket's (see wall_clock); the wait is counted by the steady clock; and the cap in
bytes per second counts at any hour. So a clock that is set can neither starve a case nor flood a
link.
"""

import datetime
import re
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_DAYS = ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun')
_TIME = re.compile(r'([01]\d|2[0-3]):([0-5]\d)|24:00')
_KEYS = {'time_zone', 'always_from_priority', 'longest_wait_h', 'windows'}
_WINDOW_KEYS = {'days', 'from', 'to', 'from_priority'}


class ScheduleError(ValueError):
    """A schedule cannot be used; the message names the file, the key and the rule."""


@dataclass(frozen=True)
class Window:
    """days: 0 is Monday. Minutes since midnight; `end` at or below `begin` is on the next day."""

    days: frozenset[int]
    begin: int
    end: int
    from_priority: int

    def open_at(self, day: int, minute: int) -> bool:
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or \
            ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True)
class Schedule:
    """Without windows everything may always go."""

    windows: tuple[Window, ...] = ()
    always_from_priority: int | None = None
    longest_wait_s: float | None = None
    zone: datetime.tzinfo | None = None      # None: the machine's own

    def may_go(self, priority: int, waited_s: float, utc_s: float) -> bool:
        """Whether a case may upload now. waited_s: by the steady clock, since it was first seen."""
        if not self.windows or (self.always_from_priority is not None
                                and priority >= self.always_from_priority):
            return True
        if self.longest_wait_s is not None and waited_s >= self.longest_wait_s:
            return True
        now = datetime.datetime.fromtimestamp(utc_s, datetime.UTC).astimezone(self.zone)
        return any(priority >= window.from_priority
                   and window.open_at(now.weekday(), now.hour * 60 + now.minute)
                   for window in self.windows)


def read_schedule(path: Path) -> Schedule:
    """Raises ScheduleError with one sentence."""
    try:
        return parse_schedule(yaml.safe_load(path.read_text('utf-8')))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ScheduleError) as error:
        raise ScheduleError(f'schedule {path}: {error}') from None


def parse_schedule(content: Any) -> Schedule:
    given = _mapping(content, 'the file', _KEYS)
    windows = given.get('windows')
    if not isinstance(windows, list) or not windows:
        raise ScheduleError('windows: must be a list of at least one window')
    always = given.get('always_from_priority')
    longest_h = given.get('longest_wait_h')
    if longest_h is not None and not (_is_number(longest_h) and longest_h > 0):
        raise ScheduleError(f'longest_wait_h: {longest_h!r} must be a number above 0')
    return Schedule(
        tuple(_window(each, f'windows[{index}]') for index, each in enumerate(windows)),
        None if always is None else _priority(always, 'always_from_priority'),
        None if longest_h is None else longest_h * 3600.0,
        _zone(given.get('time_zone', 'local')))


def _window(given: Any, where: str) -> Window:
    content = _mapping(given, where, _WINDOW_KEYS)
    days = content.get('days', list(_DAYS))
    if not isinstance(days, list) or not days or not all(day in _DAYS for day in days):
        raise ScheduleError(f'{where}.days: {days!r} must be a list out of {", ".join(_DAYS)}')
    return Window(frozenset(_DAYS.index(day) for day in days),
                  _minutes(content.get('from'), f'{where}.from'),
                  _minutes(content.get('to'), f'{where}.to'),
                  _priority(content.get('from_priority', 0), f'{where}.from_priority'))


def _mapping(given: Any, where: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ScheduleError(f'{where}: must be a mapping')
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise ScheduleError(f'{where}: {unknown[0]!r} is none of {", ".join(sorted(keys))}')
    return given


def _minutes(given: Any, where: str) -> int:
    # Unquoted, YAML 1.1 reads 20:00 as the number 1200.
    if not isinstance(given, str) or not _TIME.fullmatch(given):
        raise ScheduleError(f'{where}: {given!r} must be a time in quotes, \'00:00\' to \'24:00\'')
    return int(given[:2]) * 60 + int(given[3:])


def _priority(given: Any, where: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= 100:
        raise ScheduleError(f'{where}: {given!r} must be a whole number, 0 to 100')
    return given


def _zone(given: Any) -> datetime.tzinfo | None:
    if given == 'local':
        return None
    if given == 'utc':
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(given)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        raise ScheduleError(f'time_zone: {given!r} must be local, utc or the name of a time '
                            'zone') from None


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
