"""Replayed actions against the commands that were recorded, bit for bit. Pure."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_client import messages
from policy_client.chunks import Array
from policy_client.embodiment import TWIST, Command, Embodiment
from policy_client.replay.playback import Tick
from policy_client.replay.recording import ByStamp


@dataclass
class Compared:
    """One command topic. A message belongs to the tick whose stamp is in its header.

    Attributes:
        equal: ticks whose message has the same bits in every number.
        different: ticks whose message has not.
        first: the first difference, one sentence.
        without_message: ticks whose message is not in the bag.
        nothing_due: ticks without a command and without a message: nobody knew where the joints
            were.
        without_tick: messages that no tick in the bag made.
    """
    equal: int = 0
    different: int = 0
    first: str = ''
    without_message: int = 0
    nothing_due: int = 0
    without_tick: int = 0


def compare(embodiment: Embodiment, ticks: Sequence[Tick], missed: Sequence[int],
            commands: Mapping[str, ByStamp]) -> dict[str, Compared]:
    """Command topic -> how its messages compare with the replayed ticks.

    Args:
        missed: stamps of the ticks that could not be replayed; their messages are not compared.
    """
    found = {}
    for part in embodiment.commands:
        found[part.topic] = _compared(embodiment, part, ticks, missed,
                                      commands.get(part.topic, {}))
    return found


def _compared(embodiment: Embodiment, part: Command, ticks: Sequence[Tick],
              missed: Sequence[int], recorded: ByStamp) -> Compared:
    result = Compared()
    # A simulated clock may stand still for some ticks: the n-th of a stamp has its n-th message.
    used: dict[int, int] = {}
    for tick in ticks:
        number = used.get(tick.stamp_ns, 0)
        used[tick.stamp_ns] = number + 1
        same = recorded.get(tick.stamp_ns, ())
        message = same[number] if number < len(same) else None
        due = messages.command(embodiment, part, tick.action, (0, 0), 0)
        if message is None:
            result.nothing_due += due is None
            result.without_message += due is not None
        elif isinstance(message, str):
            result.different += 1
            result.first = result.first or f'{part.topic} at {tick.stamp_ns / 1e9:.3f} s: {message}'
        elif due is not None and _bits(part, due) == _bits(part, message):
            result.equal += 1
        else:
            result.different += 1
            result.first = result.first or _difference(embodiment, part, tick, message)
    for stamp in missed:
        used[stamp] = used.get(stamp, 0) + 1
    result.without_tick = sum(max(0, len(same) - used.get(stamp, 0))
                              for stamp, same in recorded.items())
    return result


def _bits(part: Command, message: Any) -> tuple[Any, bytes]:
    """What a command says: its names or frame, and its numbers' bytes."""
    if part.interface == TWIST:
        twist = message.twist
        return message.header.frame_id, struct.pack(
            '<6d', twist.linear.x, twist.linear.y, twist.linear.z, twist.angular.x,
            twist.angular.y, twist.angular.z)
    numbers = [float(value) for point in message.points for value in point.positions]
    return tuple(message.joint_names), struct.pack(f'<{len(numbers)}d', *numbers)


def _difference(embodiment: Embodiment, part: Command, tick: Tick, message: Any) -> str:
    where = f'{part.topic} at {tick.stamp_ns / 1e9:.3f} s'
    try:
        recorded: Array | None = messages.taken(embodiment, {part.topic: message})
    except (IndexError, ValueError):
        recorded = None
    if recorded is not None:
        for column in part.columns:
            mine, theirs = float(tick.action[column]), float(recorded[column])
            if struct.pack('<d', mine) != struct.pack('<d', theirs):
                return (f'{where}: {embodiment.columns[column].drives} is {theirs!r} in the bag '
                        f'and {mine!r} in the replay')
    return f'{where}: frame, names or fields that the policy does not drive differ'
