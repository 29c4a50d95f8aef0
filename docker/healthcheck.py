"""Whether a container is well: its processes run, or its address answers. Standard library only.

    healthcheck.py safety_reflex safety_watchdog      each runs, and is no zombie
    healthcheck.py --url https://127.0.0.1:8443/healthz    over TLS without looking at the name

Exit status 0 when all is well, 1 when not, with one sentence.
"""

import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path


def running(proc: Path = Path('/proc')) -> list[list[str]]:
    """Command lines of all processes that are alive; zombies have none."""
    lines = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            raw = (folder / 'cmdline').read_bytes()
        except OSError:
            continue      # it ended meanwhile
        if raw:
            lines.append(raw.decode(errors='replace').rstrip('\0').split('\0'))
    return lines


def lacking(names: list[str], lines: list[list[str]]) -> list[str]:
    """Names that are the file name of no program or script that runs (its first two words)."""
    found = {Path(word).name for line in lines for word in line[:2]}
    return [name for name in names if name not in found]


def _unverified() -> ssl.SSLContext:
    """Within one container: its certificate names the fleet's host, not 127.0.0.1."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == '--url':
        try:
            with urllib.request.urlopen(arguments[1], timeout=3.0, context=_unverified()):
                return 0
        except (urllib.error.URLError, OSError) as error:
            print(f'{arguments[1]} does not answer: {error}')
            return 1
    if not arguments or any(word.startswith('-') for word in arguments):
        print('say which processes must run, or --url ADDRESS')
        return 1
    missing = lacking(arguments, running())
    if missing:
        print(f'not running: {", ".join(missing)}')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
