"""Rendered poses on disk: two arrays that are read through a memory map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

POOLED = 56


def pool(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 4x4 pixels, (224, 224, 3) to (56, 56, 3): the network's own first step, done
    before the picture is stored so that training reads a sixteenth."""
    blocks = image.reshape(POOLED, -1, POOLED, image.shape[1] // POOLED, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


@dataclass(frozen=True)
class CameraData:
    """images (N, 56, 56, 3) uint8 and the poses (N, 3) they were taken from, lane frame.

    `session` (N,) numbers the worlds: a world's pictures are all for training or all for tests.
    """

    images: NDArray[np.uint8]
    poses: NDArray[np.float64]
    session: NDArray[np.int32]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """FileNotFoundError where nothing was rendered; ValueError where arrays do not match."""
        arrays = [np.load(folder / f'{name}.npy', mmap_mode='r', allow_pickle=False)
                  for name in ('images', 'poses', 'session')]
        if len({len(array) for array in arrays}) != 1:
            raise ValueError(f'{folder}: arrays of different lengths; delete it and render again')
        return cls(*arrays)

    @classmethod
    def empty(cls) -> Self:
        """No camera at all: the network learns the masked half only."""
        return cls(np.zeros((0, POOLED, POOLED, 3), np.uint8), np.zeros((0, 3)),
                   np.zeros(0, np.int32))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ('images', 'poses', 'session'):
            np.save(folder / f'{name}.npy', getattr(self, name), allow_pickle=False)
