"""Keys of a YAML file, each with an error that names the file, the key and the rule."""

import math
from pathlib import Path
from typing import Any

import yaml

from safety_reflex.shapes import Polygon, area, circle, crosses_itself, grown

MAX_FILE_BYTES = 1_000_000
_MAX_CORNERS = 64
_FARTHEST_M = 100.0

Key = str | int


class ProfileError(ValueError):
    """A robot or fields file cannot be used; the message names the file, the key and the rule."""


class YamlFile:
    """One file, read whole; raises ProfileError for everything that is not as it must be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ProfileError(f'{path}: larger than {MAX_FILE_BYTES} bytes')
            self._content = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            reason = ' '.join(str(error).split())
            raise ProfileError(f'{path}: cannot be read: {reason}') from error
        if not isinstance(self._content, dict):
            raise ProfileError(f'{path}: is not a mapping of keys')

    def error(self, keys: tuple[Key, ...], rule: str) -> ProfileError:
        return ProfileError(f'{self.path}: {".".join(map(str, keys))}: {rule}')

    def has(self, *keys: Key) -> bool:
        try:
            return self.value(*keys) is not None
        except ProfileError:
            return False

    def value(self, *keys: Key) -> Any:
        at = self._content
        for key in keys:
            try:
                at = at[key]
            except (KeyError, TypeError, IndexError):
                raise self.error(keys, 'missing') from None
        return at

    def only(self, *keys: Key, allowed: tuple[str, ...]) -> None:
        """A misspelt key must not silently leave out what it meant."""
        found = self.value(*keys)
        if not isinstance(found, dict):
            raise self.error(keys, 'must be a mapping')
        unknown = sorted(map(str, set(found) - set(allowed)))
        if unknown:
            raise self.error((*keys, unknown[0]), f'is not one of {", ".join(allowed)}')

    def count(self, *keys: Key, most: int) -> int:
        """Length of a list; 0 where the key is missing."""
        if not self.has(*keys):
            return 0
        found = self.value(*keys)
        if not isinstance(found, list) or len(found) > most:
            raise self.error(keys, f'must be a list of at most {most}')
        return len(found)

    def text(self, *keys: Key) -> str:
        found = self.value(*keys)
        if not isinstance(found, str) or not 0 < len(found) <= 128:
            raise self.error(keys, 'must be a word of at most 128 letters')
        return found

    def number(self, *keys: Key, low: float, high: float, default: float | None = None) -> float:
        if default is not None and not self.has(*keys):
            return default
        found = self.value(*keys)
        if isinstance(found, bool) or not isinstance(found, int | float) \
                or not low <= found <= high:
            raise ProfileError(f'{self.path}: {".".join(map(str, keys))} = {found!r}: '
                               f'must be a number from {low} to {high}')
        return float(found)

    def numbers(self, *keys: Key, length: int | None = None,
                most: int = 64) -> tuple[float, ...]:
        found = self.value(*keys)
        if not isinstance(found, list) or len(found) > most or (
                length is not None and len(found) != length):
            raise self.error(keys, f'must be a list of {length or f"at most {most}"} numbers')
        return tuple(self.number(*keys, index, low=-1e6, high=1e6) for index in range(len(found)))

    def band(self, *keys: Key) -> tuple[float, float]:
        """A range [low, high]; everything where the key is missing."""
        if not self.has(*keys):
            return -math.inf, math.inf
        low, high = self.numbers(*keys, length=2)
        if low > high:
            raise self.error(keys, f'{low} is above {high}')
        return low, high

    def corners(self, *keys: Key) -> Polygon:
        """A polygon of 3 to 64 corners, counter-clockwise, that does not cross itself."""
        number = self.count(*keys, most=_MAX_CORNERS)
        points = tuple(self._point(*keys, index) for index in range(number))
        if number < 3 or crosses_itself(points) or abs(area(points)) < 1e-4:
            raise self.error(keys, f'must be a polygon of 3 to {_MAX_CORNERS} corners with an '
                                   'area, whose sides do not cross')
        return points if area(points) > 0 else points[::-1]

    def shape(self, footprint: Polygon, *keys: Key) -> Polygon:
        """`{polygon: ..}`, `{circle: {radius_m, centre}}` or `{footprint: {front_m, ..}}`."""
        kinds = ('polygon', 'circle', 'footprint')
        self.only(*keys, allowed=kinds)
        kind = [name for name in kinds if self.has(*keys, name)]
        if len(kind) != 1:
            raise self.error(keys, f'must have one of {", ".join(kinds)}')
        at = (*keys, kind[0])
        if kind[0] == 'polygon':
            return self.corners(*at)
        if kind[0] == 'circle':
            self.only(*at, allowed=('radius_m', 'centre'))
            centre = self._point(*at, 'centre') if self.has(*at, 'centre') else (0.0, 0.0)
            return circle(self.number(*at, 'radius_m', low=0.01, high=_FARTHEST_M), centre)
        self.only(*at, allowed=('front_m', 'side_m', 'rear_m'))
        front, side, rear = (self.number(*at, key, low=0.0, high=_FARTHEST_M)
                             for key in ('front_m', 'side_m', 'rear_m'))
        return grown(footprint, front, side, rear)

    def _point(self, *keys: Key) -> tuple[float, float]:
        x, y = self.numbers(*keys, length=2)
        if not (abs(x) <= _FARTHEST_M and abs(y) <= _FARTHEST_M):
            raise self.error(keys, f'is farther than {_FARTHEST_M} m')
        return x, y
