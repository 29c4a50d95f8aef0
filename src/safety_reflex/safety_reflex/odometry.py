"""The measured velocity, and whether it can be what was commanded."""

import functools
import math
from collections import deque

from safety_reflex.cdr import MalformedMessage, Twist, read_odometry
from safety_reflex.reasons import Reason
from safety_reflex.times import Instant, Stamps, fresh

_SLOT_NS = 50_000_000


class Odometry:
    """Newest measured velocity of the base.

    It contradicts the commands when it has lain, for lag_ns without a break, outside of what was
    granted within the last lag_ns, widened by a tolerance: wheels that run away, slip, are blocked,
    or an encoder that is wrong.
    """

    def __init__(self, timeout_ns: int, lag_ns: int, tolerance: tuple[float, float],
                 stamps: Stamps) -> None:
        self._timeout_ns, self._lag_ns, self._stamps = timeout_ns, lag_ns, stamps
        self._tolerance = tolerance
        self._at_ns: int | None = None
        self._bad: Reason | None = None
        self._since_ns: int | None = None
        # Extremes of v and w by slot of 50 ms: (slot, v low, v high, w low, w high).
        self._slots: deque[tuple[float, ...]] = deque()
        self._extremes: tuple[float, ...] = (0, 0.0, 0.0, 0.0, 0.0)
        self.velocity = (0.0, 0.0)

    def take(self, data: bytes, at: Instant) -> None:
        try:
            twist: Twist = read_odometry(data)
        except MalformedMessage:
            self._bad = Reason.ODOM_MALFORMED
            return
        self._at_ns, self._bad = at.now_ns, None
        if not (math.isfinite(twist.v_mps) and math.isfinite(twist.w_radps)):
            self._bad = Reason.ODOM_NOT_FINITE
        elif not self._stamps.believable(twist.stamp_ns, at.ros_ns):
            self._bad = Reason.ODOM_STAMP
        else:
            self.velocity = (twist.v_mps, twist.w_radps)

    def forget_stamps(self) -> None:
        self._stamps.forget()

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._at_ns, now_ns, self._timeout_ns)

    def granted(self, now_ns: int, v_mps: float, w_radps: float) -> None:
        """What the gate gave out."""
        slot, here = now_ns // _SLOT_NS, (0, v_mps, v_mps, w_radps, w_radps)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1] = (slot, *_widest(self._slots[-1], here)[1:])
            self._extremes = _widest(self._extremes, here)
            return
        self._slots.append((slot, *here[1:]))
        # One slot more than the lag: the oldest may have been granted at its very end.
        while self._slots[0][0] < slot - self._lag_ns // _SLOT_NS - 1:
            self._slots.popleft()
        self._extremes = functools.reduce(_widest, self._slots)

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
        _, v_low, v_high, w_low, w_high = self._extremes
        (v, w), (v_slack, w_slack) = self.velocity, self._tolerance
        return not (v_low - v_slack <= v <= v_high + v_slack
                    and w_low - w_slack <= w <= w_high + w_slack)


def _widest(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return (a[0], a[1] if a[1] < b[1] else b[1], a[2] if a[2] > b[2] else b[2],
            a[3] if a[3] < b[3] else b[3], a[4] if a[4] > b[4] else b[4])
