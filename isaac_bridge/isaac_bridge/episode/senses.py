"""A frame as the messages that a policy client reads: the fields that it reads, and no others."""

import math
from types import SimpleNamespace as Message

import numpy as np

from policy_client.observation import Sample

from ..world import Frame


def odometry(frame: Frame) -> Sample:
    x, y, yaw = frame.odometry.pose
    v, w = frame.odometry.twist
    return Sample(Message(
        header=Message(frame_id='odom'),
        pose=Message(pose=Message(
            position=Message(x=x, y=y),
            orientation=Message(x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2)))),
        twist=Message(twist=Message(linear=Message(x=v), angular=Message(z=w)))),
        frame.t_ns, frame.t_ns)


def joint_states(frame: Frame, names: tuple[str, ...]) -> Sample:
    return Sample(Message(name=list(names), position=list(frame.joint_positions),
                          velocity=list(frame.joint_velocities)), frame.t_ns, frame.t_ns)


def image(pixels: np.ndarray, t_ns: int) -> Sample:
    """pixels: uint8 (height, width, 3) RGB."""
    height, width, _ = pixels.shape
    return Sample(Message(encoding='rgb8', height=height, width=width, step=width * 3,
                          data=pixels.tobytes()), t_ns, t_ns)


def goal(place: tuple[float, float], t_ns: int) -> Sample:
    return Sample(Message(header=Message(frame_id='odom'),
                          pose=Message(position=Message(x=place[0], y=place[1]))), t_ns, t_ns)


def task(text: str, t_ns: int) -> Sample:
    return Sample(Message(data=text), t_ns)


def safety_state(values: dict[str, str]) -> Message:
    """values: as the reflex's `status` gives them."""
    return Message(status=[Message(
        name='safety_reflex',
        values=[Message(key=key, value=value) for key, value in values.items()])])
