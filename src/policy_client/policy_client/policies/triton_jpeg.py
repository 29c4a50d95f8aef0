"""Cameras as JPEG on the wire, for a model that says it takes them so.

Such a model has a BYTES input (1, 1) where others have UINT8 (1, 1, height, width, 3), and tells
the size of the picture that it decodes to in its parameters: `jpeg.video.front: "224x224"`, height
x width. Above the policy nothing changes: the handshake, observations and records see the picture.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client import images
from policy_client.handshake import TensorSpec
from policy_client.policies.base import PolicyUnavailable

PARAMETER = 'jpeg.'
_SIZE = re.compile(r'([1-9]\d{0,3})x([1-9]\d{0,3})')


def as_pictures(inputs: Iterable[TensorSpec], parameters: Mapping[str, str],
                quality: int) -> tuple[tuple[TensorSpec, ...], frozenset[str]]:
    """(inputs with pictures in place of JPEG, the names of those).

    Raises PolicyUnavailable naming the camera where quality is 0, which does not allow it, and
    where the parameter is no size.
    """
    specs, names = [], set()
    for spec in inputs:
        size = parameters.get(PARAMETER + spec.name)
        if spec.datatype == 'BYTES' and size is not None:
            match = _SIZE.fullmatch(size)
            if not match:
                raise PolicyUnavailable(f'{spec.name}: the model has the parameter '
                                        f'{PARAMETER}{spec.name} = {size[:40]!r}, which is not '
                                        'HEIGHTxWIDTH')
            if not quality:
                raise PolicyUnavailable(f'{spec.name}: the model takes JPEG only; jpeg_quality=90 '
                                        'in the endpoint allows it')
            spec = TensorSpec(spec.name, 'UINT8', (1, 1, int(match[1]), int(match[2]), 3))
            names.add(spec.name)
        specs.append(spec)
    return tuple(specs), frozenset(names)


def encoded(inputs: Mapping[str, NDArray[Any]], names: Collection[str],
            quality: int) -> dict[str, NDArray[Any]]:
    """The inputs with the named pictures (B, T, H, W, 3) as JPEG (B, T); raises ImageError."""
    return {name: _jpegs(array, quality) if name in names else array
            for name, array in inputs.items()}


def _jpegs(pictures: NDArray[Any], quality: int) -> NDArray[np.object_]:
    if pictures.ndim != 5:
        raise images.ImageError(f'pictures of shape {pictures.shape} are not (B, T, H, W, 3)')
    found = np.empty(pictures.shape[:2], np.object_)
    for index in np.ndindex(*found.shape):
        found[index] = images.to_jpeg(pictures[index], quality)
    return found
