"""The thread that writes: it takes triggers, keeps every open case going, and owns the spool.

Nothing here runs on the executor's thread. Compression and the disk release Python's lock, so the
callbacks go on meanwhile.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from edge_case_recorder import manifest
from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.recording import SETTLE_NS, OutOfRoom, Recording
from edge_case_recorder.redaction import Redactor
from edge_case_recorder.redaction.guard import Complaints, Guard
from edge_case_recorder.ring import Cursor, Record, Ring
from edge_case_recorder.spool import Spool, cases
from edge_case_recorder.triggers import LaterReasons, Trigger

_IDLE_S = 1.0
_LOOK_NS = 2_000_000_000
# A rule that merges and never rests begins a new case after so long.
_LONGEST_MERGED_NS = 600_000_000_000


class CaseRefused(RuntimeError):
    """A trigger made no case; the message says why."""


@dataclass(frozen=True)
class Identity:
    """What every manifest of this recorder says about where it comes from."""

    robot_id: str
    robot: str
    software: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerStatus:
    """For diagnostics. Counts are since the start; `spooled`: how many cases are in each state."""

    open: int = 0
    recorded: int = 0
    recovered: int = 0
    refused: int = 0
    failed: int = 0
    evicted: int = 0
    free_bytes: int = 0
    spooled: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ''


class _Begin(NamedTuple):
    """extends: the open case of the same rule that grows instead, if it is still open."""

    trigger: Trigger
    draft: manifest.Manifest
    window: tuple[Cursor, list[Record]]
    extends: str = ''


@dataclass
class _Growing:
    """The newest case of a rule that merges: when it began, and when its window ends."""

    case_id: str
    begin_ns: int
    end_ns: int


class Worker:
    """Runs from `start` to `stop`. `submit`, `add_reasons` and `status` are the executor's side.

    on_case is called with each finished manifest, log with (is_error, sentence); both on the
    worker's thread.
    """

    def __init__(self, ring: Ring, spool: Spool, topics: Mapping[str, TopicInfo],
                 identity: Identity, *, compression: str, flush_s: float, max_open: int,
                 on_case: Callable[[manifest.Manifest], None],
                 log: Callable[[bool, str], None],
                 redactor: Redactor | None = None) -> None:
        self._ring = ring
        self._spool = spool
        self._topics = topics
        self._identity = identity
        self._compression = compression
        self._redactor = redactor
        self._complaints = Complaints(partial(log, True))
        self._flush_s = flush_s
        self._max_open = max_open
        self._on_case = on_case
        self._log = log
        self._commands: queue.SimpleQueue[_Begin | LaterReasons | None] = queue.SimpleQueue()
        self._open: list[Recording] = []
        # Each counter has one writer: the executor's thread begins and refuses, this one ends.
        self._begun = 0
        self._refused = 0
        self._growing: dict[str, _Growing] = {}
        self._ended = 0
        self._status = WorkerStatus()
        self._next_look_ns = 0
        self._since_ns = time.monotonic_ns()
        self._stop_by_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name='case_writer', daemon=True)

    @property
    def status(self) -> WorkerStatus:
        return replace(self._status, open=self._begun - self._ended, refused=self._refused)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Write what is open with what it has, labelled as truncated, and end.

        A slow redaction may use half of the time: the thread must have ended when the spool is let
        go of, or another recorder finds half a case there.
        """
        if self._thread.is_alive():
            self._stop_by_ns = time.monotonic_ns() + int(timeout_s * 0.5e9)
            self._commands.put(None)
            self._thread.join(timeout_s)

    def submit(self, trigger: Trigger, stamp_ns: int, models: Mapping[str, str]) -> str:
        """Begin a case; returns its id at once. stamp_ns: UTC of the trigger.

        A trigger that merges, within the window of its rule's last case, makes that longer and
        returns its id. Raises CaseRefused when max_open cases are being written.
        """
        extends = self._grown(trigger)
        if not extends and self._begun - self._ended >= self._max_open:
            self._refused += 1
            raise CaseRefused(f'{trigger.cause}: {self._max_open} cases are being written already')
        self._begun += 1
        draft = manifest.draft(robot_id=self._identity.robot_id, robot=self._identity.robot,
                               trigger=trigger, stamp_ns=stamp_ns,
                               software=self._identity.software, models=models)
        # Opened here and now: what the ring forgets from here on counts as lost.
        window = self._ring.open_window(trigger.now_ns - trigger.before_ns)
        self._commands.put(_Begin(trigger, draft, window, extends))
        if trigger.merge and not extends:
            self._growing[trigger.rule] = _Growing(draft['case_id'], trigger.now_ns,
                                                   trigger.now_ns + trigger.after_ns)
        return extends or draft['case_id']

    def _grown(self, trigger: Trigger) -> str:
        """The id of the case that this trigger makes longer, if there is one."""
        known = self._growing.get(trigger.rule) if trigger.merge else None
        end_ns = trigger.now_ns + trigger.after_ns
        if known is None or trigger.now_ns > known.end_ns or \
                end_ns - known.begin_ns > _LONGEST_MERGED_NS:
            return ''
        known.end_ns = max(known.end_ns, end_ns)
        return known.case_id

    def add_reasons(self, later: LaterReasons) -> None:
        self._commands.put(later)

    def _run(self) -> None:
        try:
            for content in self._spool.recover():
                self._count(recovered=1)
                self._tell(content)
                if self._must_stop():
                    break   # what is left waits for the next start
        except Exception as error:   # what lies in a spool must not keep the next case from it
            self._fail(f'what a crash left in {self._spool.root} is not recovered: {error!r}')
        while True:
            try:
                command = self._commands.get(timeout=self._patience_s())
            except queue.Empty:
                self._step()
                continue
            if command is None:
                break
            if isinstance(command, LaterReasons):
                self._add_reasons(command)
            else:
                self._begin(command)
            self._step()
        now_ns = time.monotonic_ns()
        for recording in list(self._open):
            if self._advanced(recording, now_ns):
                self._finish(recording, '' if recording.has_window else 'shutdown')

    def _patience_s(self) -> float:
        if not self._open:
            return _IDLE_S
        due_ns = min(recording.end_ns for recording in self._open) + SETTLE_NS
        return min(self._flush_s, max((due_ns - time.monotonic_ns()) / 1e9, 0.01))

    def _begin(self, begin: _Begin) -> None:
        for recording in self._open:
            if begin.extends and recording.case_id == begin.extends:
                self._ended += 1   # it is no case of its own
                self._guarded(recording, partial(recording.extend, begin.trigger))
                return
        late = begin.window[0].start_ns < self._since_ns
        try:
            self._open.append(Recording(
                begin.trigger, begin.window, begin.draft, self._ring, self._spool, self._topics,
                self._compression, truncated_by='late_start' if late else '',
                guard=Guard(self._redactor, self._complaints) if self._redactor else None))
        except (OSError, RuntimeError) as error:
            self._ended += 1
            self._fail(f'case {begin.draft["case_id"]} could not begin: {error}')

    def _add_reasons(self, later: LaterReasons) -> None:
        for recording in list(self._open):
            if recording.trigger.source == later.source:
                self._guarded(recording, partial(recording.add_reasons, later.reasons))

    def _step(self) -> None:
        now_ns = time.monotonic_ns()
        self._ring.expire(now_ns)
        for recording in list(self._open):
            if self._advanced(recording, now_ns) and recording.has_window:
                self._finish(recording, '')
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + _LOOK_NS
            self._look()

    def _look(self) -> None:
        try:
            self._status = replace(
                self._status, free_bytes=self._spool.free_bytes(), evicted=self._spool.evicted,
                spooled=Counter(str(case.state) for case in cases(self._spool.root)))
        except OSError as error:    # a disk that comes back must find the thread alive
            sentence = f'{self._spool.root}: {error.strerror or error}'
            if self._status.last_error != sentence:
                self._fail(sentence)

    def _advanced(self, recording: Recording, now_ns: int) -> bool:
        return self._guarded(recording, partial(recording.advance, now_ns, self._must_stop))

    def _must_stop(self) -> bool:
        return self._stop_by_ns is not None and time.monotonic_ns() >= self._stop_by_ns

    def _guarded(self, recording: Recording, action: Callable[[], None]) -> bool:
        """Whether it went well; otherwise the case has been ended, labelled with the reason."""
        try:
            action()
        except OutOfRoom as error:
            self._fail(str(error))
            self._finish(recording, 'disk_floor')
        except Exception as error:   # one case may fail; the thread serves the others
            self._fail(f'case {recording.case_id}: {error}')
            self._finish(recording, 'write_error')
        else:
            return True
        return False

    def _finish(self, recording: Recording, truncated_by: str) -> None:
        self._open.remove(recording)
        try:
            content = recording.finish(truncated_by)
        except Exception as error:
            recording.abandon()
            self._fail(f'case {recording.case_id} could not be finished: {error}; the next start '
                       'recovers it')
        else:
            self._count(recorded=1)
            self._tell(content)
        finally:
            self._ended += 1

    def _tell(self, content: manifest.Manifest) -> None:
        try:
            self._on_case(content)
        except Exception as error:   # nobody may be there to hear it; the case is safe
            self._log(False, f'case {content["case_id"]} is on the disk, but was not announced: '
                             f'{error}')

    def _count(self, **more: int) -> None:
        self._status = replace(self._status, **{
            name: getattr(self._status, name) + count for name, count in more.items()})

    def _fail(self, sentence: str) -> None:
        self._status = replace(self._status, failed=self._status.failed + 1, last_error=sentence)
        self._log(True, sentence)
