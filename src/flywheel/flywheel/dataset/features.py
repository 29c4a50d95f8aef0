"""What `info.json` and `modality.json` say: the features of a data set, from the embodiment."""

from collections.abc import Mapping
from typing import Any

from policy_client.embodiment import Embodiment

from . import video
from .episodes import ACTION, CAUSE, REWARD, STATE, TASK, TIMESTAMP

_INTEGERS = ('frame_index', 'episode_index', 'index', 'task_index', TASK, CAUSE)


def video_key(name: str) -> str:
    """`video.front` -> `observation.images.front`."""
    return f'observation.images.{name.removeprefix("video.")}'


def names(embodiment: Embodiment) -> tuple[list[str], list[str]]:
    """Of the columns of observation.state and of action, as `<key>.<component>`."""
    state = [f'{key.name.removeprefix("state.")}.{part.name}'
             for key in embodiment.state for part in key.components]
    action = [f'{key.name.removeprefix("action.")}.{part.name}'
              for key in embodiment.actions for part in key.components]
    return state, action


def features(embodiment: Embodiment, fps: int,
             sizes: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """The `features` of info.json. sizes: (height, width) by camera; without it, no video."""
    state, action = names(embodiment)
    found: dict[str, Any] = {
        video_key(name): {
            'dtype': 'video', 'shape': [height, width, 3],
            'names': ['height', 'width', 'channels'],
            'info': {'video.height': height, 'video.width': width, 'video.codec': video.CODEC,
                     'video.pix_fmt': video.PIXELS, 'video.is_depth_map': False,
                     'video.fps': fps, 'video.channels': 3, 'has_audio': False}}
        for name, (height, width) in sizes.items()}
    found[STATE] = {'dtype': 'float32', 'shape': [len(state)], 'names': state}
    found[ACTION] = {'dtype': 'float32', 'shape': [len(action)], 'names': action}
    found[TIMESTAMP] = {'dtype': 'float32', 'shape': [1], 'names': None}
    for name in _INTEGERS:
        found[name] = {'dtype': 'int64', 'shape': [1], 'names': None}
    found[REWARD] = {'dtype': 'float32', 'shape': [1], 'names': None}
    found['next.done'] = {'dtype': 'bool', 'shape': [1], 'names': None}
    return found


def modality(embodiment: Embodiment, with_video: bool) -> dict[str, Any]:
    """GR00T's modality.json: half-open slices of the vectors, cameras, annotations."""
    return {
        'state': _slices([(key.name.removeprefix('state.'), len(key.components))
                          for key in embodiment.state]),
        'action': _slices([(key.name.removeprefix('action.'), len(key.components))
                           for key in embodiment.actions]),
        'video': {key.name.removeprefix('video.'): {'original_key': video_key(key.name)}
                  for key in embodiment.video} if with_video else {},
        'annotation': {name.removeprefix('annotation.'): {'original_key': name}
                       for name in dict.fromkeys((TASK, CAUSE))}
        | {embodiment.language.name.removeprefix('annotation.'): {'original_key': TASK}},
    }


def _slices(widths: list[tuple[str, int]]) -> dict[str, dict[str, int]]:
    found, start = {}, 0
    for name, width in widths:
        found[name] = {'start': start, 'end': start + width}
        start += width
    return found
