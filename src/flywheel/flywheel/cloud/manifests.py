"""Kubernetes documents as plain dictionaries: rendered by kubectl, and walked.

A document is what `kubectl kustomize` prints between two `---`.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

# Where each kind keeps its pod template.
_TEMPLATES = {
    'Deployment': ('spec', 'template'),
    'StatefulSet': ('spec', 'template'),
    'DaemonSet': ('spec', 'template'),
    'Job': ('spec', 'template'),
    'CronJob': ('spec', 'jobTemplate', 'spec', 'template'),
}


class ManifestError(RuntimeError):
    """A folder that could not be rendered; the message says why and what to do."""


@dataclass(frozen=True)
class Pod:
    """One pod template of a document: `where` names both for a person."""
    where: str
    template: Document
    namespace: str

    @property
    def spec(self) -> Document:
        return self.template.get('spec', {})

    @property
    def labels(self) -> dict[str, str]:
        return self.template.get('metadata', {}).get('labels', {})

    def containers(self) -> list[Document]:
        """Containers and init containers, in the order in which they start."""
        return [*self.spec.get('initContainers', []), *self.spec.get('containers', [])]


def render(folder: Path) -> list[Document]:
    """The documents of one kustomization, as `kubectl kustomize` (1.27 or newer) renders them.

    Raises ManifestError when kubectl is missing or refuses the folder.
    """
    if shutil.which('kubectl') is None:
        raise ManifestError('kubectl was not found; install it (1.27 or newer) to render manifests')
    done = subprocess.run(['kubectl', 'kustomize', str(folder)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()
        raise ManifestError(f'{folder}: {reason[-1] if reason else "kubectl kustomize failed"}')
    return parse(done.stdout)


def parse(text: str) -> list[Document]:
    """Documents of a YAML stream; empty ones are left out."""
    return [document for document in yaml.safe_load_all(text) if document]


def name(document: Document) -> str:
    """Kind and name, for a message."""
    return f'{document.get("kind", "?")}/{document.get("metadata", {}).get("name", "?")}'


def namespace(document: Document) -> str:
    return document.get('metadata', {}).get('namespace', 'default')


def pods(document: Document) -> Iterator[Pod]:
    """Every pod template that a document brings, those of a RayJob's head and workers too."""
    kind = document.get('kind', '')
    if kind in _TEMPLATES:
        inner: Any = document
        for key in _TEMPLATES[kind]:
            inner = inner.get(key, {})
        yield Pod(name(document), inner, namespace(document))
    elif kind == 'RayJob':
        cluster = document['spec'].get('rayClusterSpec', {})
        groups = [('head', cluster.get('headGroupSpec', {}))]
        groups += [(f'workers {g.get("groupName", "?")}', g)
                   for g in cluster.get('workerGroupSpecs', [])]
        for group, spec in groups:
            yield Pod(f'{name(document)} {group}', spec.get('template', {}), namespace(document))


def all_pods(documents: list[Document]) -> list[Pod]:
    return [pod for document in documents for pod in pods(document)]


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document.get('kind') in kinds]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether equality labels of a selector fit a pod's; an empty selector fits none here."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())
