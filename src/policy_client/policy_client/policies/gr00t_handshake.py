"""What a GR00T server says of itself, and what one all-zero observation shows.

`get_modality_config` tells names, T, H and (by its markers) the encoding of arrays. It tells
nothing of a version, a digest, an embodiment tag, image sizes, D, or whether the server runs with
--use-sim-policy-wrapper. The observation shows D and the layout that is taken; what then is still
not known is said to be unknown.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.embodiment import ABSOLUTE, DATASET, RESOLVED, Embodiment
from policy_client.handshake import (
    PARAMETER_MEANING,
    UNSAID,
    ModelDescription,
    Signature,
    TensorSpec,
)
from policy_client.observation import blank
from policy_client.policies import gr00t_wire as wire
from policy_client.policies.gr00t_endpoint import AUTO, Endpoint

UNKNOWN = UNSAID
_FREE = -1
_UNSAID = 'version, digest, embodiment tag, action period, image sizes, sizes of the state'
# What Isaac-GR00T calls them -> what arrives: RELATIVE ones come back added to the state already.
_MEANINGS = {'ABSOLUTE': ABSOLUTE, 'RELATIVE': RESOLVED, 'DELTA': DATASET}

# (endpoint, data, encoding) -> the server's answer; raises LinkError, WireError, Refused.
Ask = Callable[[str, Mapping[str, Any] | None, str], Any]


@dataclass(frozen=True, eq=False)
class Agreement:
    """What a handshake found out; each handshake makes its own."""
    encoding: str
    layout: str
    modalities: Mapping[str, wire.Modality]
    actions: frozenset[str]


def hold(ask: Ask, robot: Embodiment,
         endpoint: Endpoint) -> tuple[ModelDescription, Agreement | None]:
    """The description, and what requests are written by; None when the names do not agree.

    The observation is sent only to a server whose names, T and language form are the embodiment's;
    another one is described with free sizes, for the comparison to name each difference.
    """
    pong = ask('ping', None, wire.NPY)
    if not isinstance(pong, dict) or pong.get('status') != 'ok':
        raise wire.WireError('the answer to ping is not that of a GR00T server')
    found, shown = wire.modalities(ask('get_modality_config', None, wire.NPY))
    outputs: dict[str, NDArray[Any]] = {}
    agreed, encoding, layout = None, UNKNOWN, UNKNOWN
    if _agree(robot, found):
        outputs, encoding, layout = _trial(ask, robot, endpoint, found['action'], shown)
        agreed = Agreement(encoding, layout, found, frozenset(outputs))
    parameters = {'encoding': encoding, 'layout': layout, UNKNOWN: _UNSAID}
    return ModelDescription(
        UNKNOWN, UNKNOWN, _inputs(robot, found, endpoint.image_size),
        _outputs(found['action'], outputs), parameters | _meanings(robot, found['action']),
        endpoint.shown), agreed


def _agree(robot: Embodiment, found: Mapping[str, wire.Modality]) -> bool:
    wanted = {robot.language.name}
    wanted.update(key.name for key in robot.video)
    wanted.update(key.name for key in robot.state)
    return (wanted == {name for name, _ in _names(found)} and not robot.language.tokens
            and all(found[name].steps == 1 for name in ('video', 'state', 'language')))


def _trial(ask: Ask, robot: Embodiment, endpoint: Endpoint, action: wire.Modality,
           shown: str) -> tuple[dict[str, NDArray[Any]], str, str]:
    """(actions, encoding, layout) of the first way to write an observation that is taken."""
    inputs = blank(robot, Signature('', {key.name: endpoint.image_size for key in robot.video},
                                    tokens=0, horizon=0))
    first = shown if endpoint.encoding == AUTO else endpoint.encoding
    encodings = (first,) if first else wire.ENCODINGS
    layouts = wire.LAYOUTS if endpoint.layout == AUTO else (endpoint.layout,)
    refusals = []
    for encoding, layout in itertools.product(encodings, layouts):
        try:
            content = ask('get_action', wire.observation(inputs, layout), encoding)
        except wire.Refused as error:
            refusals.append(f'{layout}, {encoding}: {error}')
            continue
        outputs, _ = wire.actions(content)
        _check(outputs, action)
        return outputs, encoding, layout
    raise wire.Refused(f'an all-zero observation is refused ({"; ".join(refusals)})')


def _check(outputs: Mapping[str, NDArray[Any]], action: wire.Modality) -> None:
    """Raises WireError where the actions are not those of the modality configuration."""
    wanted = {f'action.{key}' for key in action.keys}
    if set(outputs) != wanted:
        raise wire.WireError(f'the actions are {", ".join(sorted(outputs))}, announced were '
                             f'{", ".join(sorted(wanted))}')
    for name, array in outputs.items():
        if array.ndim != 3 or array.shape[1] != action.steps:
            raise wire.WireError(f'{name} has shape {array.shape}, announced were '
                                 f'{action.steps} rows')


def _inputs(robot: Embodiment, found: Mapping[str, wire.Modality],
            image_size: tuple[int, int]) -> tuple[TensorSpec, ...]:
    sizes = {key.name: len(key.components) for key in robot.state}
    specs = []
    for name, steps in _names(found):
        if name.startswith('video.'):
            specs.append(TensorSpec(name, 'UINT8', (1, steps, *image_size, 3)))
        elif name.startswith('state.'):
            # Not said by the server: it took the embodiment's size, or was not asked.
            specs.append(TensorSpec(name, 'FP32', (1, steps, sizes.get(name, _FREE))))
        else:
            specs.append(TensorSpec(name, 'BYTES', (1, steps)))
    return tuple(specs)


def _outputs(action: wire.Modality,
             outputs: Mapping[str, NDArray[Any]]) -> tuple[TensorSpec, ...]:
    specs = []
    for key in action.keys:
        name, array = f'action.{key}', outputs.get(f'action.{key}')
        if array is None:
            specs.append(TensorSpec(name, 'FP32', (1, action.steps, _FREE)))
        else:
            specs.append(TensorSpec(name, 'FP32' if array.dtype == np.float32
                                    else str(array.dtype), array.shape))
    return tuple(specs)


def _meanings(robot: Embodiment, action: wire.Modality) -> dict[str, str]:
    """`action.<key>.meaning` -> what it means there, or unknown.

    ABSOLUTE says only that the server changes nothing: where the data set has deltas it sends
    deltas, so it goes with an embodiment that says so.
    """
    own = {key.name for key in robot.actions if key.meaning == DATASET}
    said = action.representations or ('',) * len(action.keys)
    found = {}
    for key, word in zip(action.keys, said, strict=True):
        meaning = _MEANINGS.get(word, UNKNOWN)
        name = f'action.{key}'
        found[PARAMETER_MEANING.format(name)] = (
            DATASET if meaning == ABSOLUTE and name in own else meaning)
    return found


def _names(found: Mapping[str, wire.Modality]) -> Iterator[tuple[str, int]]:
    """(tensor name, T) of each input that the server wants; its language keys stand bare."""
    for modality, part in found.items():
        if modality != 'action':
            for key in part.keys:
                yield key if modality == 'language' else f'{modality}.{key}', part.steps
