"""What the agent asks of the control plane. It is away at any time, for days."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flywheel.rollout.desired import Desired
from flywheel.rollout.reports import Report


class AwayError(RuntimeError):
    """The control plane, or the way to it, does not answer; try again later."""


class RefusedError(RuntimeError):
    """It answered, and not with what was asked for."""


@dataclass(frozen=True)
class Answer:
    """outcome: `accepted`, `duplicate` or `refused` with a reason. revision: see Desired."""
    sequence: int
    outcome: str
    reason: str
    revision: int


class Cloud(Protocol):
    """Every method raises AwayError or RefusedError, within a bounded time."""

    def desired(self, known: int) -> Desired | None:
        """What the robot is to run; None if that is the revision it knows."""

    def post(self, reports: Sequence[Report]) -> list[Answer]: ...

    def release(self, digest: str) -> bytes:
        """The signed manifest, not yet verified."""

    def download(self, digest: str, path: str, target: Path, length: int) -> None:
        """Append to `target` what it lacks of the file, up to `length` bytes. Not yet verified."""
