"""The velocity that reaches the wheels: limits of acceleration and jerk, and the stop.

Every stop is a ramp at the braking limit and then a stream of zeros. Jerk limits only how a robot
picks up speed: neither a stop nor a slow-down waits for one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GateLimits:
    """Metres, radians, seconds."""

    max_acceleration_mps2: float
    max_turn_acceleration_radps2: float
    max_jerk_mps3: float
    braking_mps2: float
    turn_braking_radps2: float


class Gate:
    """A wish in, a limited velocity out."""

    def __init__(self, limits: GateLimits) -> None:
        self._limits = limits
        self._gain_mps2 = 0.0
        self.output = (0.0, 0.0)

    def drive(self, wish: tuple[float, float], dt_s: float) -> tuple[float, float]:
        """The next output towards the wish (v m/s, w rad/s)."""
        limits = self._limits
        v, w = self.output
        # Never so fast that it could not be eased off again before the wish is reached.
        easing = (2 * limits.max_jerk_mps3 * abs(wish[0] - v)) ** 0.5
        self._gain_mps2 = min(self._gain_mps2 + limits.max_jerk_mps3 * dt_s,
                              limits.max_acceleration_mps2, easing)
        self.output = (
            towards(v, wish[0], self._gain_mps2 * dt_s, limits.braking_mps2 * dt_s),
            towards(w, wish[1], limits.max_turn_acceleration_radps2 * dt_s,
                    limits.turn_braking_radps2 * dt_s))
        if abs(self.output[0]) <= abs(v):
            self._gain_mps2 = 0.0
        return self.output

    def stop(self, dt_s: float) -> tuple[float, float]:
        """The next output of a stop: a ramp at the braking limit, both parts, then zero."""
        self._gain_mps2 = 0.0
        self.output = (towards(self.output[0], 0.0, 0.0, self._limits.braking_mps2 * dt_s),
                       towards(self.output[1], 0.0, 0.0, self._limits.turn_braking_radps2 * dt_s))
        return self.output


def towards(now: float, wish: float, gain: float, loss: float) -> float:
    """One step from now to wish: away from zero by at most gain, towards it by at most loss."""
    if now * wish < 0:
        wish = 0.0  # through zero first, with the braking limit
    step = gain if abs(wish) > abs(now) else loss
    return min(max(wish, now - step), now + step)
