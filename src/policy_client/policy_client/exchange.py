"""`policy/exchange`: one request and its raw reply as bytes, for the recorder and for a replay.

    offset  size  content
    0       4     magic `SPEX`
    4       2     version, little-endian unsigned (2)
    6       4     length N of the header in bytes, little-endian unsigned
    10      N     header, JSON in UTF-8
    10+N    ...   the tensors named in header.tensors, in that order: C order, little-endian
    end-4   4     CRC-32 (zlib) of everything before it, little-endian unsigned

Header: `request_id`, `epoch`, `sequence`, `source`, `model`, `version`, `outcome` (`accepted`, a
rejection's reason, a failure's name, or `ticks` for a record without a request), `detail`,
`sent_ns`, `received_ns`, `observed_ns` (the client's clock), `executed_ns` (action time executed
when the observation was taken), `stamps_ns` (key -> ROS stamp of each part of the observation),
`instruction`, `masked`, `inputs_crc32` (key -> CRC-32 of the tensor's bytes as sent),
`inputs_shape` (key -> its shape), `robot` (name and digest of the embodiment, and what the queue
was set to), `tensors` ([{name, dtype, shape}]).

Tensors: the reply's `action.*` as they came, and of the queue (journal.py) `journal.counts` and
`journal.moments` (its state before), `journal.entries` (all that it was told since the exchange
before), `journal.positions`.

A decoder ignores header fields that it does not know; a changed layout gets a new version.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_origin

import numpy as np
from numpy.typing import NDArray

from policy_client.chunks import Snapshot
from policy_client.embodiment import Embodiment
from policy_client.journal import Record

MAGIC = b'SPEX'
VERSION = 2
MAX_BYTES = 16 * 1024 * 1024
DTYPES = ('uint8', 'int32', 'int64', 'float16', 'float32', 'float64')
_AS_TENSORS = ('actions', 'record')
_JOURNAL = 'journal.'
_PREFIX = struct.Struct('<4sHI')
_CRC = struct.Struct('<I')


class ExchangeError(ValueError):
    """The bytes are not an exchange; the message says what is wrong with them."""


@dataclass(frozen=True)
class Exchange:
    request_id: str
    epoch: int
    sequence: int
    source: str
    model: str
    version: str
    outcome: str
    detail: str
    sent_ns: int
    received_ns: int
    observed_ns: int
    executed_ns: int
    stamps_ns: Mapping[str, int] = field(default_factory=dict)
    instruction: str = ''
    masked: tuple[str, ...] = ()
    inputs_crc32: Mapping[str, int] = field(default_factory=dict)
    inputs_shape: Mapping[str, list[int]] = field(default_factory=dict)
    robot: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None
    actions: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def encode(exchange: Exchange) -> bytes:
    """The bytes of an exchange; raises ExchangeError for a tensor of another type."""
    header: dict[str, Any] = {one.name: getattr(exchange, one.name)
                              for one in fields(Exchange) if one.name not in _AS_TENSORS}
    payload = []
    tensors = []
    for name, array in (dict(exchange.actions) | _record_tensors(exchange.record)).items():
        if array.dtype.name not in DTYPES:
            raise ExchangeError(f'{name}: {array.dtype} is not one of {", ".join(DTYPES)}')
        tensors.append({'name': name, 'dtype': array.dtype.name, 'shape': list(array.shape)})
        payload.append(array.astype(array.dtype.newbyteorder('<'), copy=False).tobytes())
    header['tensors'] = tensors
    text = json.dumps(header, separators=(',', ':')).encode()
    body = b''.join([_PREFIX.pack(MAGIC, VERSION, len(text)), text, *payload])
    if len(body) + _CRC.size > MAX_BYTES:
        raise ExchangeError(f'{len(body)} bytes; at most {MAX_BYTES} are written')
    return body + _CRC.pack(zlib.crc32(body))


def decode(data: bytes) -> Exchange:
    """The exchange in the bytes; raises ExchangeError, whatever the bytes are."""
    if not _PREFIX.size + _CRC.size <= len(data) <= MAX_BYTES:
        raise ExchangeError(f'{len(data)} bytes cannot be an exchange')
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise ExchangeError(f'magic {magic!r}, version {version}: not an exchange of version '
                            f'{VERSION}')
    body, (crc,) = data[:-_CRC.size], _CRC.unpack(data[-_CRC.size:])
    if zlib.crc32(body) != crc:
        raise ExchangeError('the checksum is wrong')
    if _PREFIX.size + length > len(body):
        raise ExchangeError('the header is cut off')
    try:
        header = json.loads(body[_PREFIX.size:_PREFIX.size + length])
        tensors = _tensors(header['tensors'], body[_PREFIX.size + length:])
        known = {one.name for one in fields(Exchange)} - set(_AS_TENSORS)
        values = {name: value for name, value in header.items() if name in known}
        values['masked'] = tuple(values.get('masked', ()))
        _check_types(values)
        record = _record({name: tensors.pop(name) for name in list(tensors)
                          if name.startswith(_JOURNAL)})
        return Exchange(**values, record=record, actions=tensors)
    except ExchangeError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ExchangeError(f'the header is malformed: {error}') from error


def embodiment_sha256(embodiment: Embodiment) -> str:
    """Digest of all that an embodiment says, topics and limits too: `robot.embodiment_sha256`."""
    return hashlib.sha256(repr(embodiment).encode()).hexdigest()


def _check_types(values: Mapping[str, Any]) -> None:
    for one in fields(Exchange):
        kind: Any = get_origin(one.type) or one.type
        if one.name in values and not isinstance(values[one.name], kind):
            raise ExchangeError(f'header.{one.name} = {values[one.name]!r:.40} is impossible')
    for name in ('stamps_ns', 'inputs_crc32'):
        if not all(isinstance(value, int) for value in values.get(name, {}).values()):
            raise ExchangeError(f'header.{name} has a value that is not a whole number')


def _record_tensors(record: Record | None) -> dict[str, NDArray[Any]]:
    if record is None:
        return {}
    return {'journal.counts': record.snapshot.counts, 'journal.moments': record.snapshot.moments,
            'journal.entries': record.entries, 'journal.positions': record.positions}


def _record(tensors: dict[str, NDArray[Any]]) -> Record | None:
    if not tensors:
        return None
    counts, moments = tensors['journal.counts'], tensors['journal.moments']
    entries, positions = tensors['journal.entries'], tensors['journal.positions']
    width = moments.shape[1] if moments.ndim == 2 else 0
    if (counts.shape != (12,) or moments.shape != (7, width) or entries.ndim != 2
            or entries.shape[1] != 4 or positions.ndim != 2 or positions.shape[1] != width):
        raise ExchangeError('the journal has impossible shapes')
    return Record(Snapshot(counts, moments), entries, positions)


def inputs_crc32(inputs: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """CRC-32 of each input's bytes: two clients that disagree are compared by these."""
    return {name: zlib.crc32(np.ascontiguousarray(array)) if array.dtype != np.object_
            else zlib.crc32(b'\0'.join(array.ravel())) for name, array in inputs.items()}


def _tensors(specs: Any, payload: bytes) -> dict[str, NDArray[Any]]:
    actions: dict[str, NDArray[Any]] = {}
    offset = 0
    for spec in specs:
        if spec['dtype'] not in DTYPES:
            raise ExchangeError(f'tensor type {spec["dtype"]!r} is not known')
        dtype = np.dtype(spec['dtype']).newbyteorder('<')
        shape = tuple(int(size) for size in spec['shape'])
        if any(size < 0 for size in shape) or len(shape) > 8:
            raise ExchangeError(f'tensor shape {shape} is impossible')
        count = 1
        for size in shape:
            count *= size
        if offset + count * dtype.itemsize > len(payload):
            raise ExchangeError(f'tensor {spec["name"]!r} is cut off')
        actions[str(spec['name'])] = np.frombuffer(payload, dtype, count, offset).reshape(shape)
        offset += count * dtype.itemsize
    if offset != len(payload):
        raise ExchangeError(f'{len(payload) - offset} bytes are left over')
    return actions
