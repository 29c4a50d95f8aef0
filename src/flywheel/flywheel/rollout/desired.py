"""What a robot is told. Apart from the database's modules, which no robot needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Desired:
    """What a robot is to run. revision only rises; under assignment it counts its exposure."""
    robot_id: str
    revision: int
    release: str
    assignment: str
