"""./dev bench [NAME] [--json FILE] [--long]: figures beside the floors they are held against."""

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import header, show

BENCHES = ('reflex', 'policy', 'recorder', 'cosim')


def main() -> int:
    parser = argparse.ArgumentParser(prog='./dev bench', description=__doc__)
    parser.add_argument('name', nargs='?', choices=BENCHES, help='one of them; all if absent')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    parser.add_argument('--long', action='store_true', help='the counts of the targets')
    options = parser.parse_args()
    written = {}
    for name in [options.name] if options.name else BENCHES:
        print(f'-- {name}', file=sys.stderr, flush=True)
        figures = header() | importlib.import_module(name).run(long=options.long)
        show(name, figures)
        written[name] = figures
    if options.json:
        content = written[options.name] if options.name else written
        options.json.write_text(json.dumps(content, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
