"""May the policy move, and has it work? From the reflex's state, the task and the goal."""

import math
import re
from collections.abc import Mapping
from typing import Any

from policy_client.embodiment import Embodiment, StateKey
from policy_client.observation import Sample, goal_position, pick

# The reflex's states in which the policy may move; in the others, and in silence, it is neutral.
FREE = ('RUNNING', 'SLOWED')
COMMAND_TOPIC = 'policy/cmd_vel'
# Beyond this many tolerances a robot that had arrived sets out again.
_LEAVING = 2.0
_SHARE = re.compile(r'[01]\.\d{1,6}')


class Situation:
    """`resting` gives the reason not to ask the policy, or nothing when there is work for it."""

    def __init__(self, embodiment: Embodiment, safety_timeout_ns: int,
                 goal_tolerance_m: float) -> None:
        self._embodiment = embodiment
        self._safety_timeout_ns = safety_timeout_ns
        self._goal_tolerance_m = goal_tolerance_m
        self._safety = ''
        self._safety_ns: int | None = None
        self._arrived = False
        self._goal: tuple[float, ...] | None = None
        self._judged: tuple[Sample | None, Sample | None] = None, None

    def safety(self, state: str, steady_ns: int) -> bool:
        """Take the reflex's state; True when the policy becomes free to move."""
        was_free = self._safety in FREE
        self._safety, self._safety_ns = state, steady_ns
        return state in FREE and not was_free

    def new_task(self) -> None:
        self._arrived = False

    def is_elsewhere(self, key: StateKey, before: Sample, now: Sample) -> bool:
        """Whether a goal is another place than the one before, and not that place told anew."""
        moved = [float(pick(now.message, part.field)) - float(pick(before.message, part.field))
                 for part in key.components]
        return not math.hypot(*moved) <= self._goal_tolerance_m  # NaN: it is nowhere

    def resting(self, samples: Mapping[str, Sample], logical_ns: int,
                steady_ns: int) -> tuple[str, str] | None:
        """(state, why) when the robot has to rest: `neutral`, `no_task`, `no_goal`, `arrived`."""
        if self._safety_ns is None:
            return 'neutral', 'safety/state was never heard'
        silent = steady_ns - self._safety_ns
        if silent > self._safety_timeout_ns:
            return 'neutral', f'safety/state is silent for {silent // 1_000_000} ms'
        if self._safety not in FREE:
            return 'neutral', f'the reflex is {self._safety or "in no state that it names"}'
        language = self._embodiment.language
        task = samples.get(language.topic)
        if task is None or not str(pick(task.message, language.field)).strip():
            return 'no_task', f'nothing to do on {language.topic}'
        goal = self._embodiment.goal
        if goal is not None:
            if goal.topic not in samples:
                return 'no_goal', f'nothing came on {goal.topic}'
            if self._at_goal(goal, samples, logical_ns):
                return 'arrived', ''
        return None

    def _at_goal(self, key: StateKey, samples: Mapping[str, Sample], logical_ns: int) -> bool:
        sample = samples[key.topic]
        seen_from = samples.get(key.seen_from.topic) if key.seen_from else None
        if self._judged[0] is sample and self._judged[1] is seen_from:
            return self._arrived  # nothing new since the last tick
        self._judged = sample, seen_from
        goal = tuple(float(pick(sample.message, part.field)) for part in key.components)
        if goal != self._goal:  # the same one said again is not a new goal
            self._goal, self._arrived = goal, False
        position = goal_position(key, samples, logical_ns)
        if isinstance(position, str):
            return self._arrived
        tolerance = self._goal_tolerance_m * (_LEAVING if self._arrived else 1.0)
        self._arrived = math.hypot(*position) <= tolerance
        return self._arrived


def safety_pace(message: Any) -> float:
    """How much of their speed the reflex leaves joints, 0 to 1; 1 where it does not say."""
    for status in message.status:
        if str(status.name).rsplit('/', 1)[-1] == 'safety_reflex':
            for pair in status.values:
                if pair.key == 'pace' and _SHARE.fullmatch(pair.value):
                    return min(1.0, float(pair.value))
    return 1.0


def safety_state(message: Any) -> str:
    """The reflex's state in a diagnostic_msgs/DiagnosticArray; empty when it does not say.

    While the reflex hears another commander, or waits for a neutral policy, no state of it is free.
    """
    for status in message.status:
        if str(status.name).rsplit('/', 1)[-1] == 'safety_reflex':
            values = {str(pair.key): str(pair.value) for pair in status.values}
            commander = values.get('command_source', COMMAND_TOPIC)
            if values.get('state') in FREE and commander != COMMAND_TOPIC:
                return f'in the hands of {commander}' if commander else 'waiting for neutral'
            return values.get('state', '')
    return ''
