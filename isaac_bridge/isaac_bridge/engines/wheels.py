"""Worlds whose base stands on its wheels and is driven by them: PhysX, with Isaac Sim or without.

The wheels' velocity drives turn with what the ramps allow, at once as far as the tyres hold.
"""

from .common import EngineWorld

# Of the measured twist, at most, the ramps go on from.
AHEAD_MPS, AHEAD_RADPS = 0.1, 0.3


class WheelDrivenWorld(EngineWorld):
    """An engine sets `_asked` to the twist of a robot that it has put somewhere."""

    _asked = (0.0, 0.0)

    def _ramped(self) -> tuple[float, float]:
        """The drives take a step or two to follow, so the ramps go on from what was asked; but
        against a rack that does not run away."""
        v, w = self._asked
        return (min(max(v, self._v - AHEAD_MPS), self._v + AHEAD_MPS),
                min(max(w, self._w - AHEAD_RADPS), self._w + AHEAD_RADPS))

    def _ask(self, v: float, w: float) -> tuple[float, float]:
        """The speeds, rad/s, at which the left and the right wheel give this twist."""
        self._asked = v, w
        across = 0.5 * w * self.robot.wheel_separation_m
        radius = self.robot.wheel_radius_m
        return (v - across) / radius, (v + across) / radius
