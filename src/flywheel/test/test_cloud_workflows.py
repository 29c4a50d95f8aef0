"""CI/CD workflow files: GitHub's schema, and what must never be lost from them."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yaml'))
SCHEMAS = ('vendor.github-workflows', 'custom.github-workflows-require-timeout')


class _Loader(yaml.SafeLoader):
    """YAML 1.2 for the key `on`, which YAML 1.1 takes for true."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != 'tag:yaml.org,2002:bool']
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver('tag:yaml.org,2002:bool', re.compile('^(true|false)$'), list('tf'))


def load(path: Path) -> dict:
    return yaml.load(path.read_text(), _Loader)  # a SafeLoader


def problems(document: dict) -> list[str]:
    builtin = pytest.importorskip('check_jsonschema.builtin_schemas')
    found = []
    for name in SCHEMAS:
        schema = builtin.get_builtin_schema(name)
        validator = jsonschema.validators.validator_for(schema)(schema)
        found += [error.message for error in validator.iter_errors(document)]
    return found


def rules(document: dict) -> list[str]:
    """What GitHub would accept and we do not."""
    found = []
    if document.get('permissions') != {'contents': 'read'}:
        found.append('permissions by default are more than reading')
    for name, job in document['jobs'].items():
        for step in job.get('steps', []):
            action = step.get('uses', '')
            if action and not re.search(r'@([0-9a-f]{40}|v\d+\.\d+\.\d+)$', action):
                found.append(f'{name}: {action} is not pinned')
            if action.startswith('actions/checkout@') and (
                    step.get('with', {}).get('persist-credentials') is not False):
                found.append(f'{name}: the checkout keeps its token')
            typed = r'\$\{\{[^}]*(inputs|github\.event|github\.head_ref)'
            if re.search(typed, step.get('run', '')):
                found.append(f'{name}: a shell line is made of what somebody typed')
        text = str(job)
        if re.search(r'kubectl apply|flywheel rollout "\$ACTION"', text) and (
                job.get('environment') != 'production'):
            found.append(f'{name}: acts without the approval of `production`')
        if 'cosign sign' in text and job.get('permissions', {}).get('id-token') != 'write':
            found.append(f'{name}: signs without an identity')
    return found


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_is_valid_and_careful(path):
    document = load(path)
    assert problems(document) == []
    assert rules(document) == []


@pytest.mark.parametrize(('name', 'keys', 'value'), [
    ('ci', ('jobs', 'test', 'timeout-minutes'), None),
    ('ci', ('jobs', 'test', 'runs-on'), None),
    ('ci', ('jobs', 'test', 'steps', 0, 'use'), 'x'),
    ('ci', ('permissions', 'contents'), 'everything'),
    ('rollout', ('concurrency', 'cancel-in-progres'), False),
    ('images', ('jobs', 'publish', 'need'), 'build')])
def test_the_schema_catches(name, keys, value):
    document = load(ROOT / f'.github/workflows/{name}.yaml')
    target = document
    for key in keys[:-1]:
        target = target[key]
    if value is None:
        del target[keys[-1]]
    else:
        target[keys[-1]] = value
    assert problems(document)


@pytest.mark.parametrize(('name', 'old', 'new', 'word'), [
    ('ci', 'permissions:\n  contents: read', 'permissions: write-all', 'permissions'),
    ('ci', 'actions/upload-artifact@v4.4.3', 'actions/upload-artifact@main', 'not pinned'),
    ('ci', '        with: {persist-credentials: false}\n', '', 'keeps its token'),
    ('deploy', '    environment: production\n', '', 'without the approval'),
    ('rollout', '    environment: production\n', '', 'without the approval'),
    ('rollout', '"$ACTION" "$RELEASE"', '"$ACTION" ${{ inputs.release }}', 'somebody typed'),
    ('images', '      id-token: write ', '      # id-token: write ', 'without an identity')])
def test_our_rules_catch(name, old, new, word):
    text = (ROOT / f'.github/workflows/{name}.yaml').read_text()
    assert old in text
    found = rules(yaml.load(text.replace(old, new), _Loader))
    assert any(word in problem for problem in found), found


def test_every_image_is_built_for_the_processors_that_its_dockerfile_names():
    matrix = load(ROOT / '.github/workflows/images.yaml')['jobs']
    built: dict[str, set[str]] = {}
    for entry in matrix['build']['strategy']['matrix']['include']:
        built.setdefault(entry['image'], set()).add('linux/' + entry['architecture'])
        assert entry['runner'].endswith('-arm') == (entry['architecture'] == 'arm64')
    wanted = {}
    for path in (ROOT / 'docker').glob('*.Dockerfile'):
        [platforms] = re.findall(r'--platform (\S+)', path.read_text())
        wanted[path.name.removesuffix('.Dockerfile')] = set(platforms.split(','))
    assert built == wanted
    assert set(matrix['publish']['strategy']['matrix']['image']) == set(wanted)


def test_the_cluster_runs_images_that_are_built_here():
    path = ROOT / 'config/cloud/components/images/kustomization.yaml'
    listed = yaml.safe_load(path.read_text())
    own = {i['newName'].rpartition('/')[2] for i in listed['images'] if 'ghcr.io' in i['newName']}
    files = {p.name.removesuffix('.Dockerfile').replace('_', '-')
             for p in (ROOT / 'docker').glob('*.Dockerfile')}
    assert own <= files


def test_ci_runs_what_a_desk_runs():
    steps = str(load(ROOT / '.github/workflows/ci.yaml')['jobs'])
    assert '.ci/run' in steps
    assert 'flywheel.cloud.validate' in steps
    assert './dev test' in (ROOT / '.ci/run').read_text()
