"""The handshake: does this model speak this embodiment's language? Compared before any motion.

A model describes itself by its tensors and by `parameters` (Triton: config.pbtxt, ONNX: metadata).
Sizes that are the network's own (image size, tokens, action horizon) are taken from it here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from policy_client.embodiment import Embodiment
from policy_client.groot_checkpoint import PREFIX, PREFIX_LENGTH
from policy_client.vocabulary import Vocabulary

_FREE = -1
_MAX_SIDE = 4096
_MAX_HORIZON = 1000
_MAX_TOKENS = 4096
# What a model says of an action key: PARAMETER_MEANING.format('action.arm').
PARAMETER_MEANING = '{}.meaning'
# A server that does not say a meaning has agreed to none.
UNSAID = 'unknown'
# Inputs whose second size is the time T.
_STEPPED = ('video.', 'state.')


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as its model declares it; datatype is Triton's name, a size of -1 is free."""
    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class ModelDescription:
    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    # Where the network runs, as far as the policy can tell: a Triton URL, an ONNX provider.
    runs_on: str = ''


@dataclass(frozen=True)
class Signature:
    """The sizes that a model brings: what observations are cut to and replies are held against."""
    version: str
    images: Mapping[str, tuple[int, int]]  # video key -> (height, width)
    tokens: int                            # length of the token tensor; 0 when text is sent
    horizon: int                           # H, rows of an action chunk
    runs_on: str = ''
    # Whether it takes the running plan along (real-time chunking): rtc.prefix.*, rtc.prefix_length.
    takes_prefix: bool = False


class HandshakeError(Exception):
    """The model is not for this robot; `mismatches` has one sentence for each difference."""

    def __init__(self, mismatches: tuple[str, ...]) -> None:
        super().__init__('; '.join(mismatches))
        self.mismatches = mismatches


def compare(embodiment: Embodiment, vocabulary: Vocabulary, model: ModelDescription, *,
            parameters_required: bool = True, version: str = '') -> Signature:
    """The model's sizes when everything fits; raises HandshakeError naming each mismatch.

    Args:
        parameters_required: refuse a model that does not say whose it is. An ONNX file chosen by
            path may be silent; what it does say must be right all the same.
        version: the version this robot is pinned to, or empty.
    """
    wrong: list[str] = []
    inputs = {tensor.name: tensor for tensor in model.inputs}
    outputs = {tensor.name: tensor for tensor in model.outputs}

    images = {}
    for video in embodiment.video:
        shape = _fits(inputs, video.name, 'UINT8', (1, 1, None, None, 3), wrong)
        if shape:
            images[video.name] = (_size(video.name, shape[2], _MAX_SIDE, wrong),
                                  _size(video.name, shape[3], _MAX_SIDE, wrong))
    for state in embodiment.state:
        _fits(inputs, state.name, 'FP32', (1, 1, len(state.components)), wrong)
    language, tokens = embodiment.language, 0
    if language.tokens:
        shape = _fits(inputs, language.name, 'INT64', (1, None), wrong)
        tokens = _size(language.name, shape[1], _MAX_TOKENS, wrong) if shape else 0
    else:
        _fits(inputs, language.name, 'BYTES', (1, 1), wrong)
    horizon = _horizon(embodiment, outputs, wrong)
    takes_prefix = _takes_prefix(embodiment, inputs, wrong)

    known = {language.name, *(key.name for key in embodiment.video),
             *(key.name for key in embodiment.state), *_prefix_names(embodiment)}
    wrong += [f'{name}: the model wants it and {embodiment.name} has no topic for it'
              for name in sorted(set(inputs) - known) if not inputs[name].optional]
    # An action without anything to drive is refused: dropped, it would be a silent half of a plan.
    wrong += [f'{name}: the model sends it and {embodiment.name} has nothing that it drives'
              for name in sorted(set(outputs) - {key.name for key in embodiment.actions})]
    if version and model.version != version:
        wrong.append(f'version: the model is {model.version}, this robot is pinned to {version}')
    wrong += _parameters(embodiment, vocabulary, model.parameters, parameters_required)
    if wrong:
        raise HandshakeError(tuple(wrong))
    return Signature(model.version, images, tokens, horizon, model.runs_on, takes_prefix)


def _horizon(embodiment: Embodiment, outputs: Mapping[str, TensorSpec], wrong: list[str]) -> int:
    """H, which all action keys share; 0 after noting what is wrong."""
    found: dict[str, int] = {}
    for key in embodiment.actions:
        shape = _fits(outputs, key.name, 'FP32', (1, None, len(key.components)), wrong)
        if shape:
            found[key.name] = _size(key.name, shape[1], _MAX_HORIZON, wrong)
    if len(set(found.values())) > 1:
        rows = ', '.join(f'{name} {size}' for name, size in found.items())
        wrong.append(f'action: the keys have different numbers of rows ({rows})')
    return next(iter(found.values()), 0)


def _prefix_names(embodiment: Embodiment) -> tuple[str, ...]:
    return (*(prefix_name(key.name) for key in embodiment.actions), PREFIX_LENGTH)


def prefix_name(action: str) -> str:
    """The input that carries the running plan of an action key: `rtc.prefix.arm`."""
    return PREFIX + action.removeprefix('action.')


def _takes_prefix(embodiment: Embodiment, inputs: Mapping[str, TensorSpec],
                  wrong: list[str]) -> bool:
    """Whether all inputs of real-time chunking are there; some of them are noted as wrong."""
    names = _prefix_names(embodiment)
    if not any(name in inputs for name in names):
        return False
    for key in embodiment.actions:
        name = prefix_name(key.name)
        shape = _fits(inputs, name, 'FP32', (1, None, len(key.components)), wrong)
        if shape and shape[1] != _FREE:
            wrong.append(f'{name}: the model wants {shape[1]} rows, their number must be free (-1)')
    _fits(inputs, PREFIX_LENGTH, 'INT32', (1,), wrong)
    wrong += [f'{name}: the model requires it, it must be optional'
              for name in names if name in inputs and not inputs[name].optional]
    return True


def _fits(tensors: Mapping[str, TensorSpec], name: str, datatype: str,
          shape: tuple[int | None, ...], wrong: list[str]) -> tuple[int, ...] | None:
    """The model's shape of a tensor, None after noting what is wrong; None in shape is any size."""
    tensor = tensors.get(name)
    if tensor is None:
        wrong.append(f'{name}: the model does not have it')
        return None
    if tensor.datatype != datatype:
        wrong.append(f'{name}: the model has {tensor.datatype}, the embodiment {datatype}')
    if name.startswith(_STEPPED) and len(tensor.shape) == len(shape) and tensor.shape[1] > 1:
        wrong.append(f'{name}: the model wants {tensor.shape[1]} steps an observation (T), this '
                     'client sends the newest one only (T = 1)')
        return None
    if len(tensor.shape) != len(shape) or any(
            size not in (wanted, _FREE) for size, wanted in zip(tensor.shape, shape, strict=True)
            if wanted is not None):
        text = ', '.join('any' if size is None else str(size) for size in shape)
        wrong.append(f'{name}: the model has shape {tensor.shape}, the embodiment ({text})')
        return None
    return tensor.shape


def _size(name: str, size: int, largest: int, wrong: list[str]) -> int:
    if not 1 <= size <= largest:
        wrong.append(f'{name}: the model leaves a size at {size}; 1 to {largest} is needed')
    return size


def _parameters(embodiment: Embodiment, vocabulary: Vocabulary, found: Mapping[str, str],
                required: bool) -> list[str]:
    wanted = {
        'embodiment': embodiment.name,
        'action_period_ms': str(embodiment.action_period_ms),
        'modality_sha256': embodiment.modality_sha256(vocabulary.sha256),
    }
    wrong = [f'{name}: the model does not publish it (this robot: {value})'
             for name, value in wanted.items() if required and name not in found]
    # Optional on top of the modality digest, which covers the vocabulary already.
    wanted['vocabulary_sha256'] = vocabulary.sha256
    for key in embodiment.actions:
        name = PARAMETER_MEANING.format(key.name)
        if found.get(name) != UNSAID:
            wanted[name] = key.meaning
    wrong += [f'{name}: the model has {found[name]}, this robot {value}'
              for name, value in wanted.items() if name in found and found[name] != value]
    return wrong
