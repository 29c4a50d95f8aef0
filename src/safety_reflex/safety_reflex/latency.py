"""A latency histogram of constant size: what the reflex says about its own speed."""

import math

_PER_OCTAVE = 8


class LatencyHistogram:
    """Counts by logarithmic bins from 1 us, an eighth of an octave wide (at most 9 % wide)."""

    def __init__(self, deadline_us: float) -> None:
        self._counts = [0] * (_PER_OCTAVE * 24)
        self._deadline_us = deadline_us
        self.count = 0
        self.missed = 0
        self.last_us = 0.0
        self.max_us = 0.0

    def add(self, microseconds: float) -> None:
        place = int(_PER_OCTAVE * math.log2(max(microseconds, 1.0)))
        self._counts[min(place, len(self._counts) - 1)] += 1
        self.count += 1
        self.missed += microseconds > self._deadline_us
        self.last_us = microseconds
        self.max_us = max(self.max_us, microseconds)

    def percentile_us(self, share: float) -> float:
        """The upper edge of the bin that holds this share of the values; 0 without values."""
        wanted, seen = share * self.count, 0
        for place, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(2 ** ((place + 1) / _PER_OCTAVE), self.max_us)
        return 0.0

    def octaves(self) -> str:
        """The histogram for people and plots: `64:120,128:3` is 120 below 64 us, 3 below 128."""
        counts = [sum(self._counts[i:i + _PER_OCTAVE])
                  for i in range(0, len(self._counts), _PER_OCTAVE)]
        return ','.join(f'{2 ** (octave + 1)}:{count}' for octave, count in enumerate(counts)
                        if count)
