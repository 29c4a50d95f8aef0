"""Likeness of cases by their features: the nearest ones, and groups of near-duplicates.

The distance of two cases is the root mean square of their differences, each by a stated scale, so
1.0 means 'different by about one scale everywhere'. Plain sums: the same cases give the same
groups, in whatever order they come. Cause is no number: cases of different causes are never
near-duplicates, but may be alike.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import CatalogueError
from .features import Features

# What counts as a difference of one.
_SCALES = {'start_x': 1.0, 'start_y': 1.0, 'speed_mps': 0.2, 'turn_radps': 0.3, 'path_m': 2.0,
           'nearest_m': 0.3, 'people': 1.0, 'duration_s': 5.0}
_YAW_RAD = 0.5
_SKETCH_M = 1.0
NEAR_DUPLICATE = 0.5
_BLOCK = 512


def vectors(features: Sequence[Features]) -> NDArray[np.float64]:
    """(n, d): differences of 1 count as one scale. The sketch counts as much as four numbers."""
    rows = []
    for each in features:
        numbers = [getattr(each, name) / scale for name, scale in _SCALES.items()]
        heading = [np.cos(each.start_yaw) / _YAW_RAD, np.sin(each.start_yaw) / _YAW_RAD]
        look = np.asarray(each.sketch) / _SKETCH_M * np.sqrt(4.0 / max(1, len(each.sketch)))
        rows.append(np.concatenate([numbers, heading, look]))
    return np.stack(rows) if rows else np.zeros((0, 1))


def distances(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,): of one vector (d,) to each of many (n, d)."""
    parts = len(_SCALES) + 2 + 4
    return np.sqrt(((many - one) ** 2).sum(axis=1) / parts)


def nearest(features: Sequence[Features], case_id: str, count: int = 10
            ) -> list[tuple[str, float]]:
    """(case, distance) of the cases most like this one; raises CatalogueError for an unknown."""
    ids = [each.case_id for each in features]
    if case_id not in ids:
        raise CatalogueError(f'{case_id}: has no features; compute them from its bag first')
    rows = vectors(features)
    far = distances(rows[ids.index(case_id)], rows)
    order = sorted((round(float(d), 6), name) for d, name in zip(far, ids, strict=True)
                   if name != case_id)
    return [(name, d) for d, name in order[:count]]


def groups(features: Sequence[Features], within: float = NEAR_DUPLICATE) -> dict[str, str]:
    """Case -> group; a group's name is its first case id.

    Whoever is within that distance of a member is a member, so a chain of near-duplicates is one
    group: for a split by group that errs on the safe side.
    """
    of_cause: dict[str, list[Features]] = defaultdict(list)
    for each in sorted(features, key=lambda each: each.case_id):
        of_cause[each.cause].append(each)
    found: dict[str, str] = {}
    for members in of_cause.values():
        rows, parent = vectors(members), list(range(len(members)))
        for i, j in _pairs(rows, within):
            a, b = sorted((_root(parent, i), _root(parent, j)))
            parent[b] = a
        for i, each in enumerate(members):
            found[each.case_id] = members[_root(parent, i)].case_id
    return found


def _pairs(rows: NDArray[np.float64], within: float) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for i in range(len(rows)):
        for begin in range(i + 1, len(rows), _BLOCK):
            far = distances(rows[i], rows[begin:begin + _BLOCK])
            pairs += [(i, begin + int(j)) for j in np.flatnonzero(far <= within)]
    return pairs


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
