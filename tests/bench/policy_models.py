"""Two models for a real Triton that do nothing with what they are sent: what is left is transport.

`small` takes two cameras of 256x256, `large` two of 480x640; both answer with a chunk of 16 rows,
after as long as the input `state.wait_s` says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERAS = ('video.image', 'video.wrist_image')
SIZES = {'small': (256, 256), 'large': (480, 640)}
_MODEL = '''
import time
import numpy as np
import triton_python_backend_utils as pb_utils

CHUNK = np.zeros((1, 16, 7), np.float32)


class TritonPythonModel:
    def execute(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        wait_s = pb_utils.get_input_tensor_by_name(request, 'state.wait_s').as_numpy()[0]
        if wait_s > 0:
            time.sleep(float(wait_s))
        return pb_utils.InferenceResponse([pb_utils.Tensor('action.single_arm', CHUNK)])
'''


def lay(folder: Path) -> Path:
    """A model repository with both models in folder."""
    for name, (height, width) in SIZES.items():
        version = folder / name / '1'
        version.mkdir(parents=True)
        (version / 'model.py').write_text(_MODEL)
        cameras = ''.join(
            f'  {{ name: "{camera}", data_type: TYPE_UINT8, '
            f'dims: [ 1, 1, {height}, {width}, 3 ] }},\n' for camera in CAMERAS)
        (folder / name / 'config.pbtxt').write_text(f'''
name: "{name}"
backend: "python"
max_batch_size: 0
input [
{cameras}  {{ name: "state.wait_s", data_type: TYPE_FP32, dims: [ 1 ] }}
]
output [ {{ name: "action.single_arm", data_type: TYPE_FP32, dims: [ 1, 16, 7 ] }} ]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
''')
    return folder


def inputs(name: str, wait_s: float = 0.0) -> Mapping[str, NDArray[Any]]:
    """What the model takes: pictures of noise, and how long it is to think."""
    noise = np.random.default_rng(0)
    pictures = {camera: noise.integers(0, 256, (1, 1, *SIZES[name], 3), np.uint8)
                for camera in CAMERAS}
    return pictures | {'state.wait_s': np.array([wait_s], np.float32)}
