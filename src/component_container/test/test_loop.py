"""What rclpy's executors do with an exception, and what the container's loops make of them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
import rclpy
from container_harness import free_domain
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Int64

from component_container.loop import Loop, make_loop

EXECUTORS = ('events', 'single', 'multi')


@pytest.fixture(params=EXECUTORS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with free_domain() as domain:
        rclpy.init(args=[], domain_id=domain)
        yield make_loop(request.param, 2)
        rclpy.try_shutdown()


@pytest.fixture
def node(loop: Loop) -> Iterator[Node]:
    node = Node('loop_test')
    loop.executor.add_node(node)
    yield node
    loop.executor.shutdown()
    node.destroy_node()


def spin_until(executor: Any, reached: Callable[[], Any], timeout_s: float = 5.0
               ) -> list[Exception]:
    """What the executor raised on the way."""
    raised: list[Exception] = []
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end
        try:
            executor.spin_once(timeout_sec=0.02)
        except ValueError as error:
            raised.append(error)
    return raised


def test_rclpy_loses_its_place_with_an_exception(loop: Loop, node: Node) -> None:
    """Why the container guards callbacks: an executor that was left alone is not sound after one.

    The EventsExecutor forgets the other messages of the batch; the node hears old ones from then
    on. The multi-threaded one raises only when something else happens.
    """
    heard: list[int] = []

    def hear(message: Int64) -> None:
        heard.append(message.data)
        if message.data == 1:
            raise ValueError('boom')
    node.create_subscription(Int64, 'chatter', hear, 10)
    publisher = node.create_publisher(Int64, 'chatter', 10)
    spin_until(loop.executor, lambda: publisher.get_subscription_count() == 1)
    for number in range(5):
        publisher.publish(Int64(data=number))
    raised = spin_until(loop.executor, lambda: 1 in heard)
    events = type(loop.executor).__name__ == 'EventsExecutor'
    if not events:
        raised += spin_until(loop.executor, lambda: 4 in heard)
    publisher.publish(Int64(data=5))
    raised += spin_until(loop.executor, lambda: len(heard) > (2 if events else 5))
    assert [str(error) for error in raised] == ['boom']
    if events:
        assert heard[:2] == [0, 1]
        assert heard[-1] != 5  # it lags behind by what was forgotten
    else:
        assert sorted(heard) == [0, 1, 2, 3, 4, 5]


def test_a_loop_calls_reports_and_ends(loop: Loop, node: Node) -> None:
    errors: list[BaseException] = []
    ticks: list[str] = []

    def tick() -> None:
        ticks.append(threading.current_thread().name)
        if len(ticks) == 2:
            raise ValueError('boom')
    node.create_timer(0.01, tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
    spinning = threading.Thread(target=loop.spin, args=(errors.append,), name='spinner')
    spinning.start()

    assert loop.call(lambda: threading.current_thread().name).result(5) == 'spinner'
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 / 0).result(5)
    with pytest.raises(SystemExit):
        loop.call(lambda: exit(3)).result(5)
    end = time.monotonic() + 5
    while len(ticks) < 5:  # it goes on after the exception
        assert time.monotonic() < end
        loop.call(lambda: None).result(5)
    assert [str(error) for error in errors] == ['boom']

    held, entered = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        held.wait(5)
    holding = loop.call(hold)
    assert entered.wait(5)
    late = loop.call(lambda: 'never')
    loop.stop()
    held.set()
    spinning.join(5)
    assert not spinning.is_alive()
    holding.result(0)
    for call in (late, loop.call(lambda: 'never')):
        with pytest.raises(CancelledError):
            call.result(5)
