"""Nodes that fail, hang, or ask for what not every executor has."""

import sys
import time
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int64
from std_srvs.srv import Trigger

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Crasher(Node):
    """Raises in the place that `where` names; alive on `alive` until then."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('crasher', **kwargs)
        self.where = self.declare_parameter('where', 'timer').value
        self._alive = self.create_publisher(Int64, 'alive', 10)
        self._self_call = self.create_client(Trigger, '~/answer')
        self.create_service(Trigger, '~/answer', lambda request, response: response)
        self.create_service(Trigger, '~/crash', self.on_request)
        self.create_subscription(Int64, 'crash', self.on_message, LATCHED)
        self.create_timer(0.02, self.tick)

    def tick(self) -> None:
        self._alive.publish(Int64(data=1))
        if self.where == 'timer':
            raise ValueError('timer boom')
        if self.where == 'exit':
            sys.exit(3)
        if self.where == 'future' and self._self_call.service_is_ready():
            future = self._self_call.call_async(Trigger.Request())
            future.add_done_callback(self.on_answer)

    def on_message(self, message: Int64) -> None:
        raise ValueError('subscription boom')

    def on_request(self, request: Any, response: Any) -> Any:
        raise ValueError('service boom')

    def on_answer(self, _future: Any) -> None:
        raise ValueError('future boom')


class Unbuildable(Node):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__('unbuildable', **kwargs)
        self.create_subscription(Int64, 'chatter', print, 10)
        raise RuntimeError('no such device')


class NoKwargs(Node):
    def __init__(self) -> None:
        super().__init__('no_kwargs')


class Deaf(Node):
    """Takes what it is given and keeps it from Node."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('deaf')


class Uninitialised(Node):
    def __init__(self, **kwargs: Any) -> None:
        pass


class NotANode:
    pass


def a_function() -> None:
    pass


class WantsInfo(Node):
    """Takes the message's info, which the EventsExecutor does not give."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('wants_info', **kwargs)
        self._publisher = self.create_publisher(Int64, 'relayed', 10)
        self.create_subscription(Int64, 'chatter', self.hear, 10)

    def hear(self, message: Int64, info: dict[str, Any]) -> None:
        self._publisher.publish(message)


class Awaits(Node):
    """A coroutine service that waits for another service, which may never answer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('awaits', **kwargs)
        group = ReentrantCallbackGroup()  # the answer must get in while `ask` waits
        self._client = self.create_client(Trigger, 'elsewhere', callback_group=group)
        self.create_service(Trigger, '~/ask', self.ask, callback_group=group)

    async def ask(self, request: Any, response: Any) -> Any:
        response.message = (await self._client.call_async(request)).message
        response.success = True
        return response


class Slow(Node):
    """Blocks for `seconds` in its constructor or in its subscription, as `where` says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('slow', **kwargs)
        self._seconds = self.declare_parameter('seconds', 0.5).value
        where = self.declare_parameter('where', 'callback').value
        if where == 'constructor':
            time.sleep(self._seconds)
        self._blocking = self.create_publisher(Int64, 'blocking', LATCHED)
        self.create_subscription(Int64, 'block', self.block, LATCHED)

    def block(self, message: Int64) -> None:
        self._blocking.publish(message)
        time.sleep(self._seconds)


class HalfStuck(Slow):
    """Raises in a timer while its subscription blocks; for an executor of several threads."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stuck = False
        self.create_timer(0.05, self.tick, callback_group=ReentrantCallbackGroup())

    def block(self, message: Int64) -> None:
        self._stuck = True
        super().block(message)

    def tick(self) -> None:
        if self._stuck:
            raise ValueError('half of me')


class BadEnd(Node):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__('bad_end', **kwargs)

    def destroy_node(self) -> None:
        raise RuntimeError('will not go')


class Saboteur(Node):
    """Shuts down the ROS context of everybody in its process."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('saboteur', **kwargs)
        self.create_subscription(Int64, '/block', lambda _: self.context.shutdown(), LATCHED)
