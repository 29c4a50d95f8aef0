"""Everything in a world but the robot: people on their walks, and what was spawned. Pure.

Every engine keeps one, asks it where people are, and rebuilds its scene when `shape` has changed.
Times are nanoseconds since the state was reset, whatever the world's clock says.
"""

import dataclasses
import hashlib
import math

from .entities import (
    MAX_SPAWNED,
    Bounds,
    Category,
    Entity,
    EntityError,
    Fault,
    Pose,
    Resource,
    Scope,
    State,
    check_name,
    check_pose,
    check_resource,
    check_twist,
)
from .people import Walker, draw_walks
from .scenario import PERSON_HEIGHT_M, PERSON_RADIUS_M, Scenario

PERSON = Resource('person', (2 * PERSON_RADIUS_M, 2 * PERSON_RADIUS_M, PERSON_HEIGHT_M))
BOX = Resource('box', (0.6, 0.4, 0.4))
CYLINDER = Resource('cylinder', (0.3, 0.3, 1.0))
SPAWNABLES = (BOX, CYLINDER, PERSON)


@dataclasses.dataclass
class _Stroll:
    """A person whose state was set: straight on from there, for ever."""

    state: State
    began_ns: int

    def at(self, t_ns: int) -> State:
        dt = (t_ns - self.began_ns) * 1e-9
        (x, y, _), (vx, vy, _) = self.state.pose.position, self.state.linear
        turned = Pose.flat(x + vx * dt, y + vy * dt,
                           self.state.pose.yaw + self.state.angular[2] * dt)
        return dataclasses.replace(self.state, pose=turned)


@dataclasses.dataclass
class _Someone:
    """A person: on a walk of the scenario, or on a stroll since somebody set their state."""

    walker: Walker | None
    stroll: _Stroll | None
    spawned: bool

    def at(self, t_ns: int, robot_x: float, robot_y: float) -> tuple[float, float, float, float]:
        """x, y, vx, vy. Times must not go back."""
        if self.stroll is not None:
            state = self.stroll.at(t_ns)
            return (*state.pose.position[:2], *state.linear[:2])
        assert self.walker is not None
        return self.walker.at(t_ns, robot_x, robot_y)


@dataclasses.dataclass
class Prop:
    """A spawned box or cylinder. It stays where it is put; who drives into it is stopped."""

    name: str
    resource: Resource
    pose: Pose


class Crowd:
    """Raises EntityError for what cannot be done; its sentence begins with the entity's name."""

    def __init__(self, scenario: Scenario, robot_name: str, seed: int) -> None:
        self._scenario = scenario
        self.robot_name = robot_name
        self._spawn_states: dict[str, State] = {}
        self._people: dict[str, _Someone] = {}
        self._props: dict[str, Prop] = {}
        self.reset(seed, Scope.ALL)

    @property
    def props(self) -> tuple[Prop, ...]:
        """In the order in which they were spawned."""
        return tuple(self._props.values())

    @property
    def shape(self) -> tuple[int, tuple[Resource, ...]]:
        """What a scene is built from: how many people, which props."""
        return len(self._people), tuple(prop.resource for prop in self._props.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the people, in the order of `people`."""
        return tuple(self._people)

    def reset(self, seed: int, scope: Scope) -> None:
        """Times begin again at 0 with Scope.STATE."""
        if scope & Scope.SPAWNED:
            self._people = {name: one for name, one in self._people.items() if not one.spawned}
            self._props.clear()
            self._spawn_states.clear()
        if scope & Scope.STATE:
            walks = draw_walks(self._scenario, seed)
            self._people = {name: _Someone(Walker(walk), None, False) for name, walk
                            in zip(self._scenario_names(), walks, strict=True)}
            for name, state in self._spawn_states.items():
                if name in self._props:
                    self._props[name].pose = state.pose
                else:
                    self._people[name] = _Someone(None, _Stroll(state, 0), True)

    def _scenario_names(self) -> list[str]:
        """The scenario's, made different where two are the same."""
        names: list[str] = []
        taken = {self.robot_name}
        for person in self._scenario.people:
            name, number = person.name, 2
            while name in taken:
                name, number = f'{person.name}_{number}', number + 1
            taken.add(name)
            names.append(name)
        return names

    def people(self, t_ns: int, robot_x: float,
               robot_y: float) -> list[tuple[float, float, float, float]]:
        """x, y, vx, vy of each; those of the scenario first, while they are there."""
        return [one.at(t_ns, robot_x, robot_y) for one in self._people.values()]

    def entities(self) -> tuple[Entity, ...]:
        """The robot first."""
        return (Entity(self.robot_name, Category.ROBOT),
                *(Entity(name, Category.HUMAN, one.spawned) for name, one in self._people.items()),
                *(Entity(name, Category.STATIC_OBJECT, True) for name in self._props))

    def state(self, name: str, t_ns: int, robot_x: float, robot_y: float) -> State:
        if name in self._props:
            return State(self._props[name].pose)
        someone = self._person(name)
        if someone.stroll is not None:
            return someone.stroll.at(t_ns)
        x, y, vx, vy = someone.at(t_ns, robot_x, robot_y)
        return State(Pose.flat(x, y, math.atan2(vy, vx) if vx or vy else 0.0), (vx, vy, 0.0))

    def set_state(self, name: str, state: State, t_ns: int) -> None:
        """A person leaves their walk and goes straight on; a prop only changes its place."""
        if name in self._props:
            check_pose(state.pose, self._scenario.aisle, flat=False)
            if state.moves:
                raise EntityError(Fault.REFUSED, f'{name} is static: its twist must be zero')
            self._props[name].pose = state.pose
            return
        someone = self._person(name)
        check_pose(state.pose, self._scenario.aisle, flat=True)
        check_twist(state)
        someone.stroll = _Stroll(state, t_ns)

    def spawn(self, name: str, resource: Resource, pose: Pose, t_ns: int) -> None:
        check_name(name)
        if name in self:
            raise EntityError(Fault.NAME_TAKEN, f'there is an entity named {name} already')
        if len(self._spawn_states) >= MAX_SPAWNED:
            raise EntityError(Fault.REFUSED, f'{MAX_SPAWNED} entities are spawned already, which '
                              'is the most')
        person = resource.kind == 'person'
        check_resource(resource)
        if person and resource != PERSON:
            raise EntityError(Fault.RESOURCE, f'people have one size, {PERSON.size_m} m')
        check_pose(pose, self._scenario.aisle, flat=person)
        self._spawn_states[name] = State(pose)
        if person:
            self._people[name] = _Someone(None, _Stroll(State(pose), t_ns), True)
        else:
            self._props[name] = Prop(name, resource, pose)

    def delete(self, name: str) -> None:
        if name == self.robot_name:
            raise EntityError(Fault.REFUSED, f'{name} is the robot that this world is about: it '
                              'cannot be deleted')
        if name not in self:
            raise EntityError(Fault.NOT_FOUND, f'there is no entity named {name[:200]!r}')
        self._people.pop(name, None)
        self._props.pop(name, None)
        self._spawn_states.pop(name, None)

    def bounds(self, name: str) -> Bounds:
        if name in self._props:
            return self._props[name].resource.bounds
        self._person(name)
        return PERSON.bounds

    def digest(self) -> bytes:
        """sha256 of what the future depends on."""
        digest = hashlib.sha256()
        for name, one in self._people.items():
            digest.update(repr((name, one.spawned, one.stroll,
                                one.walker and (one.walker.walk, one.walker.began_ns))).encode())
        digest.update(repr((list(self._props.values()), self._spawn_states)).encode())
        return digest.digest()

    def __contains__(self, name: str) -> bool:
        return name == self.robot_name or name in self._people or name in self._props

    def _person(self, name: str) -> _Someone:
        if name not in self._people:
            raise EntityError(Fault.NOT_FOUND, f'there is no entity named {name[:200]!r}')
        return self._people[name]
