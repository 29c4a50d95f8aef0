"""The tensors of a GR00T checkpoint, read from its JSON files: no network is loaded for it.

A checkpoint of GR00T N1.6 or N1.7 says in `processor_config.json` which keys an embodiment has and
at which steps (`delta_indices`), and in `statistics.json` how wide each key is. The tensors are
named as GR00T's flat interface names them: `video.X`, `state.X`, the bare language key, `action.X`.

This file lies twice in the repository, byte for byte: in the package policy_client, and beside the
Triton model `groot`, whose folder has to be complete by itself. Only the standard library is used.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FREE = -1
# Real-time chunking: the rows of the running plan that the new chunk has to continue.
# PREFIX + action key is float32 (1, P, D) in absolute units, P from 1 to H; PREFIX_LENGTH is int32
# (1): how many of its first rows will have been executed before the new chunk can begin.
PREFIX = 'rtc.prefix.'
PREFIX_LENGTH = 'rtc.prefix_length'
_IMAGE_SIZE = re.compile(r'([1-9]\d{0,3})x([1-9]\d{0,3})')


class CheckpointError(ValueError):
    """The checkpoint cannot be read or does not know the embodiment; the message names the file."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model; data_type is a name of Triton's model configuration, -1 is free."""
    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Modality:
    """What a checkpoint takes and gives for one embodiment; keys without GR00T's prefixes."""
    video: tuple[str, ...]
    state: Mapping[str, int]   # key -> D; -1 where the statistics do not say
    action: Mapping[str, int]
    languages: tuple[str, ...]  # the first one is the input, the others are paraphrases of it
    video_steps: int            # T of the images
    state_steps: int            # T of the states
    horizon: int                # H
    # Where the robot was on average in its data, () where the statistics do not say: a state that a
    # policy can be tried with. All zero is no rotation, for one.
    mean_state: Mapping[str, tuple[float, ...]]

    def inputs(self, image_size: tuple[int, int], prefix: bool,
               jpeg: Collection[str] = ()) -> tuple[Tensor, ...]:
        """Images of (height, width) pixels, states, language and, with prefix, the RTC inputs.

        Tensors named in jpeg are pictures as JPEG, one text each.
        """
        tensors = [Tensor(f'video.{key}', 'TYPE_STRING', (1, self.video_steps))
                   if f'video.{key}' in jpeg else
                   Tensor(f'video.{key}', 'TYPE_UINT8', (1, self.video_steps, *image_size, 3))
                   for key in self.video]
        tensors += [Tensor(f'state.{key}', 'TYPE_FP32', (1, self.state_steps, size))
                    for key, size in self.state.items()]
        tensors.append(Tensor(self.languages[0], 'TYPE_STRING', (1, 1)))
        if prefix:
            tensors += [Tensor(f'{PREFIX}{key}', 'TYPE_FP32', (1, FREE, size), optional=True)
                        for key, size in self.action.items()]
            tensors.append(Tensor(PREFIX_LENGTH, 'TYPE_INT32', (1,), optional=True))
        return tuple(tensors)

    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(f'action.{key}', 'TYPE_FP32', (1, self.horizon, size))
                     for key, size in self.action.items())


def image_size(text: str, parameter: str = 'image_size') -> tuple[int, int]:
    """(height, width) from 'HEIGHTxWIDTH', both free when the text is empty.

    GR00T resizes whatever comes, and its checkpoints do not say what they were trained on.
    Raises CheckpointError.
    """
    if not text:
        return FREE, FREE
    match = _IMAGE_SIZE.fullmatch(text)
    if not match:
        raise CheckpointError(f'{parameter} = {text!r}: must be HEIGHTxWIDTH in pixels, 256x256 '
                              'say')
    return int(match[1]), int(match[2])


def read(folder: Path, embodiment_tag: str) -> Modality:
    """The modality of an embodiment in a checkpoint; raises CheckpointError in one sentence."""
    if not folder.is_dir():
        raise CheckpointError(f'model_path: there is no checkpoint folder {folder}')
    # Training saves the processor in a folder of its own.
    if not (folder / 'processor_config.json').exists() and (folder / 'processor').is_dir():
        folder = folder / 'processor'
    file = folder / 'processor_config.json'
    try:
        known = _json(file)['processor_kwargs']['modality_configs']
        if embodiment_tag not in known:
            raise CheckpointError(f'embodiment_tag = {embodiment_tag!r}: {file} knows '
                                  f'{", ".join(sorted(known))}')
        keys = {kind: [str(key) for key in known[embodiment_tag][kind]['modality_keys']]
                for kind in ('video', 'state', 'action', 'language')}
        steps = {kind: len(known[embodiment_tag][kind]['delta_indices']) for kind in keys}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f'{file} is not a GR00T processor: {error!r}') from error
    empty = [kind for kind, names in keys.items() if not names or not steps[kind]]
    if empty:
        raise CheckpointError(f'{file}: {embodiment_tag} has no {empty[0]} keys or steps')
    if steps['language'] != 1:
        raise CheckpointError(f'{file}: {embodiment_tag} wants {steps["language"]} instructions '
                              'an observation, GR00T takes one')
    statistics = _json(folder / 'statistics.json')
    widths = {kind: {key: len(_statistic(statistics, embodiment_tag, kind, key, 'min')) or FREE
                     for key in keys[kind]} for kind in ('state', 'action')}
    means = {key: _statistic(statistics, embodiment_tag, 'state', key, 'mean')
             for key in keys['state']}
    return Modality(tuple(keys['video']), widths['state'], widths['action'],
                    tuple(keys['language']), steps['video'], steps['state'], steps['action'], means)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{file}: {error}') from error


def _statistic(statistics: Any, tag: str, kind: str, key: str, name: str) -> tuple[float, ...]:
    """One value for each component of a key; () where the data set's statistics lack it."""
    try:
        return tuple(float(value) for value in statistics[tag][kind][key][name])
    except (KeyError, TypeError, ValueError):
        return ()
