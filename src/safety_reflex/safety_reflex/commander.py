"""Who commands: the wish of each commander after its checks, and which of them is heard."""

import math
from dataclasses import dataclass

from safety_reflex.cdr import Twist
from safety_reflex.reasons import Reason
from safety_reflex.times import Stamps, fresh


@dataclass(frozen=True)
class CommandLimits:
    """Metres per second, radians per second; times in nanoseconds.

    max_age_ns and max_ahead_ns bound how far a stamp may lie behind and before the arrival.
    """

    max_speed_mps: float
    max_reverse_mps: float
    max_turn_radps: float
    timeout_ns: int
    fault_hold_ns: int
    max_age_ns: int
    max_ahead_ns: int


# Between a command of exactly the limit and one above it lies the rounding of a float32 policy.
_ROUNDING = 1e-3
_NEUTRAL = 1e-3


class Commander:
    """One source of velocity commands. Ages are measured on the caller's clock."""

    def __init__(self, topic: str, limits: CommandLimits) -> None:
        self.topic = topic
        self._limits = limits
        self._stamps = Stamps(limits.max_age_ns, limits.max_ahead_ns)
        self._wish = (0.0, 0.0)
        self._wish_at_ns: int | None = None
        self._last: Twist | None = None
        self._neutral_run = 0
        self._faults: dict[Reason, int] = {}

    def command(self, twist: Twist, now_ns: int, ros_now_ns: int) -> None:
        """Take a command; a bad one becomes a fault, and never the wish."""
        if twist == self._last:
            return  # the same message again says nothing new; silence will make it stale
        self._last = twist
        fault = self._fault(twist, ros_now_ns)
        if fault is not None:
            self.fault(fault, now_ns)
        elif self._stamps.may_move(twist.stamp_ns) or is_neutral(twist.v_mps, twist.w_radps):
            self._wish, self._wish_at_ns = (twist.v_mps, twist.w_radps), now_ns
            self._neutral_run = self._neutral_run + 1 if is_neutral(*self._wish) else 0

    def fault(self, reason: Reason, now_ns: int) -> None:
        self._faults[reason] = now_ns
        self.forget()

    def forget(self) -> None:
        """Drop the wish: the next movement needs a fresh command."""
        self._wish, self._wish_at_ns, self._neutral_run = (0.0, 0.0), None, 0

    def forget_stamps(self) -> None:
        self._stamps.forget()
        self.forget()

    def accept_only_after(self, stamp_ns: int) -> None:
        self._stamps.accept_only_after(stamp_ns)
        self.forget()

    def reasons(self, now_ns: int) -> set[Reason]:
        hold = self._limits.fault_hold_ns
        return {reason for reason, at_ns in self._faults.items() if now_ns - at_ns < hold}

    def fresh(self, now_ns: int) -> bool:
        return fresh(self._wish_at_ns, now_ns, self._limits.timeout_ns)

    def wish(self, now_ns: int) -> tuple[float, float]:
        """The fresh wish (m/s, rad/s); zero when it is stale."""
        return self._wish if self.fresh(now_ns) else (0.0, 0.0)

    def neutral(self, now_ns: int) -> bool:
        """Whether it goes on sending zero: a single command is no sign of that."""
        return self.fresh(now_ns) and self._neutral_run >= 2

    def _fault(self, twist: Twist, ros_now_ns: int) -> Reason | None:
        if not all(map(math.isfinite, (twist.v_mps, twist.w_radps, *twist.others))):
            return Reason.COMMAND_NOT_FINITE
        if not self._stamps.believable(twist.stamp_ns, ros_now_ns):
            return Reason.COMMAND_STAMP
        limits = self._limits
        if (twist.v_mps > limits.max_speed_mps + _ROUNDING
                or -twist.v_mps > limits.max_reverse_mps + _ROUNDING
                or abs(twist.w_radps) > limits.max_turn_radps + _ROUNDING
                or any(abs(other) > _ROUNDING for other in twist.others)):
            return Reason.COMMAND_OVER_LIMIT
        return None


class Arbiter:
    """Chooses whom to hear. Teleoperation beats the policy while its deadman is held.

    The deadman is the stream itself: as with teleop_twist_joy, an operator's station publishes
    only while the button is held, and silence is a button let go. After that the policy is heard
    again once it has been neutral for neutral_ns, so that it never goes on in mid-motion.
    """

    def __init__(self, policy: Commander, teleop: Commander, neutral_ns: int) -> None:
        self.policy, self.teleop = policy, teleop
        self._neutral_ns = neutral_ns
        self._policy_heard = True
        self._neutral_since_ns: int | None = None

    def choose(self, now_ns: int) -> Commander | None:
        """The commander in charge; None while the policy has yet to be neutral."""
        if self.teleop.fresh(now_ns) or self.teleop.reasons(now_ns):
            self._policy_heard, self._neutral_since_ns = False, None
            return self.teleop
        if not self._policy_heard:
            if not self.policy.neutral(now_ns):
                self._neutral_since_ns = None
            elif self._neutral_since_ns is None:
                self._neutral_since_ns = now_ns
            elif now_ns - self._neutral_since_ns >= self._neutral_ns:
                self._policy_heard = True
        return self.policy if self._policy_heard else None

    def forget(self) -> None:
        self.policy.forget()
        self.teleop.forget()

    def forget_stamps(self) -> None:
        self.policy.forget_stamps()
        self.teleop.forget_stamps()

    def accept_only_after(self, stamp_ns: int) -> None:
        self.policy.accept_only_after(stamp_ns)
        self.teleop.accept_only_after(stamp_ns)


def is_neutral(v_mps: float, w_radps: float) -> bool:
    return abs(v_mps) <= _NEUTRAL and abs(w_radps) <= _NEUTRAL
