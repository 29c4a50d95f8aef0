"""Tensors as Triton's metadata and configuration describe them."""

from typing import Any

from policy_client.handshake import TensorSpec

_BYTES = {'BOOL': 1, 'UINT8': 1, 'INT8': 1, 'UINT16': 2, 'INT16': 2, 'FP16': 2, 'BF16': 2,
          'UINT32': 4, 'INT32': 4, 'FP32': 4, 'UINT64': 8, 'INT64': 8, 'FP64': 8}


def spec(tensor: Any, *, optional: bool = False) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tuple(int(size) for size in tensor.shape),
                      optional)


def sizes(specs: tuple[TensorSpec, ...]) -> dict[str, int]:
    """name -> bytes of the tensors whose size is fixed."""
    found = {}
    for each in specs:
        if each.datatype in _BYTES and all(size > 0 for size in each.shape):
            count = 1
            for size in each.shape:
                count *= size
            found[each.name] = count * _BYTES[each.datatype]
    return found
