"""The queue of action chunks: what is executed at each tick, and which replies may replace it.

    observation  o----------------------+ request            row k belongs to the time at which
    rows         |r0  r1  r2  r3  r4 ...                      k periods of actions have been
    executed     |=====|===> now                              *executed* since the observation

Alignment counts the action time that was really executed since the observation, not the time that
passed: a robot that stood in a hold while the network thought begins a chunk at its first row.
The rows are the values at their instants and are interpolated in between.

Property (tested): nothing runs on an observation older than max_age; nothing runs from a reply
that is foreign, duplicate, late, of an earlier epoch, or older than the one that leads; the
output never changes faster than max_rate, except to zero by `neutral`.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy_client.reply import ChunkRejected

Array = NDArray[np.float64]
_REMEMBERED = 64  # answered tickets, so that a second reply is a 'duplicate' and not 'foreign'
# A stalled node must not make up for the stall with one large step.
_LONGEST_STEP_NS = 100_000_000


@dataclass(frozen=True)
class QueueSettings:
    period_ns: int                # one row of a chunk
    max_age_ns: int               # oldest observation that an action may run on
    blend_ns: int                 # how long a new chunk is faded in over the one before
    max_rate: tuple[float, ...]   # per component, units per second


@dataclass(frozen=True)
class Ticket:
    """One request as the queue remembers it until its reply."""
    request_id: str
    sequence: int
    epoch: int
    observed_ns: int
    executed_ns: int  # action time executed when the observation was taken


@dataclass(frozen=True)
class Chunk:
    ticket: Ticket
    source: str
    rows: Array  # (H, D)


@dataclass(frozen=True)
class Step:
    """What goes out at one tick: the action (D,), and what it stems from."""
    action: Array
    chunk: Chunk | None   # None: hold
    offset_ns: int        # position in the chunk
    age_ns: int           # of the observation; 0 in a hold


class ActionQueue:
    """Not thread-safe: one caller at a time, `now_ns` never goes back."""

    def __init__(self, settings: QueueSettings, client_id: str) -> None:
        """client_id makes request ids unique among the clients of one server."""
        self._settings = settings
        self._client_id = client_id
        self._max_rate = np.array(settings.max_rate)
        self._open: OrderedDict[str, Ticket] = OrderedDict()
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._sequence = 0
        self.epoch = 0
        self.executed_ns = 0
        self._chunk: Chunk | None = None
        self._before: Chunk | None = None  # faded out while the present one is faded in
        self._adopted_ns = 0
        self._stepped_ns: int | None = None
        self._running = False
        self._last = np.zeros(len(settings.max_rate))

    @property
    def chunk(self) -> Chunk | None:
        """The chunk that leads, whether or not it may still run."""
        return self._chunk

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
        self._before, self._chunk, self._adopted_ns = self._chunk, chunk, now_ns
        return chunk

    def drop(self) -> None:
        """Forget every chunk and every open request; a new epoch begins."""
        self.epoch += 1
        self._chunk = self._before = None
        self._running = False

    def step(self, now_ns: int) -> Step:
        """The action for now. Without a chunk that may run, the output decays to zero: hold."""
        elapsed = self._elapsed(now_ns)
        if self._running:
            self.executed_ns += elapsed
        chunk = self._chunk
        if chunk is not None and not self._may_run(chunk, now_ns):
            chunk = self._chunk = self._before = None
        self._running = chunk is not None
        target = np.zeros_like(self._last) if chunk is None else self._blended(chunk, now_ns)
        change = self._max_rate * (min(elapsed, _LONGEST_STEP_NS) / 1e9)
        self._last = self._last + np.clip(target - self._last, -change, change)
        if chunk is None:
            return Step(self._last, None, 0, 0)
        return Step(self._last, chunk, self.executed_ns - chunk.ticket.executed_ns,
                    now_ns - chunk.ticket.observed_ns)

    def neutral(self, now_ns: int) -> Step:
        """Exactly zero, at once: what a reflex that stopped the robot waits for."""
        self._elapsed(now_ns)
        self._running = False
        self._last = np.zeros_like(self._last)
        return Step(self._last, None, 0, 0)

    def remaining(self, now_ns: int) -> int:
        """How many whole rows may still be executed."""
        chunk = self._chunk
        if chunk is None or not self._may_run(chunk, now_ns):
            return 0
        by_age = self._settings.max_age_ns - (now_ns - chunk.ticket.observed_ns)
        left = min(self._length(chunk) - self._offset(chunk, now_ns), by_age)
        return max(0, left // self._settings.period_ns)

    def _elapsed(self, now_ns: int) -> int:
        elapsed = 0 if self._stepped_ns is None else max(0, now_ns - self._stepped_ns)
        self._stepped_ns = now_ns
        return elapsed

    def _executed(self, now_ns: int) -> int:
        if not self._running or self._stepped_ns is None:
            return self.executed_ns
        return self.executed_ns + max(0, now_ns - self._stepped_ns)

    def _offset(self, chunk: Chunk, now_ns: int) -> int:
        return self._executed(now_ns) - chunk.ticket.executed_ns

    def _length(self, chunk: Chunk) -> int:
        return len(chunk.rows) * self._settings.period_ns

    def _may_run(self, chunk: Chunk, now_ns: int) -> bool:
        return (self._offset(chunk, now_ns) < self._length(chunk)
                and now_ns - chunk.ticket.observed_ns <= self._settings.max_age_ns)

    def _blended(self, chunk: Chunk, now_ns: int) -> Array:
        new = self._at(chunk, now_ns)
        since = now_ns - self._adopted_ns
        before = self._before
        if before is None or since >= self._settings.blend_ns or not self._may_run(before, now_ns):
            self._before = None
            return new
        share = since / self._settings.blend_ns
        return share * new + (1.0 - share) * self._at(before, now_ns)

    def _at(self, chunk: Chunk, now_ns: int) -> Array:
        position = min(self._offset(chunk, now_ns) / self._settings.period_ns,
                       len(chunk.rows) - 1.0)
        low = int(position)
        high = min(low + 1, len(chunk.rows) - 1)
        part = position - low
        return np.asarray((1.0 - part) * chunk.rows[low] + part * chunk.rows[high])
