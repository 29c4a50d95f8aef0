"""Message definitions as MCAP stores them (`ros2msg`), and type hashes, from the installed shares.

`share/<package>/msg/<Type>.json` (REP-2011's type description) names every type that a message is
made of and its RIHS01 hash; the text is the `.msg` file beside it.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TYPE = re.compile(r'([a-zA-Z][a-zA-Z0-9_]*)/msg/([a-zA-Z][a-zA-Z0-9_]*)')
_SEPARATOR = '=' * 80
_MAX_BYTES = 4_000_000


class DefinitionError(LookupError):
    """A type's definition is not installed here; the message says which file was looked for."""


@dataclass(frozen=True)
class Definition:
    """text: the .msg, then each dependency after a line of 80 '=' and `MSG: package/Type`."""

    type: str
    text: str
    type_hash: str


def find_definition(type_name: str, prefixes: Sequence[str] | None = None) -> Definition:
    """The definition of `package/msg/Type`; prefixes default to AMENT_PREFIX_PATH.

    Raises DefinitionError.
    """
    if prefixes is None:
        prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return _find(type_name, tuple(prefix for prefix in prefixes if prefix))


@cache
def _find(type_name: str, prefixes: tuple[str, ...]) -> Definition:
    try:
        description = json.loads(_read(type_name, '.json', prefixes))
        referenced = [entry['type_name'] for entry in
                      description['type_description_msg']['referenced_type_descriptions']]
        hashes = {entry['type_name']: entry['hash_string'] for entry in description['type_hashes']}
        type_hash = hashes[type_name]
    except (ValueError, KeyError, TypeError) as error:
        raise DefinitionError(f'{type_name}: its type description is not one: {error}') from None
    parts = [_read(type_name, '.msg', prefixes)]
    for name in referenced:
        package, short = _split(name)
        parts.append(f'{_SEPARATOR}\nMSG: {package}/{short}\n{_read(name, ".msg", prefixes)}')
    return Definition(type_name, '\n'.join(parts), type_hash)


def _read(type_name: str, suffix: str, prefixes: tuple[str, ...]) -> str:
    package, short = _split(type_name)
    for prefix in prefixes:
        path = Path(prefix) / 'share' / package / 'msg' / f'{short}{suffix}'
        if path.is_file():
            if path.stat().st_size > _MAX_BYTES:
                raise DefinitionError(f'{type_name}: {path} is larger than {_MAX_BYTES} bytes')
            return path.read_text(encoding='utf-8')
    raise DefinitionError(f'{type_name}: share/{package}/msg/{short}{suffix} is under none of the '
                          f'{len(prefixes)} folders of AMENT_PREFIX_PATH')


def _split(type_name: str) -> tuple[str, str]:
    match = _TYPE.fullmatch(type_name)
    if match is None:
        raise DefinitionError(f'{type_name!r} is not a message type (package/msg/Type)')
    return match[1], match[2]
