"""Corrective labels: the careful expert drives the scenario of a case.

The expert (isaac_bridge.episode.careful) is told the truth of the simulated world, so it waits for
people whom the recorded policy never saw. It drives the scenario that was made of the case's bag,
once a seed. Of a drive that kept all criteria, what the robot saw and what its base was told become
streams like those of a bag. Judging seeds must be others: `Seeds` refuses an overlap.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace as Message
from typing import Any, cast

from isaac_bridge.case.recorded import CaseError
from isaac_bridge.case.scenario_of import scenario_document
from isaac_bridge.episode import senses
from isaac_bridge.episode.careful import CarefulPolicy
from isaac_bridge.episode.drive import Episode as Drive
from isaac_bridge.episode.drive import Robot as Software
from isaac_bridge.episode.drive import Witness, run
from isaac_bridge.robot import Robot
from isaac_bridge.scenario import Jitter, Scenario, parse_scenario
from isaac_bridge.world import Frame, World
from policy_client.observation import Sample
from policy_client.policies.base import Policy

from .errors import DatasetError
from .streams import Streams

# How a seed differs from the case: people begin a little earlier or later, a little aside.
VARIATION = Jitter(trigger_m=0.5, start_m=0.2)


@dataclasses.dataclass(frozen=True)
class Seeds:
    """Which seeds are driven for labels, and which are kept for judging."""

    labels: tuple[int, ...] = (1, 2, 3)
    judging: tuple[int, ...] = (1001, 1002, 1003, 1004, 1005)

    def __post_init__(self) -> None:
        if both := sorted(set(self.labels) & set(self.judging)):
            raise DatasetError(f'seed {both[0]} is for labels and for judging: unseen seeds judge')
        if not self.labels:
            raise DatasetError('labels of the expert need at least one seed')


def scenario(bag: Path, robot: Robot, site: dict[str, Any] | None = None) -> Scenario:
    """The case's scenario with VARIATION between seeds; raises DatasetError.

    site: the `world` of the site's own scenario (racks, hall); None: as the scans saw it.
    """
    try:
        made = parse_scenario(scenario_document(bag, robot, site), str(bag))
    except CaseError as error:
        raise DatasetError(str(error)) from None
    return dataclasses.replace(made, people=tuple(
        dataclasses.replace(person, jitter=VARIATION) for person in made.people))


def drive(world: World, software: Software, case: Scenario, seed: int,
          path: Callable[[], Policy]) -> tuple[Drive, Streams]:
    """One drive of the careful expert along another policy's path, and what it is as streams.

    The label at an instant is what the base was told then. Nothing is kept from before the base
    was first told to move: until then the reflex waits, which is none of the expert's doing.
    """
    careful = CarefulPolicy(path())
    told = _ToldWorld(world)
    keeper = _Keeper(software, case, told)
    try:
        shown = run(cast(World, told), software, case, seed, careful, None,
                    witnesses=(careful, keeper))
    finally:
        careful.close()
    return shown, keeper.streams()


class _ToldWorld:
    """The world itself; what its base is told is noted on the way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.told: list[tuple[int, float, float]] = []

    def command(self, v_mps: float, w_radps: float) -> None:
        self.told.append((self._world.t_ns, v_mps, w_radps))
        self._world.command(v_mps, w_radps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


class _Keeper(Witness):
    """Keeps the messages that the policy client would have had."""

    def __init__(self, software: Software, case: Scenario, told: _ToldWorld) -> None:
        self._embodiment, self._case, self._told = software.embodiment, case, told
        self._heard: list[tuple[str, Sample]] = []

    def see(self, frame: Frame, world: World) -> None:
        self._heard.append(('odom', senses.odometry(frame)))
        if frame.image is not None:
            for key in self._embodiment.video:
                self._heard.append((key.topic, senses.image(frame.image.copy(), frame.t_ns)))

    def streams(self) -> Streams:
        found, told = Streams(), self._told.told
        begins = next((at_ns for at_ns, v, w in told if v or w), None)
        if begins is None:
            return found
        found.hear('task', senses.task(self._case.task.instruction, begins))
        found.hear('goal_pose', senses.goal(self._case.goal, begins))
        for topic, sample in self._heard:
            if sample.received_ns >= begins:
                found.hear(topic, sample)
        command = self._embodiment.commands[0].topic
        for at_ns, v, w in told:
            if at_ns >= begins:
                twist = Message(linear=Message(x=v, y=0.0, z=0.0),
                                angular=Message(x=0.0, y=0.0, z=w))
                found.hear(command, Sample(Message(twist=twist), at_ns, at_ns))
        return found


def kept(shown: Drive) -> str:
    """Empty for a drive that teaches; else one sentence why it does not."""
    if shown.success and not shown.stops:
        return ''
    why = '; '.join(shown.broken) or f'{shown.stops} stops of the reflex'
    return f'seed {shown.seed}: the expert failed too: {why}'


def drives(world: World, software: Software, case: Scenario, seeds: Sequence[int],
           path: Callable[[], Policy]) -> tuple[list[tuple[int, Streams]], list[str]]:
    """(seed, streams) of each drive that teaches, and why each other one does not."""
    found, refused = [], []
    for seed in seeds:
        shown, streams = drive(world, software, case, seed, path)
        if why := kept(shown):
            refused.append(why)
        else:
            found.append((seed, streams))
    return found, refused
