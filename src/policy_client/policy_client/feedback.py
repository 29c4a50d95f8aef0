"""Where the joints are that a policy drives, and the plan of a queue in the network's own units."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client.chunks import Array
from policy_client.embodiment import Embodiment
from policy_client.groot_checkpoint import PREFIX_LENGTH
from policy_client.handshake import prefix_name
from policy_client.motion import Limits
from policy_client.observation import Sample
from policy_client.policies.hold import held_name

# An arm may have moved meanwhile: older positions are no place to start from.
_MAX_AGE_NS = 250_000_000


def limits(embodiment: Embodiment) -> Limits:
    """What the action vector (D,) may do."""
    return Limits.of([(part.minimum, part.maximum, part.max_rate, part.max_rate2, part.max_rate3,
                       positional)
                      for part, positional in zip(embodiment.columns, embodiment.positional,
                                                  strict=True)])


def measured(embodiment: Embodiment, samples: Mapping[str, Sample],
             now_ns: int) -> tuple[Array, str]:
    """(positions (D,), what is wrong): rad and m of the joints, NaN in every other column.

    A joint a little beyond its limit (a gripper that is closed) starts at the limit: a set point
    beyond it would be refused by the reflex.
    """
    found = np.full(len(embodiment.columns), np.nan)
    wrong = ''
    for command in embodiment.commands:
        if not command.feedback:
            continue
        sample = samples.get(command.feedback)
        if sample is None or now_ns - sample.received_ns > _MAX_AGE_NS:
            wrong = f'nothing{" new" if sample else ""} came on {command.feedback}'
            continue
        places = {str(name): place for place, name in enumerate(sample.message.name)}
        for column in command.columns:
            joint = embodiment.columns[column].drives
            place = places.get(joint)
            position = math.nan if place is None or place >= len(sample.message.position) else (
                float(sample.message.position[place]))
            if not math.isfinite(position):
                wrong = f'{command.feedback} does not say where {joint} is'
                break
            part = embodiment.columns[column]
            found[column] = min(max(position, part.minimum), part.maximum)
    return found, wrong


def held(embodiment: Embodiment, last: Array) -> dict[str, NDArray[np.float32]]:
    """What `hold` is asked with, `held.<key>` (1, D of the key): joints stay at `last` (D,) or at
    the limit that is nearest to it, a twist is zero."""
    limit = limits(embodiment)
    still = np.clip(np.where(limit.positional, last, 0.0), limit.minimum, limit.maximum)
    return {name: rows[:, 0]
            for name, rows in in_network_units(embodiment, still[None], held_name).items()}


def rtc_prefix(embodiment: Embodiment, rows: Array, frozen: int) -> dict[str, NDArray[Any]]:
    """Inputs of real-time chunking: rows (P, D) that go out, of which so many are sure to."""
    return {**in_network_units(embodiment, rows, prefix_name),
            PREFIX_LENGTH: np.array([frozen], np.int32)}


def in_network_units(embodiment: Embodiment, rows: Array,
                      name: Callable[[str], str]) -> dict[str, NDArray[np.float32]]:
    """name(action key) -> (1, P, D of the key), from rows (P, D) of driven quantities."""
    scale = np.array([part.scale for part in embodiment.columns])
    offset = np.array([part.offset for part in embodiment.columns])
    # NaN: where a joint is that nobody has seen yet; a policy takes only numbers.
    found = np.nan_to_num((rows - offset) / scale).astype(np.float32)
    return {name(key): found[None, :, columns] for key, columns in embodiment.slices.items()}
