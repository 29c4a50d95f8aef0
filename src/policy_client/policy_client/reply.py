"""What may become an action: a reply is checked whole, and one bad value refuses all of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.embodiment import ActionKey


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


def checked(actions: Mapping[str, NDArray[Any]], key: ActionKey, horizon: int,
            tolerance: float) -> NDArray[np.float64]:
    """The rows (H, D) of a chunk in physical units; raises ChunkRejected.

    Args:
        tolerance: how far beyond a limit a value may lie, as a share of it, to be clipped instead
            of refused: a network rounds, a broken one does not stop at five percent.
    """
    array = actions.get(key.name)
    if array is None:
        raise ChunkRejected('missing', key.name)
    if array.dtype != np.float32:
        raise ChunkRejected('dtype', f'{key.name} is {array.dtype}, not float32')
    wanted = (1, horizon, len(key.components))
    if array.shape != wanted:
        raise ChunkRejected('shape', f'{key.name} is {array.shape}, not {wanted}')
    rows = array[0].astype(np.float64)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ChunkRejected('not_finite', f'{key.name} {key.components[column].name} is '
                                          f'{rows[row, column]} in row {row}')
    low = np.array([part.minimum for part in key.components])
    high = np.array([part.maximum for part in key.components])
    over = (rows > high * (1 + tolerance)) | (rows < low * (1 + tolerance))
    if over.any():
        row, column = np.argwhere(over)[0]
        part = key.components[column]
        raise ChunkRejected('over_limit', f'{key.name} {part.name} is {rows[row, column]:g} '
                                          f'{part.unit} in row {row}, allowed are '
                                          f'{part.minimum:g} to {part.maximum:g}')
    return np.clip(rows, low, high)
