"""Where the actions of a data set come from. It is always said, and stands in its provenance.

    policy    what the policy asked for in the bag: to imitate it, or to look at it
    teleop    what a person's commands in the bag were, where there were any
    expert    the careful expert, who drives the case's scenario in simulation (expert.py)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from policy_client.embodiment import Embodiment

from . import actions, streams
from .errors import DatasetError
from .streams import Streams

POLICY, TELEOP, EXPERT = 'policy', 'teleop', 'expert'


@dataclass(frozen=True)
class Labelled:
    """Streams with the actions in them. seed: of the simulated drive, None for a recorded one."""

    streams: Streams
    seed: int | None = None
    succeeded: bool = False


class Source(Protocol):
    """Raises DatasetError for a case that it has no labels for."""

    name: str

    def label(self, bag: Path) -> tuple[list[Labelled], list[str]]:
        """What is labelled, and one sentence for each part that is left out."""

    def told(self) -> dict[str, Any]:
        """For the provenance."""


@dataclass(frozen=True)
class Recorded:
    """The bag's own commands: a person's, or the policy's."""

    embodiment: Embodiment
    teleop: bool = False

    @property
    def name(self) -> str:
        return TELEOP if self.teleop else POLICY

    def label(self, bag: Path) -> tuple[list[Labelled], list[str]]:
        wanted = actions.topics(self.embodiment, self.teleop)
        found = streams.of_bag(bag, (*self.embodiment.topics, *wanted))
        for topic in wanted:
            if not found.all(topic):
                raise DatasetError(f'{bag.name}: has no message on {topic} to take labels from')
        return [Labelled(found)], []

    def told(self) -> dict[str, Any]:
        return {'source': self.name, 'topics': list(actions.topics(self.embodiment, self.teleop))}


@dataclass
class Expert:
    """The careful expert along the path of `path()`, a policy of the same embodiment.

    world: any engine, with or without a camera. policy: its name and digest, for the provenance.
    """

    world: Any
    software: Any
    robot: Any
    path: Callable[[], Any]
    seeds: Any
    policy: dict[str, str]
    site: dict[str, Any] | None = None
    name: str = EXPERT

    def label(self, bag: Path) -> tuple[list[Labelled], list[str]]:
        from . import expert
        case = expert.scenario(bag, self.robot, self.site)
        driven, refused = expert.drives(self.world, self.software, case, self.seeds.labels,
                                        self.path)
        return [Labelled(each, seed, True) for seed, each in driven], refused

    def told(self) -> dict[str, Any]:
        return {'source': EXPERT, 'expert': 'isaac_bridge.episode.careful',
                'path_of': dict(self.policy), 'seeds': list(self.seeds.labels),
                'judging_seeds': list(self.seeds.judging)}
