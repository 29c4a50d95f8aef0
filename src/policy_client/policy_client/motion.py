"""From rows to motion: a smooth curve through a chunk, and the seam from one chunk to the next.

A chunk is the uniform cubic B-spline of its rows (de Boor, 'A Practical Guide to Splines'): its
acceleration has no steps, it never leaves what the four nearest rows span, and a row that jitters
by d moves it by at most 2/3 d. It begins at the first row and comes to rest at the last one, one
period after it was due.

At a seam the output goes on where it is, with the velocity and acceleration that it has, and what
separates it from the new chunk fades away along a quintic, per column over the shortest time in
which chunk and fading together stay within the limits:

    output(t) = chunk(t) + seam(t),   seam(0), seam'(0), seam''(0) = the gap,   seam(T) = 0
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# A seam is never longer, whatever the limits: the last guard is the clamp on the output's rate.
_LONGEST_S = 2.0
_CANDIDATES = 16
# What a seam may use of a limit that the chunk itself has used up.
_LEAST_SHARE = 0.1


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
            np.array((v ** 3, 4 - 6 * u * u + 3 * u ** 3,
                      4 - 6 * v * v + 3 * v ** 3, u ** 3)) @ p / 6,
            np.array((v * v, 1 + 2 * u * v, u * u)) @ c / 2,
            v * b[0] + u * b[1])

    def derivatives(self, times_s: Array) -> tuple[Array, Array]:
        """The first and second derivatives at times (N,), each (N, D)."""
        position = np.clip(times_s / self._period, 0.0, self._segments)
        low = np.minimum(position.astype(int), self._segments - 1)
        u = (position - low)[:, None]
        v = 1.0 - u
        c, b = self._rates, self._rates2
        return ((v * v * c[low] + (1 + 2 * u * v) * c[low + 1] + u * u * c[low + 2]) / 2,
                v * b[low] + u * b[low + 1])


# Quintic Hermite terms of a start value, rate and second rate, and their derivatives: coefficients
# of s^0..s^5 for s = t / T from 0 to 1 (value and two derivatives are zero at s = 1).
_TERMS = np.array([[1, 0, 0, -10, 15, -6], [0, 1, 0, -6, 8, -3], [0, 0, .5, -1.5, 1.5, -.5]])


def _derived(terms: Array) -> Array:
    return np.column_stack((terms[:, 1:] * np.arange(1, 6), np.zeros(3)))


_TERMS1 = _derived(_TERMS)
_TERMS2 = _derived(_TERMS1)
_TERMS3 = _derived(_TERMS2)
_SHARES = np.linspace(0.0, 1.0, 13)
_POINTS = _SHARES[:, None] ** np.arange(6)
_ON_POINTS = tuple(_POINTS @ terms.T for terms in (_TERMS1, _TERMS2, _TERMS3))  # each (13, 3)


class Seam:
    """What is left of a gap (its state at time 0), `time_s` later; zero after each column's end."""

    def __init__(self, gap: State, durations_s: Array) -> None:
        self._durations = durations_s
        # (6, D): the polynomial of each column in s = t / T.
        scaled = np.stack((gap.value, gap.rate * durations_s, gap.rate2 * durations_s ** 2))
        self.gap = gap
        self.durations_s = durations_s
        self._terms = tuple(terms.T @ scaled for terms in (_TERMS, _TERMS1, _TERMS2))
        self.ends_s = float(durations_s.max())

    def at(self, time_s: float) -> State:
        s = np.minimum(time_s / self._durations, 1.0)
        powers = s ** np.arange(6)[:, None]
        value, rate, rate2 = ((terms * powers).sum(axis=0) for terms in self._terms)
        return State(value, rate / self._durations, rate2 / self._durations ** 2)


def seam(gap: State, limits: Limits, curve: Curve, offset_s: float, shortest_s: float) -> Seam:
    """The shortest seam for a gap, per column, with which the output stays within the limits.

    Args:
        curve, offset_s: the chunk that is led over to, and the time in it at which the seam begins.
        shortest_s: no seam is shorter; a long one also evens out what chunks disagree about.
    """
    candidates = np.geomspace(max(shortest_s, 1e-3), _LONGEST_S, _CANDIDATES)
    lasting = candidates[:, None, None]
    shape = (len(candidates), len(_SHARES), len(gap.value))
    own = [found.reshape(shape)
           for found in curve.derivatives(offset_s + np.outer(candidates, _SHARES).ravel())]
    # By how much the worst point of a candidate is beyond what it may be; 0 where all is within.
    excess = np.zeros((len(candidates), len(gap.value)))
    most = (limits.rate, limits.rate2, limits.rate3)
    for power, (basis, limit) in enumerate(zip(_ON_POINTS, most, strict=True), start=1):
        # d^n/dt^n of (value h0 + rate T h1 + rate2 T^2 h2)(t / T), at each point (J, 13, D).
        found = (gap.value * basis[:, 0, None] + gap.rate * lasting * basis[:, 1, None]
                 + gap.rate2 * lasting ** 2 * basis[:, 2, None]) / lasting ** power
        if power == 3:  # the chunk's own jerk is that of rows that jitter
            _note_excess(excess, np.abs(found), limit)
            continue
        chunk = own[power - 1]
        both = np.abs(chunk + found)
        # Where the chunk itself uses up a limit, a seam may still use a share of it; and it begins
        # with what the output does already: that is no fault of its length.
        allowed = np.maximum(np.maximum(limit, np.abs(chunk) + _LEAST_SHARE * limit), both[:, :1])
        _note_excess(excess, both, allowed)
    return Seam(gap, candidates[excess.argmin(axis=0)])


def _note_excess(excess: Array, found: Array, allowed: Array) -> None:
    """Raise excess (J, D) to the largest share by which found (J, points, D) is beyond allowed."""
    with np.errstate(invalid='ignore'):  # where infinity is allowed
        beyond = np.nan_to_num(found / allowed - 1.0).max(axis=1)
    np.maximum(excess, np.where(beyond > 1e-9, beyond, 0.0), out=excess)
