"""Is this a Triton model repository that robots will accept? Asked before a server loads it.

    ros2 run policy_client validate_repository
    ros2 run policy_client validate_repository --repository DIR --embodiment FILE

reads files only: no server, no GPU, no code of the models is run. Each problem is one line, and any
problem makes the exit status 1. With an embodiment, the models that are for it are compared just as
a robot's handshake compares them; a GR00T model's tensors are read from its checkpoint for that.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from policy_client import embodiment_file, groot_checkpoint
from policy_client.embodiment import Embodiment
from policy_client.handshake import HandshakeError, ModelDescription, TensorSpec, compare
from policy_client.policies import triton_jpeg
from policy_client.policies.base import PolicyUnavailable
from policy_client.vocabulary import Vocabulary

REPOSITORY = Path('docker/triton/model_repository')
# Shorter ones gave spurious timeouts on an idle server.
_SHORTEST_DEFAULT_TIMEOUT_US = 1_000_000
_DEFAULT_FILES = {'python': 'model.py', 'onnxruntime': 'model.onnx', 'tensorrt': 'model.plan',
                  'pytorch': 'model.pt'}
_VERSION = re.compile(r'[1-9]\d*')
# What the handshake wants of a model's parameters.
_PARAMETERS = {
    'embodiment': (re.compile(r'\S+'), 'the name of the embodiment that it drives'),
    'action_period_ms': (re.compile(r'[1-9]\d*'), 'whole milliseconds from row to row'),
    'modality_sha256': (re.compile(r'[0-9a-f]{64}'),
                        'the digest that `python -m policy_client.embodiment_file FILE` prints'),
}


def validate(repository: Path, robots: Sequence[tuple[Embodiment, Vocabulary]] = ()) -> list[str]:
    """Every problem of a model repository, one sentence each, beginning with the model's name.

    Args:
        repository: the folder that Triton is given; each folder in it is a model.
        robots: embodiments that some model must be for, with their vocabularies.
    """
    if not repository.is_dir():
        return [f'{repository}: is not a folder']
    folders = sorted(path for path in repository.iterdir()
                     if path.is_dir() and not path.name.startswith('.'))
    if not folders:
        return [f'{repository}: has no model']
    problems: list[str] = []
    served: set[str] = set()
    for folder in folders:
        config = model_config_pb2.ModelConfig()
        try:
            text_format.Parse((folder / 'config.pbtxt').read_text(encoding='utf-8'), config)
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            problems.append(f'{folder.name}: config.pbtxt: {error}')
            continue
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        mine = [robot for robot in robots if robot[0].name == parameters.get('embodiment')]
        served.update(robot.name for robot, _ in mine)
        problems += [f'{folder.name}: {problem}'
                     for problem in _model(folder, config, parameters, mine)]
    problems += [f'{repository}: no model is for the embodiment {robot.name}'
                 for robot, _ in robots if robot.name not in served]
    return problems


def _model(folder: Path, config: Any, parameters: Mapping[str, str],
           robots: Sequence[tuple[Embodiment, Vocabulary]]) -> Iterator[str]:
    if config.name and config.name != folder.name:
        yield f'name is {config.name!r}, the folder is {folder.name!r}'
    yield from _scheduling(config)
    for name, (form, meaning) in _PARAMETERS.items():
        if name not in parameters:
            yield f'parameter {name} is missing: {meaning}'
        elif not form.fullmatch(parameters[name]):
            yield f'parameter {name} = {parameters[name]!r}: must be {meaning}'
    versions, problems = _versions(folder, config.version_policy)
    yield from problems
    for version in versions:
        yield from _files(folder / version, config, parameters)
        yield from _tensors(folder / version, config, parameters, robots)


def _scheduling(config: Any) -> Iterator[str]:
    """What would keep a robot's deadline from working, or its replies from being one each."""
    if config.max_batch_size:
        yield (f'max_batch_size is {config.max_batch_size}: must be 0, the tensors have a batch '
               'of 1 of their own')
    if config.HasField('sequence_batching'):
        yield 'sequence_batching: one cancelled request would cancel its whole sequence'
    if config.model_transaction_policy.decoupled:
        yield 'model_transaction_policy: decoupled, but a request has exactly one reply'
    queue = config.dynamic_batching.default_queue_policy
    if not queue.allow_timeout_override:
        yield ('dynamic_batching.default_queue_policy.allow_timeout_override is not true: a '
               "request's own timeout has no effect")
    if queue.default_timeout_microseconds < _SHORTEST_DEFAULT_TIMEOUT_US:
        yield (f'default_timeout_microseconds is {queue.default_timeout_microseconds}: must be '
               f'{_SHORTEST_DEFAULT_TIMEOUT_US} or more; none means that a request has no '
               'timeout, and short ones fail on an idle server')


def _versions(folder: Path, policy: Any) -> tuple[list[str], list[str]]:
    """The versions that would be served, and the problems of their folders."""
    there = sorted((path.name for path in folder.iterdir()
                    if path.is_dir() and _VERSION.fullmatch(path.name)), key=int)
    if policy.WhichOneof('policy_choice') == 'specific':
        named = [str(version) for version in policy.specific.versions]
        problems = [f'version_policy names {version}, there is no folder {folder / version}'
                    for version in named if version not in there]
        if not named:
            problems.append('version_policy is specific and names no version')
        return [version for version in named if version in there], problems
    problems = ['version_policy is not specific: a new folder would replace the version that '
                'robots are pinned to']
    if not there:
        problems.append('there is no version folder')
    return there, problems


def _files(folder: Path, config: Any, parameters: Mapping[str, str]) -> Iterator[str]:
    # `platform` is the older way to say it: onnxruntime_onnx, tensorrt_plan.
    backend = config.backend or config.platform.partition('_')[0]
    main = config.default_model_filename or _DEFAULT_FILES.get(backend, '')
    if not main:
        yield f'backend is {backend!r}: known are {", ".join(_DEFAULT_FILES)}'
    # What a version needs besides is told by the parameter `files`.
    wanted = [main, *(name.strip() for name in parameters.get('files', '').split(','))]
    for name in filter(None, wanted):
        if not (folder / name).is_file():
            yield f'version {folder.name}: there is no {name}'


def _tensors(folder: Path, config: Any, parameters: Mapping[str, str],
             robots: Sequence[tuple[Embodiment, Vocabulary]]) -> Iterator[str]:
    inputs = tuple(_spec(tensor, optional=tensor.optional) for tensor in config.input)
    outputs = tuple(_spec(tensor) for tensor in config.output)
    if not inputs and not outputs and 'model_path' in parameters:
        try:
            inputs, outputs = _of_checkpoint(folder, parameters)
        except groot_checkpoint.CheckpointError as error:
            yield f'version {folder.name}: {error}'
            return
    if not inputs or not outputs:
        yield 'lists no input and output, and no checkpoint (model_path) to take them from'
        return
    try:
        # Robots may be allowed to send JPEG; what is compared is the picture.
        inputs, _ = triton_jpeg.as_pictures(inputs, parameters, quality=1)
    except PolicyUnavailable as error:
        yield f'version {folder.name}: {error}'
        return
    description = ModelDescription(config.name or folder.parent.name, folder.name, inputs, outputs,
                                   parameters)
    for robot, vocabulary in robots:
        try:
            compare(robot, vocabulary, description)
        except HandshakeError as error:
            yield from (f'version {folder.name}, for {robot.name}: {mismatch}'
                        for mismatch in error.mismatches)


def _of_checkpoint(folder: Path, parameters: Mapping[str, str],
                   ) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The tensors that the model `groot` completes its configuration with when it is loaded."""
    size = groot_checkpoint.image_size(parameters.get('image_size', ''))
    modality = groot_checkpoint.read(folder / parameters['model_path'],
                                     parameters.get('embodiment_tag', ''))
    jpeg = [key.removeprefix(triton_jpeg.PARAMETER) for key, value in parameters.items()
            if key.startswith(triton_jpeg.PARAMETER) and value]
    inputs, outputs = modality.inputs(size, prefix=False, jpeg=jpeg), modality.outputs()
    return (tuple(TensorSpec(one.name, _datatype(one.data_type), one.dims) for one in inputs),
            tuple(TensorSpec(one.name, _datatype(one.data_type), one.dims) for one in outputs))


def _spec(tensor: Any, *, optional: bool = False) -> TensorSpec:
    name = model_config_pb2.DataType.Name(tensor.data_type)
    return TensorSpec(tensor.name, _datatype(name), tuple(int(size) for size in tensor.dims),
                      optional)


def _datatype(name: str) -> str:
    """The protocol's name of a type, which is not the configuration's for texts."""
    return 'BYTES' if name == 'TYPE_STRING' else name.removeprefix('TYPE_')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every problem; 0 without one, 1 with any, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog='validate_repository', description='Check a Triton model repository, without Triton.')
    parser.add_argument('--repository', type=Path, default=REPOSITORY,
                        help=f'the model repository (default: {REPOSITORY})')
    parser.add_argument('--embodiment', type=Path, action='append', default=[], metavar='FILE',
                        help='a robot that some model must be for; may be given again')
    parser.add_argument('--vocabulary', type=Path, metavar='FILE',
                        help='its vocabulary (default: vocabulary.txt beside it)')
    options = parser.parse_args(arguments)
    try:
        robots = [(embodiment_file.load(file),
                   Vocabulary.load(options.vocabulary or file.parent / 'vocabulary.txt'))
                  for file in options.embodiment]
    except ValueError as error:
        print(f'validate_repository: {error}', file=sys.stderr)
        return 1
    problems = validate(options.repository, robots)
    for problem in problems:
        print(' '.join(problem.split()))
    if not problems:
        print(f'{options.repository}: no problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
