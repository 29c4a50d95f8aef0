"""The demo's story as data: what is done, and what must then be seen. No ROS, no clock here.

A phase begins with an action, ends when its condition holds on what is seen, and fails when that
takes longer than its limit. The robot is judged by what it does, never by what was planned.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """One look at the running system. Times in seconds on the watcher's clock, SI units."""

    t_s: float
    state: str = ''
    reasons: frozenset[str] = frozenset()
    person_stops: int = 0
    policy_state: str = ''
    policy_source: str = ''
    rejected_chunks: int = 0
    reject_reason: str = ''
    x_m: float = 0.0
    y_m: float = 0.0
    speed_mps: float = 0.0
    goal_m: float = math.inf
    cases: int = 0
    cases_verified: int = 0

    @property
    def drives(self) -> bool:
        return self.state in ('RUNNING', 'SLOWED') and self.speed_mps > 0.25

    @property
    def triton_leads(self) -> bool:
        return self.policy_source.startswith('triton')

    def refused(self, begin: 'Seen', reason: str) -> bool:
        return self.rejected_chunks > begin.rejected_chunks and self.reject_reason == reason


Condition = Callable[[Seen, Seen], bool]   # (at the phase's begin, now)


@dataclass(frozen=True)
class Phase:
    """`action` is a name that the director knows; '' only watches."""

    name: str
    until: Condition
    limit_s: float
    action: str = ''


@dataclass
class Outcome:
    name: str
    ok: bool
    seconds: float
    note: str = ''


# A stop for a person may fall into any phase, so every phase that wants motion waits it out.
_PERSON_S = 20.0


def phases() -> list[Phase]:
    return [
        Phase('latched at start', lambda _, now: now.state == 'LATCHED'
              and 'start_up' in now.reasons and now.speed_mps == 0
              and now.policy_state != '', 20.0),
        Phase('reset by the operator', lambda _, now: now.state == 'RUNNING', 10.0, 'reset'),
        Phase('drives under Triton\'s policy', lambda _, now: now.drives and now.triton_leads
              and now.x_m > 1.0, 15.0, 'task'),
        Phase('stops for a person', lambda begin, now: now.state == 'STOPPED'
              and now.person_stops > begin.person_stops and now.speed_mps < 0.01, 40.0),
        Phase('resumes when the person is gone', lambda _, now: now.drives and now.triton_leads,
              _PERSON_S),
        Phase('Triton is killed: the fallback leads', lambda _, now: now.policy_source == 'onnx'
              and now.drives, _PERSON_S, 'kill_triton'),
        Phase('Triton returns: its policy leads again', lambda _, now: now.triton_leads
              and now.drives, 30.0, 'restart_triton'),
        Phase('the server sends NaN: refused, the fallback leads', lambda begin, now:
              now.refused(begin, 'not_finite') and now.policy_source == 'onnx' and now.drives,
              _PERSON_S, 'drill_nan'),
        Phase('the server exceeds limits: refused, the fallback leads', lambda begin, now:
              now.refused(begin, 'over_limit') and now.policy_source == 'onnx' and now.drives,
              _PERSON_S, 'drill_over_limit'),
        Phase('the server is repaired: its policy leads again', lambda _, now: now.triton_leads
              and now.drives, 30.0, 'drill_none'),
        Phase('a rogue sends NaN: stopped and latched', lambda _, now: now.state == 'LATCHED'
              and 'command_not_finite' in now.reasons and now.speed_mps < 0.01, 10.0, 'rogue_nan'),
        Phase('the rogue is gone: reset', lambda _, now: now.drives, _PERSON_S, 'clear_and_reset'),
        Phase('a rogue exceeds limits: stopped and latched', lambda _, now:
              now.state == 'LATCHED' and 'command_over_limit' in now.reasons
              and now.speed_mps < 0.01, 10.0, 'rogue_over_limit'),
        Phase('the rogue is gone: reset again', lambda _, now: now.drives, _PERSON_S,
              'clear_and_reset'),
        Phase('reaches the goal', lambda _, now: now.goal_m < 0.5 and now.speed_mps < 0.05, 60.0),
        Phase('every case is in the bucket, verified', lambda _, now: now.cases > 0
              and now.cases_verified == now.cases, 30.0),
    ]


@dataclass
class Teller:
    """Walks through the phases; asked at every look which action is due."""

    phases: Sequence[Phase]
    outcomes: list[Outcome] = field(default_factory=list)
    _begin: Seen | None = None

    @property
    def finished(self) -> bool:
        return len(self.outcomes) == len(self.phases) or self.failed

    @property
    def failed(self) -> bool:
        return any(not outcome.ok for outcome in self.outcomes)

    @property
    def phase(self) -> Phase:
        return self.phases[len(self.outcomes)]

    def look(self, seen: Seen) -> str | None:
        """Judge the current phase; returns the action of a phase that begins with this look."""
        if self.finished:
            return None
        if self._begin is None:
            self._begin = seen
            return self.phase.action or None
        seconds = seen.t_s - self._begin.t_s
        if self.phase.until(self._begin, seen):
            self.outcomes.append(Outcome(self.phase.name, True, seconds))
        elif seconds > self.phase.limit_s:
            self.outcomes.append(Outcome(self.phase.name, False, seconds, _last_look(seen)))
        else:
            return None
        self._begin = None
        return self.look(seen)


def _last_look(seen: Seen) -> str:
    return (f'not seen; at the end: {seen.state} ({", ".join(sorted(seen.reasons)) or "no reason"})'
            f', policy {seen.policy_source or "none"}, {seen.speed_mps:.2f} m/s at '
            f'x = {seen.x_m:.1f} m')
