"""Where a GR00T server is and how it is spoken to, as one URL of the parameter `endpoints`.

    zmq://127.0.0.1:5555
    zmq://10.0.0.2:5555?image=180x320&layout=flat&token_file=/run/secrets/groot&token_in_clear=true

A token itself is never part of it: parameters are listed, logged and recorded. The stock server has
no encryption, so a token leaves this machine only where that is said; a tunnel is the better way.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from policy_client.policies.base import PolicyUnavailable
from policy_client.policies.endpoint_options import is_loopback, read_options, without_options
from policy_client.policies.gr00t_wire import ENCODINGS, LAYOUTS

AUTO = 'auto'
_URL = re.compile(r'zmq://(?P<address>(?P<host>[^/\s?#@:\[\]]+):(?P<port>\d{1,5}))/?'
                  r'(?:\?(?P<options>\S*))?')
_SIZE = re.compile(r'([1-9]\d{0,3})x([1-9]\d{0,3})')
_MAX_SIDE = 4096
_MAX_TOKEN = 4096
_CHOICES = {'encoding': (AUTO, *ENCODINGS), 'layout': (AUTO, *LAYOUTS),
            'token_in_clear': ('true', 'false')}
OPTIONS = ('image', *_CHOICES, 'token_file', 'token_env')


@dataclass(frozen=True)
class Endpoint:
    """A parsed URL; it holds where a token is found, never the token.

    Attributes:
        encoding: of arrays: `npy`, `msgpack_numpy`, or `auto`: as the server's answers show.
        layout: of observations: `nested`, `flat` (a server with --use-sim-policy-wrapper), `auto`.
        image_size: (height, width) that pictures are sent in; a GR00T server does not say any.
    """
    address: str
    encoding: str = AUTO
    layout: str = AUTO
    image_size: tuple[int, int] = (256, 256)
    token_file: str = ''
    token_env: str = ''

    @property
    def shown(self) -> str:
        """Scheme, host and port, for people."""
        return f'zmq://{self.address}'


def parse(url: str) -> Endpoint:
    """The endpoint of a URL; raises ValueError with one sentence that repeats no token's place."""
    match = _URL.fullmatch(url)
    if not match or not 1 <= int(match['port']) <= 65535:
        shown = without_options(url)
        raise ValueError(f'{shown!r} is not of the form zmq://host:port, with ?option=value&.. '
                         'behind')
    options = read_options(match['options'] or '', OPTIONS)
    for name, choices in _CHOICES.items():
        if options.get(name, choices[0]) not in choices:
            raise ValueError(f'the option {name} must be one of {", ".join(choices)}')
    size = _SIZE.fullmatch(options.get('image', '256x256'))
    if not size or max(int(size[1]), int(size[2])) > _MAX_SIDE:
        raise ValueError(f'the option image must be HEIGHTxWIDTH, at most {_MAX_SIDE} each')
    file, variable = options.get('token_file', ''), options.get('token_env', '')
    clear = options.get('token_in_clear') == 'true'
    if (file or variable) and not clear and not is_loopback(match['host']):
        raise ValueError('a GR00T server gets its token unencrypted: use one on this machine (a '
                         'tunnel), or say token_in_clear=true')
    return Endpoint(match['address'], options.get('encoding', AUTO), options.get('layout', AUTO),
                    (int(size[1]), int(size[2])), file, variable)


def read_token(endpoint: Endpoint) -> str:
    """The token, empty where none is named; raises PolicyUnavailable naming where it should be."""
    if endpoint.token_env:
        token, place = os.environ.get(endpoint.token_env, ''), f'token_env {endpoint.token_env}'
    elif endpoint.token_file:
        place = f'token_file {endpoint.token_file}'
        try:
            token = Path(endpoint.token_file).read_bytes()[:_MAX_TOKEN + 1].decode()
        except OSError as error:
            raise PolicyUnavailable(f'{place}: {error.strerror}') from None
        except UnicodeDecodeError:
            raise PolicyUnavailable(f'{place}: is not UTF-8') from None
    else:
        return ''
    token = token.strip()
    if not 1 <= len(token) <= _MAX_TOKEN or not token.isprintable():
        raise PolicyUnavailable(f'{place}: holds no token of one line')
    return token
