"""Whether each document is what its kind demands: Kubernetes' own schemas, and strict ones of ours.

Core kinds go through `kubernetes-validate` in its strict form, where an unknown field is an error.
Custom kinds have a schema in config/cloud/schemas/, each with the CRD it was written from; pod
templates within them go through Kubernetes' schema again.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from flywheel.cloud.manifests import Document, ManifestError, name, pods

# The oldest control plane that these manifests are meant for, and the newest that there is.
KUBERNETES_VERSIONS = ('1.30', '1.37')


def problems(documents: list[Document], schemas: Path,
             versions: tuple[str, ...] = KUBERNETES_VERSIONS) -> list[str]:
    """One sentence for each document that its schema refuses, and each kind without a schema."""
    custom = custom_schemas(schemas)
    found = []
    for document in documents:
        key = (document.get('apiVersion', ''), document.get('kind', ''))
        if key in custom:
            found += _custom(document, custom[key])
            if document['kind'] == 'RayJob':
                found += [f'{pod.where}: {reason}' for pod in pods(document)
                          for version in versions
                          for reason in _core(_as_pod_template(pod.template), version)]
        else:
            found += [f'{name(document)}: {reason}' for version in versions
                      for reason in _core(document, version)]
    return found


def custom_schemas(folder: Path) -> dict[tuple[str, str], Any]:
    """Validators by (apiVersion, kind), from each *.schema.json of a folder."""
    result = {}
    for path in sorted(folder.glob('*.schema.json')):
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        constant = schema['properties']
        result[constant['apiVersion']['const'], constant['kind']['const']] = (
            jsonschema.Draft202012Validator(schema))
    return result


def _custom(document: Document, validator: Any) -> list[str]:
    return [f'{name(document)}: {"/".join(str(p) for p in error.absolute_path) or "document"}: '
            f'{error.message[:200]}' for error in validator.iter_errors(document)]


def _as_pod_template(template: Document) -> Document:
    return {'apiVersion': 'v1', 'kind': 'PodTemplate', 'metadata': {'name': 'pod'},
            'template': template}


@cache
def _kubernetes_validate() -> Any:
    try:
        import kubernetes_validate
    except ImportError as error:
        raise ManifestError('kubernetes-validate is not installed: '
                            "pip install 'kubernetes-validate==1.37.0'") from error
    return kubernetes_validate


def _core(document: Document, version: str) -> list[str]:
    library = _kubernetes_validate()
    try:
        library.validate(document, version, strict=True)
    except library.ValidationError as error:
        where = '/'.join(str(part) for part in error.path)
        return [f'{where or "document"}: {str(error.message)[:200]} (Kubernetes {version})']
    except library.SchemaNotFoundError:
        return [f'no schema for {document.get("apiVersion")} {document.get("kind")} in '
                f'Kubernetes {version}: not served by it, or a custom kind without one in '
                'config/cloud/schemas']
    except library.InvalidSchemaError as error:
        return [f'{str(error)[:200]} (Kubernetes {version})']
    return []
