"""The measured velocity, and whether it can be what was commanded."""

from collections import deque

import numpy as np

from safety_reflex.cdr import MalformedMessage, Twist, read_odometry
from safety_reflex.reasons import Reason
from safety_reflex.times import fresh

_SLOT_NS = 50_000_000


class Odometry:
    """Newest measured velocity of the base.

    It contradicts the commands when it has lain, for lag_ns without a break, outside of what was
    granted within the last lag_ns, widened by a tolerance: wheels that run away, slip, are blocked,
    or an encoder that is wrong.
    """

    def __init__(self, timeout_ns: int, lag_ns: int, tolerance: tuple[float, float]) -> None:
        self._timeout_ns, self._lag_ns = timeout_ns, lag_ns
        self._tolerance = tolerance
        self._at_ns: int | None = None
        self._bad: Reason | None = None
        self._since_ns: int | None = None
        # Extremes of v and w by slot of 50 ms: (slot, v low, v high, w low, w high).
        self._granted: deque[list[float]] = deque()
        self.velocity = (0.0, 0.0)

    def take(self, data: bytes, now_ns: int) -> None:
        try:
            twist: Twist = read_odometry(data)
        except MalformedMessage:
            self._bad = Reason.ODOM_MALFORMED
            return
        self._at_ns, self._bad = now_ns, None
        if np.isfinite(twist.v_mps) and np.isfinite(twist.w_radps):
            self.velocity = (twist.v_mps, twist.w_radps)
        else:
            self._bad = Reason.ODOM_NOT_FINITE

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._at_ns, now_ns, self._timeout_ns)

    def granted(self, now_ns: int, v_mps: float, w_radps: float) -> None:
        """What the gate gave out."""
        slot = now_ns // _SLOT_NS
        if self._granted and self._granted[-1][0] == slot:
            last = self._granted[-1]
            last[1], last[2] = min(last[1], v_mps), max(last[2], v_mps)
            last[3], last[4] = min(last[3], w_radps), max(last[4], w_radps)
        else:
            self._granted.append([slot, v_mps, v_mps, w_radps, w_radps])
        # One slot more than the lag: the oldest may have been granted at its very end.
        while self._granted[0][0] < slot - self._lag_ns // _SLOT_NS - 1:
            self._granted.popleft()

    def reasons(self, now_ns: int) -> set[Reason]:
        found = set() if self._bad is None else {self._bad}
        if not self.fresh(now_ns):
            return found | {Reason.ODOM_LOST}
        if not self._contradicts():
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= self._lag_ns:
            found.add(Reason.ODOM_CONTRADICTS)
        return found

    def _contradicts(self) -> bool:
        if not self._granted:
            return False
        v, w = self.velocity
        return (not min(g[1] for g in self._granted) - self._tolerance[0] <= v
                <= max(g[2] for g in self._granted) + self._tolerance[0]
                or not min(g[3] for g in self._granted) - self._tolerance[1] <= w
                <= max(g[4] for g in self._granted) + self._tolerance[1])
