"""The robots of config/embodiments/, one fixed observation for each, and GR00T's model for them.

Messages are filled by whole-number arithmetic, so that every machine sees the same ones.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from policy_scene import CONFIG, MS, VOCABULARY

from policy_client import groot_checkpoint
from policy_client.embodiment import COMPRESSED_IMAGE, JOINT_STATE, POSE, Embodiment
from policy_client.embodiment_file import load, parse
from policy_client.handshake import ModelDescription, Signature, TensorSpec
from policy_client.observation import Observation, Sample, assemble

ROBOTS = {path.stem: load(path) for path in sorted(CONFIG.glob('*.yaml'))}
GROOT = tuple(name for name in ROBOTS if name != 'amr')
GROOT_MODEL = Path(__file__).resolve().parents[3] / 'docker/triton/model_repository/groot'
IMAGE_SIZES = {'amr': (224, 224), 'droid': (180, 320)}
NOW_NS = 5_000 * MS
# Pointing down, turned by a third of a right angle and a little tilted; of length one.
DOWN = (0.96, 0.28, 0.0, 0.0)


def with_text(name: str) -> Embodiment:
    """The robot with its instruction as text, which is what GR00T takes."""
    document = yaml.safe_load((CONFIG / f'{name}.yaml').read_text())
    for key in document['language'].values():
        key['form'] = 'text'
    return parse(document)


def size(robot: Embodiment) -> tuple[int, int]:
    """(height, width) that pictures are sent in."""
    return IMAGE_SIZES.get(robot.name, (256, 256))


def signature(robot: Embodiment, horizon: int = 16) -> Signature:
    return Signature('1', {key.name: size(robot) for key in robot.video},
                     16 if robot.language.tokens else 0, horizon)


def groot_model(robot: Embodiment, prefix: bool = True) -> ModelDescription:
    """How the model `groot` describes itself with the checkpoint of this robot's tag."""
    modality = groot_checkpoint.read(GROOT_MODEL / '1/standin', robot.name)
    parameters = {'embodiment': robot.name, 'action_period_ms': str(robot.action_period_ms),
                  'modality_sha256': robot.modality_sha256(VOCABULARY.sha256)}
    return ModelDescription(
        'groot', '1', tuple(map(_spec, modality.inputs(size(robot), prefix))),
        tuple(map(_spec, modality.outputs())), parameters)


def _spec(tensor: groot_checkpoint.Tensor) -> TensorSpec:
    kind = 'BYTES' if tensor.data_type == 'TYPE_STRING' else tensor.data_type.removeprefix('TYPE_')
    return TensorSpec(tensor.name, kind, tensor.dims, tensor.optional)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """RGB (height, width, 3) in which each pixel is its own."""
    y, x, channel = np.ogrid[:height, :width, :3]
    return ((3 * x + 5 * y + 71 * channel + 29 * seed + x * y // 16) % 256).astype(np.uint8)


def image(height: int, width: int, seed: int = 0) -> SimpleNamespace:
    return SimpleNamespace(encoding='rgb8', height=height, width=width, step=3 * width,
                           data=picture(height, width, seed).tobytes())


def joint_state(values: dict[str, float]) -> SimpleNamespace:
    """A JointState in another order than anybody wants it."""
    names = sorted(values, reverse=True)
    return SimpleNamespace(name=names, position=[values[name] for name in names],
                           velocity=[], effort=[])


def joint_values(robot: Embodiment) -> dict[str, float]:
    """A position for each joint that the robot observes or drives, within its limits."""
    limits = {part.drives: (part.minimum, part.maximum)
              for part, positional in zip(robot.columns, robot.positional, strict=True)
              if positional}
    names = {part.joint for key in robot.state if key.type == JOINT_STATE
             for part in key.components}
    found = {}
    for number, name in enumerate(sorted(names | set(limits))):
        low, high = limits.get(name, (0.0, 0.5))
        found[name] = low + (high - low) * ((37 * number + 11) % 101) / 101
    return found


def samples(robot: Embodiment) -> dict[str, Sample]:
    """A complete set of messages, all taken at NOW_NS."""
    messages: dict[str, Any] = {}
    for number, video in enumerate(robot.video):
        assert video.type != COMPRESSED_IMAGE
        messages[video.topic] = image(*size(robot), seed=number)
    for topic, (kind, _) in robot.topics.items():
        if kind == JOINT_STATE:
            messages[topic] = joint_state(joint_values(robot))
        elif kind == POSE:
            messages[topic] = pose()
        elif 'Odometry' in kind:
            messages[topic] = odometry()
    messages[robot.language.topic] = SimpleNamespace(data='drive to the goal')
    return {topic: Sample(message, NOW_NS, NOW_NS) for topic, message in messages.items()}


def pose(orientation: tuple[float, ...] = DOWN) -> SimpleNamespace:
    x, y, z, w = orientation
    return SimpleNamespace(
        header=SimpleNamespace(frame_id='odom'),
        pose=SimpleNamespace(position=SimpleNamespace(x=0.5, y=-0.25, z=0.75),
                             orientation=SimpleNamespace(x=x, y=y, z=z, w=w)))


def odometry() -> SimpleNamespace:
    standing = pose((0.0, 0.0, 0.0, 1.0)).pose
    return SimpleNamespace(
        header=SimpleNamespace(frame_id='odom'), pose=SimpleNamespace(pose=standing),
        twist=SimpleNamespace(twist=SimpleNamespace(
            linear=SimpleNamespace(x=0.375, y=0.0, z=0.0),
            angular=SimpleNamespace(x=0.0, y=0.0, z=-0.125))))


def observation(robot: Embodiment) -> Observation:
    """What is sent for `samples`."""
    found = assemble(robot, VOCABULARY, signature(robot), samples(robot), NOW_NS)
    assert isinstance(found, Observation), str(found)
    return found
