"""The recorded journal and replies through the queue again. Pure.

The queue is a function of its journal and of the replies, so its output is the recorded one, bit
for bit. Where an exchange is lost, the queue is set up anew from the next snapshot whose chunk is
in the bag (or that has none).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from policy_client import feedback
from policy_client.chunks import ActionQueue, Array, Chunk, QueueSettings, Snapshot, Ticket
from policy_client.embodiment import Embodiment
from policy_client.exchange import Exchange, embodiment_sha256
from policy_client.journal import Entry, Record, ReplayError, play
from policy_client.replay.bag import BagError
from policy_client.replay.recording import Told
from policy_client.reply import ChunkRejected, checked

_MAX_AGE_NS = 3_600_000_000_000
_MOST_ROWS = 1000
_PROBLEMS = 20
# What a journal that fits its checksum and nothing else may lead to.
_MISFITS = (ReplayError, ChunkRejected, ArithmeticError, IndexError, ValueError)


@dataclass(frozen=True)
class Tick:
    """What the queue gave at a tick: ROS stamp, action (D,), and the chunk that it stems from."""
    stamp_ns: int
    action: Array
    source: str       # empty in a hold
    request: int      # sequence number of the chunk's request; 0 in a hold


@dataclass(frozen=True)
class Plan:
    """The queue when a request was made: last output (D,) and the rows (P, D) still to come."""
    last: Array
    rows: Array


@dataclass
class Playback:
    """
    Attributes:
        begins: index of an exchange -> why the queue was set up there, one sentence.
        missed: stamps of ticks that could not be replayed: their chunk is not in the bag.
        plans: (client id, sequence) -> what was planned when the request was made.
        rows: index of an exchange -> rows (H, D) of its reply, where it was adopted.
        problems: where journal and replies do not fit each other, at most 20.
    """
    ticks: list[Tick] = field(default_factory=list)
    begins: dict[int, str] = field(default_factory=dict)
    missed: list[int] = field(default_factory=list)
    plans: dict[tuple[str, int], Plan] = field(default_factory=dict)
    rows: dict[int, Array] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_robot(told: Sequence[Told], embodiment: Embodiment, file: object) -> None:
    """Raises BagError when the exchanges were not made by a robot of this embodiment."""
    for one in told:
        if one.exchange is None:
            continue
        robot = one.exchange.robot
        name, digest = robot.get('embodiment'), robot.get('embodiment_sha256')
        if name != embodiment.name:
            raise BagError(f'the bag is of a robot {str(name)[:60]!r}, {file} describes '
                           f'{embodiment.name!r}')
        if digest != embodiment_sha256(embodiment):
            raise BagError(f'{file} is not what {embodiment.name!r} was recorded with: its digest '
                           f'is {embodiment_sha256(embodiment)[:12]}, the bag has '
                           f'{str(digest)[:12]}')
        _settings(one.exchange, embodiment)


def client_of(exchange: Exchange) -> str:
    """The client's id, which a restart changes; empty for a record without a request."""
    return exchange.request_id.partition('/')[0]


def key_of(exchange: Exchange) -> tuple[str, int]:
    return client_of(exchange), exchange.sequence


def play_back(told: Sequence[Told], embodiment: Embodiment, *,
              instead: Mapping[int, Array | None] | None = None,
              begins: Mapping[int, str] | None = None) -> Playback:
    """All ticks that the exchanges tell of.

    Args:
        instead: index of an exchange -> rows (H, D) in place of its reply's; None for a reply that
            is refused. Used to try what another policy would have made of it.
        begins: with `instead`, where the recorded playback had to set up its queue: the states of
            another policy's run cannot be compared with the recorded ones.
    """
    run = _Run(embodiment, instead or {}, begins)
    with np.errstate(all='ignore'):  # a damaged journal may hold any number
        for index, one in enumerate(told):
            run.take(index, one)
    return run.found


class _Queue(ActionQueue):
    """Notes what is planned at each request, and takes no chunk where a reply was refused."""

    def __init__(self, settings: QueueSettings, client_id: str, *, forgiving: bool) -> None:
        super().__init__(settings, client_id)
        self._forgiving = forgiving
        self.planned_at: dict[int, Plan] = {}

    def issue(self, observed_ns: int, now_ns: int) -> Ticket:
        plan = Plan(self.last, self.planned(now_ns, _MOST_ROWS))
        ticket = super().issue(observed_ns, now_ns)
        self.planned_at[ticket.sequence] = plan
        return ticket

    def adopt(self, ticket: Ticket, rows: Array, source: str, now_ns: int) -> Chunk:
        if not self._forgiving:
            return super().adopt(ticket, rows, source, now_ns)
        try:
            if not len(rows):
                raise ChunkRejected('missing', 'the reply was refused')
            return super().adopt(ticket, rows, source, now_ns)
        except ChunkRejected:
            return Chunk(ticket, source, rows)


class _Run:
    def __init__(self, embodiment: Embodiment, instead: Mapping[int, Array | None],
                 begins: Mapping[int, str] | None) -> None:
        self.found = Playback()
        self._embodiment, self._instead, self._begins = embodiment, instead, begins
        self._queue: _Queue | None = None
        self._client = ''
        self._robot: Mapping[str, object] = {}
        self._replies: dict[int, tuple[int, Exchange]] = {}  # sequence -> accepted exchange

    def take(self, index: int, told: Told) -> None:
        exchange = told.exchange
        if exchange is None or exchange.record is None:
            self._queue = None  # what happened meanwhile is not known
            return
        client = client_of(exchange)
        if client and client != self._client:
            self._client, self._replies = client, {}
        if exchange.outcome == 'accepted':
            self._replies[exchange.sequence] = (index, exchange)
        record = exchange.record
        if not self._goes_on(index, exchange, record):
            self._queue = self._begun(index, exchange, record)
        self._robot = exchange.robot
        stamps = [stamp for kind, _, stamp, _ in record.entries.tolist()
                  if kind in (Entry.STEP, Entry.NEUTRAL)]
        played = 0
        if self._queue is not None:
            try:
                for stamp, step in play(self._queue, record, self._reply):
                    chunk = step.chunk
                    self.found.ticks.append(Tick(stamp, step.action, chunk.source if chunk else '',
                                                 chunk.ticket.sequence if chunk else 0))
                    played += 1
            except _MISFITS as error:
                self._problem(f'exchange {index}: its journal does not fit: {error}')
                self._queue = None
        if self._queue is not None and client:
            for sequence, plan in self._queue.planned_at.items():
                self.found.plans[client, sequence] = plan
            self._queue.planned_at.clear()
        self.found.missed += stamps[played:]

    def _goes_on(self, index: int, exchange: Exchange, record: Record) -> bool:
        if self._queue is None:
            return False
        if self._begins is not None:
            return index not in self._begins
        try:
            state = self._queue.snapshot()
        except OverflowError:
            return False
        if self._robot == exchange.robot and same(state, record.snapshot):
            return True
        if np.array_equal(state.counts, record.snapshot.counts):
            self._problem(f'exchange {index}: its state is not the one that the replies before it '
                          'lead to')
        return False

    def _begun(self, index: int, exchange: Exchange, record: Record) -> _Queue | None:
        width = len(self._embodiment.columns)
        if record.snapshot.moments.shape[1] != width:
            self._problem(f'exchange {index}: its journal is of {record.snapshot.moments.shape[1]} '
                          f'columns, {self._embodiment.name} has {width}')
            return None
        if self._begins is not None and index not in self._begins:
            return None
        queue = _Queue(_settings(exchange, self._embodiment), self._client,
                       forgiving=self._begins is not None)
        sequence = record.snapshot.sequence
        try:
            if sequence is None:
                queue.restore(record.snapshot, '', None)
                where = 'without a chunk'
            elif sequence in self._replies:
                _, source, rows = self._reply(sequence, restored=True)
                queue.restore(record.snapshot, source, rows)
                where = f'on the chunk of request {sequence}'
            else:
                return None
        except _MISFITS as error:
            self._problem(f'exchange {index}: its state cannot be set up: {error}')
            return None
        self.found.begins[index] = f'from exchange {index} ({where})'
        return queue

    def _reply(self, sequence: int, *, restored: bool = False) -> tuple[Ticket, str, Array]:
        if sequence not in self._replies:
            raise ReplayError(f'the reply to request {sequence} is not in the bag')
        index, one = self._replies[sequence]
        ticket = Ticket(one.request_id, sequence, one.epoch, one.observed_ns, one.executed_ns)
        if index in self._instead and not restored:
            rows = self._instead[index]
            return ticket, one.source, _none(self._embodiment) if rows is None else rows
        horizon = max((array.shape[1] for array in one.actions.values() if array.ndim == 3),
                      default=0)
        rows = checked(one.actions, self._embodiment, min(horizon, _MOST_ROWS),
                       float(one.robot['limit_tolerance']))
        self.found.rows[index] = rows
        return ticket, one.source, rows

    def _problem(self, sentence: str) -> None:
        if len(self.found.problems) < _PROBLEMS:
            self.found.problems.append(sentence)


def same(one: Snapshot, other: Snapshot) -> bool:
    """Whether two states are equal in every bit."""
    return (np.array_equal(one.counts, other.counts)
            and one.moments.astype('<f8').tobytes() == other.moments.astype('<f8').tobytes())


def _none(embodiment: Embodiment) -> Array:
    return np.zeros((0, len(embodiment.columns)))


def _settings(exchange: Exchange, embodiment: Embodiment) -> QueueSettings:
    robot = exchange.robot
    values = [robot.get(name) for name in ('max_age_ns', 'blend_ns', 'limit_tolerance')]
    age, blend, tolerance = values
    if not (isinstance(age, int) and 0 < age <= _MAX_AGE_NS and isinstance(blend, int)
            and 0 <= blend <= _MAX_AGE_NS and isinstance(tolerance, int | float)
            and 0 <= tolerance <= 1):
        raise BagError(f'the bag does not say what its queue was set to (max_age_ns, blend_ns, '
                       f'limit_tolerance = {str(values)[:80]})')
    return QueueSettings(embodiment.action_period_ns, age, blend, feedback.limits(embodiment))
