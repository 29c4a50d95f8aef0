"""Test components to install, a container in its own process, a client that waits for events."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import domain_coordinator
import rclpy
from composition_interfaces.srv import ListNodes, LoadNode, UnloadNode
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int64

DEADLINE_S = 15.0
HERE = Path(__file__).parent
ENTRY_POINTS = """[rclpy_components]
Talker = demo_components.nodes:Talker
Relay = demo_components.nodes:Relay
Parametrised = demo_components.nodes:Parametrised
Managed = demo_components.nodes:Managed
Worker = demo_components.nodes:Worker
Crasher = demo_components.rough:Crasher
Unbuildable = demo_components.rough:Unbuildable
NoKwargs = demo_components.rough:NoKwargs
Deaf = demo_components.rough:Deaf
Uninitialised = demo_components.rough:Uninitialised
NotANode = demo_components.rough:NotANode
Function = demo_components.rough:a_function
Missing = demo_components.rough:NoSuchClass
WantsInfo = demo_components.rough:WantsInfo
Awaits = demo_components.rough:Awaits
Slow = demo_components.rough:Slow
HalfStuck = demo_components.rough:HalfStuck
BadEnd = demo_components.rough:BadEnd
Saboteur = demo_components.rough:Saboteur
SlowImport = demo_components.slow_import:SlowImport
Broken = demo_components.broken_import:Broken
"""


def install(folder: Path | str) -> Path:
    """Install the distribution demo-components into a folder, for PYTHONPATH."""
    folder = Path(folder)
    shutil.copytree(HERE / 'demo_components', folder / 'demo_components',
                    ignore=shutil.ignore_patterns('__pycache__'))
    metadata = folder / 'demo_components-1.0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text('Metadata-Version: 2.1\nName: demo-components\n'
                                       'Version: 1.0\n')
    (metadata / 'entry_points.txt').write_text(ENTRY_POINTS)
    return folder


def free_domain() -> contextlib.AbstractContextManager[int]:
    """A ROS domain that no other test on this machine uses meanwhile."""
    domain: contextlib.AbstractContextManager[int] = domain_coordinator.domain_id(
        itertools.cycle(range(10, 20)).__next__)
    return domain


class Client:
    """Talks to containers of one domain; `spin_until` is the only way it waits."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node('test_client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._subscriptions: list[Any] = []

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def spin_until(self, reached: Callable[[], Any], what: str,
                   timeout_s: float = DEADLINE_S) -> Any:
        end = time.monotonic() + timeout_s
        while not (result := reached()):
            assert time.monotonic() < end, f'not within {timeout_s} s: {what}'
            self.executor.spin_once(timeout_sec=0.02)
        return result

    def call(self, kind: Any, name: str, request: Any = None,
             timeout_s: float = DEADLINE_S) -> Any:
        """The response, or None if none came in time."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
        self.spin_until(client.service_is_ready, f'service {name}')
        future = client.call_async(kind.Request() if request is None else request)
        self.executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        return future.result() if future.done() else None

    def collect(self, kind: Any, topic: str, seen: Callable[[Any], Any] = lambda x: x) -> list[Any]:
        """A list to which `seen` of each message is added while the client spins, until forget."""
        messages: list[Any] = []
        self._subscriptions.append(self.node.create_subscription(
            kind, topic, lambda message: messages.append(seen(message)), 100))
        return messages

    def forget(self) -> None:
        while self._subscriptions:
            self.node.destroy_subscription(self._subscriptions.pop())

    @contextlib.contextmanager
    def latched(self, topic: str) -> Iterator[None]:
        """An Int64 on the topic for whoever subscribes to it with transient local durability."""
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = self.node.create_publisher(Int64, topic, qos)
        publisher.publish(Int64())
        yield
        self.node.destroy_publisher(publisher)

    def names(self) -> set[str]:
        return {f'{namespace.rstrip("/")}/{name}'
                for name, namespace in self.node.get_node_names_and_namespaces()}


class Container:
    """A running container as its services show it."""

    def __init__(self, client: Client, process: 'subprocess.Popen[bytes]', name: str,
                 log: Path) -> None:
        self.client = client
        self.process = process
        self.name = name
        self._log = log

    def load(self, plugin: str, package: str = 'demo_components',
             parameters: dict[str, Any] | None = None, extra: dict[str, Any] | None = None,
             **fields: Any) -> Any:
        request = LoadNode.Request(package_name=package, plugin_name=plugin, **fields)
        request.parameters = _messages(parameters)
        request.extra_arguments = _messages(extra)
        return self.client.call(LoadNode, f'{self.name}/_container/load_node', request)

    def unload(self, unique_id: int) -> Any:
        return self.client.call(UnloadNode, f'{self.name}/_container/unload_node',
                                UnloadNode.Request(unique_id=unique_id))

    def nodes(self) -> dict[int, str]:
        listed = self.client.call(ListNodes, f'{self.name}/_container/list_nodes')
        return dict(zip(listed.unique_ids, listed.full_node_names, strict=True))

    def unload_all(self) -> None:
        for unique_id in self.nodes():
            assert self.unload(unique_id).success

    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str) -> None:
        self.client.spin_until(lambda: text in self.log(), f'{text!r} in the log:\n{self.log()}')

    def wait_for_status(self, node: str, level: int) -> Any:
        """The first diagnostic status of that level for that node."""
        arrays = self.client.collect(DiagnosticArray, '/diagnostics')
        def found() -> Any:
            return next((status for array in arrays for status in array.status
                         if status.name == node and status.level[0] == level
                         and status.hardware_id == self.name), None)
        return self.client.spin_until(found, f'status {level} of {node}')

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Exit status, and the seconds from the signal to the end."""
        begin = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(10), time.monotonic() - begin


@contextlib.contextmanager
def running(client: Client, folder: Path, name: str, *args: str,
            ros_args: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container in its own process, in the namespace /, stopped at the end."""
    log = folder / f'{name}.log'
    environment = os.environ | {
        'ROS_DOMAIN_ID': str(client.domain), 'ROS_LOG_DIR': str(folder)}
    with log.open('wb') as output:
        process = subprocess.Popen(
            [sys.executable, '-m', 'component_container', *args,
             '--ros-args', '-r', f'__node:={name}', *ros_args],
            stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        yield Container(client, process, f'/{name}', log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _messages(values: dict[str, Any] | None) -> list[Any]:
    return [Parameter(name, value=value).to_parameter_msg()
            for name, value in (values or {}).items()]
