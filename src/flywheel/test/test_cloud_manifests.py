"""The manifests of config/cloud render and hold; and each check catches what it is there for."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flywheel.capacity.model import Assumptions, needs
from flywheel.cloud import rules, structure
from flywheel.cloud.manifests import ManifestError, all_pods, of_kind, render
from flywheel.cloud.validate import DEPLOYMENTS, check

ROOT = Path(__file__).resolve().parents[3]
CLOUD = ROOT / 'config' / 'cloud'
SCHEMAS = CLOUD / 'schemas'
Documents = list[dict[str, Any]]

if shutil.which('kubectl') is None or find_spec('kubernetes_validate') is None:
    if os.environ.get('CI'):
        pytest.fail('kubectl or kubernetes-validate is missing', pytrace=False)
    pytest.skip('kubectl or kubernetes-validate is missing: manifests are not checked',
                allow_module_level=True)


@cache
def _rendered(name: str) -> str:
    documents = [d for folder in DEPLOYMENTS[name] for d in render(CLOUD / folder)]
    return json.dumps(documents)


def documents_of(name: str) -> Documents:
    """A fresh copy of the documents of one deployment."""
    return json.loads(_rendered(name))


def one(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    [found] = [d for d in of_kind(documents, kind) if d['metadata']['name'].startswith(name)]
    return found


def triton_container(documents: Documents) -> dict[str, Any]:
    return one(documents, 'Deployment', 'triton')['spec']['template']['spec']['containers'][0]


@pytest.mark.parametrize('name', sorted(DEPLOYMENTS))
def test_a_deployment_renders_and_passes_every_check(name):
    count, problems = check([CLOUD / folder for folder in DEPLOYMENTS[name]], SCHEMAS)
    assert problems == []
    assert count == len(documents_of(name))


def test_every_kustomization_is_part_of_a_deployment():
    folders = {str(path.parent.relative_to(CLOUD)) for path in CLOUD.rglob('kustomization.yaml')
               if 'Component' not in path.read_text()}
    assert folders == {'base'} | {f for parts in DEPLOYMENTS.values() for f in parts}


def test_a_broken_folder_is_one_sentence(tmp_path):
    (tmp_path / 'kustomization.yaml').write_text('resources: [nowhere.yaml]\n')
    with pytest.raises(ManifestError, match='nowhere'):
        render(tmp_path)


# What makes a deployment wrong, and a word of the sentence that must say so.
Change = Callable[[Documents], None]


def _set(path: list[Any], value: Any, kind: str = 'Deployment', name: str = 'triton') -> Change:
    def change(documents: Documents) -> None:
        target = one(documents, kind, name)
        for key in path[:-1]:
            target = target[key]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value
    return change


def _drop(kind: str, name: str) -> Change:
    def change(documents: Documents) -> None:
        documents.remove(one(documents, kind, name))
    return change


POD = ['spec', 'template', 'spec']
FIRST = [*POD, 'containers', 0]


def _argument(old: str, new: str | None) -> Change:
    def change(documents: Documents) -> None:
        arguments = triton_container(documents)['args']
        found = [i for i, a in enumerate(arguments) if a.startswith(old)]
        assert found
        arguments[found[0]:found[0] + 1] = [new] if new else []
    return change


STRUCTURE_MUTATIONS = {
    'an API of the past': (_set(['apiVersion'], 'autoscaling/v2beta2', 'HorizontalPodAutoscaler'),
                           'v2beta2'),
    'a budget of the past': (_set(['apiVersion'], 'policy/v1beta1', 'PodDisruptionBudget'),
                             'v1beta1'),
    'an unknown field': (_set(['spec', 'replica'], 2), 'replica'),
    'a text for a number': (_set(['spec', 'replicas'], 'two'), 'two'),
    'no selector': (_set(['spec', 'selector'], None), 'selector'),
    'a misspelt probe': (_set([*FIRST, 'readynessProbe'], {}), 'readynessProbe'),
    'an unknown kind': (lambda d: d.append({'apiVersion': 'serving.kserve.io/v1beta1',
                                            'kind': 'InferenceService',
                                            'metadata': {'name': 'x'}}), 'no schema'),
    'a lifecycle action that is none': (
        _set(['spec', 'lifecycleRule', 0, 'action', 'type'], 'Archive', 'StorageBucket',
             'spinal-example-edge'), 'Archive'),
    'a class that is none': (
        _set(['spec', 'lifecycleRule', 0, 'action', 'storageClass'], 'GLACIER', 'StorageBucket',
             'spinal-example-edge'), 'GLACIER'),
    'a deletion with a class': (
        _set(['spec', 'lifecycleRule', 2, 'action', 'storageClass'], 'NEARLINE', 'StorageBucket',
             'spinal-example-edge'), 'lifecycleRule/2'),
    'a rule without a condition': (
        _set(['spec', 'lifecycleRule', 0, 'condition'], {}, 'StorageBucket',
             'spinal-example-edge'), 'condition'),
    'a role that is none': (_set(['spec', 'role'], 'objectViewer', 'IAMPolicyMember',
                                 'spinal-triton-models'), 'objectViewer'),
    'two members': (_set(['spec', 'member'], 'user:a@b.example', 'IAMPolicyMember',
                         'spinal-triton-models'), 'spinal-triton-models'),
    'a listener without TLS': (_set(['spec', 'listeners', 0, 'tls'], None, 'Gateway', 'fleet'),
                               'tls'),
    'a health check of another type': (
        _set(['spec', 'default', 'config', 'type'], 'HTTP', 'HealthCheckPolicy', 'triton'),
        'httpHealthCheck'),
    'a path without a slash': (
        _set(['spec', 'rules', 0, 'matches', 0, 'path', 'value'], 'inference', 'HTTPRoute',
             'triton'), 'inference'),
    'an interval without a unit': (
        _set(['spec', 'podMetricsEndpoints', 0, 'interval'], '15', 'PodMonitor', 'triton'), '15'),
}


@pytest.mark.parametrize('name', STRUCTURE_MUTATIONS)
def test_a_schema_catches(name):
    change, word = STRUCTURE_MUTATIONS[name]
    untouched, documents = documents_of('gke'), documents_of('gke')
    change(documents)
    problems = structure.problems([d for d in documents if d not in untouched], SCHEMAS)
    assert problems
    assert any(word in problem for problem in problems), problems


RAY = ['spec', 'rayClusterSpec', 'workerGroupSpecs', 0]
RAY_MUTATIONS = {
    'a misspelt field': (_set(['spec', 'entryPoint'], 'x', 'RayJob', 'isaac'), 'entryPoint'),
    'a time to live that nothing enforces': (
        _set(['spec', 'shutdownAfterJobFinishes'], False, 'RayJob', 'isaac'), 'RayJob'),
    'a worker without bounds': (_set([*RAY, 'maxReplicas'], None, 'RayJob', 'isaac'),
                                'maxReplicas'),
    'a wrong pod of a worker': (_set([*RAY, 'template', 'spec', 'containers', 0, 'imagee'], 'x',
                                     'RayJob', 'isaac'), 'imagee'),
}


@pytest.mark.parametrize('name', RAY_MUTATIONS)
def test_a_schema_catches_in_a_ray_job(name):
    change, word = RAY_MUTATIONS[name]
    untouched, documents = documents_of('jobs'), documents_of('jobs')
    change(documents)
    problems = structure.problems([d for d in documents if d not in untouched], SCHEMAS)
    assert any(word in problem for problem in problems), problems


RULE_MUTATIONS = {
    'no tag': (_set([*FIRST, 'image'], 'ghcr.io/x/triton'), 'no tag'),
    'latest': (_set([*FIRST, 'image'], 'ghcr.io/x/triton:latest'), 'latest'),
    'no registry': (_set([*FIRST, 'image'], 'triton:1'), 'no registry'),
    'root': (_set([*POD, 'securityContext', 'runAsUser'], 0), 'root'),
    'root by default': (_set([*POD, 'securityContext', 'runAsNonRoot'], None), 'root'),
    'root in one container': (_set([*FIRST, 'securityContext', 'runAsUser'], 0), 'as root'),
    'privileged': (_set([*FIRST, 'securityContext', 'privileged'], True), 'privileges'),
    'escalation': (_set([*FIRST, 'securityContext', 'allowPrivilegeEscalation'], None),
                   'privileges'),
    'a writable root': (_set([*FIRST, 'securityContext', 'readOnlyRootFilesystem'], False),
                        'written'),
    'capabilities': (_set([*FIRST, 'securityContext', 'capabilities'], {'drop': ['NET_RAW']}),
                     'capabilities'),
    'the node\'s network': (_set([*POD, 'hostNetwork'], True), 'namespace of its node'),
    'no memory limit': (_set([*FIRST, 'resources', 'limits', 'memory'], None), 'memory limit'),
    'GPUs that differ': (_set([*FIRST, 'resources', 'limits', 'nvidia.com/gpu'], '2'), 'GPU'),
    'no toleration': (_set([*POD, 'tolerations'], None), 'tolerating'),
    'no readiness': (_set([*FIRST, 'readinessProbe'], None), 'readinessProbe'),
    'a probe of a closed port': (_set([*FIRST, 'livenessProbe', 'httpGet', 'port'], 'web'),
                                 "'web'"),
    'a service for nobody': (_set(['spec', 'selector'], {'app.kubernetes.io/name': 'tritn'},
                                  'Service', 'triton-pods'), 'selects no pod'),
    'a service to a closed port': (_set(['spec', 'ports', 0, 'targetPort'], 'grcp', 'Service',
                                        'triton-pods'), 'grcp'),
    'a deployment of other pods': (_set(['spec', 'selector', 'matchLabels'], {'app': 'x'}),
                                   'its own pods'),
    'no budget': (_drop('PodDisruptionBudget', 'triton'), 'without a PodDisruptionBudget'),
    'a budget for nobody': (_set(['spec', 'selector', 'matchLabels'], {'app': 'x'},
                                 'PodDisruptionBudget'), 'selects no pod'),
    'an autoscaler of nothing': (_set(['spec', 'scaleTargetRef', 'name'], 'x',
                                      'HorizontalPodAutoscaler'), 'is not there'),
    'a metric that nobody makes': (
        _set(['spec', 'metrics', 0, 'pods', 'metric', 'name'], 'queue',
             'HorizontalPodAutoscaler'), "'queue'"),
    'no adapter': (_drop('ConfigMap', 'prometheus-adapter'), 'triton_queue_time_ms'),
    'a missing ConfigMap': (_drop('ConfigMap', 'triton-settings'), 'ConfigMap'),
    'an unknown Secret': (_set([*FIRST, 'env', 0, 'valueFrom', 'secretKeyRef', 'name'], 'x'),
                          "Secret 'x'"),
    'a missing account': (_drop('ServiceAccount', 'triton'), 'ServiceAccount'),
    'the default account': (_set([*POD, 'serviceAccountName'], None), 'default service account'),
    'a token for nothing': (_set([*POD, 'automountServiceAccountToken'], True), 'API server'),
    'a mount of nothing': (_set([*POD, 'volumes'], []), 'volume'),
    'nothing denied': (_drop('NetworkPolicy', 'deny-all'), 'denies by default'),
    'half denied': (_set(['spec', 'policyTypes'], ['Ingress'], 'NetworkPolicy', 'deny-all'),
                    'denies by default'),
    'polling': (_argument('--model-control-mode', '--model-control-mode=poll'), 'explicit'),
    'an empty new pod': (_argument('--load-model', None), 'without a model'),
    'loads by anybody over gRPC': (_argument('--grpc-restricted-protocol', None), 'anybody'),
    'loads by anybody over HTTP': (_argument('--http-restricted-api', None), 'anybody'),
}


@pytest.mark.parametrize('name', RULE_MUTATIONS)
def test_a_rule_catches(name):
    change, word = RULE_MUTATIONS[name]
    documents = documents_of('gke')
    change(documents)
    problems = rules.problems(documents)
    assert any(word in problem for problem in problems), problems


def test_every_rule_was_seen_to_catch_something():
    untouched = documents_of('gke')
    caught = set()
    for change, _ in RULE_MUTATIONS.values():
        documents = copy.deepcopy(untouched)
        change(documents)
        caught |= {rule for rule in rules.RULES if rule(documents)}
    assert caught == set(rules.RULES)


def test_a_ray_job_that_names_a_lost_config_map_is_seen():
    documents = documents_of('jobs')
    _drop('ConfigMap', 'run-')(documents)
    assert any(p.startswith('RayJob') and 'ConfigMap' in p for p in rules.problems(documents))


@pytest.mark.parametrize('path', sorted(SCHEMAS.glob('*.schema.json')), ids=lambda p: p.stem)
def test_a_schema_is_strict_and_names_its_source(path):
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert 'Written by hand from ' in schema['$comment']
    assert schema['additionalProperties'] is False
    assert schema['properties']['spec']['additionalProperties'] is False
    used = {(d['apiVersion'], d['kind']) for name in DEPLOYMENTS for d in documents_of(name)}
    constant = schema['properties']
    assert (constant['apiVersion']['const'], constant['kind']['const']) in used


def test_every_account_with_a_cloud_identity_is_bound_to_it():
    documents = documents_of('gke') + documents_of('jobs')
    accounts = {d['metadata']['name'] for d in of_kind(documents, 'IAMServiceAccount')}
    bound = {(d['spec'].get('resourceRef', {}).get('name'), d['spec'].get('member'))
             for d in of_kind(documents, 'IAMPolicyMember')}
    annotated = 0
    for account in of_kind(documents, 'ServiceAccount'):
        email = account['metadata'].get('annotations', {}).get('iam.gke.io/gcp-service-account')
        if email is None:
            continue
        annotated += 1
        google, _, domain = email.partition('@')
        project = domain.removesuffix('.iam.gserviceaccount.com')
        space, name = account['metadata']['namespace'], account['metadata']['name']
        assert google in accounts
        assert (google, f'serviceAccount:{project}.svc.id.goog[{space}/{name}]') in bound
    assert annotated == 3


def test_no_robot_may_list_or_delete_a_case():
    roles = {d['spec']['role'] for d in of_kind(documents_of('gke'), 'IAMPolicyMember')
             if d['spec'].get('memberFrom', {}).get('serviceAccountRef', {}).get('name')
             == 'spinal-robots'}
    assert roles == {'roles/storage.objectCreator', 'roles/storage.legacyObjectReader'}


@pytest.mark.parametrize('name', ['gke', 'eks'])
def test_robots_reach_inference_and_never_the_repository_or_shared_memory(name):
    text = _rendered(name)
    assert '/inference.GRPCInferenceService/ModelInfer' in text
    for method in ('RepositoryModelLoad', 'RepositoryModelUnload', 'SystemSharedMemoryRegister',
                   'TraceSetting', 'LogSettings'):
        assert method not in text
    for route in of_kind(documents_of(name), 'HTTPRoute'):
        if route['metadata']['name'] == 'triton':
            assert {m['path']['type'] for r in route['spec']['rules']
                    for m in r['matches']} == {'Exact'}


def test_the_headless_service_reaches_pods_that_are_not_ready():
    service = one(documents_of('gke'), 'Service', 'triton-pods')
    assert service['spec']['clusterIP'] == 'None'
    assert service['spec']['publishNotReadyAddresses'] is True
    settings = one(documents_of('gke'), 'ConfigMap', 'control-plane-settings')['data']
    assert settings['FLYWHEEL_TRITON_PODS'] == 'triton-pods.spinal.svc.cluster.local:8001'


def test_lifecycles_are_those_that_the_capacity_counts_with():
    buckets = {d['metadata']['name']: d['spec'].get('lifecycleRule', [])
               for d in of_kind(documents_of('gke'), 'StorageBucket')}
    a = Assumptions()

    def age(bucket: str, kind: str, storage_class: str | None = None) -> int:
        [found] = [r['condition']['age'] for r in buckets[f'spinal-example-{bucket}']
                   if r['action']['type'] == kind
                   and r['action'].get('storageClass') == storage_class]
        return found
    assert age('edge-cases', 'SetStorageClass', 'NEARLINE') == a.case_standard_days
    assert age('edge-cases', 'SetStorageClass', 'COLDLINE') == (
        a.case_standard_days + a.case_nearline_days)
    assert age('edge-cases', 'Delete') == (
        a.case_standard_days + a.case_nearline_days + a.case_coldline_days)
    assert age('lake', 'SetStorageClass', 'NEARLINE') == a.status_standard_days
    assert age('lake', 'Delete') == a.status_standard_days + a.status_nearline_days


def test_no_model_is_ever_deleted_by_its_age():
    [models] = [d for d in of_kind(documents_of('gke'), 'StorageBucket')
                if d['metadata']['name'].endswith('-models')]
    deletions = [r['condition'] for r in models['spec']['lifecycleRule']]
    assert deletions == [{'daysSinceNoncurrentTime': 90, 'withState': 'ARCHIVED'}]
    assert models['spec']['versioning'] == {'enabled': True}


def test_the_autoscaler_may_grow_to_what_the_fleet_needs():
    scaler = one(documents_of('gke'), 'HorizontalPodAutoscaler', 'triton')
    assert scaler['spec']['maxReplicas'] >= needs(Assumptions()).gpus


def test_the_adapter_divides_by_what_triton_really_counts():
    adapter = one(documents_of('gke'), 'ConfigMap', 'prometheus-adapter')
    configured = yaml.safe_load(adapter['data']['config.yaml'])['rules']
    assert {r['seriesQuery'].split('{')[0] for r in configured} == {
        'nv_inference_queue_duration_us', 'nv_inference_request_failure'}
    for each in configured:
        assert '<<.LabelMatchers>>' in each['metricsQuery']
        assert '<<.GroupBy>>' in each['metricsQuery']


def test_base_names_no_cloud():
    text = '\n'.join(p.read_text() for p in (CLOUD / 'base').rglob('*.yaml'))
    for word in ('gke', 'eks', 'amazonaws', 'cnrm', 'spinal-example', 's3://'):
        assert word not in text


def test_images_of_a_run_are_pinned_in_one_place():
    images = {c['image'] for name in DEPLOYMENTS for pod in all_pods(documents_of(name))
              for c in pod.containers()}
    listed = yaml.safe_load((CLOUD / 'components/images/kustomization.yaml').read_text())['images']
    assert {f'{i["newName"]}:{i["newTag"]}' for i in listed} == {
        image.partition('@')[0] for image in images}
