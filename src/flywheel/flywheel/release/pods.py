"""A release into every pod that serves it: an explicit load each, then proof of each.

A load reaches one server only (triton-inference-server/server issue 3001), and a new pod comes up
with what it was started with (issue 3471). So every pod is asked by itself, by its own address
from a headless Service, again whenever pods come or go. Versions that were served stay served.
"""

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from .errors import ReleaseError

DIGEST_PARAMETER = 'release_sha256.'    # followed by the version
_MOST_AT_ONCE = 16


@dataclass(frozen=True)
class PodState:
    """versions: those asked for that this pod serves. error: empty where all of them are."""
    endpoint: str
    versions: tuple[int, ...]
    error: str = ''


def pods_of(host: str, port: int) -> list[str]:
    """The addresses behind a headless Service, as endpoints. Raises ReleaseError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ReleaseError(f'{host}: {error.strerror or error}') from None
    return sorted({f'grpc://[{each[4][0]}]:{port}' if ':' in str(each[4][0])
                   else f'grpc://{each[4][0]}:{port}' for each in found})


def serve(endpoints: Sequence[str], name: str, digests: Mapping[int, str], *,
          timeout_s: float = 120.0) -> list[PodState]:
    """Have every pod serve these versions, and only return when every one of them does.

    digests: release digest by version; they are published as the model's parameters, where a
    client's handshake can see them. An empty digest is one of a version from before releases.
    Raises ReleaseError that names the pods which do not serve it: then it is not served.
    """
    if not endpoints:
        raise ReleaseError(f'{name}: there is no pod to load it')
    if not digests:
        raise ReleaseError(f'{name}: no version is named')
    states = _each(endpoints, lambda endpoint: _load(endpoint, name, digests, timeout_s))
    _refuse_failed(name, digests, states)
    return states


def check(endpoints: Sequence[str], name: str, digests: Mapping[int, str], *,
          timeout_s: float = 10.0) -> list[PodState]:
    """What each pod serves, without loading anything."""
    return _each(endpoints, lambda endpoint: _state(endpoint, name, digests, timeout_s))


def _each(endpoints: Sequence[str], ask: Callable[[str], PodState]) -> list[PodState]:
    with ThreadPoolExecutor(min(_MOST_AT_ONCE, len(endpoints))) as pool:
        return list(pool.map(ask, endpoints))


def _load(endpoint: str, name: str, digests: Mapping[int, str], timeout_s: float) -> PodState:
    try:
        with _client(endpoint) as client:
            if not client.is_model_ready(name, client_timeout=timeout_s):
                client.load_model(name, client_timeout=timeout_s)
            config = client.get_model_config(name, as_json=True, client_timeout=timeout_s)
            client.load_model(name, config=json.dumps(_with(config['config'], digests)),
                              client_timeout=timeout_s)
    except (InferenceServerException, OSError) as error:
        return PodState(endpoint, (), _sentence(error))
    return _state(endpoint, name, digests, timeout_s)


def _state(endpoint: str, name: str, digests: Mapping[int, str], timeout_s: float) -> PodState:
    try:
        with _client(endpoint) as client:
            served = tuple(version for version in sorted(digests) if client.is_model_ready(
                name, str(version), client_timeout=timeout_s))
            if served != tuple(sorted(digests)):
                missing = sorted(set(digests) - set(served))
                return PodState(endpoint, served, f'version {missing[0]} is not ready')
            config = client.get_model_config(name, as_json=True, client_timeout=timeout_s)
            published = config['config'].get('parameters', {})
            for version, digest in digests.items():
                told = published.get(f'{DIGEST_PARAMETER}{version}', {}).get('string_value', '')
                if digest and told != digest:
                    return PodState(endpoint, served, f'version {version} is loaded as another '
                                                      'release')
            return PodState(endpoint, served)
    except (InferenceServerException, OSError) as error:
        return PodState(endpoint, (), _sentence(error))


def _with(config: Mapping[str, Any], digests: Mapping[int, str]) -> dict[str, Any]:
    """The model's configuration with these versions in it, and no policy but theirs."""
    parameters = {key: value for key, value in config.get('parameters', {}).items()
                  if not key.startswith(DIGEST_PARAMETER)}
    parameters |= {f'{DIGEST_PARAMETER}{version}': {'string_value': digest}
                   for version, digest in digests.items() if digest}
    return dict(config) | {
        'version_policy': {'specific': {'versions': sorted(digests)}}, 'parameters': parameters}


def _refuse_failed(name: str, digests: Mapping[int, str], states: Sequence[PodState]) -> None:
    failed = [each for each in states if each.error]
    if failed:
        wanted = ', '.join(str(version) for version in sorted(digests))
        raise ReleaseError(
            f'{name}: {len(failed)} of {len(states)} pods do not serve version {wanted}: '
            + '; '.join(f'{each.endpoint}: {each.error}' for each in failed[:5]))


def _client(endpoint: str) -> triton.InferenceServerClient:
    scheme, _, address = endpoint.partition('://')
    if scheme not in ('grpc', 'grpcs') or not address:
        raise OSError(f'{endpoint!r} is no endpoint: grpc://HOST:PORT or grpcs://HOST:PORT')
    return triton.InferenceServerClient(address, ssl=scheme == 'grpcs')


def _sentence(error: Exception) -> str:
    text = error.message() if isinstance(error, InferenceServerException) else str(error)
    return (text or type(error).__name__).strip().splitlines()[0][:300]
