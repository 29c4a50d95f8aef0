"""Whether the reflex's memory stays flat: its resident size near the start and at the end."""

import time

import psutil

_MB = 1e6


class Memory:
    """Begins to count once the process is warm: make it after the first scans."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._began_s = time.monotonic()
        self._first_mb = self._resident_mb()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_s

    def figures(self) -> dict[str, float]:
        """{first, last} in MB and the seconds between them."""
        return {'first': self._first_mb, 'last': self._resident_mb(),
                'seconds': round(self.seconds)}

    def _resident_mb(self) -> float:
        return round(self._process.memory_info().rss / _MB, 1)
