"""Digests of pinned tags, asked of a registry over real HTTP, and written where the tags are."""

import json
from pathlib import Path

import pytest
from cloud_registry import LOGIN, LocalRegistry, digest, index
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cloud import digests
from flywheel.cloud.registry import Manifest, Reference, Registry, RegistryError, docker_credentials

ROOT = Path(__file__).resolve().parents[3]
BOTH = index('linux/amd64', 'linux/arm64', 'unknown/unknown')
ONE = index('linux/amd64')
FAKE = 'sha256:' + '0' * 64

DOCKERFILE = '''# FROM {host}/team/commented:1
FROM {host}/team/base:1.2 AS build
RUN echo 'image: {host}/team/not-this:1'
FROM --platform=$BUILDPLATFORM {host}/team/tool:3 AS tool
FROM build
COPY --from=tool /x /x
'''
KUSTOMIZE = '''images:
  # the base of all
  - {{name: base, newName: {host}/team/base, newTag: 1.2}}
  - {{name: tool, newName: {host}/team/tool, newTag: '3', digest: '{old}'}}   # a tool
'''


@pytest.fixture
def registry():
    with LocalRegistry({('team/base', '1.2'): BOTH, ('team/tool', '3'): ONE}) as found:
        yield found


def test_a_dockerfile_gets_digests_and_keeps_everything_else(registry, tmp_path):
    path = tmp_path / 'x.Dockerfile'
    before = DOCKERFILE.format(host=registry.host)
    path.write_text(before)
    assert digests.main([str(path)]) == 0
    after = path.read_text()
    assert after == before.replace(
        f'FROM {registry.host}/team/base:1.2', f'FROM {registry.host}/team/base:1.2@{digest(BOTH)}'
    ).replace('/team/tool:3', f'/team/tool:3@{digest(ONE)}')
    assert digests.main([str(path)]) == 0
    assert path.read_text() == after
    assert digests.main([str(path), '--check']) == 0


def test_kustomize_gets_digests_and_an_old_one_is_replaced(registry, tmp_path, capsys):
    path = tmp_path / 'kustomization.yaml'
    before = KUSTOMIZE.format(host=registry.host, old=FAKE)
    path.write_text(before)
    assert digests.main([str(path), '--check']) == 1
    assert path.read_text() == before
    assert f'the file says {FAKE}' in capsys.readouterr().out
    assert digests.main([str(path)]) == 0
    after = path.read_text()
    assert after == before.replace('newTag: 1.2}', f"newTag: 1.2, digest: '{digest(BOTH)}'}}"
                                   ).replace(FAKE, digest(ONE))
    assert digests.main([str(path), '--check']) == 0


def test_compose_gets_digests(registry, tmp_path):
    path = tmp_path / 'compose.yaml'
    path.write_text(f'services:\n  a:\n    image: {registry.host}/team/base:1.2\n    tty: true\n'
                    '  b:\n    image: ghcr.io/x/${TARGET:?which}:1\n')
    assert digests.main([str(path)]) == 0
    assert f'image: {registry.host}/team/base:1.2@{digest(BOTH)}\n    tty' in path.read_text()


def test_a_tag_that_moved_is_seen_by_check(registry, tmp_path, capsys):
    path = tmp_path / 'x.Dockerfile'
    path.write_text(f'FROM {registry.host}/team/base:1.2\n')
    assert digests.main([str(path)]) == 0
    registry.images['team/base', '1.2'] = ONE
    assert digests.main([str(path), '--check']) == 1
    assert digest(ONE) in capsys.readouterr().out


def test_a_missing_processor_is_refused_and_not_pinned(registry, tmp_path, capsys):
    path = tmp_path / 'x.Dockerfile'
    text = f'FROM {registry.host}/team/base:1.2\nFROM {registry.host}/team/tool:3\n'
    path.write_text(text)
    assert digests.main([str(path), '--platform', 'linux/arm64']) == 1
    assert 'is not there for linux/arm64' in capsys.readouterr().out
    assert path.read_text() == text.replace('base:1.2', f'base:1.2@{digest(BOTH)}')


def test_a_registry_that_is_gone_costs_only_its_own_references(registry, tmp_path, capsys):
    path = tmp_path / 'x.Dockerfile'
    path.write_text(f'FROM 127.0.0.1:1/gone/base:1\nFROM {registry.host}/team/base:1.2\n')
    assert digests.main([str(path)]) == 1
    assert 'could not be asked' in capsys.readouterr().out
    assert path.read_text() == ('FROM 127.0.0.1:1/gone/base:1\n'
                                f'FROM {registry.host}/team/base:1.2@{digest(BOTH)}\n')


def test_each_reference_is_asked_once(registry, tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).write_text(f'FROM {registry.host}/team/base:1.2\n')
    assert digests.main([str(tmp_path / 'a'), str(tmp_path / 'b')]) == 0
    assert [method for method, _, _ in registry.requests] == ['HEAD', 'GET']


@pytest.mark.parametrize(('fault', 'word'), [
    ('no_digest', 'names no sha256 digest'), ('wrong_body', 'not what its digest says'),
    ('redirect', 'redirects are not followed'), ('huge', 'above 4 MiB'), ('error', '500')])
def test_a_registry_that_is_wrong_is_refused(fault, word):
    with LocalRegistry({('team/base', '1.2'): BOTH}, fault=fault) as registry, \
            pytest.raises(RegistryError, match=word):
        Registry().manifest(Reference.parse(f'{registry.host}/team/base:1.2'))


def test_an_unknown_tag_and_a_manifest_that_is_no_json_are_refused(registry):
    with pytest.raises(RegistryError, match='no such image or tag'):
        Registry().manifest(Reference.parse(f'{registry.host}/team/base:9'))
    registry.images['team/text', '1'] = b'[1, 2'
    with pytest.raises(RegistryError, match='no JSON object'):
        Registry().manifest(Reference.parse(f'{registry.host}/team/text:1'))


def test_a_private_image_needs_a_login_and_one_token_serves_both_requests():
    with LocalRegistry({('team/base', '1.2'): BOTH}, private=frozenset(['team/base'])) as registry:
        reference = Reference.parse(f'{registry.host}/team/base:1.2')
        with pytest.raises(RegistryError, match=r'docker login 127\.0\.0\.1'):
            Registry().manifest(reference)
        registry.requests.clear()
        found = Registry({registry.host: LOGIN}).manifest(reference)
        assert found == Manifest(digest(BOTH), ('linux/amd64', 'linux/arm64'))
        assert [path.partition('?')[0].rpartition('/')[2] for _, path, _ in registry.requests
                ] == ['1.2', 'token', '1.2', digest(BOTH)]
        basic = [h for _, path, h in registry.requests
                 if h.get('Authorization', '').startswith('Basic')]
        assert len(basic) == 1     # the login goes to the token server and nowhere else


def test_a_login_is_never_sent_in_clear_to_a_stranger():
    with LocalRegistry({}, private=frozenset(['team/base'])) as stranger, \
            LocalRegistry({('team/base', '1.2'): BOTH},
                          private=frozenset(['team/base'])) as registry:
        registry_host, registry.host = registry.host, stranger.host    # its realm is elsewhere
        with pytest.raises(RegistryError, match='not done here'):
            Registry({registry_host: LOGIN}).manifest(
                Reference.parse(f'{registry_host}/team/base:1.2'))
        assert stranger.requests == []


@pytest.mark.parametrize('text', [
    'base', 'base:latest', 'ghcr.io/x/y', 'ghcr.io/x/y:latest', 'GHCR.io/X/Y:1', 'a b:1', '',
    'x:1@sha256:abc', '../x:1', 'ghcr.io//x:1'])
def test_what_is_not_pinned_is_refused(text):
    with pytest.raises(ValueError, match=r'no image reference|no tag'):
        Reference.parse(text)


def test_names_are_those_of_the_api():
    assert Reference.parse('python:3.12') == Reference('docker.io', 'library/python', '3.12')
    assert Reference.parse('docker.io/library/ros:j') == Reference('docker.io', 'library/ros', 'j')
    assert Reference.parse(f'nvcr.io/nvidia/x:25.10-py3@{FAKE}') == Reference(
        'nvcr.io', 'nvidia/x', '25.10-py3', FAKE)


def test_docker_credentials_are_read_and_nonsense_is_not(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({'auths': {
        'https://index.docker.io/v1/': {'auth': LOGIN}, 'ghcr.io': {'auth': LOGIN},
        'nvcr.io': {'auth': '!!'}, 'quay.io': {}}}))
    assert docker_credentials(path) == {'docker.io': LOGIN, 'ghcr.io': LOGIN}
    assert docker_credentials(tmp_path / 'none.json') == {}


@given(st.text(max_size=400))
def test_a_text_without_references_is_untouched(text):
    if not digests.find(text):
        assert digests.fill(text, {'docker.io/library/x:1': FAKE}) == text


@given(st.sampled_from(['  ', '', '\t']), st.sampled_from(['', ' # why', ' AS x']),
       st.sampled_from(['\n', '\r\n', '']))
def test_filling_keeps_indent_comment_and_line_end(indent, after, end):
    text = f'{indent}image: ghcr.io/a/b:1{after}{end}'
    assert digests.fill(text, {'ghcr.io/a/b:1': FAKE}) == (
        f'{indent}image: ghcr.io/a/b:1@{FAKE}{after}{end}')


def test_every_image_of_this_repository_is_found_and_pinned_by_a_tag():
    files = [*(ROOT / file for file in digests.DEFAULT_FILES),
             *sorted((ROOT / 'docker').glob('*.Dockerfile'))]
    pins = {path: digests.find(path.read_text()) for path in files}
    assert all(pins.values())
    assert [pin for found in pins.values() for pin in found if pin.problem] == []
    froms = sum(line.startswith('FROM ') for path in files
                for line in path.read_text().splitlines())
    assert sum(len(f) for p, f in pins.items() if p.suffix == '.Dockerfile') == froms
