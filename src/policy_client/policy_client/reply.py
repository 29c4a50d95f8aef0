"""What may become an action: a reply is checked whole, and one bad value refuses all of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.embodiment import ActionKey, Embodiment


class ChunkRejected(Exception):
    """A reply that never reaches the output. `reason` is from the fixed list below.

    missing, dtype, shape, not_finite, over_limit, version: it is not a chunk for this robot;
    foreign, duplicate, epoch, superseded, stale, exhausted: it is not for now.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f'{reason}: {detail}')
        self.reason = reason
        self.detail = detail


# The faults of a server, which count against it; the others are a matter of time.
FAULTS = frozenset({'missing', 'dtype', 'shape', 'not_finite', 'over_limit', 'version'})


def checked(actions: Mapping[str, NDArray[Any]], embodiment: Embodiment, horizon: int,
            tolerance: float) -> NDArray[np.float64]:
    """The rows (H, D) of a chunk, in what is driven (m/s, rad/s, rad, m); raises ChunkRejected.

    D is all columns of all action keys, in the embodiment's order.

    Args:
        actions: each `action.*` float32 (1, H, its columns), in the network's units.
        tolerance: how far beyond a limit a value may lie, as a share of the whole range from
            minimum to maximum, to be clipped instead of refused: a network rounds, a broken one
            does not stop at a few percent.
    """
    return np.concatenate([_rows(actions.get(key.name), key, horizon, tolerance)
                           for key in embodiment.actions], axis=1)


def _rows(array: NDArray[Any] | None, key: ActionKey, horizon: int,
          tolerance: float) -> NDArray[np.float64]:
    if array is None:
        raise ChunkRejected('missing', key.name)
    if array.dtype != np.float32:
        raise ChunkRejected('dtype', f'{key.name} is {array.dtype}, not float32')
    wanted = (1, horizon, len(key.components))
    if array.shape != wanted:
        raise ChunkRejected('shape', f'{key.name} is {array.shape}, not {wanted}')
    parts = key.components
    finite = np.isfinite(array[0])
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ChunkRejected('not_finite', f'{key.name} {parts[column].name} is '
                                          f'{array[0, row, column]} in row {row}')
    rows = (array[0].astype(np.float64) * np.array([part.scale for part in parts])
            + np.array([part.offset for part in parts]))
    low = np.array([part.minimum for part in parts])
    high = np.array([part.maximum for part in parts])
    margin = tolerance * (high - low)
    over = (rows > high + margin) | (rows < low - margin)
    if over.any():
        row, column = np.argwhere(over)[0]
        part = parts[column]
        raise ChunkRejected('over_limit', f'{key.name} {part.name} drives {part.drives} to '
                                          f'{rows[row, column]:g} in row {row}, allowed are '
                                          f'{part.minimum:g} to {part.maximum:g}')
    return np.clip(rows, low, high)
