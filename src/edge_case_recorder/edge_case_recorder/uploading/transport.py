"""Requests to Cloud Storage over HTTP, with this machine's credentials or to an emulator.

Nothing is retried here and no redirect is followed: the caller decides. A session's URL never
comes into a message.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit

from edge_case_recorder.uploading.pace import Body
from edge_case_recorder.uploading.protocol import Request
from edge_case_recorder.uploading.replies import Reply
from edge_case_recorder.uploading.trouble import StoreError, Trouble

GOOGLE = 'https://storage.googleapis.com'
_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
# Each piece that the socket takes must go within the first, the whole reply begin within the
# second: a slow link is no reason to give up, a silent one is.
_TIMEOUT_S = (20.0, 60.0)
_CLOCK_WORDS = ('not yet valid', 'certificate has expired', 'reasonable timeframe')


class Transport(Protocol):
    """One server. `endpoint` has no slash at its end."""

    endpoint: str

    def send(self, request: Request, body: Body | None) -> Reply:
        """The reply to a request whose body is given if it has a piece of a file.

        Raises StoreError: UNREACHABLE when there was no reply, CREDENTIALS or CLOCK when it could
        not even be asked.
        """

    def renew(self) -> None:
        """The server refused our token: get another before the next request."""


class HttpTransport:
    """google-auth's session; STORAGE_EMULATOR_HOST names a server that needs no credentials.

    endpoint, credentials: another server and google-auth's credentials for it.
    Raises StoreError of CREDENTIALS when this machine has none.
    """

    def __init__(self, timeout_s: tuple[float, float] = _TIMEOUT_S, *, endpoint: str = GOOGLE,
                 credentials: Any = None) -> None:
        # Importing costs half a second: only who needs it pays.
        import google.auth
        import requests
        from google.auth.exceptions import DefaultCredentialsError
        from google.auth.transport.requests import AuthorizedSession
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._session: Any
        emulator = os.environ.get('STORAGE_EMULATOR_HOST', '').rstrip('/')
        if emulator and credentials is None:
            self.endpoint = emulator if '://' in emulator else f'http://{emulator}'
            self._session = requests.Session()
            self._session.trust_env = False     # a proxy has no business on the loopback
            return
        self.endpoint = endpoint
        try:
            if credentials is None:
                self._credentials, _ = google.auth.default(scopes=[_SCOPE])
        except (DefaultCredentialsError, OSError) as error:
            raise StoreError(Trouble.CREDENTIALS, str(error)) from error
        # Its own repetition after a 401 would send a body that is already read.
        self._session = AuthorizedSession(self._credentials, refresh_status_codes=())

    def send(self, request: Request, body: Body | None) -> Reply:
        if not self._trusted(request.url):
            raise StoreError(Trouble.EXPIRED, 'the upload\'s session is at another server')
        with _translated(self.endpoint):
            reply = self._session.request(
                request.method, request.url, data=body or request.before,
                headers=dict(request.headers), timeout=self._timeout_s, allow_redirects=False)
            return Reply(reply.status_code,
                         {name.lower(): value for name, value in reply.headers.items()},
                         reply.content)

    def renew(self) -> None:
        if self._credentials is not None:
            self._credentials.token = None

    def _trusted(self, url: str) -> bool:
        """Our token goes to the endpoint, and to other names of Google's over TLS, only."""
        asked, known = urlsplit(url), urlsplit(self.endpoint)
        return (asked.scheme, asked.netloc) == (known.scheme, known.netloc) or (
            self.endpoint == GOOGLE and asked.scheme == 'https'
            and (asked.hostname or '').endswith('.googleapis.com'))


@contextlib.contextmanager
def _translated(where: str) -> Iterator[None]:
    """The libraries' exceptions as ours."""
    import requests
    from google.auth.exceptions import GoogleAuthError, TransportError
    try:
        yield
    except TransportError as error:
        raise StoreError(Trouble.UNREACHABLE, f'{where}: {_kind(error)}') from error
    except GoogleAuthError as error:
        trouble = Trouble.CLOCK if _is_clock(error) else Trouble.CREDENTIALS
        raise StoreError(trouble, f'{where}: {str(error)[:300]}') from error
    except (requests.RequestException, OSError) as error:
        trouble = Trouble.CLOCK if _is_clock(error) else Trouble.UNREACHABLE
        raise StoreError(trouble, f'{where}: {_kind(error)}') from error


def _is_clock(error: BaseException) -> bool:
    return any(word in str(error) for word in _CLOCK_WORDS)


def _kind(error: BaseException) -> str:
    """What went wrong without the URL, which these libraries like to put into their messages."""
    cause: BaseException = error
    while isinstance(cause.__context__, BaseException):
        cause = cause.__context__
    detail = getattr(cause, 'strerror', None) or ''
    return f'{type(error).__name__} {detail}'.strip()
