"""What the seams' benchmark feeds to every client alike: chunks of actions, and when they arrive.

A trace is a plan of six joints that a policy without delay and error would follow, and the chunks
that it sends instead: the plan's own future as it is known at the observation, with an error that
is drawn for each chunk. The robot does not answer back, so every client gets the same chunks.

    smooth       slow waves; each chunk is off by a little, the more the farther ahead it looks
    two_plans    the policy cannot decide between two ways that part and meet again
    new_target   the target jumps; chunks observed before the jump know nothing of it

The server computes one request at a time, as GR00T's and LeRobot's do: the next observation is
taken at the next row after the reply, at the earliest `every` rows after the last one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
JOINTS = 6
ROW_S = 1 / 30
HORIZON = 50              # LeRobot's actions_per_chunk
_BIAS_RAD = 0.008         # of a chunk's first row
_DRIFT_RAD = 0.04         # what it grows to at the horizon
_KEPT = 0.8               # share of one chunk's bias and drift that the next one has too
_NOISE_RAD = 0.0005       # of each row
_PARTED_RAD = 0.25        # between the two ways, at most
_CHANGED_MIND = 0.15      # share of the chunks that take the other way
_MOVE_S = 1.0             # to a new target


@dataclass(frozen=True, eq=False)
class Delivery:
    """One chunk: rows (HORIZON, JOINTS) in rad; row k is for k rows after the observation."""
    observed_row: int
    arrives_s: float
    rows: Array


@dataclass(frozen=True, eq=False)
class Trace:
    """ideal: the plan of a policy without delay and error, (times, JOINTS) in rad at times in s."""
    name: str
    delay: str
    every: int
    seconds: float
    deliveries: tuple[Delivery, ...]
    ideal: Callable[[Array], Array]


def constant(random: np.random.Generator) -> float:
    return 0.1


def jittery(random: np.random.Generator) -> float:
    """0.1 s in the median, 0.23 s in one of a hundred."""
    return float(np.clip(0.1 * np.exp(0.35 * random.standard_normal()), 0.04, 0.4))


def six_times(random: np.random.Generator) -> float:
    """Jitter, and one reply in thirty takes six times as long."""
    return jittery(random) * (6.0 if random.random() < 1 / 30 else 1.0)


DELAYS = {'constant': constant, 'jittery': jittery, 'six_times': six_times}


def schedule(delay: str, every: int, seconds: float,
             random: np.random.Generator) -> list[tuple[int, float]]:
    """(row of the observation, arrival in s) of each request; the first is answered at once."""
    found = [(0, 0.0)]
    row, last = every, round(seconds / ROW_S)
    while row < last:
        arrives = row * ROW_S + DELAYS[delay](random)
        found.append((row, arrives))
        row = max(row + every, int(np.ceil(arrives / ROW_S)))
    return found


def make(name: str, delay: str, every: int, seconds: float, seed: int) -> Trace:
    """A trace; the same arguments give the same trace."""
    random = np.random.default_rng([seed, every, *name.encode(), *delay.encode()])
    requests = schedule(delay, every, seconds, random)
    known, ideal = _PLANS[name](requests, seconds, random)
    ahead = np.arange(HORIZON, dtype=np.float64) * ROW_S
    bias, drift = np.zeros(JOINTS), np.zeros(JOINTS)
    deliveries = []
    for number, (row, arrives) in enumerate(requests):
        fresh = np.sqrt(1 - _KEPT ** 2)
        bias = _KEPT * bias + fresh * _BIAS_RAD * random.standard_normal(JOINTS)
        drift = _KEPT * drift + fresh * _DRIFT_RAD * random.standard_normal(JOINTS)
        error = bias + drift * (ahead / ahead[-1])[:, None] ** 1.5
        error += _NOISE_RAD * random.standard_normal((HORIZON, JOINTS))
        deliveries.append(Delivery(row, arrives, known(number, row * ROW_S + ahead) + error))
    return Trace(name, delay, every, seconds, tuple(deliveries), ideal)


# Each plan: (requests, seconds, random) -> what request number n knows of given times, the ideal.
_Known = Callable[[int, Array], Array]
_Ideal = Callable[[Array], Array]
_Requests = list[tuple[int, float]]


def _waves(random: np.random.Generator) -> _Ideal:
    """Sums of slow sines, at rest at time 0: up to about 1 rad/s and 4 rad/s^2 a joint."""
    hertz = random.uniform(0.05, 0.5, (3, JOINTS))
    phase = random.uniform(0, 2 * np.pi, (3, JOINTS))
    size = random.uniform(0.2, 0.5, (3, JOINTS)) / (1 + 4 * hertz)

    def at(times: Array) -> Array:
        angle = 2 * np.pi * times[:, None, None] * hertz + phase
        ramp = np.clip(times, 0, 1)[:, None]
        return np.asarray((size * np.sin(angle)).sum(axis=1) * ramp ** 3 * (
            10 - 15 * ramp + 6 * ramp ** 2))
    return at


def _smooth(requests: _Requests, seconds: float,
            random: np.random.Generator) -> tuple[_Known, _Ideal]:
    waves = _waves(random)
    return lambda number, times: waves(times), waves


def _two_plans(requests: _Requests, seconds: float,
               random: np.random.Generator) -> tuple[_Known, _Ideal]:
    waves = _waves(random)
    apart = _PARTED_RAD / 2 * random.uniform(0.4, 1.0, JOINTS) * random.choice([-1, 1], JOINTS)
    flips = random.random(len(requests)) < _CHANGED_MIND
    way = np.where(np.cumsum(flips) % 2 == 0, 1.0, -1.0)
    observed = np.array([row * ROW_S for row, _ in requests])

    def gap(times: Array) -> Array:
        return np.asarray(np.sin(np.pi * times / 4) ** 2)[:, None] * apart

    def ideal(times: Array) -> Array:
        newest = np.searchsorted(observed, times + 1e-9, side='right') - 1
        return waves(times) + way[newest][:, None] * gap(times)
    return lambda number, times: waves(times) + way[number] * gap(times), ideal


def _new_target(requests: _Requests, seconds: float,
                random: np.random.Generator) -> tuple[_Known, _Ideal]:
    jumps = np.cumsum(random.uniform(1.2, 3.5, int(seconds)))
    targets = random.uniform(-0.3, 0.3, (len(jumps), JOINTS))
    # Each move is a quintic from wherever the one before is, to rest at the target.
    moves = [(0.0, np.zeros((6, JOINTS)))]
    for start, target in zip(jumps, targets, strict=True):
        moves.append((start, _quintic(*_moved(moves[-1], np.array([start])), target)))
    starts = np.array([start for start, _ in moves])

    def known(at_s: float, times: Array) -> Array:
        """What one who looks at a time expects of times that only grow."""
        move = np.searchsorted(starts, np.minimum(times, at_s) + 1e-9, side='right') - 1
        return np.concatenate([_moved(moves[number], times[move == number])[0]
                               for number in np.unique(move)])
    return (lambda number, times: known(requests[number][0] * ROW_S, times),
            lambda times: known(np.inf, times))


def _quintic(value: Array, rate: Array, rate2: Array, target: Array) -> Array:
    """Coefficients (6, D) in s = t / _MOVE_S, from a state, each (1, D), to rest at the target."""
    t = _MOVE_S
    ends = np.stack((value[0], rate[0] * t, rate2[0] * t * t, target))
    return np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, .5, 0], [-10, -6, -1.5, 10],
                     [15, 8, 1.5, -15], [-6, -3, -.5, 6]]) @ ends


def _moved(move: tuple[float, Array], times: Array) -> tuple[Array, Array, Array]:
    """Value, rate and second rate of a move at times (N,), each (N, D)."""
    s = np.clip((times - move[0]) / _MOVE_S, 0.0, 1.0)[:, None]
    power = np.arange(6)
    found = []
    for order in range(3):
        factor = np.prod([power - lower for lower in range(order)], axis=0)
        found.append((factor * s ** np.maximum(power - order, 0)) @ move[1] / _MOVE_S ** order)
    return found[0], found[1], found[2]


_PLANS = {'smooth': _smooth, 'two_plans': _two_plans, 'new_target': _new_target}
NAMES = tuple(_PLANS)
