"""The states of a simulation against a plain model of what the interface's comments say."""

from hypothesis import given
from hypothesis import strategies as st
from simulation_interfaces import srv
from simulation_interfaces.msg import Result, SimulationState

from isaac_bridge.entities import Category, Scope
from isaac_bridge.frontend import machine
from isaac_bridge.frontend.machine import Code, Machine, State

SET = srv.SetSimulationState.Response
RUNNING = (State.STOPPED, State.PLAYING, State.PAUSED)
requests = st.lists(st.tuples(st.sampled_from(['set', 'step', 'busy', 'idle', 'unload', 'load']),
                              st.integers(0, 9)), max_size=40)


def test_the_numbers_are_the_interfaces():
    from simulation_interfaces.msg import EntityCategory
    for state in State:
        assert getattr(SimulationState, f'STATE_{state.name}') == state
    for code in Code:
        assert getattr(Result, f'RESULT_{code.name}') == code
    assert machine.ALREADY_IN_TARGET_STATE == SET.ALREADY_IN_TARGET_STATE
    assert machine.TRANSITION_ERROR == SET.STATE_TRANSITION_ERROR
    assert machine.INCORRECT_TRANSITION == SET.INCORRECT_TRANSITION
    for category in Category:
        assert getattr(EntityCategory, f'CATEGORY_{category.name}') == category
    for scope in Scope:
        assert getattr(srv.ResetSimulation.Request, f'SCOPE_{scope.name}') == scope
    assert srv.ResetSimulation.Request.SCOPE_ALL == Scope.ALL


@given(st.sampled_from([State.STOPPED, State.PLAYING, State.PAUSED]), requests)
def test_any_requests_in_any_order(begin, asked):
    simulation = Machine(begin)
    for kind, number in asked:
        before, busy = simulation.state, simulation.busy
        if kind == 'set':
            change = simulation.set(number)
            assert bool(change.sentence) != change.ok, 'one sentence with each refusal'
            if change.ok:
                assert simulation.state == number != before
                assert before in RUNNING or number == State.QUITTING
                assert number in RUNNING or number == State.QUITTING
                assert change.reset == (number == State.STOPPED or (
                    number == State.QUITTING and before in (State.PLAYING, State.PAUSED)))
                assert not busy or number == State.QUITTING
            else:
                assert simulation.state == before
                assert not change.reset
            if number == before:
                assert change.code == SET.ALREADY_IN_TARGET_STATE
            elif number > State.LOADING_WORLD:
                assert change.code == Code.FEATURE_UNSUPPORTED
            elif number in RUNNING and before in RUNNING and not busy:
                assert change.ok
        elif kind == 'step':
            may = simulation.may_step(number, 5)
            assert may.ok == (before == State.PAUSED and not busy and 1 <= number <= 5)
            if before != State.PAUSED:
                assert may.code == Code.OPERATION_FAILED
        elif kind == 'busy' and before == State.PAUSED:
            simulation.busy = '3 steps'
        elif kind == 'idle':
            simulation.busy = ''
        elif kind == 'unload' and simulation.may_load().ok:
            simulation.state = State.NO_WORLD
        elif kind == 'load' and simulation.may_load().ok:
            simulation.state = State.STOPPED
        assert simulation.may_look().ok == (simulation.state in RUNNING)
        assert simulation.may_change().ok == (simulation.state in RUNNING and not simulation.busy)
        if simulation.state == State.QUITTING:
            assert not simulation.may_load().ok
