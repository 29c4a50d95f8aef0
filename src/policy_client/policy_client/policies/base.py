"""The protocol of a policy: describe yourself, answer an observation before a deadline."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray

from policy_client.handshake import ModelDescription


class Failure(StrEnum):
    """Why a request brought no actions."""
    DEADLINE = 'deadline'            # nothing came in time: hung, slow, lost
    UNREACHABLE = 'unreachable'      # nobody listens, or the connection broke
    QUEUE_FULL = 'queue_full'        # the server has too many before us
    QUEUE_TIMEOUT = 'queue_timeout'  # it waited in the server's queue for too long
    INVALID = 'invalid'              # the server does not take our tensors
    NOT_FOUND = 'not_found'          # the model or its version is not loaded
    MODEL_ERROR = 'model_error'      # the network itself failed
    BAD_REPLY = 'bad_reply'          # not readable as tensors, or not the one asked for
    CANCELLED = 'cancelled'

    @property
    def final(self) -> bool:
        """Whether asking again at once is useless: the handshake no longer holds."""
        return self in (Failure.UNREACHABLE, Failure.NOT_FOUND, Failure.INVALID)


@dataclass(frozen=True)
class Request:
    request_id: str
    inputs: Mapping[str, NDArray[Any]]
    timeout_ns: int


@dataclass(frozen=True)
class Reply:
    """What came of a request; either actions or a failure."""
    request_id: str
    actions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    failure: Failure | None = None
    detail: str = ''
    version: str = ''
    elapsed_ns: int = 0


@dataclass(frozen=True)
class Split:
    """Where the time of a round trip went, on average lately."""
    network_ms: float
    queue_ms: float
    compute_ms: float


class PolicyUnavailable(Exception):
    """A handshake that could not be held: no server, no model, no file."""


class Policy(Protocol):
    """One place where a network runs. Constructors do no I/O."""

    def handshake(self, timeout_s: float) -> ModelDescription:
        """How the model describes itself. Blocks for at most timeout_s; for a worker thread.

        Raises PolicyUnavailable.
        """
        ...

    def infer(self, request: Request) -> 'Future[Reply]':
        """Start an inference and return at once. The future never fails: it brings a Reply within
        timeout_ns and a few milliseconds, set from a thread of the policy's own."""
        ...

    def cancel(self, request_id: str) -> None:
        """Nobody waits for this request any more: spare the server and the network, if that can
        be done. Its future may bring a reply or not."""
        ...

    def split(self) -> Split | None:
        """Where the time of its requests goes; None where that is not known. Never waits."""
        ...

    def close(self) -> None:
        """Give back threads and connections; what is in flight may never come back."""
        ...
