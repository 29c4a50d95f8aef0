"""What must not reach the disk: the plug-in interface, and how one is found."""

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points

GROUP = 'spinal_redaction'
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'


class RedactionError(ValueError):
    """A plug-in cannot be loaded; the message says which, and why."""


class Redactor:
    """Base of a plug-in. Built once with its options (strings); called on the writer's thread.

    name, version, hides: for the manifest (at most 128 characters each).
    An option that it cannot use: raise ValueError with one clear sentence.
    """

    name = ''
    version = ''
    hides = ''

    def __init__(self, options: Mapping[str, str]) -> None:
        if options:
            raise ValueError(f'unknown option {sorted(options)[0]!r}')

    def covers(self, topic: str, type_name: str) -> bool:
        """Whether messages of this topic must pass through `redact`. By default: all pictures."""
        return type_name in (IMAGE, COMPRESSED)

    def redact(self, topic: str, type_name: str, data: bytes) -> bytes | None:
        """The message (CDR) as it may be stored, or None to leave it out."""
        raise NotImplementedError


def load(plugin: str, options: Mapping[str, str]) -> Redactor:
    """By its name in the entry point group, or as `module:Class`. Raises RedactionError."""
    try:
        if ':' in plugin:
            module, _, name = plugin.partition(':')
            kind = getattr(importlib.import_module(module), name)
        else:
            found = entry_points(group=GROUP, name=plugin)
            if not found:
                raise ValueError(f'no entry point of the group {GROUP} has this name')
            kind = next(iter(found)).load()
        if not (isinstance(kind, type) and issubclass(kind, Redactor)):
            raise ValueError('it is no class derived from Redactor')
        made = kind(options)
        for key in ('name', 'version', 'hides'):
            value = getattr(made, key)
            if not isinstance(value, str) or not 0 < len(value) <= 128:
                raise ValueError(f'its {key} must be a text of 1 to 128 characters')
    except Exception as error:   # a plug-in's import and constructor may fail in any way
        raise RedactionError(f'parameter redaction: {plugin!r} cannot be loaded: '
                             f'{type(error).__name__}: {error}') from None
    return made
