"""Rates of success, their difference on the same seeds, and what a suite can see at all.

Wilson's interval for a rate (Wilson 1927); Tango's score interval for the difference of paired
rates (Tango, Statistics in Medicine 17, 1998, 891-908), which holds its confidence where nearly all
pairs agree, as in a simulation they do; McNemar's test, exact, by the binomial distribution of the
pairs that differ (McNemar 1947).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Of n pairs: both succeed, only the candidate, only the base, neither."""

    both: int
    candidate_only: int
    base_only: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.candidate_only + self.base_only + self.neither

    @property
    def candidate_rate(self) -> float:
        return (self.both + self.candidate_only) / self.n

    @property
    def base_rate(self) -> float:
        return (self.both + self.base_only) / self.n

    @property
    def difference(self) -> float:
        """Candidate minus base."""
        return (self.candidate_only - self.base_only) / self.n


def paired(candidate: list[bool], base: list[bool]) -> Paired:
    """The successes of both, seed by seed. Raises ValueError for lists that do not pair."""
    if len(candidate) != len(base) or not candidate:
        raise ValueError(f'{len(candidate)} episodes of the candidate and {len(base)} of the base '
                         'are not pairs')
    counts = [0, 0, 0, 0]
    for ours, theirs in zip(candidate, base, strict=True):
        counts[(0 if theirs else 1) if ours else (2 if theirs else 3)] += 1
    return Paired(*counts)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Of a rate of successes in n trials."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f'{successes} of {n} is no rate')
    z = _z(confidence)
    rate = successes / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 and 1 the formula gives the bound itself, but for the last digit.
    return Interval(0.0 if successes == 0 else middle - half,
                    1.0 if successes == n else middle + half)


def difference(pairs: Paired, confidence: float = 0.95) -> Interval:
    """Of the candidate's rate minus the base's: the differences d with  |T(d)| <= z,

        T(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d)))

    with b, c the pairs in which only the candidate, only the base succeeds, and q the most likely
    share of the latter under d: the larger root of  2n q^2 + (-b - c + (2n - b + c) d) q
    - c d (1 - d) = 0.
    """
    z, middle = _z(confidence), pairs.difference
    return Interval(_edge(pairs, z, -1.0, middle), _edge(pairs, z, 1.0, middle))


def _edge(pairs: Paired, z: float, outside: float, inside: float) -> float:
    """Where |T| reaches z between a difference beyond it and one within, by bisection."""
    if abs(_score(pairs, outside)) <= z:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        if abs(_score(pairs, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(pairs: Paired, d: float) -> float:
    n, b, c = pairs.n, pairs.candidate_only, pairs.base_only
    wrong = b - c - n * d
    linear = -b - c + (2 * n - b + c) * d
    q = (math.sqrt(max(0.0, linear * linear + 8 * n * c * d * (1 - d))) - linear) / (4 * n)
    spread = n * (2 * q + d * (1 - d))
    if spread <= 0.0:
        return 0.0 if wrong == 0.0 else math.copysign(math.inf, wrong)
    return wrong / math.sqrt(spread)


def mcnemar(pairs: Paired) -> float:
    """Two-sided: how likely so uneven a split of the differing pairs is, if both are as good."""
    n, k = (pairs.candidate_only + pairs.base_only,
            min(pairs.candidate_only, pairs.base_only))
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n
    return min(1.0, 2 * tail)


def smallest_effect(n: int, differing: float, confidence: float = 0.95,
                    power: float = 0.8) -> float:
    """The difference of rates that n pairs show with this power, of which a share differs.

    The root d of  n d^2 = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2  with psi the share of differing
    pairs (Connor, Biometrics 43, 1987), at least d itself; by bisection. 1 where none is shown.
    """
    if n < 1 or not 0.0 < differing <= 1.0:
        raise ValueError(f'{n} pairs of which a share of {differing} differs are no suite')
    za, zb = _z(confidence), _NORMAL.inv_cdf(power)

    def lacking(d: float) -> float:
        psi = max(differing, d)
        needed = za * math.sqrt(psi) + zb * math.sqrt(max(0.0, psi - d * d))
        return needed * needed - n * d * d
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if lacking(middle) > 0.0 else (low, middle)
    return high


def _z(confidence: float) -> float:
    return _NORMAL.inv_cdf((1 + confidence) / 2)
