"""`policy/exchange`: one request and its raw reply as bytes, for the recorder and for a replay.

    offset  size  content
    0       4     magic `SPEX`
    4       2     version, little-endian unsigned (1)
    6       4     length N of the header in bytes, little-endian unsigned
    10      N     header, JSON in UTF-8
    10+N    ...   the tensors named in header.tensors, in that order: C order, little-endian
    end-4   4     CRC-32 (zlib) of everything before it, little-endian unsigned

Header: `request_id`, `epoch`, `sequence`, `source`, `model`, `version`, `outcome` (`accepted`, a
rejection's reason or a failure's name), `detail`, `sent_ns`, `received_ns`, `observed_ns` (the
client's clock), `stamps_ns` (key -> ROS stamp of each part of the observation), `executed_ns`
(action time executed when the observation was taken), `masked`, `inputs_crc32` (key -> CRC-32 of
the tensor's bytes as sent), `ticks` (since the exchange before: [time, executed_ns or -1 in a
hold]), `tensors` ([{name, dtype, shape}]).

A decoder ignores header fields that it does not know; a changed layout gets a new version.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b'SPEX'
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
_DTYPES = ('uint8', 'int32', 'int64', 'float16', 'float32', 'float64')
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
    masked: tuple[str, ...] = ()
    inputs_crc32: Mapping[str, int] = field(default_factory=dict)
    ticks: tuple[tuple[int, int], ...] = ()
    actions: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def encode(exchange: Exchange) -> bytes:
    """The bytes of an exchange; raises ExchangeError for a tensor of another type."""
    header: dict[str, Any] = {one.name: getattr(exchange, one.name)
                              for one in fields(Exchange) if one.name != 'actions'}
    payload = []
    tensors = []
    for name, array in exchange.actions.items():
        if array.dtype.name not in _DTYPES:
            raise ExchangeError(f'{name}: {array.dtype} is not one of {", ".join(_DTYPES)}')
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
        actions = _tensors(header['tensors'], body[_PREFIX.size + length:])
        known = {one.name for one in fields(Exchange)} - {'actions'}
        values = {name: value for name, value in header.items() if name in known}
        values |= {'masked': tuple(values.get('masked', ())),
                   'ticks': tuple((int(a), int(b)) for a, b in values.get('ticks', ()))}
        return Exchange(**values, actions=actions)
    except ExchangeError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ExchangeError(f'the header is malformed: {error}') from error


def inputs_crc32(inputs: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """CRC-32 of each input's bytes: two clients that disagree are compared by these."""
    return {name: zlib.crc32(np.ascontiguousarray(array)) if array.dtype != np.object_
            else zlib.crc32(b'\0'.join(array.ravel())) for name, array in inputs.items()}


def _tensors(specs: Any, payload: bytes) -> dict[str, NDArray[Any]]:
    actions: dict[str, NDArray[Any]] = {}
    offset = 0
    for spec in specs:
        if spec['dtype'] not in _DTYPES:
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
