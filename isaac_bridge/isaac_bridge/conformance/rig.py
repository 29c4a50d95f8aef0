"""What every check needs of a server: a known beginning, features, time, and plain sentences."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import PoseStamped
from simulation_interfaces import srv
from simulation_interfaces.msg import EntityFilters, Result, SimulationState
from simulation_interfaces.msg import SimulatorFeatures as Features

from .client import Client, Missing

OK = Result.RESULT_OK
STOPPED, PLAYING, PAUSED = (SimulationState.STATE_STOPPED, SimulationState.STATE_PLAYING,
                            SimulationState.STATE_PAUSED)
STATES = {STOPPED: 'STOPPED', PLAYING: 'PLAYING', PAUSED: 'PAUSED', 3: 'QUITTING', 4: 'NO_WORLD',
          5: 'LOADING_WORLD'}
FEATURES = {value: name for name in dir(type(Features)) if name.isupper()
            and isinstance(value := getattr(Features, name), int)}


class Failed(Exception):
    """The server did something else than the interface says."""


class Unsupported(Exception):
    """The server does not claim to be able to do this."""


def expect(holds: object, sentence: str) -> None:
    if not holds:
        raise Failed(sentence)


class Rig:
    """One server under test."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.call = client.call
        self.features: set[int] = set()

    def learn(self) -> None:
        self.features = set(self.call(srv.GetSimulatorFeatures).features.features)

    def need(self, *features: int) -> None:
        for feature in features:
            if feature not in self.features:
                raise Unsupported(f'{FEATURES[feature]} is not advertised')

    # -- states

    def state(self) -> int:
        return self.call(srv.GetSimulationState).state.state

    def set_state(self, state: int) -> Any:
        return self.call(srv.SetSimulationState, state=SimulationState(state=state)).result

    def begin(self) -> None:
        """Stopped, so reset, then paused at the start: a world that no check has touched.

        Through PLAYING where STOPPED does not become PAUSED.
        """
        self.need(Features.SIMULATION_STATE_SETTING)
        if self.state() != STOPPED:
            self.set_state(STOPPED)
        self.set_state(PAUSED)
        if self.state() != PAUSED:
            self.set_state(PLAYING)
            self.set_state(PAUSED)
        expect(self.state() == PAUSED, f'it cannot be paused: it is {self.state_name()}')

    def state_name(self) -> str:
        return STATES.get(self.state(), '?')

    # -- time and steps

    def time_ns(self) -> int:
        """As the states of entities say, else as the newest /clock does."""
        if Features.ENTITY_STATE_GETTING in self.features:
            states = self.call(srv.GetEntitiesStates).states
            if states and (stamp := stamp_ns(states[0].header)) > 0:
                return stamp
        self.client.until(lambda: False, 0.3)
        expect(self.client.clock_ns is not None, 'no /clock, and no stamps on states')
        return self.client.clock_ns or 0

    def step(self, steps: int) -> Any:
        return self.call(srv.StepSimulation, steps=steps).result

    def reset(self, scope: int) -> Any:
        return self.call(srv.ResetSimulation, scope=scope).result

    # -- entities

    def entities(self, **filters: Any) -> list[str]:
        response = self.call(srv.GetEntities, filters=EntityFilters(**filters))
        expect(response.result.result == OK, f'GetEntities: {told(response.result)}')
        return list(response.entities)

    def entity_state(self, name: str) -> Any:
        response = self.call(srv.GetEntityState, entity=name)
        expect(response.result.result == OK, f'GetEntityState of {name}: {told(response.result)}')
        return response.state

    def category(self, name: str) -> int:
        return self.call(srv.GetEntityInfo, entity=name).info.category.category

    def resource(self) -> str:
        """A URI that can be spawned; the first of the spawnables that is no person."""
        self.need(Features.SPAWNING, Features.SPAWNABLES)
        found = self.call(srv.GetSpawnables).spawnables
        expect(found, 'SPAWNABLES is advertised, and there are none')
        return next((one.uri for one in found if 'person' not in one.uri), found[0].uri)

    def spawn(self, name: str, pose: PoseStamped | None = None, **fields: Any) -> Any:
        wanted = {'name': name, 'uri': self.resource(),
                  'initial_pose': pose if pose is not None else pose_at(3.0, 1.0)} | fields
        return self.call(srv.SpawnEntity, **wanted)

    def spawned(self, name: str, pose: PoseStamped | None = None) -> str:
        """The name of what has surely been spawned."""
        response = self.spawn(name, pose)
        expect(response.result.result == OK, f'SpawnEntity: {told(response.result)}')
        return response.entity_name


def stamp_ns(header: Any) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def told(result: Any) -> str:
    return f'code {result.result} {result.error_message}'.strip()


def pose_at(x: float, y: float, yaw: float = 0.0, frame: str = '') -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.z, message.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def place(pose: Any) -> tuple[float, ...]:
    """Position, and yaw as the two numbers of its quaternion."""
    return (pose.position.x, pose.position.y, pose.position.z, pose.orientation.z,
            pose.orientation.w)


def near(a: Sequence[float], b: Sequence[float], by: float = 1e-6) -> bool:
    return all(abs(x - y) <= by for x, y in zip(a, b, strict=True))


Check = Callable[[Rig], None]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Registers under its own name; its docstring is what is checked."""
    CHECKS[function.__name__] = function
    return function


__all__ = ['CHECKS', 'OK', 'PAUSED', 'PLAYING', 'STATES', 'STOPPED', 'Check', 'Failed', 'Features',
           'Missing', 'Rig', 'Unsupported', 'check', 'expect', 'near', 'place', 'pose_at',
           'stamp_ns', 'told']
