"""The gate: what of a commander's wish reaches the wheels.

It checks every number, remembers faults long enough to be seen, limits speed and acceleration,
scales for a slow-down with the curvature kept, and turns every stop into a ramp at the braking
limit and then a stream of zeros.
"""

import math
from dataclasses import dataclass

from safety_reflex.cdr import Twist
from safety_reflex.reasons import Reason


@dataclass(frozen=True)
class GateLimits:
    """Metres, radians, seconds; times in nanoseconds."""

    max_speed_mps: float
    max_reverse_mps: float
    max_turn_radps: float
    max_acceleration_mps2: float
    max_turn_acceleration_radps2: float
    braking_mps2: float
    turn_braking_radps2: float
    command_timeout_ns: int
    fault_hold_ns: int


# Between a command of exactly the limit and one above it lies the rounding of a float32 policy.
_ROUNDING = 1e-3
_NEUTRAL = 1e-3


class Gate:
    """Commands in, limited velocities out. Ages are measured on the caller's clock."""

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._wish = (0.0, 0.0)
        self._wish_at_ns: int | None = None
        self._stamp_ns = -1
        self._only_after_ns = -1
        self._faults: dict[Reason, int] = {}
        self.output = (0.0, 0.0)

    def command(self, now_ns: int, twist: Twist) -> None:
        """Take a command of the commander; a bad one becomes a fault, and never the wish."""
        fault = self._fault(twist)
        if fault is not None:
            self.fault(now_ns, fault)
            return
        if twist.stamp_ns <= self._stamp_ns:
            return  # a copy or a late one; silence of the source will make it stale
        self._stamp_ns = twist.stamp_ns
        if twist.stamp_ns <= self._only_after_ns and not _is_neutral(twist.v_mps, twist.w_radps):
            return
        self._wish, self._wish_at_ns = (twist.v_mps, twist.w_radps), now_ns

    def fault(self, now_ns: int, reason: Reason) -> None:
        self._faults[reason] = now_ns
        self.forget()

    def forget(self) -> None:
        """Drop the wish: the next movement needs a fresh command."""
        self._wish, self._wish_at_ns = (0.0, 0.0), None

    def accept_only_after(self, stamp_ns: int) -> None:
        """From now on a movement needs a command stamped later (the end of a reset)."""
        self._only_after_ns = stamp_ns
        self.forget()

    def reasons(self, now_ns: int) -> set[Reason]:
        held = {r for r, at in self._faults.items() if now_ns - at < self._limits.fault_hold_ns}
        return held if self._fresh(now_ns) else held | {Reason.COMMAND_STALE}

    def neutral(self, now_ns: int) -> bool:
        return self._fresh(now_ns) and _is_neutral(*self._wish)

    def wish(self, now_ns: int) -> tuple[float, float]:
        """The commander's fresh wish (m/s, rad/s); zero when it is stale."""
        return self._wish if self._fresh(now_ns) else (0.0, 0.0)

    def drive(self, now_ns: int, dt_s: float, scale: float) -> tuple[float, float]:
        """The next output towards the wish; one factor on both parts keeps its curvature."""
        v, w = (scale * part for part in self.wish(now_ns))
        limits = self._limits
        self.output = (
            _towards(self.output[0], v, limits.max_acceleration_mps2 * dt_s,
                     limits.braking_mps2 * dt_s),
            _towards(self.output[1], w, limits.max_turn_acceleration_radps2 * dt_s,
                     limits.turn_braking_radps2 * dt_s))
        return self.output

    def stop(self, dt_s: float) -> tuple[float, float]:
        """The next output of a stop: a ramp at the braking limit, both parts, then zero."""
        self.output = (_towards(self.output[0], 0.0, 0.0, self._limits.braking_mps2 * dt_s),
                       _towards(self.output[1], 0.0, 0.0, self._limits.turn_braking_radps2 * dt_s))
        return self.output

    def _fresh(self, now_ns: int) -> bool:
        return (self._wish_at_ns is not None
                and 0 <= now_ns - self._wish_at_ns <= self._limits.command_timeout_ns)

    def _fault(self, twist: Twist) -> Reason | None:
        numbers = (twist.v_mps, twist.w_radps, *twist.others)
        if not all(map(math.isfinite, numbers)):
            return Reason.COMMAND_NOT_FINITE
        limits = self._limits
        if (twist.v_mps > limits.max_speed_mps + _ROUNDING
                or -twist.v_mps > limits.max_reverse_mps + _ROUNDING
                or abs(twist.w_radps) > limits.max_turn_radps + _ROUNDING
                or any(abs(other) > _ROUNDING for other in twist.others)):
            return Reason.COMMAND_OVER_LIMIT
        return None


def _is_neutral(v_mps: float, w_radps: float) -> bool:
    return abs(v_mps) <= _NEUTRAL and abs(w_radps) <= _NEUTRAL


def _towards(now: float, wish: float, gain: float, loss: float) -> float:
    """One step from now to wish: away from zero by at most gain, towards it by at most loss."""
    if now * wish < 0:
        wish = 0.0  # through zero first, with the braking limit
    step = gain if abs(wish) > abs(now) else loss
    return min(max(wish, now - step), now + step)
