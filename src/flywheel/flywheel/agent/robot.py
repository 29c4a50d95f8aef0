"""What the agent asks of the robot it runs on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class LoadError(RuntimeError):
    """The robot cannot load or warm up a version; one sentence. What ran goes on running."""


@dataclass(frozen=True)
class Version:
    """A release on the robot's disk. folder: its files under the manifest's paths, verified."""
    digest: str
    name: str
    version: int
    format: str
    folder: Path
    modality_sha256: str


@dataclass(frozen=True)
class Counts:
    """Totals since the counting began.

    since: an id that changes when the counting begins anew (the process was started again).
    driving_ms: while a task was driven by the policy, of the robot's steady clock.
    e_stops: times the reflex latched. interventions: times a person took over or helped.
    """
    since: str
    driving_ms: int
    e_stops: int
    interventions: int


class Robot(Protocol):
    """Called from one thread that is neither the control loop's nor the reflex's."""

    def is_idle(self) -> bool:
        """No task, standing, the reflex not latched."""

    def load(self, version: Version) -> None:
        """Load it beside what is loaded. Raises LoadError, and leaves nothing half loaded."""

    def warm_up(self, version: Version) -> None:
        """Run it on made-up observations until it is as fast as it gets. Raises LoadError."""

    def swap(self, version: Version) -> bool:
        """Let a loaded version lead from the next chunk on, if the robot is idle at that moment;
        else False, and nothing changed. True at once where it leads already or none leads yet."""

    def unload(self, digest: str) -> None:
        """Never of the version that leads, nor of the one that is its fallback."""

    def report(self) -> Counts: ...
