"""The states of a rollout, and which order leads from where to where. Pure.

    planned --start--> running <--pause/resume--> paused
    running --(every stage passed)--> completed
    planned, running, paused --abort--> aborted
    running, paused, aborted, completed --rollback--> rolled_back

Abort stops at once: no further robot gets the release, those that run it keep it. Rollback sends
every robot of the rollout back to what it had. Neither is ever left towards running.
A paused rollout does not advance, but its robots are watched: it still stops by itself.
"""

from enum import StrEnum

from .errors import RolloutError


class State(StrEnum):
    PLANNED = 'planned'
    RUNNING = 'running'
    PAUSED = 'paused'
    COMPLETED = 'completed'
    ABORTED = 'aborted'
    ROLLED_BACK = 'rolled_back'


class Order(StrEnum):
    PLAN = 'plan'
    START = 'start'
    ADVANCE = 'advance'
    PAUSE = 'pause'
    RESUME = 'resume'
    COMPLETE = 'complete'
    ABORT = 'abort'
    ROLLBACK = 'rollback'


ACTIVE = (State.RUNNING, State.PAUSED)
ENDED = (State.COMPLETED, State.ABORTED, State.ROLLED_BACK)
_LEADS: dict[Order, tuple[tuple[State, ...], State]] = {
    Order.START: ((State.PLANNED,), State.RUNNING),
    Order.ADVANCE: ((State.RUNNING,), State.RUNNING),
    Order.PAUSE: ((State.RUNNING,), State.PAUSED),
    Order.RESUME: ((State.PAUSED,), State.RUNNING),
    Order.COMPLETE: ((State.RUNNING,), State.COMPLETED),
    Order.ABORT: ((State.PLANNED, State.RUNNING, State.PAUSED), State.ABORTED),
    Order.ROLLBACK: ((State.RUNNING, State.PAUSED, State.ABORTED, State.COMPLETED),
                     State.ROLLED_BACK),
}


def after(state: State, order: Order) -> State:
    """The state that the order leads to; raises RolloutError where it does not apply."""
    allowed, reached = _LEADS[order]
    if state not in allowed:
        raise RolloutError(f'{order.value} does not apply to a rollout that is '
                           f'{state.value.replace("_", " ")}, only to one that is '
                           f'{" or ".join(each.value for each in allowed)}')
    return reached
