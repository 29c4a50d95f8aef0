"""The queue of action chunks: what is executed at each tick, and which replies may replace it.

    observation  o----------------------+ request            row k belongs to the time at which
    rows         |r0  r1  r2  r3  r4 ...                      k periods of actions have been
    executed     |=====|===> now                              *executed* since the observation

Alignment counts the action time that was really executed since the observation, not the time that
passed: a robot that stood in a hold while the network thought begins a chunk at its first row.

Property (tested): nothing runs on an observation older than max_age; nothing runs from a reply
that is foreign, duplicate, late, of an earlier epoch, or older than the one that leads; the
output never changes faster than its limits' rate, except to zero by `neutral`.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_client.motion import Curve, Limits, Seam, State, seam
from policy_client.reply import ChunkRejected

Array = NDArray[np.float64]
_REMEMBERED = 64  # answered tickets, so that a second reply is a 'duplicate' and not 'foreign'
# A stalled node must not make up for the stall with one large step.
_LONGEST_STEP_NS = 100_000_000
_NONE = -1
_WHOLE = 1_000_000


@dataclass(frozen=True, eq=False)
class QueueSettings:
    period_ns: int    # one row of a chunk
    max_age_ns: int   # oldest observation that an action may run on
    blend_ns: int     # shortest seam to a new chunk
    limits: Limits


@dataclass(frozen=True)
class Ticket:
    """One request as the queue remembers it until its reply."""
    request_id: str
    sequence: int
    epoch: int
    observed_ns: int
    executed_ns: int  # action time executed when the observation was taken


@dataclass(frozen=True, eq=False)
class Chunk:
    ticket: Ticket
    source: str
    rows: Array  # (H, D)


@dataclass(frozen=True, eq=False)
class Step:
    """What goes out at one tick: the action (D,), and what it stems from.

    NaN in a positional column: nobody has said yet where that joint is, so nothing may go out.
    """
    action: Array
    chunk: Chunk | None   # None: hold
    offset_ns: int        # position in the chunk
    age_ns: int           # of the observation; 0 in a hold


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a queue's future output depends on, but for the rows of its chunk.

    counts: int64 (12,), moments (7, D) float64; see ActionQueue.snapshot.
    """
    counts: NDArray[np.int64]
    moments: Array

    @property
    def sequence(self) -> int | None:
        """Of the request whose chunk leads; None when none does."""
        found = int(self.counts[5])
        return None if found == _NONE else found


class ActionQueue:
    """Not thread-safe: one caller at a time, `now_ns` never goes back."""

    def __init__(self, settings: QueueSettings, client_id: str) -> None:
        """client_id makes request ids unique among the clients of one server."""
        self._settings = settings
        self._limits = settings.limits
        self._client_id = client_id
        self._open: OrderedDict[str, Ticket] = OrderedDict()
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._sequence = 0
        self.epoch = 0
        self.executed_ns = 0
        self._chunk: Chunk | None = None
        self._curve: Curve | None = None
        self._seam: Seam | None = None
        self._seam_from_ns = 0
        self._seam_due = False  # the output has still to be led over to the chunk
        self._stepped_ns: int | None = None
        self._running = False
        self._pace_ppm = _WHOLE
        zero = np.zeros(len(self._limits.rate))
        self._last = State(np.where(self._limits.positional, np.nan, 0.0), zero, zero)

    @property
    def chunk(self) -> Chunk | None:
        """The chunk that leads, whether or not it may still run."""
        return self._chunk

    @property
    def last(self) -> Array:
        """What went out last, or where the joints are, (D,); NaN where nobody said it yet."""
        return self._last.value

    @property
    def gap(self) -> Array:
        """What the latest seam bridges, (D,): the step that the output would have taken."""
        return self._seam.gap.value if self._seam else np.zeros_like(self._last.value)

    def issue(self, observed_ns: int, now_ns: int) -> Ticket:
        """A ticket for a request on an observation taken now; observed_ns is its oldest part."""
        self._sequence += 1
        ticket = Ticket(f'{self._client_id}/{self.epoch}/{self._sequence}', self._sequence,
                        self.epoch, observed_ns, self._executed(now_ns))
        self._open[ticket.request_id] = ticket
        while len(self._open) > _REMEMBERED:
            self._open.popitem(last=False)
        return ticket

    def close(self, request_id: str) -> Ticket:
        """Take a reply's ticket, once; raises ChunkRejected `duplicate` or `foreign`."""
        ticket = self._open.pop(request_id, None)
        if ticket is None:
            known = request_id in self._answered
            raise ChunkRejected('duplicate' if known else 'foreign', f'request id {request_id!r}')
        self._answered[request_id] = None
        while len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
        return ticket

    def adopt(self, ticket: Ticket, rows: Array, source: str, now_ns: int) -> Chunk:
        """Let a valid reply lead from now on; raises ChunkRejected when it came too late for that.

        rows are (H, D) within the robot's limits: policy_client.reply checks them.
        """
        if ticket.epoch != self.epoch:
            raise ChunkRejected('epoch', f'of epoch {ticket.epoch}, now is {self.epoch}')
        if self._chunk and ticket.sequence < self._chunk.ticket.sequence:
            raise ChunkRejected('superseded', f'by request {self._chunk.ticket.sequence}')
        age = now_ns - ticket.observed_ns
        if age > self._settings.max_age_ns:
            raise ChunkRejected('stale', f'the observation is {age // 1_000_000} ms old')
        chunk = Chunk(ticket, source, rows)
        if self._offset(chunk, now_ns) >= self._length(chunk):
            raise ChunkRejected('exhausted', 'all its actions lie in the past')
        self._lead_with(chunk)
        self._seam_due = True
        return chunk

    def drop(self) -> None:
        """Forget every chunk and every open request; a new epoch begins."""
        self.epoch += 1
        self._lead_with(None)
        self._running = False

    def forget(self) -> None:
        """Joints may be moved by others from now on: `found` says where they are."""
        zero = np.zeros_like(self._last.rate)
        self._last = State(np.where(self._limits.positional, np.nan, self._last.value),
                           np.where(self._limits.positional, zero, self._last.rate), zero)

    def walk(self, pace_ppm: int) -> None:
        """From now on so many millionths of the time that passes are executed: a reflex that slows
        an arm down does not execute the rest."""
        self._pace_ppm = min(max(0, pace_ppm), _WHOLE)

    def found(self, positions: Array) -> None:
        """Where the joints are, (D,), NaN in other columns: taken where it is not known yet."""
        value = np.where(np.isnan(self._last.value), positions, self._last.value)
        self._last = State(value, self._last.rate, self._last.rate2)

    def step(self, now_ns: int) -> Step:
        """The action for now. Without a chunk that may run, the output decays to a hold."""
        elapsed, before = self._elapsed(now_ns), self.executed_ns
        if self._running:
            self.executed_ns += self._paced(elapsed)
        chunk = self._chunk
        if chunk is not None and not self._may_run(chunk, now_ns):
            self._lead_with(None)
            chunk = None
        self._running = chunk is not None
        dt_s = min(elapsed, _LONGEST_STEP_NS) / 1e9
        if chunk is None:
            self._hold(dt_s)
            return Step(self._last.value, None, 0, 0)
        if self._seam_due:
            self._lead_over(chunk, before)
        self._follow(self._planned(self.executed_ns), dt_s)
        return Step(self._last.value, chunk, self.executed_ns - chunk.ticket.executed_ns,
                    now_ns - chunk.ticket.observed_ns)

    def neutral(self, now_ns: int) -> Step:
        """Zero at once, and of joints nothing: what a reflex that stopped the robot waits for."""
        self._elapsed(now_ns)
        self._running = False
        zero = np.zeros_like(self._last.rate)
        self._last = State(np.where(self._limits.positional, np.nan, 0.0), zero, zero)
        self._seam_due = self._chunk is not None
        return Step(self._last.value, None, 0, 0)

    def remaining(self, now_ns: int) -> int:
        """How many whole rows may still be executed."""
        chunk = self._chunk
        if chunk is None or not self._may_run(chunk, now_ns):
            return 0
        by_age = self._settings.max_age_ns - (now_ns - chunk.ticket.observed_ns)
        left = min(self._length(chunk) - self._offset(chunk, now_ns), by_age)
        return max(0, left // self._settings.period_ns)

    def planned(self, now_ns: int, most: int) -> Array:
        """The rows (P, D), P <= most, that go out from now on unless a new chunk comes."""
        count = min(self.remaining(now_ns), most)
        first, period = self._executed(now_ns), self._settings.period_ns
        if not count:
            return np.zeros((0, len(self._last.value)))
        return np.array([self._planned(first + number * period).value for number in range(count)])

    def snapshot(self) -> Snapshot:
        """The queue's state, for a replay that begins here."""
        ticket = self._chunk.ticket if self._chunk else None
        nothing = np.zeros_like(self._last.value)
        gap = self._seam.gap if self._seam else State(nothing, nothing, nothing)
        durations = self._seam.durations_s if self._seam else nothing
        return Snapshot(
            np.array([self._sequence, self.epoch, self.executed_ns,
                      _NONE if self._stepped_ns is None else self._stepped_ns, self._running,
                      ticket.sequence if ticket else _NONE,
                      ticket.observed_ns if ticket else 0, ticket.executed_ns if ticket else 0,
                      self._seam is not None, self._seam_from_ns, self._seam_due,
                      self._pace_ppm], np.int64),
            np.stack((*self._last, *gap, durations)))

    def restore(self, snapshot: Snapshot, source: str, rows: Array | None) -> None:
        """Go on from a snapshot; rows (H, D) are those of its chunk, None when it has none."""
        (self._sequence, self.epoch, self.executed_ns, stepped, running, sequence, observed,
         executed, has_seam, self._seam_from_ns, due, self._pace_ppm) = map(int, snapshot.counts)
        self._stepped_ns = None if stepped == _NONE else stepped
        self._last = State(*snapshot.moments[0:3])
        self._lead_with(None)
        if rows is not None:
            ticket = Ticket(f'{self._client_id}/{self.epoch}/{sequence}', sequence, self.epoch,
                            observed, executed)
            self._lead_with(Chunk(ticket, source, rows))
        self._running, self._seam_due = bool(running), bool(due)
        if has_seam:
            self._seam = Seam(State(*snapshot.moments[3:6]), snapshot.moments[6])

    # Motion

    def _lead_with(self, chunk: Chunk | None) -> None:
        self._chunk = chunk
        self._curve = Curve(chunk.rows, self._settings.period_ns / 1e9) if chunk else None
        if chunk is None:
            self._seam, self._seam_due = None, False

    def _lead_over(self, chunk: Chunk, executed_ns: int) -> None:
        """A seam to the chunk from the last output, which went out at this executed time.

        A chunk may begin later than that: until then the output goes on as it moves.
        """
        assert self._curve is not None
        start_ns = max(executed_ns, chunk.ticket.executed_ns)
        ahead_s, last = (start_ns - executed_ns) / 1e9, self._last
        last = State(last.value + ahead_s * (last.rate + ahead_s * last.rate2 / 2),
                     last.rate + ahead_s * last.rate2, last.rate2)
        offset_s = (start_ns - chunk.ticket.executed_ns) / 1e9
        self._seam = seam(last - self._curve.at(offset_s), self._limits, self._curve,
                          self._settings.blend_ns / 1e9)
        self._seam_from_ns, self._seam_due = start_ns, False

    def _planned(self, executed_ns: int) -> State:
        """The chunk and what is left of its seam, when so much action time is executed."""
        assert self._curve is not None
        assert self._chunk is not None
        chunk = self._curve.at((executed_ns - self._chunk.ticket.executed_ns) / 1e9)
        since_s = (executed_ns - self._seam_from_ns) / 1e9
        if self._seam is None or self._seam_due or since_s >= self._seam.ends_s:
            return chunk
        left = self._seam.at(since_s)
        return State(chunk.value + left.value, chunk.rate + left.rate, chunk.rate2 + left.rate2)

    def _follow(self, wanted: State, dt_s: float) -> None:
        if dt_s <= 0.0:
            return
        last, limits = self._last.value, self._limits
        change = limits.rate * dt_s
        value = np.clip(wanted.value, np.minimum(limits.minimum, last),
                        np.maximum(limits.maximum, last))
        reached = np.clip(value, last - change, last + change)
        if np.array_equal(reached, wanted.value):
            self._last = wanted
            return
        # What a limit held back is faded in by a seam of its own.
        held = reached != wanted.value
        # Rates are by executed time, as the chunk's are.
        rate = np.where(held, (reached - last) / (dt_s * max(self._pace, 0.01)), wanted.rate)
        self._last = State(reached, rate, np.where(held, 0.0, wanted.rate2))
        self._seam_due = True

    def _hold(self, dt_s: float) -> None:
        """Velocities go to zero, joints decelerate and stay; no jerk limit delays that."""
        limits, value = self._limits, self._last.value
        # A jittering plan may have been faster at its last instant than it ever got.
        rate = np.clip(self._last.rate * self._pace, -limits.rate, limits.rate)
        change = limits.rate * dt_s
        slower = rate - np.clip(rate, -limits.rate2 * dt_s, limits.rate2 * dt_s)
        position = np.clip(value + slower * dt_s, np.minimum(limits.minimum, value),
                           np.maximum(limits.maximum, value))
        velocity = value - np.clip(value, -change, change)
        reached = np.where(limits.positional, position, velocity)
        if dt_s > 0:
            rate = np.where(limits.positional, slower, (velocity - value) / dt_s)
        self._last = State(reached, rate, np.zeros_like(rate))

    # Time

    def _elapsed(self, now_ns: int) -> int:
        elapsed = 0 if self._stepped_ns is None else max(0, now_ns - self._stepped_ns)
        self._stepped_ns = now_ns
        return elapsed

    def _executed(self, now_ns: int) -> int:
        if not self._running or self._stepped_ns is None:
            return self.executed_ns
        return self.executed_ns + self._paced(max(0, now_ns - self._stepped_ns))

    def _paced(self, elapsed_ns: int) -> int:
        return elapsed_ns * self._pace_ppm // _WHOLE

    @property
    def _pace(self) -> float:
        return self._pace_ppm / _WHOLE

    def _offset(self, chunk: Chunk, now_ns: int) -> int:
        return self._executed(now_ns) - chunk.ticket.executed_ns

    def _length(self, chunk: Chunk) -> int:
        return len(chunk.rows) * self._settings.period_ns

    def _may_run(self, chunk: Chunk, now_ns: int) -> bool:
        return (self._offset(chunk, now_ns) < self._length(chunk)
                and now_ns - chunk.ticket.observed_ns <= self._settings.max_age_ns)
