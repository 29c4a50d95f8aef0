"""One ZMQ connection to a GR00T server: a question, and its answer before a limit.

A REQ socket that got no answer is never used again: closed, its connection is gone, and the answer
that comes late has nowhere to go (Positronic PR 459 took such answers for the next one's). What a
REQ socket hides (nobody listens, the server died while it worked) is read from its monitor, so that
a dead server is named at once and not at the deadline.
"""

import time
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from policy_client.policies.base import Failure
from policy_client.policies.gr00t_wire import MAX_REPLY_BYTES

# Beyond it ZMQ itself drops the connection, before the message fills the memory.
_HARD_LIMIT_BYTES = 8 * MAX_REPLY_BYTES
_BROKEN = (zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_DISCONNECTED
           | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
           | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
# Before ZMQ's own handshake a socket may take a question, and keep it.
_CONNECTING = ('connecting', 'connected')
_EVENTS = _BROKEN | zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED


class LinkError(Exception):
    """No answer, and why; the link must be closed."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Link:
    """For one thread at a time. Connects by itself; does not reconnect."""

    def __init__(self, context: 'zmq.Context[Any]', host_port: str) -> None:
        """Raises LinkError when the context is closed or the address is none."""
        self._stage = 'connecting'
        self._monitor: Any = None
        if context.closed:
            raise LinkError(Failure.CANCELLED, 'closed')
        try:
            self._socket = context.socket(zmq.REQ)
        except zmq.ContextTerminated:
            raise LinkError(Failure.CANCELLED, 'closed') from None
        except zmq.ZMQError as error:
            raise LinkError(Failure.UNREACHABLE, f'{host_port}: {error.strerror}') from None
        self._socket.linger = 0
        self._socket.immediate = 1
        self._socket.maxmsgsize = _HARD_LIMIT_BYTES
        try:
            self._monitor = self._socket.get_monitor_socket(_EVENTS)
            self._socket.connect(f'tcp://{host_port}')
        except zmq.ZMQError as error:
            self.close()
            raise LinkError(Failure.UNREACHABLE, f'{host_port}: {error.strerror}') from None

    def ask(self, question: bytes, limit_ns: int) -> bytes:
        """The answer to a question; raises LinkError at limit_ns (time.monotonic_ns) at the latest.

        A connection that broke since the last answer is reported, not made again: behind the same
        address there may be another server by now.
        """
        try:
            self._look('since the last answer' if self._stage == 'idle' else '')
            while self._stage in _CONNECTING or not self._socket.poll(0, zmq.POLLOUT):
                self._wait(zmq.POLLOUT, limit_ns)
            self._socket.send(question, zmq.NOBLOCK, copy=False)
            self._stage = 'waiting'
            while True:
                if self._wait(zmq.POLLIN, limit_ns):
                    try:
                        frames = self._socket.recv_multipart(zmq.NOBLOCK)
                        break
                    except zmq.Again:  # it was not an answer to a REQ
                        continue
        except zmq.ContextTerminated:
            raise LinkError(Failure.CANCELLED, 'closed') from None
        except zmq.ZMQError as error:
            raise LinkError(Failure.UNREACHABLE, f'{error.strerror} while {self._stage}') from None
        self._stage = 'idle'
        if len(frames) != 1:
            raise LinkError(Failure.BAD_REPLY, f'the answer has {len(frames)} parts, not one')
        return frames[0]

    def close(self) -> None:
        """Drop the connection and all that is in flight on it, at once."""
        self._socket.disable_monitor()
        if self._monitor:
            self._monitor.close(0)
        self._socket.close(0)

    def _wait(self, events: int, limit_ns: int) -> bool:
        """Whether the socket is ready; False after something else happened on the connection."""
        left_ns = limit_ns - time.monotonic_ns()
        if left_ns <= 0:
            raise LinkError(Failure.DEADLINE, {
                'connecting': 'no connection in time',
                'connected': 'connected, but no ZMQ greeting came: it hangs, or is no such server',
            }.get(self._stage, 'no answer in time'))
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        if self._stage not in _CONNECTING:
            poller.register(self._socket, events)
        # Milliseconds, rounded up: the caller keeps some in reserve.
        ready = dict(poller.poll(-(-left_ns // 1_000_000)))
        if self._socket in ready:
            return True
        if self._monitor in ready:
            self._look()
        return False

    def _look(self, when: str = '') -> None:
        """Read what happened to the connection; raises LinkError when it broke."""
        while self._monitor.poll(0):
            event = int(recv_monitor_message(self._monitor)['event'])
            if event & _BROKEN:
                raise LinkError(Failure.UNREACHABLE, self._broken(when))
            if event == zmq.EVENT_CONNECTED:
                self._stage = 'connected'
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._stage = 'ready'

    def _broken(self, when: str) -> str:
        if self._stage == 'connecting':
            return 'nobody listens there'
        if self._stage == 'connected':
            return 'what listens there does not speak ZMQ'
        if self._stage == 'waiting':
            return ('the connection broke before the answer: the server ended, or its answer has '
                    f'more than {_HARD_LIMIT_BYTES} bytes')
        return f'the connection broke {when}'.rstrip()
