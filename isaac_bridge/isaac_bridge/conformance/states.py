"""Checks: features, and the states of a simulation."""

from simulation_interfaces import srv

from .client import Missing
from .rig import (
    FEATURES,
    OK,
    PAUSED,
    PLAYING,
    STATES,
    STOPPED,
    Failed,
    Features,
    Rig,
    check,
    expect,
    told,
)

SERVES = {
    Features.SPAWNING: srv.SpawnEntity, Features.DELETING: srv.DeleteEntity,
    Features.NAMED_POSES: srv.GetNamedPoses, Features.POSE_BOUNDS: srv.GetNamedPoseBounds,
    Features.ENTITY_BOUNDS: srv.GetEntityBounds, Features.ENTITY_STATE_GETTING: srv.GetEntityState,
    Features.ENTITY_STATE_SETTING: srv.SetEntityState,
    Features.ENTITY_INFO_GETTING: srv.GetEntityInfo,
    Features.ENTITY_INFO_SETTING: srv.SetEntityInfo, Features.SPAWNABLES: srv.GetSpawnables,
    Features.SIMULATION_RESET: srv.ResetSimulation,
    Features.SIMULATION_STATE_GETTING: srv.GetSimulationState,
    Features.SIMULATION_STATE_SETTING: srv.SetSimulationState,
    Features.STEP_SIMULATION_SINGLE: srv.StepSimulation, Features.WORLD_LOADING: srv.LoadWorld,
    Features.WORLD_UNLOADING: srv.UnloadWorld, Features.WORLD_INFO_GETTING: srv.GetCurrentWorld,
    Features.AVAILABLE_WORLDS: srv.GetAvailableWorlds,
    Features.SPAWNING_ENTITIES: srv.SpawnEntities}
ALREADY = srv.SetSimulationState.Response.ALREADY_IN_TARGET_STATE
INCORRECT = srv.SetSimulationState.Response.INCORRECT_TRANSITION


@check
def features_are_known(rig: Rig) -> None:
    """Every advertised feature is one of the interface, none twice."""
    features = list(rig.call(srv.GetSimulatorFeatures).features.features)
    expect(features, 'it advertises nothing')
    expect(len(set(features)) == len(features), 'a feature is advertised twice')
    unknown = [value for value in features if value not in FEATURES]
    expect(not unknown, f'it advertises {unknown}, which the interface does not know')


@check
def features_have_services(rig: Rig) -> None:
    """What is advertised is served, and what is served is advertised."""
    for feature, kind in SERVES.items():
        offered = rig.client.offers(kind) is not None
        if feature in rig.features:
            expect(offered, f'{FEATURES[feature]} is advertised, {kind.__name__} is not there')
    if Features.STEP_SIMULATION_ACTION in rig.features:
        try:
            rig.client.simulate(0)
        except Missing as problem:
            raise Failed(f'STEP_SIMULATION_ACTION is advertised: {problem}') from problem


@check
def play_pause_stop(rig: Rig) -> None:
    """Each state is reached when it is asked for, and says so."""
    rig.begin()
    for state in (PLAYING, PAUSED, PLAYING, STOPPED, PLAYING, PAUSED, STOPPED):
        result = rig.set_state(state)
        expect(result.result == OK, f'to {STATES[state]}: {told(result)}')
        expect(rig.state() == state, f'OK to {STATES[state]}, and it is {rig.state_name()}')


@check
def already_in_target_state(rig: Rig) -> None:
    """Asking for the state that it is in gives ALREADY_IN_TARGET_STATE."""
    rig.begin()
    for state in (PAUSED, PLAYING, STOPPED):
        if rig.state() != state:
            rig.set_state(state)
        result = rig.set_state(state)
        expect(result.result == ALREADY, f'{STATES[state]} again: {told(result)}')


@check
def stopped_to_paused_is_told_truly(rig: Rig) -> None:
    """OK and PAUSED, or INCORRECT_TRANSITION and STOPPED."""
    rig.begin()
    rig.set_state(STOPPED)
    result = rig.set_state(PAUSED)
    state = rig.state()
    expect((result.result, state) in ((OK, PAUSED), (INCORRECT, STOPPED)),
           f'{told(result)}, and it is {STATES.get(state)}')


@check
def states_that_are_no_targets(rig: Rig) -> None:
    """NO_WORLD, LOADING_WORLD and numbers that are no state are refused and change nothing."""
    rig.begin()
    for state in (4, 5, 77):
        result = rig.set_state(state)
        expect(result.result != OK, f'state {state} was accepted')
        expect(rig.state() == PAUSED, f'after a refused {state} it is {rig.state_name()}')


@check
def time_stands_unless_playing(rig: Rig) -> None:
    """PAUSED holds the time, PLAYING lets it go on."""
    rig.begin()
    held = rig.time_ns()
    rig.client.until(lambda: False, 0.2)
    expect(rig.time_ns() == held, 'time goes on while it is paused')
    rig.set_state(PLAYING)
    went_on = rig.client.until(lambda: rig.time_ns() > held, 10.0)
    rig.set_state(PAUSED)
    expect(went_on, 'time stands while it is playing')


@check
def stop_resets(rig: Rig) -> None:
    """STOPPED is paused and reset: time and entities are at the start."""
    rig.begin()
    begin = rig.time_ns()
    expect(rig.step(20).result == OK, 'it was not stepped')
    expect(rig.time_ns() > begin, 'steps took no time')
    rig.set_state(STOPPED)
    expect(rig.time_ns() <= begin, 'the time is not back')
