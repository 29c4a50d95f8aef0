"""One instant as the reflex sees it, and a clock that a jump cannot lead astray."""

from dataclasses import dataclass

from safety_reflex.reasons import Reason

# Simulated time goes in steps; what is longer than this in one step is no step of a simulation.
_LONGEST_STEP_NS = 1_000_000_000
# The machine's clock may be slewed; what differs more than this at once was set.
_LARGEST_SLEW_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Instant:
    """now_ns never goes back and is what ages are measured on; ros_ns is what stamps speak of."""

    now_ns: int
    ros_ns: int


class Stamps:
    """Whether a source's stamps never go back, are of now, and come after the last reset."""

    def __init__(self, max_age_ns: int, max_ahead_ns: int) -> None:
        self._max_age_ns, self._max_ahead_ns = max_age_ns, max_ahead_ns
        self._newest_ns = -1
        self._only_after_ns = -1

    def believable(self, stamp_ns: int, ros_now_ns: int) -> bool:
        """False for a stamp that is replayed, stale or of the future."""
        believable = stamp_ns >= self._newest_ns and (
            -self._max_ahead_ns <= ros_now_ns - stamp_ns <= self._max_age_ns)
        if believable:  # else one stamp of the future would make every later one a replay
            self._newest_ns = stamp_ns
        return believable

    def may_move(self, stamp_ns: int) -> bool:
        return stamp_ns > self._only_after_ns

    def accept_only_after(self, stamp_ns: int) -> None:
        """From now on a movement needs a command stamped later (the end of a reset).

        A neutral one that was under way meanwhile is no replay.
        """
        self._only_after_ns, self._newest_ns = stamp_ns, min(self._newest_ns, stamp_ns)

    def forget(self) -> None:
        self._newest_ns = -1


class Timekeeper:
    """Turns ROS time and the machine's steady time into instants.

    logical: ages follow ROS time, as a simulation needs it; else they follow the steady clock. A
    jump of ROS time is a reason either way, and so is ROS time that stands still while it is
    logical. Time without ROS time never stands still: a stop must ramp down to zero all the same.
    """

    def __init__(self, *, logical: bool, frozen_ns: int) -> None:
        self._logical, self._frozen_ns = logical, frozen_ns
        self._ros_ns: int | None = None
        self._steady_ns = 0
        self._moved_ns = 0
        self._now_ns = 0
        self._jumped = False
        self._frozen = False

    def read(self, ros_ns: int, steady_ns: int) -> Instant:
        """The instant now. Raises nothing; what is wrong with the clock is told by `reasons`."""
        if self._ros_ns is None:
            self._now_ns, self._moved_ns = steady_ns, steady_ns
        else:
            ros_step, steady_step = ros_ns - self._ros_ns, max(steady_ns - self._steady_ns, 0)
            if self._logical:
                jumped = not 0 <= ros_step <= max(_LONGEST_STEP_NS, 2 * steady_step)
                if ros_step != 0:
                    self._moved_ns = steady_ns
                self._frozen = steady_ns - self._moved_ns > self._frozen_ns
                self._now_ns += steady_step if jumped or self._frozen else ros_step
            else:
                jumped = abs(ros_step - steady_step) > _LARGEST_SLEW_NS
                self._now_ns += steady_step
            self._jumped |= jumped
        self._ros_ns, self._steady_ns = ros_ns, steady_ns
        return Instant(self._now_ns, ros_ns)

    def reasons(self) -> set[Reason]:
        """What is wrong with the clock; a jump is told once."""
        found = {Reason.CLOCK_JUMPED} if self._jumped else set()
        self._jumped = False
        return found | {Reason.CLOCK_FROZEN} if self._frozen else found


def fresh(at_ns: int | None, now_ns: int, timeout_ns: int) -> bool:
    return at_ns is not None and 0 <= now_ns - at_ns <= timeout_ns
