"""Asks a container registry which digest a tag has now (OCI distribution specification, /v2/).

One HEAD for the digest, one GET of the manifest by that digest, whose sha256 must be it. Bearer
tokens by the registry's challenge, with the user's own Docker credentials where there are some. In
clear only to loopback; redirects are not followed, so no credential travels to another host.
"""

import base64
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST_TYPES = ('application/vnd.oci.image.index.v1+json',
                  'application/vnd.docker.distribution.manifest.list.v2+json',
                  'application/vnd.oci.image.manifest.v1+json',
                  'application/vnd.docker.distribution.manifest.v2+json')
MAX_MANIFEST_BYTES = 4 * 1024 * 1024      # what the specification lets a registry refuse above
_DIGEST = re.compile(r'^sha256:[0-9a-f]{64}$')
_COMPONENT = r'[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*'
_REFERENCE = re.compile(r'^(?:(?P<host>[a-zA-Z0-9.-]+\.[a-zA-Z0-9.-]+(?::\d+)?|localhost(?::\d+)?|'
                        r'[a-zA-Z0-9-]+:\d+)/)?(?P<path>' + _COMPONENT + '(?:/' + _COMPONENT + ')*)'
                        r'(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$')


class RegistryError(RuntimeError):
    """A registry could not be asked, or its answer cannot be used; one sentence."""


@dataclass(frozen=True)
class Reference:
    """host/path:tag[@digest]; host and path as the registry's API wants them."""
    host: str
    path: str
    tag: str
    digest: str = ''

    @classmethod
    def parse(cls, text: str) -> 'Reference':
        """Raises ValueError for what is no reference, or one without a tag, or tagged `latest`."""
        match = _REFERENCE.match(text)
        if match is None:
            raise ValueError(f'{text!r} is no image reference')
        host, path = match['host'] or 'docker.io', match['path']
        if host == 'docker.io' and '/' not in path:
            path = 'library/' + path
        if not match['tag'] or match['tag'] == 'latest':
            raise ValueError(f'{text!r} has no tag, or `latest`: what it means changes by itself')
        return cls(host, path, match['tag'], match['digest'] or '')

    def __str__(self) -> str:
        return f'{self.host}/{self.path}:{self.tag}'


@dataclass(frozen=True)
class Manifest:
    """What a tag points to now. platforms: `os/architecture`, empty for a single image."""
    digest: str
    platforms: tuple[str, ...]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Registry:
    """Asks registries; keeps a token per repository for as long as it lives."""

    def __init__(self, credentials: Mapping[str, str] | None = None, timeout_s: float = 10.0):
        """credentials: host -> base64 of user:password, as ~/.docker/config.json has them."""
        self._credentials = dict(credentials or {})
        self._timeout_s = timeout_s
        self._tokens: dict[tuple[str, str], str] = {}
        self._opener = urllib.request.build_opener(_NoRedirects)

    def manifest(self, reference: Reference) -> Manifest:
        """The digest that the tag has now; raises RegistryError."""
        headers, _ = self._ask('HEAD', reference, reference.tag)
        digest = headers.get('Docker-Content-Digest', '')
        if not _DIGEST.match(digest):
            raise RegistryError(f'{reference}: the registry names no sha256 digest ({digest!r})')
        _, body = self._ask('GET', reference, digest)
        if 'sha256:' + hashlib.sha256(body).hexdigest() != digest:
            raise RegistryError(f'{reference}: the manifest is not what its digest says')
        return Manifest(digest, _platforms(body, reference))

    def _ask(self, method: str, reference: Reference,
             name: str) -> tuple[Mapping[str, str], bytes]:
        url = f'{_base(reference.host)}/v2/{reference.path}/manifests/{name}'
        headers = {'Accept': ', '.join(MANIFEST_TYPES)}
        key = (reference.host, reference.path)
        if key in self._tokens:
            headers['Authorization'] = 'Bearer ' + self._tokens[key]
        try:
            return self._open(urllib.request.Request(url, method=method, headers=headers))
        except urllib.error.HTTPError as error:
            challenge = error.headers.get('WWW-Authenticate', '')
            if error.code != 401 or key in self._tokens:
                raise RegistryError(f'{reference}: the registry answers {error.code} '
                                    f'({_MEANINGS.get(error.code, error.reason)})') from error
        self._tokens[key] = self._token(challenge, reference)
        return self._ask(method, reference, name)

    def _token(self, challenge: str, reference: Reference) -> str:
        scheme, _, rest = challenge.partition(' ')
        given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = given.get('realm', '')
        own = realm.startswith(_base(reference.host) + '/')
        if scheme.lower() != 'bearer' or not (realm.startswith('https://') or own):
            raise RegistryError(f'{reference}: the registry wants {scheme or "nothing"!r} '
                                f'authentication at {realm!r}, which is not done here')
        query = urllib.parse.urlencode({'service': given.get('service', ''),
                                        'scope': f'repository:{reference.path}:pull'})
        headers = {}
        if reference.host in self._credentials:
            headers['Authorization'] = 'Basic ' + self._credentials[reference.host]
        try:
            _, body = self._open(urllib.request.Request(f'{realm}?{query}', headers=headers))
            answer = json.loads(body)
            return str(answer.get('token') or answer['access_token'])
        except urllib.error.HTTPError as error:
            raise RegistryError(f'{reference}: no token, the registry answers {error.code}; '
                                f'`docker login {reference.host}` first') from error
        except (ValueError, KeyError, AttributeError) as error:
            raise RegistryError(f'{reference}: the token server sent no token') from error

    def _open(self, request: urllib.request.Request) -> tuple[Mapping[str, str], bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as reply:
                body = reply.read(MAX_MANIFEST_BYTES + 1)
                if len(body) > MAX_MANIFEST_BYTES:
                    raise RegistryError(f'{request.host}: a manifest above 4 MiB')
                return reply.headers, body
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, 'reason', error)
            raise RegistryError(f'{request.host} could not be asked: {reason}') from error


_MEANINGS = {401: 'not with these credentials', 403: 'forbidden', 404: 'no such image or tag',
             301: 'moved; redirects are not followed', 302: 'moved; redirects are not followed',
             307: 'moved; redirects are not followed', 429: 'too many requests: try again later'}


def _base(host: str) -> str:
    if host == 'docker.io':
        return 'https://registry-1.docker.io'
    loopback = host.partition(':')[0] in ('localhost', '127.0.0.1')
    return f'{"http" if loopback else "https"}://{host}'


def _platforms(body: bytes, reference: Reference) -> tuple[str, ...]:
    try:
        entries = json.loads(body).get('manifests', [])
        named = [entry.get('platform', {}) for entry in entries]
    except (ValueError, AttributeError) as error:
        raise RegistryError(f'{reference}: the manifest is no JSON object') from error
    return tuple(sorted({f'{p.get("os", "?")}/{p.get("architecture", "?")}' for p in named
                         if p.get('os') != 'unknown'}))


def docker_credentials(path: Path | None = None) -> dict[str, str]:
    """host -> base64 of user:password from Docker's configuration; empty where there is none."""
    path = path or Path.home() / '.docker' / 'config.json'
    try:
        auths = json.loads(path.read_text()).get('auths', {})
    except (OSError, ValueError):
        return {}
    result = {}
    for host, entry in auths.items():
        if isinstance(entry, dict) and entry.get('auth'):
            bare = host.removeprefix('https://').split('/')[0]
            result['docker.io' if bare == 'index.docker.io' else bare] = entry['auth']
    return {host: auth for host, auth in result.items() if _is_basic(auth)}


def _is_basic(auth: str) -> bool:
    try:
        return b':' in base64.b64decode(auth, validate=True)
    except ValueError:
        return False
