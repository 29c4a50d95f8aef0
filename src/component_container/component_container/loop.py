"""The executor that runs the loaded nodes, and the one way to do something on its thread."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import rclpy
import rclpy.executors
import rclpy.task
from rclpy.experimental import EventsExecutor


class Loop:
    """An executor that survives exceptions and does calls between callbacks.

    `call` may be used from any thread; `spin` returns after `stop`, or when the ROS context is
    shut down by somebody else.
    """

    def __init__(self, executor: rclpy.executors.Executor) -> None:
        self.executor = executor
        self._stopped = rclpy.task.Future()
        self._calls: set[Future[Any]] = set()

    def call(self, function: Callable[[], Any]) -> 'Future[Any]':
        """Run `function` on the executor's thread, where no callback of a single-threaded executor
        is running; the future carries what it returns or raises, or is cancelled by the end."""
        future: Future[Any] = Future()
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # it belongs to the caller, never to the executor
                    future.set_exception(error)
        self._post(run)
        if self._stopped.done():
            future.cancel()
        return future

    def spin(self, on_error: Callable[[BaseException], None]) -> None:
        """Run callbacks; `on_error` gets what an executor raises."""
        try:
            while self.running:
                try:
                    self._spin()
                except rclpy.executors.ExternalShutdownException:
                    return
                except (Exception, SystemExit) as error:
                    on_error(error)
        finally:
            self._stopped.set_result(None)
            for future in list(self._calls):
                future.cancel()

    def stop(self) -> None:
        """End `spin`, from any thread, and any call that has not begun."""
        self._stopped.set_result(None)
        self._post(lambda: None)

    @property
    def running(self) -> bool:
        return not self._stopped.done() and self.executor.context.ok()

    def _post(self, function: Callable[[], None]) -> None:
        raise NotImplementedError

    def _spin(self) -> None:
        raise NotImplementedError


class EventsLoop(Loop):
    """rclpy's EventsExecutor: one thread, callbacks in the order of their events."""

    def __init__(self) -> None:
        super().__init__(EventsExecutor())

    def _post(self, function: Callable[[], None]) -> None:
        self.executor.create_task(function)

    def _spin(self) -> None:
        self.executor.spin_until_future_complete(self._stopped)


class WaitSetLoop(Loop):
    """rclpy's single- or multi-threaded executor.

    Calls run between two `spin_once`, on the thread that holds the wait set: the multi-threaded
    executor iterates over a node's entities there, and must not find one destroyed meanwhile.
    """

    def __init__(self, executor: rclpy.executors.Executor) -> None:
        super().__init__(executor)
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def _post(self, function: Callable[[], None]) -> None:
        self._queue.put(function)
        self.executor.create_task(lambda: None)  # wakes spin_once, which a guard alone does not

    def _spin(self) -> None:
        while self.running and not self._queue.empty():
            self._queue.get()()
        if self.running:
            self.executor.spin_once()


def make_loop(kind: str, thread_num: int = 0) -> Loop:
    """`kind`: events, single or multi; `thread_num` threads for multi, 0 for one a core."""
    if kind == 'events':
        return EventsLoop()
    if kind == 'single':
        return WaitSetLoop(rclpy.executors.SingleThreadedExecutor())
    return WaitSetLoop(rclpy.executors.MultiThreadedExecutor(thread_num or None))
