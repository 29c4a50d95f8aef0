"""The connection to a Triton server: keepalive, TLS, mutual TLS, tokens, what its errors mean.

A certificate, key or token that is missing or wrong is one sentence that names the file, found
before anything is sent. The value of a token is in no message, no repr and no exception.
"""

import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental
from tritonclient.grpc import service_pb2_grpc

from policy_client.policies.base import Failure, PolicyUnavailable
from policy_client.policies.triton_endpoint import Endpoint

_MAX_REPLY_BYTES = 16 * 1024 * 1024
_MAX_TOKEN_BYTES = 8 * 1024  # servers take about as much of headers
_SILENCE_NS = 2_000_000_000
_OPTIONS = (
    ('grpc.max_send_message_length', -1),
    ('grpc.max_receive_message_length', _MAX_REPLY_BYTES),
    # gRPC's own backoff grows to two minutes; a robot wants its server back within a second.
    ('grpc.initial_reconnect_backoff_ms', 100),
    # How long a connection may take to be made: TCP, TLS and HTTP/2 are four round trips.
    ('grpc.min_reconnect_backoff_ms', 3000),
    ('grpc.max_reconnect_backoff_ms', 1000),
    # Pings under a waiting call, and bounds unacknowledged bytes in the kernel. Never without a
    # call: servers end connections that ping idly. Calls that end sooner than a ping see nothing of
    # it; for them there is Connection.given_up.
    ('grpc.keepalive_time_ms', 5_000),
    ('grpc.keepalive_timeout_ms', 2_000),
    ('grpc.keepalive_permit_without_calls', 0),
    # A connection of its own: shared with another client, its backoff and certificates were too.
    ('grpc.use_local_subchannel_pool', 1),
    # Nothing is sent again behind our back: which endpoint is asked next is for the routes to say.
    ('grpc.enable_retries', 0),
    # Who waits for an answer reads it himself, without a thread that gRPC starts for each call.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
)


class Token:
    """A bearer token that shows itself only to gRPC."""

    def __init__(self, value: str, source: str) -> None:
        """source: where it came from, for people."""
        self._value, self.source = value, source

    def __repr__(self) -> str:
        return f'Token(from {self.source})' if self._value else 'Token()'

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (('authorization', f'Bearer {self._value}'),) if self._value else ()

    def hidden(self, text: str) -> str:
        """The text without the token, which a server may have sent back in an error."""
        return text.replace(self._value, '***') if self._value else text


class Connection:
    """A channel to one endpoint, made with the first use; thread-safe.

    Certificates and tokens are short-lived where they are taken seriously, so `renew` looks at
    their files again.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Nothing is read or connected yet."""
        self.endpoint = endpoint
        self.token = Token('', '')
        self._lock = threading.Lock()
        self._stamps: tuple[int, ...] = ()
        self._silent_since_ns = 0
        self._closed = False
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._methods: dict[str, Any] = {}

    @property
    def opened(self) -> bool:
        return self._channel is not None

    def renew(self) -> None:
        """Read the token again, and certificates that have changed; raises PolicyUnavailable."""
        with self._lock:
            self.token = read_token(self.endpoint)
            if _stamps(self.endpoint) != self._stamps:
                self._drop()
            self._ready()

    def answered(self) -> None:
        """The server said something."""
        self._silent_since_ns = 0

    def given_up(self) -> None:
        """A call ended by its deadline. After 2 s of nothing else the connection is made anew: a
        half-open one, whose other end is gone without a word, would stay so for minutes."""
        now = time.monotonic_ns()
        with self._lock:
            if not self._silent_since_ns:
                self._silent_since_ns = now
            elif now - self._silent_since_ns > _SILENCE_NS:
                self._silent_since_ns = 0
                self._drop()

    def call(self, method: str, message: Any, timeout_s: float) -> Any:
        """A unary call by its name, which waits; raises grpc.RpcError and PolicyUnavailable."""
        with self._lock:
            self._ready()
            function = getattr(self._stub, method)
        return function(message, timeout=timeout_s, metadata=self.token.metadata)

    def send(self, path: str, message: bytes, timeout_s: float) -> Any:
        """Start a unary call, bytes in and bytes out: what comes is parsed where it can be
        refused. Raises PolicyUnavailable, and ValueError on a channel that was closed."""
        with self._lock:
            channel = self._ready()
            if path not in self._methods:
                # On the wire the same as unary; but its caller waits for it (see _OPTIONS).
                self._methods[path] = channel.unary_stream(path)
            function = self._methods[path]
        return function(message, timeout=timeout_s, metadata=self.token.metadata)

    @staticmethod
    def received(rpc: Any) -> bytes:
        """Wait for the answer to a call that was sent; raises grpc.RpcError, with its status.

        It is whole and good only with the status behind it. Without a message it is empty.
        """
        data = b''
        try:
            for part in rpc:
                data = part
        finally:
            # gRPC (1.85) leaves a call whose status came while it was still being sent as it is,
            # and with it the connection, for good: nobody reads its last event.
            while rpc._state.due:
                rpc._consume_next_event()
        return data

    def sentence(self, error: Any) -> str:
        return sentence(error, self.endpoint, self.token)

    def close(self) -> None:
        """For good. May wait as long as gRPC does for its calls, which has no limit."""
        with self._lock:
            self._closed = True
            channel = self._channel
        if channel is not None:
            channel.close()

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:  # gRPC waits for its calls without a limit
            threading.Thread(target=channel.close, daemon=True).start()

    def _ready(self) -> grpc.Channel:
        if self._closed:
            raise ValueError('closed')
        if self._channel is None:
            if not self.token.source:
                self.token = read_token(self.endpoint)
            self._stamps, self._methods = _stamps(self.endpoint), {}
            self._channel = open_channel(self.endpoint)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._channel


def _stamps(endpoint: Endpoint) -> tuple[int, ...]:
    """When the TLS files were last written; 0 for one that cannot be seen."""
    def written(path: str) -> int:
        try:
            return os.stat(path).st_mtime_ns
        except OSError:
            return 0

    return tuple(written(path) for path in (endpoint.ca, endpoint.cert, endpoint.key) if path)


def read_token(endpoint: Endpoint) -> Token:
    """The token of an endpoint, empty where it has none; raises PolicyUnavailable."""
    if endpoint.token_file:
        source = f'token_file {endpoint.token_file}'
        value = _read('token_file', endpoint.token_file).decode('latin-1').strip()
    elif endpoint.token_env:
        source = f'environment variable {endpoint.token_env}'
        value = os.environ.get(endpoint.token_env, '').strip()
    else:
        return Token('', '')
    if not value:
        raise PolicyUnavailable(f'{source} holds no token')
    # gRPC would repeat a header that it cannot send in its own error.
    if len(value) > _MAX_TOKEN_BYTES or not all('!' <= letter <= '~' for letter in value):
        raise PolicyUnavailable(f'{source} does not hold one token of at most {_MAX_TOKEN_BYTES} '
                                'printable ASCII characters')
    return Token(value, source)


def open_channel(endpoint: Endpoint) -> grpc.Channel:
    """A channel; connects with the first call. Raises PolicyUnavailable for a wrong TLS file."""
    if not endpoint.tls:
        return grpc.insecure_channel(endpoint.address, options=_OPTIONS)
    options: list[tuple[str, object]] = list(_OPTIONS)
    if endpoint.server_name:
        options.append(('grpc.ssl_target_name_override', endpoint.server_name))
    return grpc.secure_channel(endpoint.address, _credentials(endpoint), options=options)


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials:
    # gRPC says no more than 'failed to create security handshaker', so Python's TLS looks first.
    checks = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    roots = cert = key = None
    if endpoint.ca:
        roots = _certificates('ca', endpoint.ca, checks)
    if endpoint.cert:
        cert = _certificates('cert', endpoint.cert, checks)
        key = _read('key', endpoint.key)
        try:
            checks.load_cert_chain(endpoint.cert, endpoint.key, password=b'')
        except (ssl.SSLError, ValueError, OSError) as error:
            if getattr(error, 'reason', '') == 'KEY_VALUES_MISMATCH':
                raise PolicyUnavailable(f'TLS: the key {endpoint.key} does not belong to the '
                                        f'certificate {endpoint.cert}') from None
            raise PolicyUnavailable(f'TLS: key {endpoint.key} holds no unencrypted PEM private '
                                    'key') from None
    return grpc.ssl_channel_credentials(roots, key, cert)


def _certificates(option: str, path: str, checks: ssl.SSLContext) -> bytes:
    data = _read(option, path)
    try:
        checks.load_verify_locations(cadata=data.decode('ascii'))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise PolicyUnavailable(f'TLS: {option} {path} holds no PEM certificate') from None
    return data


def _read(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PolicyUnavailable(f'{option} {path} cannot be read: {error.strerror}') from None


def classify(status: str, message: str) -> Failure:
    """Triton's gRPC errors told apart: one code stands for several causes (2.51, 2.73 read)."""
    code = status.removeprefix('StatusCode.')
    text = message.lower()
    if code == 'DEADLINE_EXCEEDED':
        return Failure.DEADLINE
    if code == 'CANCELLED':
        return Failure.CANCELLED
    if 'maximum queue size' in text:
        return Failure.QUEUE_FULL
    if 'request timeout expired' in text:
        return Failure.QUEUE_TIMEOUT
    if code == 'NOT_FOUND' or 'unknown model' in text or 'not ready' in text:
        return Failure.NOT_FOUND
    if code == 'UNAVAILABLE':
        return Failure.UNREACHABLE
    # A refused token is final, as a refused tensor is: the next handshake reads it again.
    if code in ('INVALID_ARGUMENT', 'UNIMPLEMENTED', 'UNAUTHENTICATED', 'PERMISSION_DENIED'):
        return Failure.INVALID
    return Failure.MODEL_ERROR


def sentence(error: grpc.RpcError, endpoint: Endpoint, token: Token) -> str:
    """What a failed call means, on one line, without the token."""
    details = token.hidden(' '.join(str(error.details() or '').split()))[:300]
    where = endpoint.address
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        given = f'refuses the token from {token.source}' if token.source else 'wants a token'
        return f'{where} {given}: {details}'
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return details
    if 'CERTIFICATE_VERIFY_FAILED' in details:
        reason = details.rpartition('CERTIFICATE_VERIFY_FAILED:')[2].removesuffix(': OK').strip()
        return (f'TLS: the certificate of {where} is not trusted by '
                f'{endpoint.ca or "the roots of this machine"} ({reason})')
    if 'Hostname Verification' in details:
        return (f'TLS: the certificate of {where} is for another name; server_name= says which '
                'is expected')
    if 'WRONG_VERSION_NUMBER' in details:
        return f'TLS: {where} does not speak TLS'
    if 'failed to connect' in details and 'Socket closed' in details:
        hint = ('a TLS server; grpcs:// is for it' if not endpoint.tls else
                'a server that wants another client certificate' if endpoint.cert else
                'a server that wants a client certificate, with cert= and key=')
        return f'{where} closed the connection at once, as does {hint}: {details}'
    return details
