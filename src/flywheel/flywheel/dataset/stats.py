"""Statistics of float features: mean, std, min, max, q01, q99, over all rows of a data set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = ('mean', 'std', 'min', 'max', 'q01', 'q99')
# Statistics of quantiles that LeRobot v3.0 keeps besides.
QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}


def of(values: NDArray[Any]) -> dict[str, list[float]]:
    """values (n,) or (n, d) -> each statistic as a list of d numbers.

    std is of the population, quantiles are linear between ranks (numpy's default).
    """
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    found = {'mean': rows.mean(axis=0), 'std': rows.std(axis=0), 'min': rows.min(axis=0),
             'max': rows.max(axis=0), 'q01': np.quantile(rows, 0.01, axis=0),
             'q99': np.quantile(rows, 0.99, axis=0)}
    return {name: [float(value) for value in found[name]] for name in NAMES}


def of_v3(values: NDArray[Any]) -> dict[str, list[float] | list[int]]:
    """As `of`, with the quantiles and the count that LeRobot v3.0 has for each feature."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    found: dict[str, list[float] | list[int]] = dict(of(values))
    for name, share in QUANTILES.items():
        found[name] = [float(value) for value in np.quantile(rows, share, axis=0)]
    found['count'] = [len(rows)]
    return found


def histogram(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """pictures (n, H, W, 3) -> how often each value is in each channel, (3, 256)."""
    return np.stack([np.bincount(pictures[..., channel].reshape(-1), minlength=256)
                     for channel in range(3)]).astype(np.int64)


def of_histogram(counts: NDArray[np.int64], pictures: int) -> dict[str, Any]:
    """counts (3, 256) -> exact statistics a channel, of values from 0 to 1, shaped (3, 1, 1)."""
    found: dict[str, Any] = {name: [] for name in dict.fromkeys((*NAMES, *QUANTILES))}
    values = np.arange(256) / 255.0
    for channel in counts:
        total = channel.sum()
        mean = float(channel @ values / total)
        up_to, seen = np.cumsum(channel) / total, np.flatnonzero(channel)
        one = {'mean': mean, 'std': float(np.sqrt(channel @ (values - mean) ** 2 / total)),
               'min': float(values[seen[0]]), 'max': float(values[seen[-1]])}
        one |= {name: float(values[np.searchsorted(up_to, share)])
                for name, share in QUANTILES.items()}
        for name, value in one.items():
            found[name].append([[value]])
    found['count'] = [pictures]
    return found
