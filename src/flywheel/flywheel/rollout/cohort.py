"""Who comes first: an order of the fleet that is stable, random, and another for each rollout.

A robot belongs to a cohort by its id alone, so that it never alternates between two policies, and
the salt (the rollout's own) sees to it that the same robots are not always the first.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import RolloutError


def rank(robot_id: str, salt: str) -> int:
    """A number of 64 bits: the first bytes of SHA-256 over salt, newline and robot id."""
    return int.from_bytes(hashlib.sha256(f'{salt}\n{robot_id}'.encode()).digest()[:8])


def ordered(robot_ids: Iterable[str], salt: str) -> list[str]:
    """The robots by rank; equal ranks by id."""
    return [robot_id for _, robot_id in sorted((rank(each, salt), each) for each in robot_ids)]


@dataclass(frozen=True)
class Sizes:
    """How many robots each stage may treat, of `fleet` robots, and how many stay control.

    The control robots that are held out are the last of the order; they get the release only when
    the rollout is complete, so that the last stage is compared with concurrent robots too.
    """
    fleet: int
    held_out: int
    stages: tuple[int, ...]


def sizes(fleet: int, shares: Iterable[float], control_share: float) -> Sizes:
    """Rounded down: a stage never holds more than its share. Raises RolloutError.

    shares: of the fleet, 0 to 1, rising; control_share: held out until the end, at least 1 robot.
    """
    if fleet < 2:
        raise RolloutError(f'a fleet of {fleet}: a rollout wants a robot to treat and one to '
                           'compare it with')
    held_out = max(1, int(fleet * control_share + 1e-9))
    counts = []
    for share in shares:
        count = int(fleet * share + 1e-9)
        if count == 0:
            raise RolloutError(f'a stage of {share:.4g} of {fleet} robots is no robot: the '
                               f'smallest share of this fleet is {1 / fleet:.4g}')
        counts.append(min(count, fleet - held_out))
    return Sizes(fleet, held_out, tuple(counts))
