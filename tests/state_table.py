"""Every state that the state machine can reach, found by trying every event in every one of them.

The machine's time limits are set to a few ticks of one unit, and its ages are capped where they
make no further difference, so there are finitely many concrete states; a breadth-first walk visits
all of them. What a reader needs is fewer: the state, and which of its timers run.
"""

import copy
from collections import deque
from collections.abc import Iterator

from safety_reflex.reasons import Effect, Reason, effect
from safety_reflex.states import State, StateLimits, StateMachine

CLEAR, LATCH, NEUTRAL, EXPIRES = 2, 2, 2, 4
LIMITS = StateLimits(clear_ns=CLEAR, bad_data_latch_ns=LATCH, neutral_ns=NEUTRAL,
                     reset_expires_ns=EXPIRES)
# One reason for each thing that a cause can do. Bad data stops, and latches when it lasts.
CAUSES: dict[str, frozenset[Reason]] = {
    'nothing': frozenset(),
    'slow': frozenset({Reason.WARNING_FIELD}),
    'object': frozenset({Reason.PROTECTIVE_FIELD}),
    'bad data': frozenset({Reason.SCAN_INVALID}),
    'latch': frozenset({Reason.ESTOP}),
}
Concrete = tuple[object, ...]
Abstract = tuple[State, str]
# (cause, neutral, sources fresh, ticks that passed), or a reset with that cause active.
Event = tuple[str, bool, bool, int] | tuple[str]


def events() -> Iterator[Event]:
    for cause in CAUSES:
        yield (cause,)
        for neutral in (False, True):
            for sources_fresh in (False, True):
                for ticks in (0, 1, EXPIRES + 1):
                    yield cause, neutral, sources_fresh, ticks


def walk(limits: StateLimits = LIMITS) -> dict[Abstract, dict[Event, set[Abstract]]]:
    """What each event does in each reachable abstract state, over all concrete ones behind it."""
    first = StateMachine(limits)
    found: dict[Abstract, dict[Event, set[Abstract]]] = {}
    seen, waiting = {_concrete(first, 0)}, deque([(first, 0)])
    while waiting:
        machine, now = waiting.popleft()
        here = found.setdefault(abstract(machine), {})
        for event in events():
            after, later = copy.deepcopy(machine), now
            if len(event) == 1:
                after.request_reset(now, CAUSES[event[0]])
            else:
                cause, neutral, sources_fresh, ticks = event
                later += ticks
                after.update(later, CAUSES[cause], sources_fresh=sources_fresh, neutral=neutral)
            here.setdefault(event, set()).add(abstract(after))
            key = _concrete(after, later)
            if key not in seen:
                seen.add(key)
                waiting.append((after, later))
    return found


def abstract(machine: StateMachine) -> Abstract:
    """The state, and which timer runs in it."""
    if machine.state is State.STOPPED:
        return machine.state, 'clear timer' if machine._clear_since_ns is not None else 'held'
    if machine.state is State.LATCHED and machine._reset_at_ns is not None:
        return machine.state, ('reset, neutral timer' if machine._neutral_since_ns is not None
                               else 'reset, awaiting neutral')
    return machine.state, ''


def _concrete(machine: StateMachine, now: int) -> Concrete:
    """Everything that can matter later; ages capped just above the limit they are held against."""
    def age(since: int | None, limit: int) -> int:
        return -1 if since is None else min(now - since, limit + 1)
    latched, stopped = machine.state is State.LATCHED, machine.state is State.STOPPED
    reset = age(machine._reset_at_ns, EXPIRES) if latched else -1
    return (machine.state, reset, age(machine._neutral_since_ns, NEUTRAL) if reset >= 0 else -1,
            age(machine._clear_since_ns, CLEAR) if stopped else -1,
            age(machine._bad_since_ns, LATCH))


def markdown() -> str:
    """The table of docs/states.md."""
    found = walk()
    order = sorted(found, key=lambda at: (list(State).index(at[0]), at[1]))
    columns = [('reset asked', lambda e: e == ('nothing',)),
               ('reset asked, a cause holds', lambda e: len(e) == 1 and CAUSES[e[0]]
                and max(map(effect, CAUSES[e[0]])) >= Effect.STOP)]
    columns += [(f'{cause}{", neutral" if neutral else ""}',
                 lambda e, cause=cause, neutral=neutral: e[0] == cause and len(e) == 4
                 and e[1] is neutral)
                for cause in ('nothing', 'slow') for neutral in (False, True)]
    columns += [(cause, lambda e, cause=cause: e[0] == cause and len(e) == 4)
                for cause in ('object', 'bad data', 'latch')]
    lines = ['| state | ' + ' | '.join(name for name, _ in columns) + ' |',
             '|---' * (len(columns) + 1) + '|']
    for at in order:
        cells = []
        for _, wanted in columns:
            ends = set().union(*(ends for event, ends in found[at].items() if wanted(event)))
            cells.append('<br>'.join(_name(end) if end != at else 'stays' for end in sorted(
                ends, key=lambda end: (end != at, order.index(end)))))
        lines.append(f'| **{_name(at)}** | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def _name(at: Abstract) -> str:
    return f'{at[0]} ({at[1]})' if at[1] else str(at[0])
