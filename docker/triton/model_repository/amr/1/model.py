"""Triton's Python backend over onnxruntime: model.onnx of this version folder, tensor for tensor.

Names, types and shapes come from config.pbtxt and are compared with the network when the model is
loaded, so that a wrong file never serves. One request gives one reply; a request that cannot be
served gets a TritonError of its own and harms no other.
"""

import json
import os
import time

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

# What `drill` may ask for: the faults that a client must survive, made by a real server.
_DRILLS = ('none', 'nan', 'over_limit', 'slow')
_SLOW_S = 0.5
_OVER_LIMIT = 25.0
_ONNX_TYPES = {
    'TYPE_UINT8': 'tensor(uint8)', 'TYPE_INT64': 'tensor(int64)', 'TYPE_FP32': 'tensor(float)',
}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args['model_config'])
        parameters = {key: value['string_value'] for key, value in config['parameters'].items()}
        self._drill = parameters.get('drill', 'none')
        if self._drill not in _DRILLS:
            raise pb_utils.TritonModelException(
                f'parameter drill = {self._drill!r}: must be one of {", ".join(_DRILLS)}')
        # args['model_repository'] is the model's folder.
        path = os.path.join(args['model_repository'], args['model_version'], 'model.onnx')
        if not os.path.exists(path):
            raise pb_utils.TritonModelException(f'there is no {path}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters.get('threads', '1'))
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores of whatever else runs on the machine.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._session = onnxruntime.InferenceSession(
            path, options, providers=onnxruntime.get_available_providers())
        _compare('input', config['input'], self._session.get_inputs())
        _compare('output', config['output'], self._session.get_outputs())
        self._inputs = [(tensor['name'], tuple(map(int, tensor['dims'])))
                        for tensor in config['input']]
        self._outputs = [tensor['name'] for tensor in config['output']]
        self._session.run(self._outputs, {
            tensor.name: np.zeros([d if isinstance(d, int) else 1 for d in tensor.shape],
                                  _numpy_type(tensor.type))
            for tensor in self._session.get_inputs()})  # the first run is the slow one

    def execute(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        try:
            feed = {}
            for name, dims in self._inputs:
                tensor = pb_utils.get_input_tensor_by_name(request, name)
                if tensor is None:
                    raise ValueError(f'{name} is missing')
                feed[name] = tensor.as_numpy()
                if feed[name].shape != dims:
                    raise ValueError(f'{name} has shape {feed[name].shape}, not {dims}')
            results = self._session.run(self._outputs, feed)
            outputs = [pb_utils.Tensor(name, self._drilled(result))
                       for name, result in zip(self._outputs, results, strict=True)]
            return pb_utils.InferenceResponse(output_tensors=outputs)
        except Exception as error:
            return pb_utils.InferenceResponse(
                output_tensors=[], error=pb_utils.TritonError(f'{type(error).__name__}: {error}'))

    def _drilled(self, result):
        if self._drill == 'nan':
            return np.full_like(result, np.nan)
        if self._drill == 'over_limit':
            return np.full_like(result, _OVER_LIMIT)
        if self._drill == 'slow':
            time.sleep(_SLOW_S)
        return result


def _compare(kind, declared, actual):
    network = {tensor.name: tensor for tensor in actual}
    wanted = {tensor['name']: tensor for tensor in declared}
    if set(network) != set(wanted):
        raise pb_utils.TritonModelException(
            f'model.onnx has the {kind}s {sorted(network)}, config.pbtxt has {sorted(wanted)}')
    for name, tensor in wanted.items():
        dims = [int(d) for d in tensor['dims']]
        shape = network[name].shape
        fits = len(shape) == len(dims) and all(
            not isinstance(size, int) or dim in (-1, size)
            for dim, size in zip(dims, shape, strict=True))
        if not fits or network[name].type != _ONNX_TYPES.get(tensor['data_type']):
            raise pb_utils.TritonModelException(
                f'{name} is {network[name].type} {shape} in model.onnx, '
                f'{tensor["data_type"]} {dims} in config.pbtxt')


def _numpy_type(onnx_type):
    return {'tensor(uint8)': np.uint8, 'tensor(int64)': np.int64}.get(onnx_type, np.float32)
