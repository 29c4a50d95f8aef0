"""A differential-drive base: what it makes of commands, within its limits. Pure arithmetic."""

import math

from .robot import Limits

RESIDUAL = 1e-9


def ramp(now: float, target: float, rise: float, fall: float, dt: float) -> float:
    """The next value on the way to target: `rise` bounds speeding up, `fall` slowing down.

    A change of sign slows down to zero first, and speeds up in the step after it.
    """
    if abs(now) < RESIDUAL:
        now = 0.0  # else what physics leaves of a stop would be slowed down again, step by step
    if now * target < 0.0:
        target = 0.0
    bound = (rise if abs(target) > abs(now) else fall) * dt
    return target if abs(target - now) <= bound else now + math.copysign(bound, target - now)


class Drive:
    """Holds the newest command and brakes by itself when that grows stale."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._timeout_ns = round(limits.command_timeout_s * 1e9)
        self._v = self._w = 0.0
        self._commanded_ns: int | None = None

    def command(self, v_mps: float, w_radps: float, now_ns: int) -> None:
        """Clips to the limits. Raises ValueError for a number that is not finite."""
        if not (math.isfinite(v_mps) and math.isfinite(w_radps)):
            raise ValueError(f'a command of v = {v_mps}, w = {w_radps} is not finite')
        limits = self._limits
        self._v = min(max(v_mps, -limits.max_reverse_mps), limits.max_speed_mps)
        self._w = min(max(w_radps, -limits.max_turn_radps), limits.max_turn_radps)
        self._commanded_ns = now_ns

    @property
    def state(self) -> tuple[float, float, int | None]:
        """The command that is held, and when it came."""
        return self._v, self._w, self._commanded_ns

    def next(self, v_mps: float, w_radps: float, now_ns: int, dt: float) -> tuple[float, float]:
        """The twist that the motors reach dt after a measured one."""
        stale = self._commanded_ns is None or now_ns - self._commanded_ns > self._timeout_ns
        target_v, target_w = (0.0, 0.0) if stale else (self._v, self._w)
        limits = self._limits
        return (ramp(v_mps, target_v, limits.max_acceleration_mps2, limits.braking_mps2, dt),
                ramp(w_radps, target_w, limits.max_turn_acceleration_radps2,
                     limits.turn_braking_radps2, dt))


class Enable:
    """The second channel's permission: only a fresh true lets the base move; silence stops."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_ns = round(timeout_s * 1e9)
        self._value = False
        self._heard_ns = 0

    def heard(self, value: bool, now_ns: int) -> None:
        self._value, self._heard_ns = value, now_ns

    def holds(self, now_ns: int) -> bool:
        return self._value and 0 <= now_ns - self._heard_ns <= self._timeout_ns
