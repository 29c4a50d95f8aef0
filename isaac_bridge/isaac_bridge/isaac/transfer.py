"""Streams of assets by the scheme of their URL."""

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0    # without a byte


def open_source(url: str) -> Any:
    """A readable binary stream, to be closed. Raises OSError with a sentence.

    s3: over https, of what may be read without a name; AWS_ENDPOINT_URL for another store.
    """
    scheme, _, rest = url.partition('://')
    if not rest:
        return Path(url).open('rb')
    if scheme == 'file':
        return Path(urllib.request.url2pathname(urllib.parse.urlparse(url).path)).open('rb')
    if scheme == 's3':
        return _http(_https_of(rest))
    if scheme in ('http', 'https'):
        return _http(url)
    if scheme == 'omniverse':
        return _nucleus(url)
    raise OSError(f'{scheme}:// is none of: https, s3, omniverse, file, a path')


def _https_of(rest: str) -> str:
    bucket, _, key = rest.partition('/')
    endpoint = os.environ.get('AWS_ENDPOINT_URL', '').rstrip('/')
    if endpoint:
        return f'{endpoint}/{bucket}/{key}'
    return f'https://{bucket}.s3.amazonaws.com/{key}'


def _http(url: str) -> Any:
    parts = urllib.parse.urlsplit(url)
    quoted = parts._replace(path=urllib.parse.quote(urllib.parse.unquote(parts.path)))
    try:
        return _Whole(urllib.request.urlopen(quoted.geturl(), timeout=TIMEOUT_S))
    except urllib.error.HTTPError as problem:
        problem.close()
        raise OSError(f'the server said {problem.code} {problem.reason}') from problem
    except urllib.error.URLError as problem:
        raise OSError(f'the server cannot be reached ({problem.reason})') from problem


class _Whole:
    """A response whose early end is an OSError, as every other trouble of a transfer."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self._response.read(size)
            return data
        except http.client.HTTPException as problem:
            raise OSError(f'the connection broke ({problem})') from problem

    def __enter__(self) -> '_Whole':
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _nucleus(url: str) -> Any:
    """Through Isaac Sim's own client, which knows the user's Nucleus credentials."""
    try:
        import omni.client
    except ImportError as problem:
        raise OSError('omniverse:// can be read inside Isaac Sim only') from problem
    import io
    result, _, content = omni.client.read_file(url)
    if result != omni.client.Result.OK:
        raise OSError(f'Nucleus said {result}')
    return io.BytesIO(memoryview(content).tobytes())
