"""The states of a simulation and who may change them: simulation_interfaces 1.5, without ROS.

    NO_WORLD --load--> LOADING_WORLD --> STOPPED <--> PLAYING <--> PAUSED <--> STOPPED
    any state --> QUITTING

`SimulationState.msg` says that a stopped simulation can be paused, `SetSimulationState.srv` gives
that as its example of an incorrect transition. Here it can be: it starts, at once paused.
"""

import dataclasses
import enum


class State(enum.IntEnum):
    """SimulationState.msg."""

    STOPPED = 0
    PLAYING = 1
    PAUSED = 2
    QUITTING = 3
    NO_WORLD = 4
    LOADING_WORLD = 5


class Code(enum.IntEnum):
    """Result.msg."""

    FEATURE_UNSUPPORTED = 0
    OK = 1
    NOT_FOUND = 2
    INCORRECT_STATE = 3
    OPERATION_FAILED = 4


ALREADY_IN_TARGET_STATE, TRANSITION_ERROR, INCORRECT_TRANSITION = 101, 102, 103


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request comes to. A sentence goes with every code but OK."""

    code: int = Code.OK
    sentence: str = ''

    @property
    def ok(self) -> bool:
        return self.code == Code.OK


@dataclasses.dataclass(frozen=True)
class Change(Answer):
    """reset: the world must be reset, all of it, for the state to be true."""

    reset: bool = False


class Machine:
    """One simulation. busy: a sentence's subject while something long is under way ('3 steps')."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.busy = ''

    @property
    def loaded(self) -> bool:
        return self.state in (State.STOPPED, State.PLAYING, State.PAUSED)

    def set(self, wanted: int) -> Change:
        """SetSimulationState; the state has changed where the code is OK."""
        names = {state.value: state.name for state in State}
        if wanted not in names:
            return Change(Code.FEATURE_UNSUPPORTED, f'there is no state {wanted}')
        if wanted == self.state:
            return Change(ALREADY_IN_TARGET_STATE, f'it is {self.state.name} already')
        if wanted == State.QUITTING:
            reset = self.state in (State.PLAYING, State.PAUSED)
            self.state = State.QUITTING
            return Change(reset=reset)
        if not self.loaded or wanted in (State.NO_WORLD, State.LOADING_WORLD):
            return Change(INCORRECT_TRANSITION, f'{self.state.name} does not become '
                          f'{names[wanted]} by request: load or unload a world')
        if self.busy:
            return Change(TRANSITION_ERROR, f'{self.busy} under way: ask again when they are done')
        self.state = State(wanted)
        return Change(reset=wanted == State.STOPPED)

    def may_step(self, steps: int, most: int) -> Answer:
        """StepSimulation and SimulateSteps."""
        if self.state != State.PAUSED:
            return Answer(Code.OPERATION_FAILED,
                          f'the simulation is {self.state.name}, and only a paused one is stepped')
        if self.busy:
            return Answer(Code.INCORRECT_STATE, f'{self.busy} under way')
        if not 1 <= steps <= most:
            return Answer(Code.OPERATION_FAILED, f'steps = {steps}: must be 1 to {most}')
        return Answer()

    def may_change(self) -> Answer:
        """Whether the world can be changed now: entities, resets."""
        if not self.loaded:
            return Answer(Code.INCORRECT_STATE, f'no world is loaded: it is {self.state.name}')
        if self.busy:
            return Answer(Code.INCORRECT_STATE, f'{self.busy} under way')
        return Answer()

    def may_look(self) -> Answer:
        """Whether there is a world that can be asked."""
        if not self.loaded:
            return Answer(Code.INCORRECT_STATE, f'no world is loaded: it is {self.state.name}')
        return Answer()

    def may_load(self) -> Answer:
        if self.busy or self.state in (State.LOADING_WORLD, State.QUITTING):
            return Answer(Code.INCORRECT_STATE, f'{self.busy or self.state.name} under way')
        return Answer()
