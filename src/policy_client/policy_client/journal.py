"""All that went into the queue, in order, so that a replay gives the same output bit for bit.

The queue is a pure function of what it is told: its snapshot, these entries, and the replies that
`policy/exchange` carries beside them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from policy_client.chunks import ActionQueue, Chunk, QueueSettings, Snapshot, Step, Ticket

Array = NDArray[np.float64]


class Entry(IntEnum):
    """The first of an entry's four numbers; the others are behind it."""
    STEP = 0      # now_ns, ROS stamp of what went out
    NEUTRAL = 1   # now_ns, ROS stamp of what went out
    DROP = 2
    ISSUE = 3     # now_ns, observed_ns, sequence
    ADOPT = 4     # now_ns, sequence
    FOUND = 5     # row of `positions`
    FORGET = 6
    WALK = 7      # pace in millionths


@dataclass(frozen=True, eq=False)
class Record:
    """A stretch of a queue's life.

    Attributes:
        snapshot: before the first entry.
        entries: int64 (N, 4).
        positions: float64 (K, D), measured joints.
    """
    snapshot: Snapshot
    entries: NDArray[np.int64]
    positions: Array


class RecordedQueue(ActionQueue):
    """An ActionQueue that remembers what it was told since it was last asked for it."""

    def __init__(self, settings: QueueSettings, client_id: str) -> None:
        super().__init__(settings, client_id)
        # ROS time of the tick at hand, set by the caller: by it a replay finds the message.
        self.stamp_ns = 0
        self._begin()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self) -> Record:
        """What happened since the last take."""
        width = len(self.last)
        record = Record(self._snapshot, np.array(self._entries, np.int64).reshape(-1, 4),
                        np.array(self._positions, float).reshape(-1, width))
        self._begin()
        return record

    def issue(self, observed_ns: int, now_ns: int) -> Ticket:
        ticket = super().issue(observed_ns, now_ns)
        self._note(Entry.ISSUE, now_ns, observed_ns, ticket.sequence)
        return ticket

    def adopt(self, ticket: Ticket, rows: Array, source: str, now_ns: int) -> Chunk:
        chunk = super().adopt(ticket, rows, source, now_ns)
        self._note(Entry.ADOPT, now_ns, ticket.sequence)
        return chunk

    def drop(self) -> None:
        super().drop()
        self._note(Entry.DROP)

    def found(self, positions: Array) -> None:
        if np.isnan(self.last).any():
            super().found(positions)
            self._note(Entry.FOUND, len(self._positions))
            self._positions.append(positions)

    def forget(self) -> None:
        super().forget()
        self._note(Entry.FORGET)

    def walk(self, pace_ppm: int) -> None:
        if pace_ppm != self._pace_ppm:
            super().walk(pace_ppm)
            self._note(Entry.WALK, pace_ppm)

    def step(self, now_ns: int) -> Step:
        self._note(Entry.STEP, now_ns, self.stamp_ns)
        return super().step(now_ns)

    def neutral(self, now_ns: int) -> Step:
        self._note(Entry.NEUTRAL, now_ns, self.stamp_ns)
        return super().neutral(now_ns)

    def _begin(self) -> None:
        self._snapshot = self.snapshot()
        self._entries: list[tuple[int, int, int, int]] = []
        self._positions: list[Array] = []

    def _note(self, kind: Entry, first: int = 0, second: int = 0, third: int = 0) -> None:
        self._entries.append((kind, first, second, third))


class ReplayError(Exception):
    """A record that does not fit what was replayed before it."""


def play(queue: ActionQueue, record: Record,
         reply: Callable[[int], tuple[Ticket, str, Array]]) -> Iterator[tuple[int, Step]]:
    """Tell a queue what a record tells, and give (ROS stamp, step) of each tick.

    Args:
        reply: (ticket, source, rows (H, D)) of the request with a sequence number.

    Raises ReplayError when an entry does not fit the queue.
    """
    for kind, first, second, third in record.entries.tolist():
        match kind:
            case Entry.STEP:
                yield second, queue.step(first)
            case Entry.NEUTRAL:
                yield second, queue.neutral(first)
            case Entry.DROP:
                queue.drop()
            case Entry.ISSUE:
                ticket = queue.issue(second, first)
                if ticket.sequence != third:
                    raise ReplayError(f'request {third} was recorded, {ticket.sequence} is due')
            case Entry.ADOPT:
                ticket, source, rows = reply(second)
                queue.adopt(ticket, rows, source, first)
            case Entry.FOUND:
                queue.found(record.positions[first])
            case Entry.FORGET:
                queue.forget()
            case Entry.WALK:
                queue.walk(first)
            case _:
                raise ReplayError(f'entry {kind} is not known')
