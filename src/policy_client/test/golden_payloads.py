"""Golden payloads: the bytes that each robot sends for one fixed observation.

    python src/policy_client/test/golden_payloads.py

writes test/golden/*.json again. Do that after a change that is meant to change what is sent, and
read the difference: a policy that was trained for the old bytes sees the new ones.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from embodiment_scene import ROBOTS, observation, with_text

from policy_client.policies import gr00t_wire, triton_wire

FOLDER = Path(__file__).parent / 'golden'
TIMEOUT_US = 77_000
WAYS = tuple((encoding, layout) for encoding in gr00t_wire.ENCODINGS
             for layout in gr00t_wire.LAYOUTS)
_READABLE = 16


def triton_payload(name: str) -> bytes:
    """The KServe v2 request, tensors inside."""
    model = 'amr' if name == 'amr' else 'groot'
    return triton_wire.serialised(model, '1', 'golden/1', TIMEOUT_US,
                                  observation(ROBOTS[name]).inputs)


def zmq_payload(name: str, encoding: str, layout: str) -> bytes:
    """The get_action request to GR00T's own server."""
    inputs = observation(with_text(name)).inputs
    return gr00t_wire.request('get_action', gr00t_wire.observation(inputs, layout),
                              encoding=encoding)


def golden(name: str) -> dict[str, Any]:
    """What the file of one robot holds: tensors to read, digests to compare."""
    return {
        'embodiment': name,
        'tensors': {key: _tensor(array) for key, array in observation(ROBOTS[name]).inputs.items()},
        'triton': _digest(triton_payload(name)),
        'zmq': {f'{encoding} {layout}': _digest(zmq_payload(name, encoding, layout))
                for encoding, layout in WAYS},
    }


def _tensor(array: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {'type': array.dtype.name, 'shape': list(array.shape)}
    if array.dtype == object:
        found['values'] = [element.decode() for element in array.flat]
    elif array.size <= _READABLE:
        # float32 in as many digits as tell it apart
        found['values'] = [float(str(value)) for value in array.flat]
    else:
        found['sha256'] = hashlib.sha256(array.tobytes()).hexdigest()
        found['first'] = [int(value) for value in array.flat[:6]]
    return found


def _digest(payload: bytes) -> dict[str, Any]:
    return {'bytes': len(payload), 'sha256': hashlib.sha256(payload).hexdigest()}


def _lines(document: dict[str, Any]) -> str:
    """JSON with a line for each tensor and each payload."""
    parts = []
    for key, value in document.items():
        if key in ('tensors', 'zmq'):
            inner = ',\n'.join(f'  {json.dumps(name)}: {json.dumps(entry)}'
                              for name, entry in value.items())
            parts.append(f' {json.dumps(key)}: {{\n{inner}\n }}')
        else:
            parts.append(f' {json.dumps(key)}: {json.dumps(value)}')
    return '{\n' + ',\n'.join(parts) + '\n}\n'


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in ROBOTS:
        path = FOLDER / f'{name}.json'
        path.write_text(_lines(golden(name)))
        print(path)


if __name__ == '__main__':
    main()
