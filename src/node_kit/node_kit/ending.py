"""SIGINT and SIGTERM as one call, at once, and never as an exception in the middle of anything.

Python's own SIGINT raises KeyboardInterrupt wherever the main thread is: inside gRPC's locks that
leaves a channel which can never be closed. rclpy's takes the context away under an executor that
spins, and from a bag that is being written. And a Python handler alone waits until the main thread
runs Python, which an executor that has nothing to do does not.
"""

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


def call_on_signal(end: Callable[[], object]) -> None:
    """Call `end` on a thread of its own when the process is told to end.

    Call this on the main thread, and after making an EventsExecutor: it takes both signals.
    """
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    for number in _NUMBERS:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)

    def listen(_mouth: socket.socket = mouth) -> None:  # keeps the descriptor open
        while ear.recv(1)[0] not in _NUMBERS:
            pass
        end()

    threading.Thread(target=listen, name='signals', daemon=True).start()


def spin_until_told(node: Any) -> None:
    """Spin the node on an EventsExecutor until a signal, then destroy it and end the context.

    For a process with one node, whose context was made with SignalHandlerOptions.NO. The reflex
    has its own way: not even this thread may share its process.
    """
    import rclpy
    from rclpy.experimental import EventsExecutor
    from rclpy.task import Future
    executor = EventsExecutor()
    executor.add_node(node)
    told: Future = Future()
    call_on_signal(lambda: (told.set_result(None), executor.create_task(lambda: None)))
    try:
        executor.spin_until_future_complete(told)
    finally:
        executor.shutdown()  # first: an event of a destroyed timer would end the process
        node.destroy_node()
        rclpy.try_shutdown()
