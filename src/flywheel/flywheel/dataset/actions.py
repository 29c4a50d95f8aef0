"""Recorded commands as a network's actions: the inverse of what the robot makes of a row.

The robot drives  scale * row + offset  (docs/embodiments.md of policy_client), so a row that would
have given the recorded command is  (command - offset) / scale.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.embodiment import TWIST, Command, Embodiment

from .streams import Streams

# Where a person's commands stand, in place of the policy's, by interface.
TELEOP = {'twist': 'teleop/cmd_vel', 'joints': 'teleop/joint_trajectory'}


def topic_of(command: Command, teleop: bool) -> str:
    return TELEOP[command.interface] if teleop else command.topic


def topics(embodiment: Embodiment, teleop: bool) -> tuple[str, ...]:
    """Where the labels are read."""
    return tuple(topic_of(command, teleop) for command in embodiment.commands)


def action_at(embodiment: Embodiment, streams: Streams, at_ns: int, max_age_ns: int,
              teleop: bool) -> NDArray[np.float32] | str:
    """The row (D,) in the network's units that was in force; or why there is none."""
    driven = np.full(len(embodiment.columns), np.nan)
    for command in embodiment.commands:
        topic = topic_of(command, teleop)
        sample = streams.newest(topic, at_ns)
        if sample is None:
            return f'missing: nothing came on {topic} yet'
        if at_ns - sample.received_ns > max_age_ns:
            return f'stale: {topic} is {(at_ns - sample.received_ns) // 1_000_000} ms old'
        for column in command.columns:
            value = _driven(sample.message, command, embodiment.columns[column].drives)
            if value is None:
                return f'missing: {embodiment.columns[column].drives} is not in {topic}'
            driven[column] = value
    scale = np.array([part.scale for part in embodiment.columns])
    offset = np.array([part.offset for part in embodiment.columns])
    row = ((driven - offset) / scale).astype(np.float32)
    return row if np.isfinite(row).all() else 'not finite: the command'


def _driven(message: Any, command: Command, drives: str) -> float | None:
    if command.interface == TWIST:
        vector, axis = drives.split('.')
        return float(getattr(getattr(message.twist, vector), axis))
    names = [str(name) for name in message.joint_names]
    if drives not in names or not len(message.points):
        return None
    positions = message.points[0].positions
    place = names.index(drives)
    return float(positions[place]) if place < len(positions) else None
