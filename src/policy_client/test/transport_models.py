"""Two models for a real Triton that show what came over the wire."""

from pathlib import Path

CAMERAS = ('video.image', 'video.wrist_image')
SIDE = 256
JPEG = 'jpeg'
PICTURES = 'pictures'

# Answers with the sha256 of each camera's bytes, after as long as it is told to wait, and writes
# down what it saw for requests whose answer nobody waits for.
_PICTURES = '''
import hashlib, json, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._log = json.loads(args['model_config'])['parameters']['log']['string_value']

    def execute(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        def tensor(name):
            return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

        time.sleep(float(tensor('state.wait_s')[0]))
        digests = [hashlib.sha256(tensor(name).tobytes()).digest()
                   for name in ('video.image', 'video.wrist_image')]
        with open(self._log, 'a') as log:
            log.write(f'{request.request_id()} {digests[0].hex()}\\n')
        output = np.array([np.frombuffer(digest, np.uint8) for digest in digests])
        return pb_utils.InferenceResponse([pb_utils.Tensor('digests', output)])
'''
_JPEG = '''
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor(
            'seen', pb_utils.get_input_tensor_by_name(request, 'video.front').as_numpy())])
            for request in requests]
'''
_CONFIGS = {PICTURES: f'''
name: "{PICTURES}"
backend: "python"
max_batch_size: 0
input [
  {{ name: "video.image", data_type: TYPE_UINT8, dims: [ 1, 1, {SIDE}, {SIDE}, 3 ] }},
  {{ name: "video.wrist_image", data_type: TYPE_UINT8, dims: [ 1, 1, {SIDE}, {SIDE}, 3 ] }},
  {{ name: "state.wait_s", data_type: TYPE_FP32, dims: [ 1 ] }}
]
output [ {{ name: "digests", data_type: TYPE_UINT8, dims: [ 2, 32 ] }} ]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
parameters [ {{ key: "log", value: {{ string_value: "LOG" }} }} ]
''', JPEG: f'''
name: "{JPEG}"
backend: "python"
max_batch_size: 0
input [ {{ name: "video.front", data_type: TYPE_STRING, dims: [ 1, 1 ] }} ]
output [ {{ name: "seen", data_type: TYPE_STRING, dims: [ 1, 1 ] }} ]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
parameters [ {{ key: "jpeg.video.front", value: {{ string_value: "{SIDE}x{SIDE}" }} }} ]
'''}


def lay(folder: Path, log: Path) -> Path:
    """A model repository with both in folder; `log` is what PICTURES writes."""
    for name, code in ((PICTURES, _PICTURES), (JPEG, _JPEG)):
        version = folder / name / '1'
        version.mkdir(parents=True)
        (version / 'model.py').write_text(code)
        (folder / name / 'config.pbtxt').write_text(_CONFIGS[name].replace('LOG', str(log)))
    return folder
