"""The black box: seconds before and after every trip, as bags on the robot's own disk. No rclpy.

The recorder's ring and bags (pure modules of edge_case_recorder), and nothing of its spool: a box
is local, the oldest goes, nobody uploads it. The executor's thread appends and says when a trip
was; one thread of the box's own writes, so a slow disk delays nobody.
"""

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.durable import fsync_folder, rename_durably
from edge_case_recorder.ring import Cursor, Record, Ring
from edge_case_recorder.triggers import SafetyStops

STATE_SILENT = 'state_silent'
_SILENCE_NS = 1_000_000_000
_MOVING = frozenset({'RUNNING', 'SLOWED'})
# The rest of the budget is for other topics: a flood on one of them costs only itself.
_SCAN_SHARE, MAX_OTHER_TOPICS = 0.5, 16
# A message is stamped before it enters the ring; reading this far behind keeps the order.
_SETTLE_NS = 50_000_000
# How far the writer may fall behind before a box lacks its beginning.
_LAG_NS = 5_000_000_000
_MAX_MERGED = 3
_POLL_S = 0.05
_BOX = re.compile(r'\d{8}T\d{6}\.\d{3}Z-[a-z0-9_]{1,48}(-\d+)?')
_UNFINISHED = re.compile(r'\..*\.(\d+)\.writing')


@dataclass(frozen=True)
class BlackBoxSettings:
    """Where and how much. keep: so many boxes stay in the folder."""

    folder: Path
    before_ns: int
    after_ns: int
    budget_bytes: int
    keep: int


@dataclass(frozen=True)
class Trip:
    """What safety/state told; without a cause its reasons belong to the trip before."""

    cause: str
    reasons: tuple[str, ...]


class Trips:
    """Reads trips out of safety/state, as the recorder does, and out of its silence.

    A reflex that dies while the robot moves cannot say so: nothing from it for a second is a trip.
    """

    def __init__(self) -> None:
        self._stops = SafetyStops()
        self._moving = False
        self._heard_ns = self._watched_ns = 0

    def on_state(self, values: Mapping[str, str], now_ns: int) -> Trip | None:
        self._moving, self._heard_ns = values.get('state') in _MOVING, now_ns
        found = self._stops.update(values)
        return None if found is None else Trip(found[1], found[2])

    def is_silent(self, now_ns: int) -> bool:
        return now_ns - self._heard_ns > _SILENCE_NS

    def on_silence(self, now_ns: int) -> Trip | None:
        """Call it often; says so once for each silence. A pause of the caller's own is none."""
        paused_ns, self._watched_ns = now_ns - self._watched_ns, now_ns
        if paused_ns > _SILENCE_NS // 2:
            self._heard_ns = max(self._heard_ns, now_ns)
        if not (self._moving and self.is_silent(now_ns)):
            return None
        self._moving = False
        return Trip(STATE_SILENT, (STATE_SILENT,))


@dataclass(eq=False)
class _Window:
    """A box that is not written yet. Ring times; to_utc_ns makes them UTC, as it was then."""

    cause: str
    reasons: dict[str, None]
    trip_ns: int
    end_ns: int
    to_utc_ns: int
    cursor: Cursor
    trips: int = 1


class BlackBox:
    """Keeps the last seconds and writes a bag for each trip; `log(is_error, sentence)`.

    add_topic, append and trip are the executor's; write_due is the writer's. A trip while the
    seconds after another still run joins its box, which then ends later; any other gets its own.
    """

    def __init__(self, settings: BlackBoxSettings, scans: int,
                 log: Callable[[bool, str], None]) -> None:
        self._settings = settings
        self._scan_bytes = int(settings.budget_bytes * _SCAN_SHARE / max(scans, 1))
        self._other_bytes = int(settings.budget_bytes * (1 - _SCAN_SHARE) / MAX_OTHER_TOPICS)
        self._ring = Ring(settings.before_ns + _MAX_MERGED * settings.after_ns + _LAG_NS)
        self._topics: dict[str, TopicInfo] = {}
        self._others = 0
        self._log = log
        self._lock = threading.Lock()
        self._windows: list[_Window] = []
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='black_box', daemon=True)

    def start(self) -> None:
        """Remove what a crash left unfinished, and begin to write."""
        try:
            self._settings.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
        except OSError as error:
            self._log(True, f'no black box can be written now: {error}')
        self._thread.start()

    def stop(self) -> None:
        """Write what is open with what has arrived, and end."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def add_topic(self, info: TopicInfo, *, is_scan: bool = False) -> bool:
        """False when there is no room for another topic."""
        if info.name not in self._topics:
            self._others += not is_scan
            if self._others > MAX_OTHER_TOPICS:
                return False
            self._ring.add_topic(info.name, self._scan_bytes if is_scan else self._other_bytes)
        self._topics = self._topics | {info.name: info}   # the writer reads it meanwhile
        return True

    def append(self, topic: str, now_ns: int, data: bytes) -> None:
        self._ring.append(topic, now_ns, data)

    def expire(self, now_ns: int) -> None:
        """Forget what is too old in silent topics; call it about once a second."""
        self._ring.expire(now_ns)

    def trip(self, trip: Trip, now_ns: int, utc_ns: int) -> None:
        """Brief: opens a window, or lets an open one go on. utc_ns: now_ns in UTC."""
        settings = self._settings
        with self._lock:
            last = self._windows[-1] if self._windows else None
            end_ns = now_ns + settings.after_ns
            joins = last is not None and now_ns <= last.end_ns
            if last is not None and joins and not trip.cause:
                last.reasons |= dict.fromkeys(trip.reasons)
            elif last is not None and joins and (
                    end_ns <= last.trip_ns + _MAX_MERGED * settings.after_ns):
                last.reasons |= dict.fromkeys((trip.cause, *trip.reasons))
                last.end_ns, last.trips = end_ns, last.trips + 1
            elif trip.cause:
                cursor, _ = self._ring.open_window(now_ns - settings.before_ns)
                self._windows.append(_Window(
                    trip.cause, dict.fromkeys((trip.cause, *trip.reasons)), now_ns, end_ns,
                    utc_ns - now_ns, cursor))
        self._wake.set()

    def write_due(self, now_ns: int, *, everything: bool = False) -> None:
        """Write each window that is over (or, at the end, all that are open)."""
        with self._lock:
            due = [window for window in self._windows
                   if everything or now_ns >= window.end_ns + _SETTLE_NS]
            self._windows = [window for window in self._windows if window not in due]
        for window in due:
            try:
                self._write(window)
            except Exception as error:   # a box that fails must not cost the next one
                self._log(True, f'the black box of {window.cause} is lost, it could not be '
                                f'written: {error}')

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_POLL_S if self._windows else None)
            self._wake.clear()
            self.write_due(time.monotonic_ns())
        self.write_due(time.monotonic_ns(), everything=True)

    def _write(self, window: _Window) -> None:
        """Raises OSError, and leaves no trace of the box then."""
        folder = self._settings.folder
        records = self._ring.take(window.cursor, window.end_ns)
        folder.mkdir(parents=True, exist_ok=True)
        name = self._free_name(window)
        unfinished = folder / _unfinished(name)
        try:
            unfinished.mkdir()
            self._write_bag(unfinished, name, window, records)
            fsync_folder(unfinished)
            rename_durably(unfinished, folder / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        lost = sum(window.cursor.lost.values())
        self._log(False, f'black box {folder / name}: {len(records)} messages'
                         + (f', {lost} more did not fit into its memory' if lost else ''))
        self._forget_oldest(name)

    def _write_bag(self, folder: Path, name: str, window: _Window,
                   records: list[Record]) -> None:
        topics, to_utc_ns = self._topics, window.to_utc_ns
        bag = BagWriter(folder, name)
        try:
            for topic in topics.values():
                bag.add_topic(topic)   # a silent topic is worth knowing too
            for topic_name, now_ns, data in records:
                at_ns = max(0, now_ns + to_utc_ns)   # a clock that was never set begins in 1970
                bag.write(topic_name, at_ns, at_ns, data)
            bag.close({
                'cause': window.cause, 'reasons': ','.join(window.reasons),
                'trips': str(window.trips), 'trip_ns': str(window.trip_ns + to_utc_ns),
                'lost': ','.join(f'{topic}={n}' for topic, n in window.cursor.lost.items())})
        except BaseException:
            with contextlib.suppress(OSError):
                bag.abandon()
            raise

    def _free_name(self, window: _Window) -> str:
        at = datetime.fromtimestamp((window.trip_ns + window.to_utc_ns) / 1e9, UTC)
        name = f'{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z-{window.cause}'
        number, free = 1, name
        while (self._settings.folder / free).exists():
            number += 1
            free = f'{name}-{number}'
        return free

    def _forget_oldest(self, written: str) -> None:
        """By name, which begins with UTC; never the newest, even if the clock was set back."""
        folder = self._settings.folder
        boxes = sorted(path.name for path in folder.iterdir()
                       if _BOX.fullmatch(path.name) and path.name != written)
        for name in boxes[:max(0, len(boxes) + 1 - self._settings.keep)]:
            aside = folder / _unfinished(name)   # a box is whole or gone
            os.rename(folder / name, aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _remove_unfinished(self) -> None:
        for path in self._settings.folder.iterdir():
            match = _UNFINISHED.fullmatch(path.name)
            if match and not Path('/proc', match[1]).exists():
                shutil.rmtree(path, ignore_errors=True)


def _unfinished(name: str) -> str:
    """Hidden, and named after who writes it: several monitors may share a folder."""
    return f'.{name}.{os.getpid()}.writing'
