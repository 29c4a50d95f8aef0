"""Which case goes next, one chunk at a time.

Looked at anew after each chunk: the most important case that the schedule lets go, the oldest
first. A case that is more important than the running one overtakes it after the present chunk; the
other keeps its session and goes on later.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.site_key import Key
from edge_case_recorder.spool import SpooledCase, State, cases, mark
from edge_case_recorder.uploading.backoff import Backoff
from edge_case_recorder.uploading.case_upload import CaseUpload
from edge_case_recorder.uploading.schedule import Schedule
from edge_case_recorder.uploading.store import Store
from edge_case_recorder.uploading.trouble import PERSON_MUST_LOOK, SET_ASIDE, StoreError, Trouble

# What a server will not have now it will hardly have in a second.
_ASIDE_S = 60.0
_UNREADABLE = 101
# Looking at 2,000 cases takes 60 ms.
_LOOK_S = 3.0
_log = logging.getLogger('uploader')


class Did(StrEnum):
    """What a step came to."""

    NOTHING = 'nothing'        # nothing waits
    CLOSED = 'closed'          # what waits may not go at this hour, or is set aside
    CARRIED = 'carried'        # a chunk
    SENT = 'sent'              # a case is whole in the bucket, and marked
    FAILED = 'failed'          # a person must look at it; it is marked
    WAITING = 'waiting'        # a trouble: leave the bucket alone for wait_s


@dataclass(frozen=True)
class Step:
    did: Did
    case_id: str = ''
    error: StoreError | None = None
    wait_s: float = 0.0


@dataclass
class _Known:
    """What is remembered of a case that waits. aside_until_s: steady clock."""

    priority: int
    first_seen_s: float
    aside_until_s: float = 0.0
    aside: Backoff | None = None
    upload: CaseUpload | None = None


@dataclass
class Carrier:
    """One spool, one bucket. All that must survive is in the spool and in the bucket.

    utc_ns: for the mark, for people. keys: for sealed cases; without theirs they wait.
    """

    spool: Path
    store: Store
    schedule: Schedule = field(default_factory=Schedule)
    backoff: Backoff = field(default_factory=Backoff)
    steady_s: Callable[[], float] = time.monotonic
    utc_ns: Callable[[], int] = time.time_ns
    keys: tuple[Key, ...] = field(default=(), repr=False)
    _known: dict[str, _Known] = field(default_factory=dict)
    _running: str = ''
    _looked: tuple[int, float] = (-1, 0.0)

    @property
    def running(self) -> CaseUpload | None:
        """The case that was carried last, while it is not whole."""
        known = self._known.get(self._running)
        return known.upload if known else None

    @property
    def waiting(self) -> int:
        """How many cases were waiting at the last step."""
        return len(self._known)

    def step(self) -> Step:
        """Carry one chunk of the most important case; what came of it."""
        self._look()
        if not self._known:
            return Step(Did.NOTHING)
        try:
            if self.schedule.windows and not self.store.clock.known:
                self.store.learn_time()
        except StoreError as error:
            return self._wait(error, '')
        case_id = self._next()
        if case_id is None:
            return Step(Did.CLOSED)
        self._note_overtaking(case_id)
        known = self._known[case_id]
        try:
            if known.upload is None:
                known.upload = CaseUpload(self.spool / case_id, self.store, self.keys)
            whole = known.upload.step()
        except manifest.ManifestError as error:
            return self._failed(case_id, StoreError(Trouble.DAMAGED, str(error)))
        except StoreError as error:
            return self._trouble(case_id, known, error)
        self.backoff.worked()
        return self._sent(case_id, known.upload) if whole else Step(Did.CARRIED, case_id)

    def _look(self) -> None:
        """Learn of new cases and forget those that are gone. A manifest is read once.

        A case comes and goes by a rename in the spool, which changes the spool's own time; a mark
        that a person takes away does not, and is seen some seconds later.
        """
        try:
            changed_ns = self.spool.stat().st_mtime_ns
        except OSError:
            changed_ns = -1
        if changed_ns == self._looked[0] and self.steady_s() < self._looked[1] + _LOOK_S:
            return
        self._looked = changed_ns, self.steady_s()
        recorded = {case.id: case for case in cases(self.spool) if case.state is State.RECORDED}
        for case_id in self._known.keys() - recorded.keys():
            del self._known[case_id]
        for case_id in recorded.keys() - self._known.keys():
            self._known[case_id] = _Known(_priority(recorded[case_id]), self.steady_s())

    def _next(self) -> str | None:
        """The case to carry now: by priority, then by age (ids sort by time)."""
        now_s, utc_s = self.steady_s(), self.store.clock.utc_s()
        ready = [(-known.priority, case_id) for case_id, known in self._known.items()
                 if now_s >= known.aside_until_s
                 and self.schedule.may_go(known.priority, now_s - known.first_seen_s, utc_s)]
        return min(ready)[1] if ready else None

    def _note_overtaking(self, case_id: str) -> None:
        running = self._running
        if running in self._known and running != case_id and \
                self._known[running].priority < self._known[case_id].priority:
            _log.info('%s overtakes %s', case_id, running)
        self._running = case_id

    def _sent(self, case_id: str, upload: CaseUpload) -> Step:
        url = f'{self.store.url}/{upload.objects}'
        try:
            mark(upload.folder, State.UPLOADED, {'url': url, 'uploaded_ns': self.utc_ns()})
        except OSError as error:
            # The bucket has it; the mark comes with the next round, which finds it there.
            self._known[case_id].upload = None
            return self._wait(StoreError(Trouble.FULL, f'{upload.folder}: {error.strerror}'),
                              case_id)
        del self._known[case_id]
        _log.info('uploaded %s to %s: %d files, %d bytes, priority %d', case_id, url,
                  len(upload.content['files']) + 1, upload.bytes,
                  upload.content['trigger']['priority'])
        return Step(Did.SENT, case_id)

    def _trouble(self, case_id: str, known: _Known, error: StoreError) -> Step:
        if error.trouble in PERSON_MUST_LOOK:
            return self._failed(case_id, error)
        if error.trouble in SET_ASIDE:
            # It is this case that cannot go: the others go on.
            known.aside = known.aside or Backoff(self.backoff.patience, self.backoff.uniform)
            known.aside_until_s = self.steady_s() + known.aside.failed(
                max(error.retry_after_s, _ASIDE_S))
            _log.warning('set aside %s: %s', case_id, error)
            return Step(Did.WAITING, case_id, error)
        return self._wait(error, case_id)

    def _failed(self, case_id: str, error: StoreError) -> Step:
        try:
            mark(self.spool / case_id, State.FAILED, {'trouble': error.trouble, 'why': str(error)})
        except OSError as reason:
            if not (self.spool / case_id).is_dir():
                _log.info('%s left the spool while it was on its way', case_id)
                return Step(Did.CARRIED, case_id)
            return self._wait(StoreError(Trouble.FULL, f'{case_id}: {reason.strerror}'), case_id)
        self._known.pop(case_id, None)
        _log.error('failed %s: %s', case_id, error)
        return Step(Did.FAILED, case_id, error)

    def _wait(self, error: StoreError, case_id: str) -> Step:
        wait_s = self.backoff.failed(error.retry_after_s)
        _log.warning('waiting with %s for %.1f s: %s', case_id or 'everything', wait_s, error)
        return Step(Did.WAITING, case_id, error, wait_s)


@dataclass
class Uploader:
    """A carrier that is run: once, or until `stop` is set.

    wait: sleeps so many seconds, or less when it is told to end; `stop.wait` by default.
    """

    carrier: Carrier
    stop: threading.Event = field(default_factory=threading.Event)
    wait: Callable[[float], object] | None = None
    on_step: Callable[[Step], None] = lambda _: None

    def upload_all(self) -> tuple[int, list[StoreError]]:
        """Until nothing can go now: how many cases were sent, and what went wrong for good.

        It gives up after `attempts` troubles in a row without a chunk in between.
        """
        sent, lasting = 0, []
        while not self.stop.is_set():
            step = self._step()
            if step.did in (Did.NOTHING, Did.CLOSED):
                break
            sent += step.did is Did.SENT
            if step.did is Did.FAILED and step.error:
                lasting.append(step.error)
            if step.did is not Did.WAITING or step.error is None:
                continue
            if step.error.trouble in SET_ASIDE:
                lasting.append(step.error)
            elif self.carrier.backoff.failures >= self.carrier.backoff.patience.attempts:
                return sent, [*lasting, step.error]
            self._pause(step.wait_s)
        return sent, lasting

    def watch(self, poll_s: float) -> None:
        """Until stop is set. It is looked at after each chunk, and while waiting."""
        while not self.stop.is_set():
            step = self._step()
            if step.did in (Did.NOTHING, Did.CLOSED):
                self._pause(poll_s)
            elif step.wait_s:
                self._pause(step.wait_s)

    def _step(self) -> Step:
        step = self.carrier.step()
        self.on_step(step)
        return step

    def _pause(self, seconds: float) -> None:
        (self.wait or self.stop.wait)(seconds)


def _priority(case: SpooledCase) -> int:
    """Read without the schema: a week's cases are looked at in one go, and checked when sent.

    Of a manifest that cannot be read it is the highest, so that it is marked soon.
    """
    try:
        content = json.loads((case.folder / manifest.MANIFEST).read_bytes())
        return int(content['trigger']['priority'])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return _UNREADABLE
