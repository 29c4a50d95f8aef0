"""The robots and the releases that the fleet knows, and what each robot is to run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from .desired import Desired
from .errors import RolloutError
from .reports import is_digest, is_robot_id
from .tables import releases, robots

FLEET = 'fleet'    # the assignment outside of rollouts


@dataclass(frozen=True)
class Release:
    """A release as the fleet knows it. envelope: the signed manifest; digest: of its payload."""
    digest: str
    name: str
    version: int
    targets: tuple[str, ...]
    envelope: bytes = b''


@dataclass(frozen=True)
class Robot:
    robot_id: str
    target: str
    public_key: str


def add_release(connection: Connection, release: Release, *, who: str, now_ms: int) -> None:
    """Make a release known; the same one again changes nothing. Raises RolloutError."""
    if not is_digest(release.digest):
        raise RolloutError(f'{release.digest!r} is no digest of a release')
    row = connection.execute(select(releases.c.digest).where(
        (releases.c.digest == release.digest)
        | ((releases.c.name == release.name) & (releases.c.version == release.version)))).first()
    if row is None:
        connection.execute(insert(releases).values(
            digest=release.digest, name=release.name, version=release.version,
            targets=json.dumps(list(release.targets)), envelope=release.envelope,
            added_ms=now_ms, added_by=named(who)))
    elif row.digest != release.digest:
        raise RolloutError(f'{release.name} has a version {release.version} already, another '
                           'one: a version is never replaced')


def release_of(connection: Connection, digest: str) -> Release:
    row = connection.execute(select(releases).where(releases.c.digest == digest)).first()
    if row is None:
        raise RolloutError(f'there is no release {digest[:12]}')
    return Release(row.digest, row.name, row.version, tuple(json.loads(row.targets)),
                   bytes(row.envelope))


def enrol(connection: Connection, new: Sequence[Robot], release: str, *, now_ms: int) -> None:
    """Take robots into the fleet; they are to run `release`. Raises RolloutError.

    A robot that is enrolled already must be the same one, else it must be retired first: a key is
    not replaced in passing.
    """
    for each in new:
        if not is_robot_id(each.robot_id):
            raise RolloutError(f'{each.robot_id[:80]!r} is no robot id: letters, digits, _.-, at '
                               'most 64')
    targets = release_of(connection, release).targets
    for each in new:
        if each.target not in targets:
            raise RolloutError(f'{each.robot_id} is a {each.target}, for which release '
                               f'{release[:12]} has no artifact')
    known = {row.robot_id: row for first in range(0, len(new), 500)
             for row in connection.execute(select(robots).where(robots.c.robot_id.in_(
                 [each.robot_id for each in new[first:first + 500]])))}
    for each in new:
        old = known.get(each.robot_id)
        if old is not None and (old.public_key, old.target) != (each.public_key, each.target):
            raise RolloutError(f'{each.robot_id} is enrolled with another key or target')
    fresh = [each for each in new if each.robot_id not in known]
    if fresh:
        connection.execute(insert(robots), [
            {'robot_id': each.robot_id, 'target': each.target, 'public_key': each.public_key,
             'enrolled_ms': now_ms, 'desired_release': release, 'assignment': FLEET,
             'revision': 1} for each in fresh])


def retire(connection: Connection, robot_id: str, *, now_ms: int) -> None:
    """The robot is heard no more. Its counts stay. Raises RolloutError."""
    changed = connection.execute(
        update(robots).where(robots.c.robot_id == robot_id, robots.c.retired_ms.is_(None))
        .values(retired_ms=now_ms)).rowcount
    if not changed:
        raise RolloutError(f'{robot_id} is not enrolled')


def public_key(connection: Connection, robot_id: str) -> str | None:
    """PEM, of a robot that is enrolled."""
    return connection.execute(
        select(robots.c.public_key)
        .where(robots.c.robot_id == robot_id, robots.c.retired_ms.is_(None))).scalar()


_DESIRED = (select(robots.c.robot_id, robots.c.revision, robots.c.desired_release,
                   robots.c.assignment)
            .where(robots.c.robot_id.in_(bindparam('ids', expanding=True)),
                   robots.c.retired_ms.is_(None)))


def desired(connection: Connection, robot_ids: Sequence[str]) -> dict[str, Desired]:
    """What these robots are to run; those that are not enrolled are absent."""
    return {row.robot_id: Desired(row.robot_id, row.revision, row.desired_release, row.assignment)
            for first in range(0, len(robot_ids), 500)
            for row in connection.execute(_DESIRED, {'ids': robot_ids[first:first + 500]})}


def named(who: str) -> str:
    """The name behind an action; raises RolloutError for none."""
    name = who.strip()
    if not name or len(name) > 200 or not name.isprintable():
        raise RolloutError('an action needs a name: who orders it?')
    return name
