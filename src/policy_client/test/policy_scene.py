"""A robot's world for tests of the pure modules: messages, samples, a virtual clock."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from policy_client.embodiment import Embodiment
from policy_client.embodiment_file import parse
from policy_client.handshake import ModelDescription, Signature, TensorSpec
from policy_client.observation import Sample, Tensors, blank
from policy_client.vocabulary import Vocabulary

MS = 1_000_000
CONFIG = Path(__file__).resolve().parents[3] / 'config/embodiments'
DOCUMENT: dict[str, Any] = yaml.safe_load((CONFIG / 'amr.yaml').read_text())
VOCABULARY = Vocabulary.load(CONFIG / 'vocabulary.txt')
AMR: Embodiment = parse(DOCUMENT)
SIGNATURE = Signature('1', {'video.front': (224, 224)}, tokens=16, horizon=16)


def changed(**paths: Any) -> dict[str, Any]:
    """The AMR's document with `a__b__c=value` set; value None removes the key."""
    document = copy.deepcopy(DOCUMENT)
    for path, value in paths.items():
        *parents, last = path.split('__')
        part = document
        for name in parents:
            part = part[int(name)] if isinstance(part, list) else part[name]
        if value is None:
            del part[last]
        else:
            part[last] = value
    return document


def model(**changes: Any) -> ModelDescription:
    """A description that fits the AMR; keyword arguments replace its fields."""
    values: dict[str, Any] = {
        'name': 'amr', 'version': '1',
        'inputs': (TensorSpec('video.front', 'UINT8', (1, 1, 224, 224, 3)),
                   TensorSpec('state.velocity', 'FP32', (1, 1, 2)),
                   TensorSpec('state.goal', 'FP32', (1, 1, 2)),
                   TensorSpec('annotation.human.task_description', 'INT64', (1, 16))),
        'outputs': (TensorSpec('action.base_velocity', 'FP32', (1, 16, 2)),),
        'parameters': {'embodiment': 'amr', 'action_period_ms': '100',
                       'modality_sha256': AMR.modality_sha256(VOCABULARY.sha256)}}
    return ModelDescription(**(values | changes))


def image(encoding: str = 'rgb8', height: int = 224, width: int = 224, value: int = 100,
          padding: int = 0) -> SimpleNamespace:
    channels = {'mono8': 1, 'rgba8': 4, 'bgra8': 4}.get(encoding, 3)
    step = width * channels + padding
    return SimpleNamespace(encoding=encoding, height=height, width=width, step=step,
                           data=np.full(height * step, value, np.uint8).tobytes())


def odometry(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, v: float = 0.0,
             w: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        header=SimpleNamespace(frame_id='odom'),
        pose=SimpleNamespace(pose=SimpleNamespace(
            position=SimpleNamespace(x=x, y=y),
            orientation=SimpleNamespace(x=0.0, y=0.0, z=np.sin(yaw / 2), w=np.cos(yaw / 2)))),
        twist=SimpleNamespace(twist=SimpleNamespace(linear=SimpleNamespace(x=v),
                                                    angular=SimpleNamespace(z=w))))


def goal(x: float, y: float, frame: str = 'odom') -> SimpleNamespace:
    return SimpleNamespace(header=SimpleNamespace(frame_id=frame),
                           pose=SimpleNamespace(position=SimpleNamespace(x=x, y=y)))


def task(text: str = 'drive to the goal') -> SimpleNamespace:
    return SimpleNamespace(data=text)


def samples(now_ns: int = 0, **messages: Any) -> dict[str, Sample]:
    """A complete set of fresh samples; a keyword replaces one (None removes it)."""
    topics = {'camera': 'camera/front/image_raw', 'odom': 'odom', 'goal': 'goal_pose',
              'task': 'task'}
    made = {'camera': image(), 'odom': odometry(), 'goal': goal(5.0, 0.0), 'task': task()}
    made |= messages
    return {topics[name]: message if isinstance(message, Sample) else Sample(
        message, now_ns, None if name == 'task' else now_ns)
        for name, message in made.items() if message is not None}


def rows(v: float = 0.5, w: float = 0.0, horizon: int = 16) -> np.ndarray:
    """A reply's tensor: the same velocity in each row."""
    return np.tile(np.array([v, w], np.float32), (1, horizon, 1))


def facing_goal(text: str = 'drive to the goal') -> Tensors:
    """The tensors of a standing robot without a camera, its goal 5 m ahead."""
    inputs = blank(AMR, SIGNATURE)
    inputs['state.goal'][0, 0] = (5.0, 0.0)
    inputs['annotation.human.task_description'] = VOCABULARY.encode(text, 16)[None]
    return inputs
