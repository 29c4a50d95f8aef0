"""Whether the reflex's heartbeat lives. Pure: values, arrival times and `now_ns` come in.

    arrivals   |  |  |  |  |  |  |  |  |  |  |                     |  |  |  |  |  |  |  |  |
    enable     ______--------------------------________________________________------------
                 settle_s                       ^ timeout after the last beat     settle_s

All times are integer nanoseconds of one steady clock.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

SECOND_NS = 1_000_000_000
# With the 60 ms timeout this keeps the promise: enable is gone 100 ms after the last beat.
MAX_PAUSE_NS = 40_000_000


class Verdict(NamedTuple):
    """What is published, and one sentence for people that says why."""

    enable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a living heartbeat. Raises ValueError that names what is out of range."""

    timeout_ns: int = 60_000_000
    rate_hz: float = 50.0
    minimum_share: float = 0.8
    settle_ns: int = 200_000_000

    def __post_init__(self) -> None:
        for name, value, low, high in (
                ('timeout', self.timeout_ns, 10_000_000, 90_000_000),
                ('settle', self.settle_ns, 100_000_000, 10 * SECOND_NS)):
            if not low <= value <= high:
                raise ValueError(f'{name} = {value / 1e6:g} ms: '
                                 f'must be {low / 1e6:g} to {high / 1e6:g}')
        if not 10 <= self.rate_hz <= 1000:
            raise ValueError(f'rate = {self.rate_hz:g} Hz: must be 10 to 1000')
        if not 0.5 <= self.minimum_share <= 1:
            raise ValueError(f'minimum share = {self.minimum_share:g}: must be 0.5 to 1')
        if self.timeout_ns < 1.5 * SECOND_NS / self.rate_hz:
            raise ValueError(f'timeout = {self.timeout_ns / 1e6:g} ms: must be at least 1.5 '
                             f'periods of the {self.rate_hz:g} Hz heartbeat')


class Heartbeat:
    """One unbroken run of beats: it begins with a beat and ends with the first irregularity.

    Fails closed: a run enables only after it has lasted `settle_ns`, and whatever breaks it (late,
    not rising, leaping, a second writer, starved, a pause of the watchdog's own) takes enable away
    at once and starts the count anew.
    """

    def __init__(self, limits: Limits, now_ns: int) -> None:
        self._limits = limits
        self._arrivals: deque[int] = deque()
        self._began_ns = 0
        self._writer: int | None = None
        self._value = 0
        self._last_ns: int | None = None
        self._strangers: dict[int, int] = {}
        self._looked_ns = now_ns
        self._why = 'no heartbeat yet'

    def beat(self, writer: int, value: int, now_ns: int) -> None:
        """A beat arrived. `writer` tells publishers apart; `value` is the counter it carries."""
        fault = self._fault(writer, value, now_ns)
        if self._writer is not None and self._last_ns is not None and writer != self._writer:
            self._strangers[self._writer] = self._last_ns
        self._strangers.pop(writer, None)
        self._writer, self._value = writer, value
        if fault or not self._arrivals:
            self._break(fault or self._why)
            self._began_ns = now_ns
        self._last_ns = now_ns
        self._arrivals.append(now_ns)

    def verdict(self, now_ns: int) -> Verdict:
        """Enable or not, now. Called more often than MAX_PAUSE_NS; a longer pause is a fault."""
        limits = self._limits
        pause_ns = now_ns - self._looked_ns
        self._looked_ns = now_ns
        if not 0 <= pause_ns <= MAX_PAUSE_NS:
            # What was queued meanwhile cannot be told from what is fresh.
            self._break(f'the watchdog itself paused for {pause_ns / 1e6:.0f} ms')
        age_ns = 0 if self._last_ns is None else now_ns - self._last_ns
        if self._arrivals and not 0 <= age_ns <= limits.timeout_ns:
            self._break(f'no heartbeat for {limits.timeout_ns / 1e6:g} ms')
        self._strangers = {writer: seen_ns for writer, seen_ns in self._strangers.items()
                           if now_ns - seen_ns <= SECOND_NS}
        if not self._arrivals:
            return Verdict(False, self._why)
        if self._strangers:
            return Verdict(False, f'{1 + len(self._strangers)} publishers of the heartbeat')
        if self._starved(now_ns):
            self._break(f'fewer than {limits.minimum_share:.0%} of the {limits.rate_hz:g} beats '
                        'a second')
            return Verdict(False, self._why)
        if now_ns - self._began_ns < limits.settle_ns:
            return Verdict(False, self._why)
        self._why = ''
        return Verdict(True, 'the heartbeat lives')

    def deadline_ns(self) -> int | None:
        """When the newest beat expires, None while there is nothing to expire."""
        if not self._arrivals or self._last_ns is None:
            return None
        return self._last_ns + self._limits.timeout_ns + 1

    def _fault(self, writer: int, value: int, now_ns: int) -> str:
        if not self._arrivals:
            return ''
        if writer != self._writer:
            return 'two publishers of the heartbeat'
        if value <= self._value:
            return f'the heartbeat does not rise: {value} after {self._value}'
        # A late beat may stand for a few lost ones, never for more than the timeout can hide.
        if value - self._value > 1 + 2 * self._limits.rate_hz * self._limits.timeout_ns / SECOND_NS:
            return f'the heartbeat leaps from {self._value} to {value}'
        if not 0 <= now_ns - self._arrivals[-1] <= self._limits.timeout_ns:
            return f'no heartbeat for {self._limits.timeout_ns / 1e6:g} ms'
        return ''

    def _starved(self, now_ns: int) -> bool:
        """Fewer beats than the share demands, in the last second or since the run began."""
        while self._arrivals and now_ns - self._arrivals[0] > SECOND_NS:
            self._arrivals.popleft()
        window_ns = min(now_ns - self._began_ns, SECOND_NS)
        if window_ns < self._limits.settle_ns:
            return False
        expected = self._limits.rate_hz * window_ns / SECOND_NS
        return len(self._arrivals) < self._limits.minimum_share * expected

    def _break(self, why: str) -> None:
        self._arrivals.clear()
        self._why = why
