"""Checks: the scopes of a reset, and that the same start gives the same world."""

from typing import Any

from geometry_msgs.msg import Pose
from simulation_interfaces import srv
from simulation_interfaces.msg import EntityState

from .rig import OK, PAUSED, PLAYING, Features, Rig, check, expect, near, place, told

SCOPE = srv.ResetSimulation.Request


def moved(rig: Rig) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """An entity that has been put elsewhere, where it was at the start, and where it is now."""
    rig.need(Features.SIMULATION_RESET, Features.ENTITY_STATE_GETTING,
             Features.ENTITY_STATE_SETTING)
    rig.begin()
    name = rig.entities()[0]
    before = rig.entity_state(name)
    there = Pose(position=before.pose.position, orientation=before.pose.orientation)
    begin = place(there)
    there.position.x += 0.5
    result = rig.call(srv.SetEntityState, entity=name, state=EntityState(pose=there)).result
    expect(result.result == OK, f'SetEntityState of {name}: {told(result)}')
    rig.step(10)
    return name, begin, place(rig.entity_state(name).pose)


def done(rig: Rig, scope: int) -> None:
    result = rig.reset(scope)
    expect(result.result == OK, f'scope {scope}: {told(result)}')


@check
def reset_of_time_alone(rig: Rig) -> None:
    """SCOPE_TIME: the clock is at its start, entities stay where they are."""
    rig.need(Features.SIMULATION_RESET_TIME)
    rig.begin()
    begin = rig.time_ns()
    name, _, here = moved(rig)
    done(rig, SCOPE.SCOPE_TIME)
    expect(rig.time_ns() <= begin, 'the time is not back')
    expect(near(place(rig.entity_state(name).pose), here, 1e-3), f'{name} was moved')


@check
def reset_of_state_alone(rig: Rig) -> None:
    """SCOPE_STATE: entities are where they began, the clock does not go back."""
    rig.need(Features.SIMULATION_RESET_STATE)
    name, begin, _ = moved(rig)
    before = rig.time_ns()
    done(rig, SCOPE.SCOPE_STATE)
    expect(near(place(rig.entity_state(name).pose), begin, 1e-3), f'{name} is not where it began')
    expect(rig.time_ns() >= before, 'the clock went back')


@check
def reset_of_spawned_alone(rig: Rig) -> None:
    """SCOPE_SPAWNED: what was spawned is gone, everything else stays."""
    rig.need(Features.SIMULATION_RESET_SPAWNED)
    name, _, here = moved(rig)
    spawned = rig.spawned('conformance_box')
    before = rig.time_ns()
    done(rig, SCOPE.SCOPE_SPAWNED)
    expect(spawned not in rig.entities(), f'{spawned} is still there')
    expect(near(place(rig.entity_state(name).pose), here, 1e-3), f'{name} was moved')
    expect(rig.time_ns() >= before, 'the clock went back')


def _all(rig: Rig, scope: int) -> None:
    rig.begin()
    start, names = rig.time_ns(), sorted(rig.entities())
    name, begin, _ = moved(rig)
    if Features.SPAWNING in rig.features:
        rig.spawned('conformance_box')
    done(rig, scope)
    expect(rig.time_ns() <= start, 'the time is not back')
    expect(near(place(rig.entity_state(name).pose), begin, 1e-3), f'{name} is not where it began')
    expect(sorted(rig.entities()) == names, f'entities are {rig.entities()}, were {names}')


@check
def reset_of_everything(rig: Rig) -> None:
    """SCOPE_ALL: time, entities, and what was spawned."""
    _all(rig, SCOPE.SCOPE_ALL)


@check
def reset_by_default(rig: Rig) -> None:
    """SCOPE_DEFAULT is SCOPE_ALL."""
    _all(rig, SCOPE.SCOPE_DEFAULT)


@check
def reset_leaves_the_state(rig: Rig) -> None:
    """A paused simulation stays paused, a playing one plays on."""
    rig.need(Features.SIMULATION_RESET)
    rig.begin()
    rig.step(5)
    done(rig, SCOPE.SCOPE_ALL)
    expect(rig.state() == PAUSED, f'it was PAUSED, and is {rig.state_name()}')
    rig.set_state(PLAYING)
    done(rig, SCOPE.SCOPE_ALL)
    state = rig.state()
    rig.set_state(PAUSED)
    expect(state == PLAYING, f'it was PLAYING, and is state {state}')


@check
def the_same_start_gives_the_same_world(rig: Rig) -> None:
    """Stepped as often from the start, every entity is at exactly the same place."""
    rig.need(Features.SIMULATION_RESET, Features.ENTITY_STATE_GETTING)
    rig.begin()
    seen: list[Any] = []
    for _ in range(2):
        done(rig, SCOPE.SCOPE_ALL)
        result = rig.step(50)
        expect(result.result == OK, f'steps = 50: {told(result)}')
        response = rig.call(srv.GetEntitiesStates)
        seen.append((list(response.entities), [place(state.pose) for state in response.states],
                     rig.time_ns()))
    expect(seen[0] == seen[1], 'two runs from the same start differ')
