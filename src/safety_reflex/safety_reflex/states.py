"""The reflex's states: stop wins, nothing latched moves again by itself.

    STARTING --every source fresh--> LATCHED --reset, then neutral--> RUNNING <--> SLOWED
    any      --a cause that latches--> LATCHED      LATCHED --reset beside an object--> STOPPED
    RUNNING, SLOWED --cause--> STOPPED --clear for t_clear--> RUNNING
"""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from safety_reflex.reasons import NEVER_LATCHES_WITH_TIME, Effect, Reason, effect


class State(StrEnum):
    STARTING = 'STARTING'
    RUNNING = 'RUNNING'
    SLOWED = 'SLOWED'
    STOPPED = 'STOPPED'
    LATCHED = 'LATCHED'


@dataclass(frozen=True)
class StateLimits:
    """Times in nanoseconds. field_latches: an object in the field while it moves latches."""

    clear_ns: int
    bad_data_latch_ns: int
    neutral_ns: int
    reset_expires_ns: int
    field_latches: bool = False


_OBJECT = frozenset({Reason.PROTECTIVE_FIELD})


class StateMachine:
    """One robot's state. Time only moves forward through `now_ns` arguments."""

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self.state = State.STARTING
        self.trip_count = 0
        self.latched_by: set[Reason] = set()
        self._bad_since_ns: int | None = None
        self._clear_since_ns: int | None = None
        self._object_held = False
        self._reset_at_ns: int | None = None
        self._neutral_since_ns: int | None = None

    @property
    def may_move(self) -> bool:
        return self.state in (State.RUNNING, State.SLOWED)

    def reasons(self, active: Set[Reason]) -> list[Reason]:
        """Everything that holds the robot now, in the order of the fixed list."""
        shown = set(active) | self.latched_by
        if self._reset_at_ns is not None:
            shown.add(Reason.AWAITING_NEUTRAL)
        return [reason for reason in Reason if reason in shown]

    def update(self, now_ns: int, active: Set[Reason], *, sources_fresh: bool,
               neutral: bool) -> bool:
        """Take in what holds now; returns True when a reset has just completed.

        neutral: the chosen source sends fresh commands of zero.
        """
        strongest = max(map(effect, active), default=Effect.NONE)
        latching = {r for r in active if effect(r) is Effect.LATCH}
        # Whatever it is that is bad, and even if it is another thing each time.
        bad = {r for r in active if effect(r) is Effect.STOP} - NEVER_LATCHES_WITH_TIME
        if not bad:
            self._bad_since_ns = None
        elif self._bad_since_ns is None:
            self._bad_since_ns = now_ns
        elif now_ns - self._bad_since_ns >= self._limits.bad_data_latch_ns:
            latching |= bad
        if self._limits.field_latches and self.may_move and Reason.PROTECTIVE_FIELD in active:
            latching.add(Reason.PROTECTIVE_FIELD)
        if self.state is State.STARTING:
            if sources_fresh:
                self._latch({Reason.START_UP})
            return False
        if latching:
            self._latch(latching)
            return False
        if self.state is State.LATCHED:
            held = any(effect(r) >= Effect.STOP for r in active - _OBJECT)
            return self._finish_reset(now_ns, held, neutral, bool(active & _OBJECT))
        if strongest >= Effect.STOP:
            if self.may_move:
                self.trip_count += 1
            self.state = State.STOPPED
            self._clear_since_ns = None
            self._object_held |= bool(active & _OBJECT)
            return False
        if self.state is State.STOPPED:
            if self._clear_since_ns is None:
                self._clear_since_ns = now_ns
                if self._limits.field_latches and self._object_held:
                    self._latch(set(_OBJECT))
                    return False
            if now_ns - self._clear_since_ns < self._limits.clear_ns:
                return False
        self._object_held = False
        self.state = State.SLOWED if strongest is Effect.SLOW else State.RUNNING
        return False

    def request_reset(self, now_ns: int, active: Set[Reason]) -> tuple[bool, str]:
        """An operator asks; granted only from LATCHED and with every cause gone."""
        if self.state is not State.LATCHED:
            return False, f'nothing to reset: the state is {self.state}'
        # An object in the field does not latch: the reset then ends in STOPPED, from where the
        # robot can be led away. Else one that starts beside a wall could never be moved.
        holding = [r for r in Reason if r in active - _OBJECT and effect(r) >= Effect.STOP]
        if holding:
            return False, f'refused: still {", ".join(holding)}'
        self._reset_at_ns, self._neutral_since_ns = now_ns, None
        return True, 'accepted: waiting for neutral commands'

    def _latch(self, causes: set[Reason]) -> None:
        if self.may_move:
            self.trip_count += 1
        self.state = State.LATCHED
        self.latched_by |= causes
        self._reset_at_ns = None

    def _finish_reset(self, now_ns: int, held: bool, neutral: bool, occupied: bool) -> bool:
        if self._reset_at_ns is None:
            return False
        expired = now_ns - self._reset_at_ns > self._limits.reset_expires_ns
        if held or expired:
            self._reset_at_ns = None
            return False
        if not neutral:
            self._neutral_since_ns = None
            return False
        if self._neutral_since_ns is None:
            self._neutral_since_ns = now_ns
        if now_ns - self._neutral_since_ns < self._limits.neutral_ns:
            return False
        self._reset_at_ns = None
        self.latched_by.clear()
        self._clear_since_ns = None
        self.state = State.STOPPED if occupied else State.RUNNING
        self._object_held = occupied
        return True
