"""Messages of finished bags, in the order of their log time, decoded by what the bag itself holds.

Nothing of ROS has to be installed: the definitions are the bag's. Only topics that are asked for
are decoded.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Schema

from edge_case_recorder.chunks import in_log_order
from edge_case_recorder.sealing import sealed_sentence

_NO_BAGS = ('.partial', '.broken', '.evicted')


class BagError(ValueError):
    """A bag cannot be read; the message says which, and why."""


@dataclass(frozen=True)
class Heard:
    """A message. content: decoded, None where that was not asked for or failed."""

    log_ns: int
    topic: str
    type: str
    definition: str
    content: Any


def bags_under(path: Path) -> list[Path]:
    """A .mcap file, a bag's folder, or a folder of bags: the bags.

    Raises BagError, also for a sealed one: what cannot be read is not left out in silence.
    """
    folders = sorted(path.iterdir()) if path.is_dir() else []
    for each in (path, *(folder for folder in folders if folder.is_dir()
                         and folder.suffix not in _NO_BAGS)):
        if sealed := sealed_sentence(each):
            raise BagError(sealed)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BagError(f'{path}: there is no such file or folder')
    if _files(path):
        return [path]
    found = [folder for folder in folders
             if folder.is_dir() and folder.suffix not in _NO_BAGS and _files(folder)]
    if not found:
        raise BagError(f'{path}: holds no .mcap file')
    return found


@dataclass
class Bag:
    """One bag: a .mcap file, or a folder with one or more. undecodable: messages, by topic."""

    path: Path
    undecodable: Counter[str] = field(default_factory=Counter)

    def messages(self, decoded: Collection[str]) -> Iterator[Heard]:
        """Every message in the order of log time; `decoded` are the topics to decode.

        Raises BagError.
        """
        decoder = _Decoder()
        merged = heapq.merge(*(self._read(file) for file in _files(self.path)),
                             key=lambda item: item[2].log_time)
        for schema, channel, message in merged:
            content = None
            if channel.topic in decoded:
                content = decoder.decode(schema, message.data)
                if content is None:
                    self.undecodable[channel.topic] += 1
            yield Heard(message.log_time, channel.topic, schema.name,
                        schema.data.decode(errors='replace'), content)

    def _read(self, file: Path) -> Iterator[tuple[Schema, Channel, Message]]:
        try:
            with open(file, 'rb') as stream:
                for schema, channel, message in in_log_order(stream):
                    if channel.message_encoding == 'cdr':
                        yield schema, channel, message
        except Exception as error:   # of the reader, and of each decompressor that it knows
            why = ' '.join(str(error).split())[:200] or type(error).__name__
            raise BagError(f'{file}: is not a finished MCAP file: {why}') from None


class _Decoder:
    """CDR to objects with the fields as attributes, by the definitions that come along."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_typestore
        self._store = get_typestore(Stores.EMPTY)
        self._unknown: set[str] = set()

    def decode(self, schema: Schema, data: bytes) -> Any:
        """None where the definition or the bytes are none."""
        if schema.name not in self._store.fielddefs and not self._learn(schema):
            return None
        try:
            return self._store.deserialize_cdr(data, schema.name)
        except Exception:   # rosbags' generated readers fail in any way on bytes that are none
            return None

    def _learn(self, schema: Schema) -> bool:
        from rosbags.typesys import get_types_from_msg
        if schema.name in self._unknown:
            return False
        try:
            found = get_types_from_msg(schema.data.decode(), schema.name)
            self._store.register({name: fields for name, fields in found.items()
                                  if name not in self._store.fielddefs})
        except Exception:   # its parser's own kinds, and those of its parts
            self._unknown.add(schema.name)
            return False
        return True


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob('*.mcap'))
