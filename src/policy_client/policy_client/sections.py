"""A mapping of a YAML file whose missing, mistyped and unknown keys are named in full."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class EmbodimentError(ValueError):
    """The description breaks a rule; the message names the file's key, its value and the rule."""


class Section:
    """Every key has to be asked for before `finish`, which refuses the others."""

    def __init__(self, content: Any, where: str) -> None:
        """where: the full name of this mapping; empty for the file itself."""
        if not isinstance(content, Mapping):
            raise EmbodimentError(f'{where or "the file"}: must be a mapping')
        self._content: Mapping[Any, Any] = content
        self.where = where
        self._read: set[Any] = set()

    def has(self, key: str) -> bool:
        return self._content.get(key) is not None

    def text(self, key: str, choices: Sequence[str] = (), default: str | None = None) -> str:
        if default is not None and not self.has(key):
            return default
        rule = f'must be one of {", ".join(choices)}' if choices else 'must be a text'
        value = str(self._take(key, str, rule))
        if not value or (choices and value not in choices):
            raise EmbodimentError(f'{self.name(key)} = {value!r}: {rule}')
        return value

    def integer(self, key: str) -> int:
        return int(self._take(key, int, 'must be a whole number'))

    def number(self, key: str, default: float | None = None) -> float:
        if default is not None and not self.has(key):
            return default
        return self._finite(key, self._take(key, (int, float), 'must be a number'))

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        rule = f'must be a list of {count} numbers'
        values = self._take(key, list, rule)
        if len(values) != count or any(isinstance(value, bool) or not isinstance(
                value, (int, float)) for value in values):
            raise EmbodimentError(f'{self.name(key)} = {values!r}: {rule}')
        return tuple(self._finite(key, value) for value in values)

    def milliseconds(self, key: str) -> int:
        """A span of 1 ms to a minute, in nanoseconds."""
        value = self.number(key)
        if not 1 <= value <= 60_000:
            raise EmbodimentError(f'{self.name(key)} = {value:g}: must be 1 to 60000 ms')
        return round(value * 1e6)

    def flag(self, key: str) -> bool:
        return bool(self._take(key, bool, 'must be true or false')) if self.has(key) else False

    def section(self, key: str) -> 'Section':
        return Section(self._take(key, Mapping, 'must be a mapping'), self.name(key))

    def optional_section(self, key: str) -> 'Section':
        return self.section(key) if self.has(key) else Section({}, self.name(key))

    def sections(self, key: str, *, required: bool = True) -> list[tuple[str, 'Section']]:
        if not required and not self.has(key):
            return []
        part = self.section(key)
        return [(str(name), part.section(name)) for name in part._content]

    def items(self, key: str) -> list['Section']:
        values = self._take(key, list, 'must be a list')
        if not values:
            raise EmbodimentError(f'{self.name(key)}: must not be empty')
        return [Section(value, f'{self.name(key)}[{i}]') for i, value in enumerate(values)]

    def joints(self, key: str, short: Sequence[str] = ()) -> list[tuple[str, 'Section']]:
        """A list of names, or a mapping of names to more about each.

        Args:
            short: what the values of a list in the place of such a mapping are called.
        """
        content = self._take(key, (list, Mapping), 'must be a list or a mapping of joints')
        names = list(content)
        if not names:
            raise EmbodimentError(f'{self.name(key)}: must not be empty')
        found: list[tuple[str, Section]] = []
        for name in names:
            if not isinstance(name, str) or not name:
                raise EmbodimentError(f'{self.name(key)}: {name!r} is not the name of a joint')
            value = content[name] if isinstance(content, Mapping) else {}
            where = f'{self.name(key)}.{name}'
            if short and isinstance(value, list):
                if len(value) != len(short):
                    raise EmbodimentError(f'{where} = {value!r}: must be [{", ".join(short)}]')
                value = dict(zip(short, value, strict=True))
            found.append((name, Section({} if value is None else value, where)))
        if len(set(names)) != len(names):
            raise EmbodimentError(f'{self.name(key)}: a joint is there twice')
        return found

    def finish(self) -> None:
        unknown = sorted(str(key) for key in set(self._content) - self._read)
        if unknown:
            raise EmbodimentError(f'{self.name(unknown[0])}: is not a key that is known here; '
                                  f'known: {", ".join(sorted(map(str, self._read)))}')

    def name(self, key: str) -> str:
        return f'{self.where}.{key}' if self.where else key

    def _take(self, key: str, kinds: type | tuple[type, ...], rule: str) -> Any:
        self._read.add(key)
        value = self._content.get(key)
        if value is None:
            raise EmbodimentError(f'{self.name(key)} is missing: {rule}')
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise EmbodimentError(f'{self.name(key)} = {value!r}: {rule}')
        return value

    def _finite(self, key: str, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise EmbodimentError(f'{self.name(key)} = {number!r}: must be finite')
        return number
