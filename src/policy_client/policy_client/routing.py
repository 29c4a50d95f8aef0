"""Which policy leads: an ordered list, health from real requests, a breaker with hysteresis.

Each route is CLOSED (may lead) or OPEN (is probed in the background). A route starts OPEN: it must
prove itself first. Failures in a row open it, and so do many among the latest; good probes in a row
close it again. So a server that answers now and then does not lead now and then.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

HOLD = 'hold'  # the route that only holds: no reason to give up another for it
_LATEST = 10
_MANY = 4  # bad ones among the latest, where failures_to_open is not more
# With only a hold behind it a bad route is still the best there is: so much more patience.
_ALONE = 5


@dataclass(frozen=True)
class RouterSettings:
    failures_to_open: int = 2
    probes_to_close: int = 3
    probe_interval_ns: int = 250_000_000
    # A route that stays bad is asked less often, up to this.
    longest_probe_interval_ns: int = 2_000_000_000

    def __post_init__(self) -> None:
        if self.failures_to_open < 1 or self.probes_to_close < 1:
            raise ValueError('failures_to_open and probes_to_close must be at least 1')
        if not 0 < self.probe_interval_ns <= self.longest_probe_interval_ns:
            raise ValueError('probe_interval_ns must be positive and at most the longest interval')


@dataclass
class _Route:
    name: str
    closed: bool = False
    failures: int = 0        # in a row, while closed
    latest: deque[bool] = field(default_factory=lambda: deque(maxlen=_LATEST))  # bad ones, likewise
    good_probes: int = 0     # in a row, while open
    next_probe_ns: int = 0
    interval_ns: int = 0
    probing: bool = False
    error: str = ''


class Router:
    """Routes in order of preference, best first. Not thread-safe."""

    def __init__(self, names: Sequence[str], settings: RouterSettings) -> None:
        if not names or len(set(names)) != len(names):
            raise ValueError(f'routes need distinct names and at least one, not {list(names)}')
        self._settings = settings
        self._routes = {name: _Route(name, interval_ns=settings.probe_interval_ns)
                        for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._routes)

    def lead(self) -> str | None:
        """The best route that may lead; None when all are open."""
        return next((route.name for route in self._routes.values() if route.closed), None)

    def after(self, name: str) -> str | None:
        """The next best closed route behind one that just failed."""
        names = list(self._routes)
        behind = names[names.index(name) + 1:]
        return next((other for other in behind if self._routes[other].closed), None)

    def is_closed(self, name: str) -> bool:
        return self._routes[name].closed

    def error(self, name: str) -> str:
        """The last failure of a route; empty when its last reply was good."""
        return self._routes[name].error

    def due(self, now_ns: int) -> list[str]:
        """Open routes to probe now; each is then busy until its outcome is told."""
        names = [route.name for route in self._routes.values()
                 if not route.closed and not route.probing and now_ns >= route.next_probe_ns]
        for name in names:
            self._routes[name].probing = True
        return names

    def succeeded(self, name: str, now_ns: int, *, probe: bool = False) -> None:
        """A good reply. Only probes close a route: a late lead's reply is no proof."""
        route = self._routes[name]
        route.error = ''
        if route.closed:
            route.failures = 0
            route.latest.append(False)
        if not probe:
            return
        route.probing = False
        if route.closed:
            return
        route.good_probes += 1
        route.interval_ns = self._settings.probe_interval_ns
        route.next_probe_ns = now_ns + route.interval_ns
        if route.good_probes >= self._settings.probes_to_close:
            route.closed, route.failures, route.good_probes = True, 0, 0
            route.latest.clear()

    def unproved(self, name: str) -> None:
        """A probe that says nothing of the route as it is now: it may be probed again."""
        self._routes[name].probing = False

    def failed(self, name: str, now_ns: int, error: str, *, probe: bool = False,
               final: bool = False) -> None:
        """A bad, late or missing reply. final opens at once: a refusal will not go by itself."""
        route = self._routes[name]
        route.error = error
        route.good_probes = 0
        if probe:
            route.probing = False
        if route.closed:
            route.failures += 1
            route.latest.append(True)
            alone = self.after(name) in (None, HOLD)
            enough = self._settings.failures_to_open * (_ALONE if alone else 1)
            if final or route.failures >= enough or sum(route.latest) >= max(enough, _MANY):
                route.closed = False
                route.interval_ns = self._settings.probe_interval_ns
                route.next_probe_ns = now_ns + route.interval_ns
        elif probe:
            route.next_probe_ns = now_ns + route.interval_ns
            route.interval_ns = min(2 * route.interval_ns,
                                    self._settings.longest_probe_interval_ns)
