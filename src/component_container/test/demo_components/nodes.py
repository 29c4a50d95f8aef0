"""Nodes that behave well."""

from typing import Any

import rclpy.lifecycle
from example_interfaces.action import Fibonacci
from rclpy.action import ActionServer
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Int64
from std_srvs.srv import Trigger


class Talker(Node):
    """Counts on `chatter` at `rate_hz`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('talker', **kwargs)
        self._publisher = self.create_publisher(Int64, 'chatter', 100)
        self._count = 0
        self.create_timer(1.0 / self.declare_parameter('rate_hz', 200.0).value, self.talk)

    def talk(self) -> None:
        self._count += 1
        self._publisher.publish(Int64(data=self._count))


class Relay(Node):
    """Sends on to `relayed` what it hears on `chatter`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('relay', **kwargs)
        self._publisher = self.create_publisher(Int64, 'relayed', 100)
        self.create_subscription(Int64, 'chatter', self.hear, 100)

    def hear(self, message: Int64) -> None:
        self._publisher.publish(message)


class Parametrised(Node):
    """Declares a parameter of each type, and says at which level it logs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('parametrised', **kwargs)
        for kind in Parameter.Type:
            if kind is not Parameter.Type.NOT_SET:
                self.declare_parameter(kind.name.lower(), kind)
        self.create_service(Trigger, '~/log_level', self.answer)

    def answer(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self.get_logger().get_effective_level().name
        return response


class Managed(rclpy.lifecycle.LifecycleNode):
    """A lifecycle node that talks while active; `raise_in` names a transition that fails."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('managed', **kwargs)
        self._raise_in = self.declare_parameter('raise_in', '').value

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        if self._raise_in == 'configure':
            raise RuntimeError('no camera')
        self._publisher = self.create_lifecycle_publisher(Int64, 'chatter', 10)
        self._timer = self.create_timer(0.01, self.talk)
        return super().on_configure(state)

    def talk(self) -> None:
        if self._raise_in == 'talk':
            raise RuntimeError('talked too much')
        self._publisher.publish(Int64(data=1))


class Worker(Node):
    """An action server."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('worker', **kwargs)
        self._server = ActionServer(self, Fibonacci, 'fibonacci', self.work)

    def work(self, goal: Any) -> Fibonacci.Result:
        goal.succeed()
        return Fibonacci.Result(sequence=[0, 1, 1])
