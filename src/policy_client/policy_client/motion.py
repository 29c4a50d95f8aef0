"""From rows to motion: a smooth curve through a chunk, and the seam from one chunk to the next.

A chunk is the uniform cubic B-spline of its rows (de Boor, 'A Practical Guide to Splines'): its
acceleration has no steps, it never leaves what the four nearest rows span, and a row that jitters
by d moves it by at most 2/3 d. It begins at the first row and comes to rest at the last one, one
period after it was due.

At a seam the output goes on where it is, with the velocity and acceleration that it has, and what
separates it from the new chunk fades away along a quintic, per column:

    output(t) = chunk(t) + seam(t),   seam(0), seam'(0), seam''(0) = the gap,   seam(T) = 0

T is as short as the column's limits allow for such a quintic. Where the chunk itself is rougher
than the limits, its own derivatives count instead: a seam need not be smoother than what it leads
to, and a long one would turn the jitter of rows into an excursion.

Only sums and products of single numbers are used (no matrix product, whose order of summation
differs between processors): a replay on another machine gives the same bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# A seam is never longer, whatever the limits: the last guard is the clamp on the output's rate.
_LONGEST_S = 2.0
_TICK_S = 1e-3
# The largest first three derivatives of a quintic from 1 to 0 in one second, at rest at both ends.
_PEAKS = (1.875, 10 / math.sqrt(3.0), 60.0)
# The largest second derivative of one that begins at 0 with the rate 1, and ends at rest.
_RATE_PEAK = 3.94


class State(NamedTuple):
    """A point of a motion, each (D,): value, and its first two derivatives by the second."""
    value: Array
    rate: Array
    rate2: Array

    def __sub__(self, other: 'State') -> 'State':
        return State(self.value - other.value, self.rate - other.rate, self.rate2 - other.rate2)


@dataclass(frozen=True, eq=False)
class Limits:
    """What the driven quantities may do, each (D,), in SI units; rate and rate2 are finite.

    Attributes:
        rate, rate2, rate3: of the first three derivatives. The value of a joint is a position, so
            these are velocity, acceleration and jerk; that of a twist is a velocity already.
        positional: a hold keeps the value; where it is false, a hold is zero.
    """
    minimum: Array
    maximum: Array
    rate: Array
    rate2: Array
    rate3: Array
    positional: NDArray[np.bool_]

    @staticmethod
    def of(columns: Sequence[tuple[float, float, float, float, float, bool]]) -> 'Limits':
        """From (minimum, maximum, rate, rate2, rate3, positional) of each column."""
        minimum, maximum, rate, rate2, rate3, positional = zip(*columns, strict=True)
        return Limits(np.array(minimum, float), np.array(maximum, float), np.array(rate, float),
                      np.array(rate2, float), np.array(rate3, float), np.array(positional, bool))


class Curve:
    """The rows of a chunk (H, D), `period_s` apart, as a motion; at rest beyond the last one."""

    def __init__(self, rows: Array, period_s: float) -> None:
        # A row before the first, so that the curve passes through it, and two behind the last, so
        # that it ends there at rest.
        before = 2 * rows[0] - rows[min(1, len(rows) - 1)]
        self._points = np.vstack((before, rows, rows[-1], rows[-1]))
        self._period = period_s
        self._segments = len(rows)
        # Of a B-spline the derivatives are those of its points: these bound them exactly.
        self._rates = np.diff(self._points, axis=0) / period_s
        self._rates2 = np.diff(self._rates, axis=0) / period_s

    def at(self, time_s: float) -> State:
        """The motion at a time since row 0."""
        position = max(0.0, time_s / self._period)
        low = int(position)
        if low >= self._segments:
            return State(self._points[-1], self._rates[-1], self._rates2[-1])
        u = position - low
        v = 1.0 - u
        p, c, b = self._points[low:low + 4], self._rates[low:low + 3], self._rates2[low:low + 2]
        return State(
            (v * v * v * p[0] + (4 - 6 * u * u + 3 * u * u * u) * p[1]
             + (4 - 6 * v * v + 3 * v * v * v) * p[2] + u * u * u * p[3]) / 6,
            (v * v * c[0] + (1 + 2 * u * v) * c[1] + u * u * c[2]) / 2,
            v * b[0] + u * b[1])

    @cached_property
    def peaks(self) -> tuple[Array, Array, Array]:
        """The largest first three derivatives anywhere in it, each (D,)."""
        rates3 = np.diff(self._rates2, axis=0) / self._period
        return (np.abs(self._rates).max(axis=0), np.abs(self._rates2).max(axis=0),
                np.abs(rates3).max(axis=0))


class Seam:
    """What is left of a gap (its state at time 0), `time_s` later; zero after each column's end."""

    def __init__(self, gap: State, durations_s: Array) -> None:
        self.gap, self.durations_s = gap, durations_s
        self.ends_s = float(durations_s.max())
        # Coefficients of s^0 to s^5 for s = t / T, each (D,).
        g, v, a = gap.value, gap.rate * durations_s, gap.rate2 * (durations_s * durations_s)
        self._c = (g, v, a / 2, -10 * g - 6 * v - 1.5 * a, 15 * g + 8 * v + 1.5 * a,
                   -6 * g - 3 * v - a / 2)

    def at(self, time_s: float) -> State:
        c0, c1, c2, c3, c4, c5 = self._c
        s = np.minimum(time_s / self.durations_s, 1.0)
        value = c0 + s * (c1 + s * (c2 + s * (c3 + s * (c4 + s * c5))))
        rate = c1 + s * (2 * c2 + s * (3 * c3 + s * (4 * c4 + s * 5 * c5)))
        rate2 = 2 * c2 + s * (6 * c3 + s * (12 * c4 + s * 20 * c5))
        return State(value, rate / self.durations_s,
                     rate2 / (self.durations_s * self.durations_s))


def seam(gap: State, limits: Limits, curve: Curve, shortest_s: float) -> Seam:
    """The seam over a gap to a curve, per column as short as it may be.

    Args:
        shortest_s: no seam is shorter; a long one also evens out what chunks disagree about.
    """
    most = [np.maximum(limit, own) for limit, own in zip(
        (limits.rate, limits.rate2, limits.rate3), curve.peaks, strict=True)]
    size = np.abs(gap.value)
    needed = np.maximum.reduce([
        np.full(len(size), shortest_s), _PEAKS[0] * size / most[0],
        np.sqrt(_PEAKS[1] * size / most[1]), np.cbrt(_PEAKS[2] * size / most[2]),
        _RATE_PEAK * np.abs(gap.rate) / most[1]])
    # Whole milliseconds: the last bit of a cubic root is not the same everywhere.
    ticks = np.ceil(np.minimum(needed, _LONGEST_S) / _TICK_S - 1e-6)
    return Seam(gap, np.maximum(ticks, 1.0) * _TICK_S)
