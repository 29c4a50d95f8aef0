"""A tiny ONNX file written by hand, with the AMR's interface: the `onnx` package is not needed.

Field numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto).
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

FLOAT, UINT8, INT64 = 1, 2, 7

INPUTS = {
    'video.front': (UINT8, (1, 1, 224, 224, 3)),
    'state.velocity': (FLOAT, (1, 1, 2)),
    'state.goal': (FLOAT, (1, 1, 2)),
    'annotation.human.task_description': (INT64, (1, 16)),
}
HORIZON = 16


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _value_info(name: str, kind: int, shape: Iterable[int]) -> bytes:
    dims = b''.join(_bytes(1, _number(1, size)) for size in shape)
    tensor_type = _number(1, kind) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor_type))


def _floats(name: str, shape: tuple[int, ...], values: Iterable[float]) -> bytes:
    raw = b''.join(struct.pack('<f', value) for value in values)
    return b''.join(_number(1, size) for size in shape) + _number(2, FLOAT) + _bytes(
        8, name) + _bytes(9, raw)


def _int64s(name: str, values: tuple[int, ...]) -> bytes:
    raw = b''.join(struct.pack('<q', value) for value in values)
    return _number(1, len(values)) + _number(2, INT64) + _bytes(8, name) + _bytes(9, raw)


def _node(operator: str, inputs: Iterable[str], output: str) -> bytes:
    return b''.join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, operator)


def write(path: Path, *, inputs: Mapping[str, tuple[int, tuple[int, ...]]] = INPUTS,
          output: str = 'action.base_velocity', horizon: int = HORIZON, gain: float = 1.0) -> Path:
    """A network that drives at clip(gain * goal): v <= 0.5 m/s from x, |w| <= 1 rad/s from y.

    The other inputs are declared and unused; gain=nan makes it answer with NaN.
    """
    nodes = [
        _node('Mul', ['state.goal', 'gain'], 'scaled'),
        _node('Max', ['scaled', 'lower'], 'raised'),
        _node('Min', ['raised', 'upper'], 'row'),
        _node('Expand', ['row', 'shape'], output),
    ]
    initializers = [
        _floats('gain', (1,), [gain]), _floats('lower', (1, 1, 2), [0.0, -1.0]),
        _floats('upper', (1, 1, 2), [0.5, 1.0]), _int64s('shape', (1, horizon, 2)),
    ]
    graph = b''.join(_bytes(1, node) for node in nodes) + _bytes(2, 'stand_in') + b''.join(
        _bytes(5, initializer) for initializer in initializers)
    graph += b''.join(_bytes(11, _value_info(name, kind, shape))
                      for name, (kind, shape) in inputs.items())
    graph += _bytes(12, _value_info(output, FLOAT, (1, horizon, 2)))
    model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, '') + _number(2, 17))
    path.write_bytes(model)
    return path
