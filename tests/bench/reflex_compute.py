"""What the reflex's own work costs: the same bytes through the same code, without middleware."""

import struct
import time
from pathlib import Path

from priority import at_priority
from reflex_driver import scans_of

from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.reflex import Reflex

_PRIORITY = 80          # as the node's
_SECOND = 1_000_000_000


class Compute:
    """What the node calls for a scan (times, on_scan, decide) on one Reflex, timed together."""

    def __init__(self, robot: Path, fields: Path, beams: int, *, person: bool = True) -> None:
        self._reflex = Reflex(load_profile(robot, fields), ReflexParameters().settings())
        self._scans = scans_of(beams, person=person)

    def measure(self, scans: int, period_s: float = 0.0) -> list[float]:
        """Microseconds of each scan; a period leaves the caches to others in between."""
        reflex, found = self._reflex, []
        with at_priority(_PRIORITY):
            for index in range(scans):
                data = self._scans[index % len(self._scans)]
                # A scan with an old stamp is refused before it is looked at.
                ros_ns = time.time_ns()
                data = data[:4] + struct.pack('<iI', *divmod(ros_ns, _SECOND)) + data[12:]
                begin_ns = time.perf_counter_ns()
                at = reflex.times.read(ros_ns, time.monotonic_ns())
                reflex.on_scan(0, data, at)
                reflex.decide(at)
                found.append((time.perf_counter_ns() - begin_ns) / 1000)
                if period_s:
                    time.sleep(period_s)
        return found
