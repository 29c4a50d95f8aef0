"""Checks: steps, by service and by action, and what is published for them."""

from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState, LaserScan
from simulation_interfaces.msg import Result

from .rig import OK, PAUSED, PLAYING, Features, Rig, check, expect, stamp_ns, told

FAILED = Result.RESULT_OPERATION_FAILED
SINGLE, MULTIPLE, ACTION = (Features.STEP_SIMULATION_SINGLE, Features.STEP_SIMULATION_MULTIPLE,
                            Features.STEP_SIMULATION_ACTION)


def step_ns(rig: Rig) -> int:
    """What one step takes."""
    rig.begin()
    begin = rig.time_ns()
    result = rig.step(1)
    expect(result.result == OK, f'steps = 1: {told(result)}')
    taken = rig.time_ns() - begin
    expect(taken > 0, 'a step took no time')
    return taken


@check
def single_step(rig: Rig) -> None:
    """steps = 1 takes time and returns to PAUSED."""
    rig.need(SINGLE)
    step_ns(rig)
    expect(rig.state() == PAUSED, f'after a step it is {rig.state_name()}')


@check
def steps_are_exact(rig: Rig) -> None:
    """k steps take exactly k times as long as one."""
    rig.need(SINGLE, MULTIPLE)
    one = step_ns(rig)
    for count in (2, 3, 7, 10, 100, 333):
        begin = rig.time_ns()
        result = rig.step(count)
        expect(result.result == OK, f'steps = {count}: {told(result)}')
        taken = rig.time_ns() - begin
        expect(taken == count * one, f'{count} steps took {taken} ns, one takes {one}')


@check
def step_while_playing(rig: Rig) -> None:
    """RESULT_OPERATION_FAILED and a message, unless it is paused."""
    rig.need(SINGLE)
    rig.begin()
    rig.set_state(PLAYING)
    result = rig.step(1)
    rig.set_state(PAUSED)
    expect(result.result == FAILED, f'while playing: {told(result)}')
    expect(result.error_message, 'no error message')


@check
def simulate_steps(rig: Rig) -> None:
    """The action succeeds, took exactly its steps, and is PAUSED again."""
    rig.need(ACTION, SINGLE)
    one = step_ns(rig)
    begin = rig.time_ns()
    status, outcome, _ = rig.client.simulate(40)
    expect(status == GoalStatus.STATUS_SUCCEEDED, f'its status is {status}')
    expect(outcome.result.result == OK, told(outcome.result))
    expect(rig.time_ns() - begin == 40 * one, f'40 steps took {rig.time_ns() - begin} ns, one '
           f'takes {one}')
    expect(rig.state() == PAUSED, f'afterwards it is {rig.state_name()}')


@check
def feedback_after_each_step(rig: Rig) -> None:
    """Completed and remaining steps, one message a step, in order."""
    rig.need(ACTION)
    rig.begin()
    _, _, heard = rig.client.simulate(40)
    told_steps = [(one.completed_steps, one.remaining_steps) for one in heard]
    expect(told_steps == [(i, 40 - i) for i in range(1, 41)],
           f'{len(told_steps)} messages of 40, the last {told_steps[-1:]}')


@check
def cancelled_is_no_failure(rig: Rig) -> None:
    """A cancelled action ends as CANCELED, not as failed, between two steps and PAUSED."""
    rig.need(ACTION)
    rig.begin()
    status, outcome, heard = rig.client.simulate(100_000, cancel_after=5)
    expect(status == GoalStatus.STATUS_CANCELED, f'its status is {status}')
    expect(outcome.result.result != FAILED, f'its result is a failure: {told(outcome.result)}')
    expect(heard and heard[-1].completed_steps < 100_000, 'it ran to its end')
    expect(rig.state() == PAUSED, f'afterwards it is {rig.state_name()}')


@check
def simulate_steps_while_playing(rig: Rig) -> None:
    """OPERATION_FAILED unless it is paused."""
    rig.need(ACTION)
    rig.begin()
    rig.set_state(PLAYING)
    status, outcome, _ = rig.client.simulate(5)
    rig.set_state(PAUSED)
    expect(status != GoalStatus.STATUS_SUCCEEDED, 'it succeeded while playing')
    expect(outcome.result.result == FAILED, f'while playing: {told(outcome.result)}')


def _keep(stamps: list[int], message: Any) -> None:
    stamps.append(stamp_ns(message.header))


@check
def sensors_have_the_clocks_stamps(rig: Rig) -> None:
    """Every scan, odometry and joint state of stepped time carries a stamp that /clock had."""
    rig.need(SINGLE, MULTIPLE)
    kinds: dict[str, Any] = {'sensor_msgs/msg/LaserScan': LaserScan,
                             'nav_msgs/msg/Odometry': Odometry,
                             'sensor_msgs/msg/JointState': JointState}
    heard: dict[str, list[int]] = {}
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    subscriptions = []
    for topic, types in rig.client.node.get_topic_names_and_types():
        for name in set(types) & set(kinds):
            heard[topic] = []
            subscriptions.append(rig.client.node.create_subscription(
                kinds[name], topic, partial(_keep, heard[topic]), qos))
    try:
        expect(heard, 'it publishes no scan, odometry or joint states')
        rig.begin()
        rig.client.clocks.clear()
        # Until the subscriptions are known to the publishers, steps go unheard.
        met = rig.client.until(
            lambda: rig.step(20).result == OK and all(heard.values()), rig.client.timeout_s)
        expect(met, f'nothing came on {[topic for topic in heard if not heard[topic]]}')
        for stamps in heard.values():
            stamps.clear()
        rig.step(100)
        end = rig.time_ns()
        rig.client.until(lambda: all(heard.values()) and max(rig.client.clocks) == end, 2.0)
        clocks = set(rig.client.clocks)
        for topic, stamps in heard.items():
            strange = sorted(set(stamps) - clocks)
            expect(not strange, f'{topic} has {len(strange)} of {len(stamps)} stamps that /clock '
                   'never had')
    finally:
        for subscription in subscriptions:
            rig.client.node.destroy_subscription(subscription)
