"""The time of day, although a robot's clock may be wrong or be set while it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_case_recorder.uploading.replies import http_date

# Tokens and certificates stop being believed at about this difference.
BELIEVABLE_S = 300.0


@dataclass
class WallClock:
    """UTC by the bucket's own replies, carried on by the steady clock.

    Only before the first reply is it the machine's. So a machine's clock that is changed (a battery
    that is empty, NTP, a person) neither opens nor closes a window of the schedule.
    """

    steady_s: Callable[[], float] = time.monotonic
    machine_s: Callable[[], float] = time.time
    _offset_s: float | None = None

    @property
    def known(self) -> bool:
        """Whether the bucket has ever told its time."""
        return self._offset_s is not None

    def heard(self, date: str) -> None:
        """A reply's Date header; what is no date is ignored."""
        told_s = http_date(date)
        if told_s is not None:
            self._offset_s = told_s - self.steady_s()

    def utc_s(self) -> float:
        """Seconds since 1970."""
        return self.machine_s() if self._offset_s is None else self.steady_s() + self._offset_s

    def machine_is_off_by_s(self) -> float:
        """How far the machine's clock is ahead of the bucket's; 0 before it has told its time."""
        return self.machine_s() - self.utc_s()
