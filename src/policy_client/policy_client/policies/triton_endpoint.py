"""Where a Triton server is and how it is spoken to, as one URL of the parameter `endpoints`.

    grpc://127.0.0.1:8001?shared_memory=true
    grpcs://triton.example:443?ca=/etc/robot/ca.pem&token_file=/run/secrets/triton

A token itself is never part of it: parameters are listed, logged and recorded.
"""

import re
from dataclasses import dataclass

from policy_client.policies.endpoint_options import is_loopback, read_options, without_options

_URL = re.compile(r'(?P<scheme>grpcs?)://(?P<address>(?P<host>\[[0-9a-fA-F:]+\]|[^/\s?#@:\[\]]+)'
                  r':(?P<port>\d{1,5}))/?(?:\?(?P<options>\S*))?')
_FORM = 'is not of the form grpc://host:port or grpcs://host:port, with ?option=value&.. behind'
OPTIONS = ('shared_memory', 'jpeg_quality', 'ca', 'cert', 'key', 'server_name', 'token_file',
           'token_env')


@dataclass(frozen=True)
class Endpoint:
    """A parsed URL; it holds where secrets are found, never the secrets.

    Attributes:
        tls: grpcs; `ca` empty means the machine's own roots.
        cert, key: PEM files of the client's certificate, for mutual TLS.
        server_name: the name in the server's certificate where it is not the host's.
        shared_memory: large inputs go through system shared memory (the server is on board).
        jpeg_quality: 1 to 100 allows JPEG for cameras where the model takes it; 0 does not.
    """
    address: str
    tls: bool = False
    ca: str = ''
    cert: str = ''
    key: str = ''
    server_name: str = ''
    token_file: str = ''
    token_env: str = ''
    shared_memory: bool = False
    jpeg_quality: int = 0

    @property
    def shown(self) -> str:
        """Scheme, host and port, for people."""
        return f'grpc{"s" if self.tls else ""}://{self.address}'


def parse(url: str) -> Endpoint:
    """The endpoint of a URL; raises ValueError with one sentence that repeats no option's value."""
    match = _URL.fullmatch(url)
    if not match or not 1 <= int(match['port']) <= 65535:
        raise ValueError(f'{without_options(url)!r} {_FORM}')
    options = read_options(match['options'] or '', OPTIONS)
    tls, onboard = match['scheme'] == 'grpcs', is_loopback(match['host'])
    for name in ('ca', 'cert', 'key', 'server_name'):
        if name in options and not tls:
            raise ValueError(f'the option {name} is for grpcs://')
    if ('cert' in options) != ('key' in options):
        raise ValueError('the options cert and key go together')
    for name in ('ca', 'cert', 'key'):
        if name in options and not options[name].startswith('/'):
            raise ValueError(f'the option {name} must be an absolute path')
    if ('token_file' in options or 'token_env' in options) and not (tls or onboard):
        raise ValueError('a token is sent over grpcs:// only, or to a server on this machine')
    shared = options.pop('shared_memory', 'false')
    if shared not in ('true', 'false'):
        raise ValueError('the option shared_memory must be true or false')
    if shared == 'true' and not onboard:
        raise ValueError('shared_memory=true needs a server on this machine (127.0.0.1)')
    quality = options.pop('jpeg_quality', '0')
    if not quality.isdecimal() or not 0 <= int(quality) <= 100:
        raise ValueError('the option jpeg_quality must be 1 to 100, or 0 for none')
    return Endpoint(match['address'], tls, shared_memory=shared == 'true',
                    jpeg_quality=int(quality), **options)
