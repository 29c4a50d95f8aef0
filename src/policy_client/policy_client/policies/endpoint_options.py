"""What the URLs of all servers share: options behind a `?`, where a token is, what can be shown."""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import unquote

_VARIABLE = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


def read_options(text: str, allowed: Collection[str]) -> dict[str, str]:
    """`name=value&..` as a mapping; raises ValueError with a sentence that repeats no value.

    A token is never an option: parameters are listed, logged and recorded. token_file and
    token_env say where it is.
    """
    found: dict[str, str] = {}
    for part in filter(None, text.split('&')):
        name, equals, value = part.partition('=')
        if name == 'token':
            raise ValueError('a token is never part of a parameter: give token_file=/path or '
                             'token_env=NAME')
        if name not in allowed:
            raise ValueError(f'the option {name[:40]!r} is not one of {", ".join(allowed)}')
        if not equals or not value:
            raise ValueError(f'the option {name} has no value')
        if name in found:
            raise ValueError(f'the option {name} is given twice')
        found[name] = unquote(value)
    if 'token_file' in found and 'token_env' in found:
        raise ValueError('token_file and token_env cannot both be given')
    if not found.get('token_file', '/').startswith('/'):
        raise ValueError('the option token_file must be an absolute path')
    if 'token_env' in found and not _VARIABLE.fullmatch(found['token_env']):
        raise ValueError('the option token_env must be the name of an environment variable')
    return found


def without_options(url: str) -> str:
    """The part of a URL that can be shown: no options, no user and password."""
    return re.sub(r'//.*@', '//..@', url.partition('?')[0])


def is_loopback(host: str) -> bool:
    """Whether a host, an IPv6 one in brackets, is this machine."""
    try:
        return host == 'localhost' or ipaddress.ip_address(host.strip('[]')).is_loopback
    except ValueError:
        return False
