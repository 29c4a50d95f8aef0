"""Streams of a Bool where silence means the worse: e-stop sources, the enable, muting requests."""

from safety_reflex.cdr import MalformedMessage, read_bool
from safety_reflex.fields import Muting
from safety_reflex.reasons import Reason
from safety_reflex.times import fresh


class Flag:
    """A Bool stream: the newest value, but the worse one if that came since the last verdict.

    worse: the value that stops the robot, or takes something from it; also what malformed bytes
    mean. So a button that was pressed and let go between two verdicts was pressed.
    """

    def __init__(self, timeout_ns: int, *, worse: bool) -> None:
        self._timeout_ns, self._worse = timeout_ns, worse
        self._at_ns: int | None = None
        self._value = worse
        self._was_worse = False

    def take(self, data: bytes, now_ns: int) -> None:
        try:
            self._value = read_bool(data)
        except MalformedMessage:
            self._value = self._worse
        self._was_worse |= self._value == self._worse
        self._at_ns = now_ns

    def judged(self) -> None:
        """A verdict has seen the value."""
        self._was_worse = False

    def heard(self) -> bool:
        return self._at_ns is not None

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._at_ns, now_ns, self._timeout_ns)

    def holds(self, now_ns: int) -> bool:
        """True and fresh."""
        value = self._worse if self._was_worse else self._value
        return value and self.fresh(now_ns)


def estop_reason(flag: Flag, now_ns: int) -> Reason | None:
    """An e-stop source: silence counts as true."""
    if not flag.fresh(now_ns):
        return Reason.ESTOP_LOST
    return Reason.ESTOP if flag.holds(now_ns) else None


class MutingTimer:
    """Grants one muting while its request is held, for at most its longest time.

    What was used comes back as slowly as it went, while the request is let go, and a muting that
    ran out is refused until all of it is back: so one that flickers, or hangs, gains nothing.
    """

    def __init__(self, muting: Muting, timeout_ns: int) -> None:
        self.muting = muting
        self.flag = Flag(timeout_ns, worse=False)
        self._longest_ns = int(muting.max_s * 1e9)
        self._left_ns = self._longest_ns
        self._spent = False
        self._active = False
        self._at_ns: int | None = None

    def active(self, now_ns: int) -> bool:
        passed_ns = 0 if self._at_ns is None else max(now_ns - self._at_ns, 0)
        self._at_ns = now_ns
        held = self.flag.holds(now_ns)
        if self._active:
            self._left_ns -= passed_ns
        elif not held:
            self._left_ns += passed_ns
        if self._left_ns >= self._longest_ns:
            self._left_ns, self._spent = self._longest_ns, False
        elif self._left_ns <= 0:
            self._left_ns, self._spent = 0, True
        self._active = held and not self._spent
        return self._active
