"""What a schema cannot say: rules that hold between documents, and rules of this fleet.

Each rule takes all documents of a kustomization and returns sentences; `problems` runs them all.
"""

import re
from collections.abc import Callable, Iterator

import yaml

from flywheel.cloud.manifests import (
    Document,
    Pod,
    all_pods,
    name,
    namespace,
    of_kind,
    pods,
    selects,
)

Rule = Callable[[list[Document]], list[str]]

# Secrets that a person makes before the first `kubectl apply` (config/cloud/README.md lists them).
EXPECTED_SECRETS = frozenset({'triton-admin', 'control-plane-database', 'control-plane-trust',
                              'control-plane-tls'})
_PINNED = re.compile(r'^[^\s:@]+(:\d+)?(/[^\s:@]+)+:(?!latest)[\w][\w.-]*(@sha256:[0-9a-f]{64})?$'
                     r'|^[^\s@]+@sha256:[0-9a-f]{64}$')


def images_are_pinned(documents: list[Document]) -> list[str]:
    """Registry, path and tag, never `latest`; or a digest."""
    return [f'{pod.where}: image {container.get("image")!r} has no registry, no tag, or `latest`'
            for pod in all_pods(documents) for container in pod.containers()
            if not _PINNED.match(container.get('image', ''))]


def pods_are_unprivileged(documents: list[Document]) -> list[str]:
    """The `restricted` pod security standard, and a root file system that nobody writes to."""
    found = []
    for pod in all_pods(documents):
        whole = pod.spec.get('securityContext', {})
        if whole.get('runAsNonRoot') is not True or whole.get('runAsUser', 0) == 0:
            found.append(f'{pod.where}: may run as root')
        if whole.get('seccompProfile', {}).get('type') != 'RuntimeDefault':
            found.append(f'{pod.where}: no seccomp profile')
        if any(pod.spec.get(key) for key in ('hostNetwork', 'hostPID', 'hostIPC')):
            found.append(f'{pod.where}: shares a namespace of its node')
        for container in pod.containers():
            own = container.get('securityContext', {})
            where = f'{pod.where} container {container["name"]}'
            if own.get('runAsUser', 1) == 0 or own.get('runAsNonRoot') is False:
                found.append(f'{where}: runs as root')
            if own.get('privileged') or own.get('allowPrivilegeEscalation') is not False:
                found.append(f'{where}: may gain privileges')
            if own.get('readOnlyRootFilesystem') is not True:
                found.append(f'{where}: its root file system can be written to')
            if own.get('capabilities', {}).get('drop') != ['ALL']:
                found.append(f'{where}: keeps capabilities')
    return found


def pods_have_bounds(documents: list[Document]) -> list[str]:
    """Requests for CPU and memory, a limit for memory; a GPU is limited to what is requested."""
    found = []
    for pod in all_pods(documents):
        for container in pod.containers():
            resources = container.get('resources', {})
            where = f'{pod.where} container {container["name"]}'
            requests, limits = resources.get('requests', {}), resources.get('limits', {})
            lacking = [key for key, has in (('cpu request', 'cpu' in requests),
                                            ('memory request', 'memory' in requests),
                                            ('memory limit', 'memory' in limits)) if not has]
            if lacking:
                found.append(f'{where}: no {", no ".join(lacking)}')
            if requests.get('nvidia.com/gpu') != limits.get('nvidia.com/gpu'):
                found.append(f'{where}: GPU request and limit differ')
    return found


def gpu_pods_tolerate_gpu_nodes(documents: list[Document]) -> list[str]:
    found = []
    for pod in all_pods(documents):
        wants = any('nvidia.com/gpu' in c.get('resources', {}).get('limits', {})
                    for c in pod.containers())
        tolerates = any(t.get('key') == 'nvidia.com/gpu' for t in pod.spec.get('tolerations', []))
        if wants and not tolerates:
            found.append(f'{pod.where}: asks for a GPU without tolerating nodes that have one')
    return found


def servers_have_probes(documents: list[Document]) -> list[str]:
    """Startup, liveness and readiness, on ports that the container names."""
    found = []
    for document in of_kind(documents, 'Deployment', 'StatefulSet', 'DaemonSet'):
        for pod in pods(document):
            for container in pod.spec.get('containers', []):
                ports = {port.get('name') for port in container.get('ports', [])}
                ports |= {port['containerPort'] for port in container.get('ports', [])}
                for probe in ('startupProbe', 'livenessProbe', 'readinessProbe'):
                    if probe not in container:
                        found.append(f'{pod.where} container {container["name"]}: no {probe}')
                        continue
                    target = container[probe].get('httpGet', container[probe].get('grpc', {}))
                    if 'port' in target and target['port'] not in ports:
                        found.append(f'{pod.where}: {probe} asks port {target["port"]!r}, which '
                                     'the container does not open')
    return found


def selectors_fit(documents: list[Document]) -> list[str]:
    """Services, budgets, autoscalers and monitors point at something that is there."""
    everything = all_pods(documents)
    found = []
    for document in of_kind(documents, 'Deployment', 'StatefulSet', 'DaemonSet'):
        wanted = document['spec'].get('selector', {}).get('matchLabels', {})
        if not selects(wanted, document['spec']['template']['metadata'].get('labels', {})):
            found.append(f'{name(document)}: its selector does not fit its own pods')
    for service in of_kind(documents, 'Service'):
        if service['spec'].get('type') == 'ExternalName':
            continue
        chosen = _chosen(service['spec'].get('selector', {}), everything, namespace(service))
        if not chosen:
            found.append(f'{name(service)}: selects no pod')
        named = {port.get('name') for pod in chosen for c in pod.containers()
                 for port in c.get('ports', [])}
        found += [f'{name(service)}: port {port["targetPort"]!r} is opened by no container'
                  for port in service['spec'].get('ports', []) if chosen
                  and isinstance(port.get('targetPort'), str) and port['targetPort'] not in named]
    for document in of_kind(documents, 'PodDisruptionBudget', 'PodMonitor'):
        labels = document['spec'].get('selector', {}).get('matchLabels', {})
        if not _chosen(labels, everything, namespace(document)):
            found.append(f'{name(document)}: selects no pod')
    workloads = {(namespace(d), d['kind'], d['metadata']['name']) for d in documents
                 if d.get('kind') in ('Deployment', 'StatefulSet')}
    for scaler in of_kind(documents, 'HorizontalPodAutoscaler'):
        target = scaler['spec']['scaleTargetRef']
        if (namespace(scaler), target['kind'], target['name']) not in workloads:
            found.append(f'{name(scaler)}: {target["kind"]}/{target["name"]} is not there')
    return found


def _chosen(selector: dict[str, str], everything: list[Pod], where: str) -> list[Pod]:
    return [pod for pod in everything if pod.namespace == where and selects(selector, pod.labels)]


def replicated_servers_have_budgets(documents: list[Document]) -> list[str]:
    """Whatever runs more than once survives a drained node: a PodDisruptionBudget each."""
    budgets = of_kind(documents, 'PodDisruptionBudget')
    return [f'{name(document)}: {document["spec"]["replicas"]} replicas without a '
            'PodDisruptionBudget'
            for document in of_kind(documents, 'Deployment', 'StatefulSet')
            if document['spec'].get('replicas', 1) > 1
            and not any(namespace(b) == namespace(document)
                        and selects(b['spec'].get('selector', {}).get('matchLabels', {}),
                                    document['spec']['template']['metadata'].get('labels', {}))
                        for b in budgets)]


def autoscaler_metrics_are_served(documents: list[Document]) -> list[str]:
    """An autoscaler on a metric that no adapter rule makes never scales, and says so to nobody."""
    served: set[str] = set()
    for settings in of_kind(documents, 'ConfigMap'):
        if 'adapter' in settings['metadata']['name']:
            rules = yaml.safe_load(settings['data']['config.yaml'])['rules']
            served |= {rule['name']['as'] for rule in rules}
    return [f'{name(scaler)}: no rule of the prometheus adapter makes {metric!r}'
            for scaler in of_kind(documents, 'HorizontalPodAutoscaler')
            for metric in (m['pods']['metric']['name'] for m in scaler['spec'].get('metrics', [])
                           if m.get('type') == 'Pods') if metric not in served]


def references_resolve(documents: list[Document]) -> list[str]:
    """Service accounts, ConfigMaps and volumes that a pod names exist; Secrets are expected."""
    there = {(namespace(d), d['kind'], d['metadata']['name']) for d in documents}
    found = []
    for pod in all_pods(documents):
        for kind, wanted in _references(pod):
            known = (wanted in EXPECTED_SECRETS if kind == 'Secret'
                     else (pod.namespace, kind, wanted) in there)
            if not known:
                found.append(f'{pod.where}: {kind} {wanted!r} is not there')
        volumes = {volume['name'] for volume in pod.spec.get('volumes', [])}
        found += [f'{pod.where} container {c["name"]}: volume {m["name"]!r} is not there'
                  for c in pod.containers() for m in c.get('volumeMounts', [])
                  if m['name'] not in volumes]
    return found


def _references(pod: Pod) -> Iterator[tuple[str, str]]:
    if 'serviceAccountName' in pod.spec:
        yield 'ServiceAccount', pod.spec['serviceAccountName']
    for container in pod.containers():
        for source in container.get('envFrom', []):
            for key, kind in (('configMapRef', 'ConfigMap'), ('secretRef', 'Secret')):
                if key in source:
                    yield kind, source[key]['name']
        for variable in container.get('env', []):
            for key, kind in (('configMapKeyRef', 'ConfigMap'), ('secretKeyRef', 'Secret')):
                if key in variable.get('valueFrom', {}):
                    yield kind, variable['valueFrom'][key]['name']
    for volume in pod.spec.get('volumes', []):
        if 'configMap' in volume:
            yield 'ConfigMap', volume['configMap']['name']
        if 'secret' in volume:
            yield 'Secret', volume['secret']['secretName']


def pods_use_their_own_account(documents: list[Document]) -> list[str]:
    """No pod runs as `default`, and none gets a token for the API server that it never asks."""
    return [f'{pod.where}: {reason}' for pod in all_pods(documents)
            for reason, bad in (
                ('runs as the default service account',
                 pod.spec.get('serviceAccountName', 'default') == 'default'),
                ('gets a token for the API server',
                 pod.spec.get('automountServiceAccountToken') is not False)) if bad]


def namespaces_deny_by_default(documents: list[Document]) -> list[str]:
    """A namespace with servers has a policy that refuses all pods both directions."""
    found = []
    policies = of_kind(documents, 'NetworkPolicy')
    for space in {namespace(d) for d in of_kind(documents, 'Deployment', 'StatefulSet')}:
        if not any(namespace(p) == space and p['spec'].get('podSelector') == {}
                   and set(p['spec'].get('policyTypes', [])) == {'Ingress', 'Egress'}
                   and not p['spec'].get('ingress') and not p['spec'].get('egress')
                   for p in policies):
            found.append(f'namespace {space}: no NetworkPolicy that denies by default')
    return found


def triton_is_explicit(documents: list[Document]) -> list[str]:
    """A pod that polls replaces a version in place; one without a model to load comes up empty."""
    found = []
    for pod in all_pods(documents):
        for container in pod.containers():
            arguments = container.get('args', [])
            if 'tritonserver' not in arguments:
                continue
            if '--model-control-mode=explicit' not in arguments:
                found.append(f'{pod.where}: Triton is not in explicit model control')
            if not any(a.startswith('--load-model=') for a in arguments):
                found.append(f'{pod.where}: a new pod comes up without a model')
            for flag in ('--grpc-restricted-protocol=', '--http-restricted-api='):
                if not any(a.startswith(flag + 'model-repository') for a in arguments):
                    found.append(f'{pod.where}: anybody may load and unload models ({flag[2:-1]})')
    return found


RULES: tuple[Rule, ...] = (
    images_are_pinned, pods_are_unprivileged, pods_have_bounds, gpu_pods_tolerate_gpu_nodes,
    servers_have_probes, selectors_fit, replicated_servers_have_budgets,
    autoscaler_metrics_are_served, references_resolve, pods_use_their_own_account,
    namespaces_deny_by_default, triton_is_explicit)


def problems(documents: list[Document]) -> list[str]:
    """All that any rule has against these documents."""
    return [problem for rule in RULES for problem in rule(documents)]
