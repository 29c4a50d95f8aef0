"""The messages of GR00T's own server as bytes, without pickle and within limits.

Read from Isaac-GR00T's `gr00t/policy/server_client.py`: a request is a msgpack map of `endpoint`,
`data` and, where the server wants one, `api_token`; `get_action` answers the list
[actions, info], any failure a map with `error`. Two encodings of an array are in use:

- `npy` (N1.6, N1.7): {'__ndarray_class__': True, 'as_npy': a .npy file}; modality configurations
  are marked `__ModalityConfig_class__`;
- `msgpack_numpy` (a newer snapshot): {b'nd': True, b'type': '<f4', b'kind': b'', b'shape': [..],
  b'data': ..}; modality configurations are marked `__ModalityConfig__`.

So the answer to `get_modality_config` shows which of them a server speaks. Messages are decoded to
plain values first; an array is made only where one belongs, from a fixed list of number types.
"""

import io
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

NPY = 'npy'
MSGPACK_NUMPY = 'msgpack_numpy'
ENCODINGS = (NPY, MSGPACK_NUMPY)
NESTED = 'nested'  # Gr00tPolicy: {'video': {'front': ..}, 'state': .., 'language': {key: [[text]]}}
FLAT = 'flat'      # Gr00tSimPolicyWrapper: {'video.front': .., 'state.x': .., key: [text]}
LAYOUTS = (NESTED, FLAT)
MODALITIES = ('video', 'state', 'language', 'action')

# A chunk of 1000 rows and 200 columns fits; GR00T's are a few kilobytes.
MAX_REPLY_BYTES = 1024 * 1024
_MAX_KEYS = 64
_MAX_NAME = 128
_MAX_ITEMS = 1024
_MAX_RANK = 5
_MAX_VALUES = 250_000
_MAX_SENTENCE = 300

_DTYPES = {dtype.str: dtype for dtype in map(np.dtype, (
    '<f4', '<f8', '<f2', '|b1', '|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8'))}
_MAGIC = b'\x93NUMPY\x01\x00'
# What numpy writes for an array of numbers; anything else (fields, objects) is not looked at.
_HEADER = re.compile(rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': (True|False), "
                     rb"'shape': \(((?:\d{1,9}, ?)*(?:\d{1,9})?)\), \} *\n")
_MARKERS = {'__ModalityConfig_class__': NPY, '__ModalityConfig__': MSGPACK_NUMPY}


class WireError(ValueError):
    """Bytes that are not a message of this protocol, in one sentence that quotes none of them."""


class Refused(Exception):
    """The server answered with an error; the server's own words in one line."""


@dataclass(frozen=True)
class Modality:
    """One entry of a server's modality configuration.

    keys: names without the modality in front; steps: T of an input, H of the actions;
    representations: of each action key ('ABSOLUTE', 'RELATIVE', 'DELTA'), empty when not said.
    """
    keys: tuple[str, ...]
    steps: int
    representations: tuple[str, ...] = ()


def request(endpoint: str, data: Mapping[str, Any] | None = None, token: str = '',
            encoding: str = NPY) -> bytes:
    """A request as the stock client sends it, byte for byte; raises WireError.

    data holds texts, numbers, lists, maps and arrays of numbers; None sends no `data`.
    """
    message: dict[str, Any] = {'endpoint': endpoint}
    if data is not None:
        message['data'] = data
    if token:
        message['api_token'] = token
    pieces: list[Any] = []
    _pack(message, encoding, msgpack.Packer(), pieces)
    return b''.join(pieces)


def observation(inputs: Mapping[str, NDArray[Any]], layout: str) -> dict[str, Any]:
    """The data of `get_action` from flat tensor names; raises WireError.

    Args:
        inputs: `video.*` uint8 (1, T, H, W, 3), `state.*` float32 (1, T, D), and the language key
            as an object array (1, 1) of UTF-8 bytes.
    """
    found: dict[str, Any] = {} if layout == FLAT else {'video': {}, 'state': {}, 'language': {}}
    for name, array in inputs.items():
        modality, _, key = name.partition('.')
        if modality not in ('video', 'state'):
            text = _text(name, array)
            if layout == FLAT:
                found[name] = [text]
            else:
                found['language'][name] = [[text]]
        elif layout == FLAT:
            found[name] = array
        else:
            found[modality][key] = array
    return {'observation': found, 'options': None}


def answer(message: bytes, *secrets: str) -> Any:
    """A server's answer as plain values, arrays still encoded; raises WireError and Refused.

    secrets are removed from what a refusal quotes.
    """
    if len(message) > MAX_REPLY_BYTES:
        raise WireError(f'the answer has {len(message)} bytes, {MAX_REPLY_BYTES} are allowed')
    if message == b'ERROR':  # older servers
        raise Refused('ERROR, without a reason')
    try:
        content = msgpack.unpackb(
            message, raw=False, strict_map_key=True, max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS, max_str_len=MAX_REPLY_BYTES, max_bin_len=MAX_REPLY_BYTES,
            max_ext_len=0)
    # What its C code raises has no common base; whatever a server sends, the client goes on.
    except Exception as error:
        raise WireError(f'the answer is not msgpack ({type(error).__name__})') from None
    if isinstance(content, dict) and 'error' in content:
        raise Refused(sentence(content['error'], *secrets) or 'an error without a reason')
    return content


def actions(content: Any) -> tuple[dict[str, NDArray[Any]], str]:
    """(`action.*` -> array, encoding) of an answer to `get_action`; raises WireError.

    Both layouts give the same names. The arrays own their memory and are C-contiguous.
    """
    if not isinstance(content, list) or len(content) != 2 or not isinstance(content[0], dict):
        raise WireError('the answer is not [actions, info]')
    if not 1 <= len(content[0]) <= _MAX_KEYS:
        raise WireError(f'the answer has {len(content[0])} actions, 1 to {_MAX_KEYS} are allowed')
    found, encodings = {}, set()
    for key, value in content[0].items():
        name = 'action.' + _name(key).removeprefix('action.')
        if name in found:
            raise WireError(f'{name} came twice')
        array, encoding = _array(name, value)
        found[name] = array
        encodings.add(encoding)
    if len(encodings) != 1:
        raise WireError('the arrays came in two encodings')
    return found, encodings.pop()


def modalities(content: Any) -> tuple[dict[str, Modality], str]:
    """The answer to `get_modality_config`, and the encoding that its markers show (or '').

    Raises WireError.
    """
    if not isinstance(content, dict) or not 1 <= len(content) <= _MAX_KEYS:
        raise WireError('the modality configuration is not a map of modalities')
    found, encodings = {}, set()
    for key, value in content.items():
        name = _name(key)
        marker = next((marker for marker in _MARKERS if isinstance(value, dict)
                       and marker in value), '')
        encodings.add(_MARKERS.get(marker, ''))
        found[name] = _modality(name, value.get('as_json') if marker else value)
    lacking = [name for name in MODALITIES if name not in found]
    if lacking:
        raise WireError(f'the modality configuration has no {lacking[0]!r}')
    return found, encodings.pop() if len(encodings) == 1 else ''


def sentence(content: Any, *secrets: str) -> str:
    """A server's own words made fit for a log: one line, printable, bounded, secrets removed."""
    text = content if isinstance(content, str) else f'an error of type {type(content).__name__}'
    for secret in filter(None, secrets):
        text = text.replace(secret, '***')
    text = ' '.join(text[:16 * _MAX_SENTENCE].split())
    return ''.join(letter if letter.isprintable() else '?' for letter in text)[:_MAX_SENTENCE]


def _modality(name: str, content: Any) -> Modality:
    if not isinstance(content, dict):
        raise WireError(f'the modality configuration of {name} is not a map')
    keys, steps = content.get('modality_keys'), content.get('delta_indices')
    if not isinstance(keys, list) or not 1 <= len(keys) <= _MAX_KEYS:
        raise WireError(f'modality_keys of {name} is not a list of 1 to {_MAX_KEYS} names')
    if not isinstance(steps, list) or not steps or not all(type(step) is int for step in steps):
        raise WireError(f'delta_indices of {name} is not a list of whole numbers')
    names = tuple(_name(key) for key in keys)
    if len(set(names)) != len(names):
        raise WireError(f'modality_keys of {name} has a name twice')
    configs = content.get('action_configs')
    if name != 'action' or not isinstance(configs, list) or len(configs) != len(keys):
        return Modality(names, len(steps))
    return Modality(names, len(steps), tuple(
        sentence(config.get('rep')).upper() if isinstance(config, dict) else '?'
        for config in configs))


def _name(key: Any) -> str:
    if not isinstance(key, str) or not 1 <= len(key) <= _MAX_NAME or not key.isprintable():
        raise WireError(f'a name is not a printable text of 1 to {_MAX_NAME} letters')
    return key


def _array(name: str, value: Any) -> tuple[NDArray[Any], str]:
    if isinstance(value, dict) and '__ndarray_class__' in value:
        return _from_npy(name, value.get('as_npy')), NPY
    if isinstance(value, dict) and b'nd' in value:
        return _from_msgpack_numpy(name, value), MSGPACK_NUMPY
    raise WireError(f'{name} is not an array')


def _from_npy(name: str, data: Any) -> NDArray[Any]:
    if not isinstance(data, bytes) or not data.startswith(_MAGIC) or len(data) < 10:
        raise WireError(f'{name} is not a .npy file of version 1.0')
    start = 10 + struct.unpack_from('<H', data, 8)[0]
    header = _HEADER.fullmatch(data[10:start])
    if not header:
        raise WireError(f'{name}: its .npy header is not that of an array of numbers')
    shape = tuple(int(size) for size in header[3].replace(b' ', b'').split(b',') if size)
    if header[2] == b'False':
        return _made(name, header[1].decode(), shape, data[start:])
    array = _made(name, header[1].decode(), shape[::-1], data[start:]).T
    return np.array(array, order='C')


def _from_msgpack_numpy(name: str, value: dict[Any, Any]) -> NDArray[Any]:
    if value[b'nd'] is not True:
        raise WireError(f'{name} is a single number, not an array')
    kind, data, shape = (value.get(key) for key in (b'type', b'data', b'shape'))
    if value.get(b'kind', b'') not in (b'', '') or not isinstance(kind, str):
        raise WireError(f'{name} is an array of objects or fields, which is refused')
    if not isinstance(data, bytes) or not isinstance(shape, list) or not all(
            type(size) is int and size >= 0 for size in shape):
        raise WireError(f'{name} is an array without data or shape')
    return _made(name, kind, tuple(shape), data)


def _made(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise WireError(f'{name} is not an array of numbers that is allowed here')
    if len(shape) > _MAX_RANK or math.prod(shape) > _MAX_VALUES:
        raise WireError(f'{name} is an array of more than {_MAX_RANK} axes or {_MAX_VALUES} values')
    if math.prod(shape) * dtype.itemsize != len(data):
        raise WireError(f'{name} has {len(data)} bytes of data, its shape wants '
                        f'{math.prod(shape) * dtype.itemsize}')
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _text(name: str, array: NDArray[Any]) -> str:
    value = array.flat[0] if array.dtype == np.object_ and array.size == 1 else None
    if not isinstance(value, bytes | str):
        raise WireError(f'{name}: GR00T takes its instruction as one text')
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise WireError(f'{name}: the instruction is not UTF-8') from None


def _pack(value: Any, encoding: str, packer: Any, pieces: list[Any]) -> None:
    """Append the pieces of a value; an array's data stays a view until the last join."""
    if isinstance(value, Mapping):
        pieces.append(packer.pack_map_header(len(value)))
        for key, part in value.items():
            pieces.append(packer.pack(key))
            _pack(part, encoding, packer, pieces)
    elif isinstance(value, list | tuple):
        pieces.append(packer.pack_array_header(len(value)))
        for part in value:
            _pack(part, encoding, packer, pieces)
    elif isinstance(value, np.ndarray):
        _pack_array(value, encoding, packer, pieces)
    elif value is None or isinstance(value, bool | int | float | str):
        pieces.append(packer.pack(value))
    else:
        raise WireError(f'a {type(value).__name__} has no place in a request')


def _pack_array(array: NDArray[Any], encoding: str, packer: Any, pieces: list[Any]) -> None:
    if array.dtype.str not in _DTYPES:
        raise WireError(f'an array of {array.dtype} has no place in a request')
    array = np.asarray(array, order='C')
    if encoding == NPY:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, np.lib.format.header_data_from_array_1_0(array))
        pieces.append(packer.pack_map_header(2))
        pieces.append(packer.pack('__ndarray_class__') + packer.pack(True) + packer.pack('as_npy'))
        pieces.append(_bin_header(header.tell() + array.nbytes) + header.getvalue())
    else:
        pieces.append(packer.pack_map_header(5) + packer.pack(b'nd') + packer.pack(True))
        pieces.append(packer.pack(b'type') + packer.pack(array.dtype.str))
        pieces.append(packer.pack(b'kind') + packer.pack(b'') + packer.pack(b'shape'))
        pieces.append(packer.pack(list(array.shape)) + packer.pack(b'data'))
        pieces.append(_bin_header(array.nbytes))
    pieces.append(array)


def _bin_header(size: int) -> bytes:
    """The head of a msgpack byte string (the bin family of its specification)."""
    if size < 1 << 8:
        return struct.pack('>BB', 0xc4, size)
    if size < 1 << 16:
        return struct.pack('>BH', 0xc5, size)
    return struct.pack('>BI', 0xc6, size)
