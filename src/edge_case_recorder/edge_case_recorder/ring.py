"""The last seconds of every topic, as serialized messages, bounded by time and by bytes.

Each topic has a budget of its own, so a camera cannot push joint states out. Latched topics keep
what was current when the ring forgets it, so that a window can begin with it. A window is read
with a cursor while messages still arrive, and counts exactly what it should have held and does not.
A topic with a rate limit leaves messages out before they are stored, and knows how many.
"""

import threading
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

# What CPython adds to a message's bytes here: tuple, int, header of the bytes, slot of the deque.
RECORD_OVERHEAD_BYTES = 128
# Stamps of what a budget pushed out are kept, to count the loss of a window that opens later.
_MAX_EVICTED_STAMPS = 65_536
_S = 1_000_000_000


class Record(NamedTuple):
    """One received message; now_ns is the receiver's steady clock."""

    topic: str
    now_ns: int
    data: bytes


@dataclass(frozen=True)
class TopicCounts:
    """Since the topic was added. Expired messages had had their time; evicted and oversize are
    losses: pushed out by the topic's own budget, or larger than the whole of it. Skipped ones were
    left out on purpose, by the topic's rate limit."""

    received: int
    received_bytes: int
    expired: int
    evicted: int
    oversize: int
    held: int
    held_bytes: int
    skipped: int = 0


@dataclass
class Cursor:
    """Where one window stands in each topic, and how many of its messages it never got.

    skipped: left out by a rate limit; skipped_ns: when these arrived, as far as still known.
    """

    start_ns: int
    next_index: dict[str, int] = field(default_factory=dict)
    next_skipped: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    skipped_ns: dict[str, list[int]] = field(default_factory=dict)

    def lose(self, topic: str, count: int) -> None:
        if count:
            self.lost[topic] = self.lost.get(topic, 0) + count


class _Topic:
    """One topic's messages under consecutive indices, the oldest at the left.

    A message that is larger than the budget leaves its stamp and no data. So does one that the
    rate limit leaves out, under indices of its own.
    """

    def __init__(self, limit: int, depth: int, rate_hz: float) -> None:
        self.limit = limit
        self.depth = depth
        self.rate_hz = rate_hz
        self.due_ns = 0
        self.skipped_ns: deque[int] = deque()
        self.skipped = 0
        self.records: deque[tuple[int, bytes | None]] = deque()
        self.latched: deque[tuple[int, bytes]] = deque()
        self.evicted_ns: deque[int] = deque(maxlen=_MAX_EVICTED_STAMPS)
        self.bytes = 0
        self.received = 0   # without the skipped: indices count from it
        self.received_bytes = 0
        self.expired = 0
        self.evicted = 0
        self.oversize = 0

    @property
    def first_index(self) -> int:
        return self.received - len(self.records)

    @property
    def limited_hz(self) -> float:
        """Each latched message may be the only one of its kind: they are never left out."""
        return 0.0 if self.depth else self.rate_hz

    def is_due(self, now_ns: int) -> bool:
        """Whether the rate limit takes a message now. Turns are on a grid, so that 30 Hz limited
        to 20 Hz gives 20 and not 15; a turn that nobody used for a period is forgotten."""
        period_ns = int(_S / self.limited_hz) if self.limited_hz else 0
        if now_ns < self.due_ns and period_ns:
            return False
        self.due_ns = (self.due_ns if now_ns < self.due_ns + period_ns else now_ns) + period_ns
        return True

    def skip(self, now_ns: int, data: bytes) -> None:
        self.skipped += 1
        self.received_bytes += len(data)
        self.skipped_ns.append(now_ns)

    def take_skipped(self, topic: str, cursor: Cursor, until_ns: int) -> None:
        wanted = cursor.next_skipped.get(topic, 0)
        first = self.skipped - len(self.skipped_ns)
        stop = max(first + bisect_right(self.skipped_ns, until_ns), wanted)
        if stop > wanted:
            cursor.skipped[topic] = cursor.skipped.get(topic, 0) + stop - wanted
            cursor.skipped_ns.setdefault(topic, []).extend(
                islice(self.skipped_ns, max(wanted - first, 0), stop - first))
            cursor.next_skipped[topic] = stop

    def push(self, now_ns: int, data: bytes) -> None:
        self.received += 1
        self.received_bytes += len(data)
        kept: bytes | None = data
        if len(data) + RECORD_OVERHEAD_BYTES > self.limit:
            self.oversize += 1
            kept = None
        self.records.append((now_ns, kept))
        self.bytes += _size(kept)
        while self.bytes > self.limit:
            stamp, evicted = self._pop()
            self.evicted_ns.append(stamp)
            self.evicted += evicted is not None

    def expire(self, before_ns: int) -> None:
        while self.records and self.records[0][0] < before_ns:
            self._pop()
            self.expired += 1
        while self.evicted_ns and self.evicted_ns[0] < before_ns:
            self.evicted_ns.popleft()
        while self.skipped_ns and self.skipped_ns[0] < before_ns:
            self.skipped_ns.popleft()

    def before(self, start_ns: int) -> int:
        """How many of the held messages are older."""
        return bisect_left(self.records, start_ns, key=_stamp)

    def current_at(self, start_ns: int) -> list[tuple[int, bytes]]:
        """What a late subscriber would have got at start_ns."""
        current = deque(self.latched)
        for stamp, data in islice(self.records, self.before(start_ns)):
            if data is not None:
                _latch(current, self.depth, stamp, data)
        return list(current)

    def _pop(self) -> tuple[int, bytes | None]:
        stamp, data = self.records.popleft()
        self.bytes -= _size(data)
        if self.depth and data is not None:
            _latch(self.latched, self.depth, stamp, data)
        return stamp, data


class Ring:
    """Serialized messages of all topics. One thread appends, another reads; every call is brief.

    keep_ns: how long a message is kept: the longest window before a trigger, and how far the
    reader may lag behind. Stamps must not go back (a steady clock's do not).
    """

    def __init__(self, keep_ns: int) -> None:
        if keep_ns <= 0:
            raise ValueError(f'keep_ns = {keep_ns}: must be positive')
        self._keep_ns = keep_ns
        self._topics: dict[str, _Topic] = {}
        self._lock = threading.Lock()

    def add_topic(self, topic: str, budget_bytes: int, latched_depth: int = 0,
                  rate_hz: float = 0.0) -> None:
        """Take in a topic; so many of its last distinct messages stay current for ever.

        rate_hz: at most so many messages a second are kept (one more in any single second); 0 for
        all of them, and of no effect on a latched topic. Adding a topic again changes the depth
        only: what it holds stays.
        """
        if budget_bytes <= RECORD_OVERHEAD_BYTES:
            raise ValueError(f'{topic}: a budget of {budget_bytes} bytes holds no message')
        with self._lock:
            entry = self._topics.setdefault(
                topic, _Topic(budget_bytes, latched_depth, rate_hz))
            entry.depth = latched_depth

    def append(self, topic: str, now_ns: int, data: bytes) -> None:
        """Take in a message; it may push out older ones of its own topic, and of no other."""
        entry = self._topics[topic]
        with self._lock:
            entry.expire(now_ns - self._keep_ns)
            if entry.rate_hz and not entry.is_due(now_ns):
                entry.skip(now_ns, data)
            else:
                entry.push(now_ns, data)

    def expire(self, now_ns: int) -> None:
        """Forget what is too old in silent topics too; call it about once a second."""
        with self._lock:
            for entry in self._topics.values():
                entry.expire(now_ns - self._keep_ns)

    def open_window(self, start_ns: int) -> tuple[Cursor, list[Record]]:
        """A cursor at the first message not older than start_ns, and what was latched by then."""
        cursor = Cursor(start_ns)
        front: list[Record] = []
        with self._lock:
            for topic, entry in self._topics.items():
                cursor.next_index[topic] = entry.first_index + entry.before(start_ns)
                cursor.next_skipped[topic] = (entry.skipped - len(entry.skipped_ns)
                                              + bisect_left(entry.skipped_ns, start_ns))
                cursor.lose(topic, sum(stamp >= start_ns for stamp in entry.evicted_ns))
                if entry.depth:
                    front += [Record(topic, *record) for record in entry.current_at(start_ns)]
        front.sort(key=lambda record: record.now_ns)
        return cursor, front

    def take(self, cursor: Cursor, until_ns: int) -> list[Record]:
        """What the window has not read yet, up to until_ns, in the order of arrival."""
        taken: list[Record] = []
        with self._lock:
            for topic, entry in self._topics.items():
                wanted, first = cursor.next_index.get(topic, 0), entry.first_index
                if wanted < first:  # the reader was too slow, or the budget too small
                    cursor.lose(topic, first - wanted)
                    wanted = first
                stop = max(bisect_right(entry.records, until_ns, key=_stamp), wanted - first)
                for stamp, data in islice(entry.records, wanted - first, stop):
                    if data is None:
                        cursor.lose(topic, 1)
                    else:
                        taken.append(Record(topic, stamp, data))
                cursor.next_index[topic] = first + stop
                entry.take_skipped(topic, cursor, until_ns)
        taken.sort(key=lambda record: record.now_ns)
        return taken

    def counts(self) -> Mapping[str, TopicCounts]:
        with self._lock:
            return {topic: TopicCounts(entry.received + entry.skipped, entry.received_bytes,
                                       entry.expired, entry.evicted, entry.oversize,
                                       len(entry.records), entry.bytes, entry.skipped)
                    for topic, entry in self._topics.items()}

    def rate_limits(self) -> Mapping[str, float]:
        """Hz of the topics that have a limit."""
        with self._lock:
            return {topic: entry.limited_hz for topic, entry in self._topics.items()
                    if entry.limited_hz}


def _stamp(record: tuple[int, bytes | None]) -> int:
    return record[0]


def _size(data: bytes | None) -> int:
    return RECORD_OVERHEAD_BYTES + (len(data) if data is not None else 0)


def _latch(latched: 'deque[tuple[int, bytes]]', depth: int, stamp: int, data: bytes) -> None:
    """Several publishers latch on tf_static, and some repeat themselves: equal ones count once."""
    for index, (_, known) in enumerate(latched):
        if known == data:
            del latched[index]
            break
    latched.append((stamp, data))
    while len(latched) > depth:
        latched.popleft()
