"""`python -m flywheel.cloud.validate [FOLDER ..]`: renders manifests and says what is wrong.

Without folders: every overlay and job of config/cloud. Exit status 0 when nothing is wrong, 1 when
something is, 2 when a folder could not be rendered.
"""

import argparse
import json
import sys
from pathlib import Path

from flywheel.cloud import rules, structure
from flywheel.cloud.manifests import ManifestError, render

# What is applied together: rules between documents see a whole cluster's share.
DEPLOYMENTS: dict[str, tuple[str, ...]] = {
    'gke': ('overlays/gke',),
    'eks': ('overlays/eks',),
    'kind': ('overlays/kind',),
    'jobs': ('jobs/namespace', 'jobs/run'),
}


def check(folders: list[Path], schemas: Path) -> tuple[int, list[str]]:
    """Number of documents in all folders together, and what is wrong with them."""
    documents = [document for folder in folders for document in render(folder)]
    return len(documents), [*structure.problems(documents, schemas), *rules.problems(documents)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.cloud.validate',
                                     description='Render the cloud manifests and check them.')
    parser.add_argument('folder', nargs='*', type=Path,
                        help='kustomizations that are applied together')
    parser.add_argument('--root', type=Path, default=Path('config/cloud'),
                        help='where overlays/, jobs/ and schemas/ are (%(default)s)')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args(argv)
    deployments = ({'given': list(options.folder)} if options.folder else
                   {key: [options.root / f for f in folders]
                    for key, folders in DEPLOYMENTS.items()})
    results = {}
    try:
        for key, folders in deployments.items():
            results[key] = check(folders, options.root / 'schemas')
    except ManifestError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({key: {'documents': count, 'problems': found}
                          for key, (count, found) in results.items()}, indent=2))
    else:
        for key, (count, found) in results.items():
            print(f'{key:8}{count:4} documents  {"ok" if not found else f"{len(found)} problems"}')
            for problem in found:
                print(f'    {problem}')
    return 1 if any(found for _, found in results.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
