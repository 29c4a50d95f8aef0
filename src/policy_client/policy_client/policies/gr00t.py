"""A policy behind GR00T's own server (`run_gr00t_server.py`: ZMQ REQ/REP and msgpack).

That server computes one request at a time and does not drop those whose client has gone. So after a
request without an answer the next one first asks for the modality configuration: a hung server is
not given an inference each time, and another model behind the same address is seen. A connection
that broke voids the handshake. The token travels in clear, as the stock server wants it.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import zmq
from numpy.typing import NDArray

from policy_client.embodiment import Embodiment
from policy_client.handshake import ModelDescription
from policy_client.policies import gr00t_wire as wire
from policy_client.policies.base import Failure, PolicyUnavailable, Reply, Request, Split
from policy_client.policies.deadlines import Deadlines, Pending
from policy_client.policies.gr00t_endpoint import parse, read_token
from policy_client.policies.gr00t_handshake import UNKNOWN, Agreement, hold
from policy_client.policies.gr00t_link import Link, LinkError

# Polling counts in milliseconds, rounded up, and the answer has a way back through a thread.
_RESERVE_NS = 2_000_000
_MAX_IN_FLIGHT = 4
_CLOSE_S = 0.5
# Words of GR00T's checks of an observation, of its token check and of its dispatch.
_NOT_TAKEN = (' must ', 'Unauthorized', 'Unknown endpoint')


class _NotAgreed(Exception):
    """What was agreed on does not hold; asking again needs a new handshake."""


@dataclass(frozen=True)
class _Lane:
    """A connection, and the handshake under which it was opened."""
    link: Link
    agreed: Agreement


class Gr00tPolicy:
    """One GR00T server. infer and close from one thread, handshake and reset from another."""

    def __init__(self, url: str, embodiment: Embodiment) -> None:
        """url is zmq://host:port with options (gr00t_endpoint.py); raises ValueError for another.

        Nothing is connected yet, and no token is read.
        """
        self._endpoint, self._embodiment = parse(url), embodiment
        self._token = ''
        self._context: zmq.Context[Any] = zmq.Context()
        self._workers = ThreadPoolExecutor(_MAX_IN_FLIGHT, thread_name_prefix='gr00t')
        self._free = threading.Semaphore(_MAX_IN_FLIGHT)
        self._lock = threading.Lock()
        self._agreed: Agreement | None = None
        self._idle: list[_Lane] = []
        self._deadlines = Deadlines()
        self._closed = False

    def __repr__(self) -> str:
        return f'Gr00tPolicy({self._endpoint.shown!r})'

    def handshake(self, timeout_s: float) -> ModelDescription:
        limit_ns = time.monotonic_ns() + round(timeout_s * 1e9) - _RESERVE_NS
        self._token = read_token(self._endpoint)  # again each time: tokens are renewed
        link = self._open()
        try:
            model, agreed = hold(
                lambda endpoint, data, encoding: self._answer(link, endpoint, data, limit_ns,
                                                              encoding),
                self._embodiment, self._endpoint)
        except (LinkError, wire.WireError, wire.Refused) as error:
            raise self._unavailable(error) from None
        finally:
            link.close()
        self._agreed = agreed
        return model

    def infer(self, request: Request) -> 'Future[Reply]':
        pending = Pending(request)
        if not self._free.acquire(blocking=False):
            pending.fail(Failure.QUEUE_FULL,
                         f'{_MAX_IN_FLIGHT} requests wait for this server already')
            return pending.future
        self._deadlines.watch(pending)
        try:
            self._workers.submit(self._run, pending)
        except RuntimeError:
            self._free.release()
            pending.fail(Failure.CANCELLED, 'closed')
        return pending.future

    def reset(self, timeout_s: float) -> None:
        """Tell the server that an episode begins; raises PolicyUnavailable."""
        limit_ns = time.monotonic_ns() + round(timeout_s * 1e9) - _RESERVE_NS
        link = self._open()
        try:
            self._answer(link, 'reset', {'options': None}, limit_ns)
        except (LinkError, wire.WireError, wire.Refused) as error:
            raise self._unavailable(error) from None
        finally:
            link.close()

    def cancel(self, request_id: str) -> None:
        """The stock server computes it anyway; its reply is not looked at."""

    def split(self) -> Split | None:
        """None: the stock server says nothing of its time."""
        return None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.link.close()
        self._workers.shutdown(wait=False)
        self._deadlines.close()
        # Ends what is in flight: its sockets fail, are closed, and then the context is gone.
        closing = threading.Thread(target=self._context.term, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _run(self, pending: Pending) -> None:
        """A whole request, on a thread of the pool."""
        agreed = self._agreed
        found: dict[str, NDArray[Any]] = {}
        failure, detail = None, ''
        try:
            if agreed is None:
                raise _NotAgreed('no handshake was held with this server, or it is void')
            found = self._ask(agreed, pending.request, pending.due_ns - _RESERVE_NS)
        except LinkError as error:
            failure, detail = error.failure, error.detail
        except wire.Refused as error:
            taken = not any(words in str(error) for words in _NOT_TAKEN)
            failure = Failure.MODEL_ERROR if taken else Failure.INVALID
            detail = f'the server answered: {error}'
        except wire.WireError as error:
            failure, detail = Failure.BAD_REPLY, str(error)
        except _NotAgreed as error:
            failure, detail = Failure.INVALID, str(error)
        except BaseException as fault:
            pending.future.set_exception(fault)
            raise
        finally:
            self._free.release()
        if failure is None:
            pending.succeed(found, UNKNOWN)
            return
        if failure.final:
            with self._lock:
                if self._agreed is agreed:
                    self._agreed = None
        pending.fail(failure, wire.sentence(detail, self._token))

    def _ask(self, agreed: Agreement, request: Request,
             limit_ns: int) -> dict[str, NDArray[Any]]:
        try:
            question = wire.request('get_action', wire.observation(request.inputs, agreed.layout),
                                    self._token, agreed.encoding)
        except wire.WireError as error:
            raise _NotAgreed(str(error)) from None
        lane = self._lane(agreed, limit_ns)
        try:
            found, _ = wire.actions(wire.answer(lane.link.ask(question, limit_ns), self._token))
            if set(found) != agreed.actions:
                raise wire.WireError(f'it brings {", ".join(sorted(found))}, at the handshake they '
                                     f'were {", ".join(sorted(agreed.actions))}')
        except wire.Refused:
            self._keep(lane)
            raise
        except BaseException:
            lane.link.close()
            raise
        self._keep(lane)
        return found

    def _lane(self, agreed: Agreement, limit_ns: int) -> _Lane:
        """An idle connection, or a new one behind which the same model was found."""
        with self._lock:
            void = [lane for lane in self._idle if lane.agreed is not agreed]
            self._idle = [lane for lane in self._idle if lane.agreed is agreed]
            lane = self._idle.pop() if self._idle else None
        for other in void:
            other.link.close()
        if lane:
            return lane
        link = Link(self._context, self._endpoint.address)
        try:
            found, _ = wire.modalities(self._answer(link, 'get_modality_config', None, limit_ns))
            if found != agreed.modalities:
                raise _NotAgreed('its modality configuration is not the one of the handshake')
        except BaseException:
            link.close()
            raise
        return _Lane(link, agreed)

    def _keep(self, lane: _Lane) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(lane)
                return
        lane.link.close()

    def _open(self) -> Link:
        try:
            return Link(self._context, self._endpoint.address)
        except LinkError as error:
            raise self._unavailable(error) from None

    def _answer(self, link: Link, endpoint: str, data: Mapping[str, Any] | None, limit_ns: int,
                encoding: str = wire.NPY) -> Any:
        question = wire.request(endpoint, data, self._token, encoding)
        return wire.answer(link.ask(question, limit_ns), self._token)

    def _unavailable(self, error: Exception) -> PolicyUnavailable:
        failure = f'{error.failure}: ' if isinstance(error, LinkError) else ''
        return PolicyUnavailable(
            f'{self._endpoint.shown}: {wire.sentence(f"{failure}{error}", self._token)}')
