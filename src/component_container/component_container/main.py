"""The executable: `ros2 run component_container component_container` and `python -m ..`."""

import argparse
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

from component_container import plugins
from component_container.arguments import split_ros_args
from component_container.faults import explain
from component_container.parameters import EXECUTORS, ON_EXCEPTION


def main(argv: Sequence[str] | None = None) -> int:
    """Run a container until SIGINT or SIGTERM; the exit status: 0, 1 after a fault, 2 for usage."""
    own_args, ros_args = split_ros_args(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(own_args)
    if options.list:
        return _list()

    # Only now: --list needs no ROS.
    import rclpy
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    from component_container.container import Container
    from node_kit import ParameterError

    signals = StopSignals()
    overrides = [Parameter(name, value=value) for name, value in vars(options).items()
                 if value is not None and name != 'list']
    try:
        rclpy.init(args=['--ros-args', *ros_args], signal_handler_options=SignalHandlerOptions.NO)
        container = Container(process_args=ros_args, parameter_overrides=overrides)
    except Exception as error:
        why = str(error) if isinstance(error, ParameterError) else explain(error)
        print(f'component_container: cannot start: {why}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    signals.install()  # again: an EventsExecutor takes both signals for itself
    return _run(container, signals)


def _run(container: Any, signals: 'StopSignals') -> int:
    import rclpy
    server = threading.Thread(target=container.serve, name='component_container', daemon=True)
    server.start()

    def give_up() -> None:
        container.get_logger().fatal(f'exit without a clean end: {container.busy()}')
        faulthandler.dump_traceback(all_threads=True)  # where everybody stands
        os._exit(1)

    force = threading.Timer(container.parameters.shutdown_timeout_s, give_up)
    force.daemon = True
    ending = threading.Lock()

    def begin_the_end() -> None:
        if ending.acquire(blocking=False):
            force.start()

    def stop_on_signal() -> None:
        signals.wait()
        begin_the_end()
        container.loop.stop()

    threading.Thread(target=stop_on_signal, name='signals', daemon=True).start()
    container.run_nodes()
    begin_the_end()
    lost_context = not rclpy.ok()
    if lost_context:
        print('component_container: a component shut down the ROS context, which ends every node '
              'in this process', file=sys.stderr)
    container.stop_serving()
    server.join()
    failed = container.failed
    container.close()
    rclpy.try_shutdown()
    force.cancel()
    return 1 if failed or lost_context else 0


class StopSignals:
    """SIGINT and SIGTERM, seen at once whatever the main thread is doing.

    A Python handler waits until the main thread runs Python, which an idle EventsExecutor does
    not; but the interpreter writes the number to the wakeup descriptor straight away.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self.install()

    def install(self) -> None:
        """On the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)

    def wait(self) -> int:
        """Block until one of the two arrives; its number."""
        while True:
            number = self._read.recv(1)[0]
            if number in (signal.SIGINT, signal.SIGTERM):
                return number


def _list() -> int:
    found = plugins.installed()
    for plugin in found:
        print(f'{plugin.package}::{plugin.name.removeprefix(plugin.package + "::")}'
              f'  ({plugin.value})')
    if not found:
        print(f"no components are installed (entry points of the group '{plugins.GROUP}')",
              file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='component_container', description='A container for composable rclpy nodes. '
        'The options win over the ROS parameters of the same names.')
    parser.add_argument('--executor', choices=EXECUTORS, help='default: events')
    parser.add_argument('--thread-num', type=int, metavar='N', help='threads of the multi executor')
    parser.add_argument('--on-exception', choices=ON_EXCEPTION, help='default: unload')
    parser.add_argument('--list', action='store_true', help='print the installed components')
    return parser
