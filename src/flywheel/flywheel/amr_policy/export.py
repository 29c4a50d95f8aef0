"""The trained network as an ONNX file. Runs in the training environment.

    python -m flywheel.amr_policy.export PARAMETERS MODEL

The file holds everything between the wire and the chunk: pixels as bytes in, limited rows out.
It is compared with JAX on random inputs before it is written; the last line printed is a record.
"""

import argparse
import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flywheel.amr_policy import network, wire
from flywheel.amr_policy.language import VOCABULARY

OPSET = 17
IR_VERSION = 8
MAX_BYTES = 1_000_000
TOLERANCE = 1e-4             # m/s and rad/s, between JAX and onnxruntime


class _Graph:
    """Nodes and constants in the order they are written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def __call__(self, kind: str, *inputs: str, out: str = '', **attributes: object) -> str:
        out = out or f'{kind.lower()}{len(self.nodes)}'
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def dense(self, x: str, name: str, activation: str = '') -> str:
        y = self('Gemm', x, f'{name}.w', f'{name}.b')
        return self(activation, y) if activation else y

    def columns(self, x: str, axis: str) -> tuple[str, str]:
        """The first and the second entry along an axis of two."""
        marks = [self.constant(f'at.{at}', [at], np.int64) for at in range(3)]
        return (self('Slice', x, marks[0], marks[1], axis),
                self('Slice', x, marks[1], marks[2], axis))


def _camera(graph: _Graph, image: str) -> tuple[str, str]:
    """(features times live, live) of the picture; live (1, 1) is 0 for an all-zero picture."""
    side = wire.IMAGE_SIDE
    x = graph('Reshape', image, graph.constant('shape.image', (1, side, side, 3), np.int64))
    x = graph('Transpose', graph('Cast', x, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    brightest = graph('ReduceMax', x, axes=[1, 2, 3], keepdims=0)
    live = graph('Min', brightest, graph.constant('one', [1.0]))
    live = graph('Reshape', live, graph.constant('shape.column', (1, 1), np.int64))
    x = graph('AveragePool', x, kernel_shape=[network.POOL] * 2, strides=[network.POOL] * 2)
    x = graph('Sub', graph('Div', x, graph.constant('white', 255.0)), graph.constant('grey', 0.5))
    for layer, kernel in enumerate(network.KERNELS):
        x = graph('Conv', x, f'conv{layer}.w', f'conv{layer}.b', kernel_shape=[kernel] * 2,
                  strides=[2, 2], pads=[kernel // 2] * 4)
        x = graph('Relu', x)
    x = graph.dense(graph('Flatten', x), 'see0', 'Relu')
    return graph('Mul', graph.dense(x, 'see1'), live), live


def _words(graph: _Graph, tokens: str) -> str:
    """The bag of tokens; an id outside the vocabulary counts as the unknown word."""
    tokens = graph('Reshape', tokens, graph.constant('shape.tokens', (1, wire.TOKENS), np.int64))
    above = graph('Less', tokens, graph.constant('words.count', len(VOCABULARY), np.int64))
    below = graph('GreaterOrEqual', tokens, graph.constant('words.first', 0, np.int64))
    tokens = graph('Where', graph('And', above, below), tokens,
                   graph.constant('words.unknown', 1, np.int64))
    bag = graph('ReduceSum', graph('Gather', 'words', tokens),
                graph.constant('axis.token', [1], np.int64), keepdims=0)
    return graph.dense(bag, 'say', 'Tanh')


def _state(graph: _Graph, velocity: str, goal: str) -> str:
    square = graph('ReduceSum', graph('Mul', goal, goal),
                   graph.constant('axis.xy', [1], np.int64), keepdims=1)
    distance = graph('Sqrt', graph('Add', square, graph.constant('tiny', 1e-6)))
    direction = graph('Div', goal, graph('Add', distance, graph.constant('soft', 0.1)))
    ten, zero = graph.constant('ten', 10.0), graph.constant('zero', 0.0)
    ahead, left = graph.columns(direction, 'axis.xy')
    side = graph('Where', graph('Less', left, zero), graph.constant('right', -1.0), 'one')
    behind = graph('Mul', side, graph('Max', graph('Neg', ahead), zero))
    return graph('Concat', graph('Div', velocity, graph.constant('high', network.HIGH)),
                 graph('Div', goal, ten), direction, graph('Sqrt', graph('Div', distance, ten)),
                 graph('Min', distance, 'one'), behind, axis=1)


def _limit(graph: _Graph, chunk: str, start: str) -> None:
    chunk = graph('Max', chunk, graph('Sub', start, 'ramp'))
    chunk = graph('Min', chunk, graph('Add', start, 'ramp'))
    chunk = graph('Min', graph('Max', chunk, graph.constant('low', network.LOW)), 'high')
    v, w = graph.columns(chunk, graph.constant('axis.row', [2], np.int64))
    zero = 'zero'
    v = graph('Where', graph('Less', v, graph.constant('quiet.v', network.QUIET_MPS)), zero, v)
    band = graph('Where', graph('Equal', v, zero),
                 graph.constant('quiet.spot', network.QUIET_ON_SPOT_RADPS),
                 graph.constant('quiet.w', network.QUIET_RADPS))
    w = graph('Where', graph('Less', graph('Abs', w), band), zero, w)
    graph('Concat', v, w, axis=2, out=wire.ACTION)


def build(parameters: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model, checked; ValueError when it is over MAX_BYTES."""
    graph = _Graph()
    parameters = dict(parameters, words=np.concatenate(
        [np.zeros_like(parameters['words'][:1]), parameters['words'][1:]]))
    for name, value in parameters.items():
        graph.constant(name, value)
    graph.constant('ramp', network.RAMP)
    pair = graph.constant('shape.pair', (1, 2), np.int64)
    velocity, goal = (graph('Reshape', name, pair) for name in (wire.VELOCITY, wire.GOAL))
    features, live = _camera(graph, wire.VIDEO)
    x = graph('Concat', _state(graph, velocity, goal), _words(graph, wire.TASK), features, live,
              axis=1)
    for layer in ('act0', 'act1'):
        x = graph.dense(x, layer, 'Relu')
    x = graph('Reshape', graph.dense(x, 'act2'),
              graph.constant('shape.chunk', (1, wire.HORIZON, 2), np.int64))
    start = graph('Reshape', velocity, graph.constant('shape.start', (1, 1, 2), np.int64))
    _limit(graph, graph('Add', graph('Mul', x, 'ramp'), start), start)

    def info(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    side = wire.IMAGE_SIDE
    inputs = [info(wire.VIDEO, TensorProto.UINT8, 1, 1, side, side, 3),
              info(wire.VELOCITY, TensorProto.FLOAT, 1, 1, 2),
              info(wire.GOAL, TensorProto.FLOAT, 1, 1, 2),
              info(wire.TASK, TensorProto.INT64, 1, wire.TOKENS)]
    outputs = [info(wire.ACTION, TensorProto.FLOAT, 1, wire.HORIZON, 2)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, 'amr', inputs, outputs, list(graph.constants.values())),
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION,
        producer_name='spinal')
    vocabulary = '\n'.join(VOCABULARY)
    helper.set_model_props(model, {
        'vocabulary': vocabulary,
        'vocabulary_sha256': hashlib.sha256(vocabulary.encode()).hexdigest(),
        'action_period_ms': str(round(wire.ROW_S * 1000))})
    onnx.checker.check_model(model, full_check=True)
    if model.ByteSize() > MAX_BYTES:
        raise ValueError(f'the model has {model.ByteSize()} bytes, {MAX_BYTES} are allowed')
    return model


def difference(parameters: dict[str, np.ndarray], model: bytes, count: int, seed: int) -> float:
    """Largest difference between JAX and onnxruntime over random inputs, m/s or rad/s."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    tree = {name: jnp.asarray(value) for name, value in parameters.items()}
    rng = np.random.default_rng(seed)
    worst = 0.0
    for turn in range(count):
        side = wire.IMAGE_SIDE
        coarse = rng.integers(0, 256, (1, 1, 28, 28, 3))
        image = np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3).astype(np.uint8)
        image *= turn % 2
        velocity = rng.uniform(-1, 1, (1, 1, 2)).astype(np.float32)
        goal = rng.uniform(-10, 10, (1, 1, 2)).astype(np.float32)
        tokens = rng.integers(0, len(VOCABULARY), (1, wire.TOKENS))
        (ours,) = session.run([wire.ACTION], {wire.VIDEO: image, wire.VELOCITY: velocity,
                                              wire.GOAL: goal, wire.TASK: tokens})
        small = image.reshape(1, side // 4, 4, side // 4, 4, 3).mean(axis=(2, 4)) / 255.0
        live = jnp.full((1, 1), float(image.any()))
        chunk = network.drive(tree, network.see(tree, jnp.asarray(small, jnp.float32)), live,
                              velocity[0], goal[0], jnp.asarray(tokens))
        theirs = np.asarray(network.limit(chunk, velocity[0]))
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(prog='flywheel.amr_policy.export')
    parser.add_argument('parameters', type=Path)
    parser.add_argument('model', type=Path)
    options = parser.parse_args()
    with np.load(options.parameters, allow_pickle=False) as file:
        parameters = dict(file)
    data = build(parameters).SerializeToString(deterministic=True)
    worst = difference(parameters, data, 200, 0)
    if worst > TOLERANCE:
        raise SystemExit(f'export: ONNX differs from JAX by {worst:.2g}')
    options.model.parent.mkdir(parents=True, exist_ok=True)
    whole = options.model.with_suffix('.part')
    whole.write_bytes(data)
    whole.replace(options.model)        # a server that loads meanwhile never meets half a file
    print(json.dumps({'file': str(options.model), 'bytes': len(data), 'jax_difference': worst,
                      'sha256': hashlib.sha256(data).hexdigest()}))


if __name__ == '__main__':
    main()
