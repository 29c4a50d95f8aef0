"""What the ROS parameters mean for a Pilot."""

from collections.abc import Iterable

from policy_client.flights import FlightSettings
from policy_client.parameters import Parameters
from policy_client.pilot import PilotSettings
from policy_client.routing import RouterSettings


def pilot_settings(parameters: Parameters, servers: Iterable[str]) -> PilotSettings:
    """servers: the routes of the endpoints, without the fallback on board and the hold."""
    p, routes = parameters, frozenset(servers)
    interval = _ns(p.probe_interval_ms)
    flights = FlightSettings(
        deadline_ns=_ns(p.deadline_ms), model_version=p.model_version,
        # GR00T's own server cannot say all that Triton's model parameters do.
        strict=frozenset(route for route in routes if route.startswith('triton:')),
        pinned=routes, hedge=p.hedge,
        router=RouterSettings(p.failures_to_open, p.probes_to_close, interval, 4 * interval))
    return PilotSettings(
        max_age_ns=_ns(p.max_age_ms), blend_ns=_ns(p.blend_ms),
        goal_tolerance_m=p.goal_tolerance_m, safety_timeout_ns=_ns(p.safety_timeout_ms),
        limit_tolerance=p.limit_tolerance, model_name=p.model_name, flights=flights)


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
