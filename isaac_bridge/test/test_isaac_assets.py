"""Packs of assets through the cache, from a real HTTP server and from a folder."""

import hashlib
import http.server
import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isaac_bridge.isaac.assets import (
    ROOT_SETTING,
    Asset,
    AssetError,
    Cache,
    Pack,
    asset_root,
    main,
    pin,
    read_pack,
    text_of,
)
from isaac_bridge.isaac.transfer import open_source

SCENE = b'#usda 1.0\ndef Xform "hall" {}\n'
TEXTURE = bytes(range(256)) * 40


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Store(http.server.BaseHTTPRequestHandler):
    """Serves a dictionary; notes what was asked for."""

    def do_GET(self):
        store = self.server
        store.asked.append(self.path)
        content = store.files.get(self.path)
        if content is None:
            self.send_error(404, 'no such file')
            return
        self.send_response(200)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        cut = store.cut.pop(self.path, None)
        self.wfile.write(content[:cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def store():
    server = _Server(('127.0.0.1', 0), _Store)
    server.files, server.asked, server.cut = {}, [], {}
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    server.root = f'http://127.0.0.1:{server.server_address[1]}/Assets'
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _asset(path, content):
    return Asset(path, hashlib.sha256(content).hexdigest(), len(content))


def _fill(store):
    store.files = {'/Assets/hall.usda': SCENE, '/Assets/textures/wall.png': TEXTURE}
    return Pack(store.root, (_asset('hall.usda', SCENE), _asset('textures/wall.png', TEXTURE)))


def test_a_pack_is_fetched_once(store, tmp_path):
    pack, cache = _fill(store), Cache(tmp_path)
    scene = cache.fetch(pack)
    assert scene.read_bytes() == SCENE
    assert (scene.parent / 'textures' / 'wall.png').read_bytes() == TEXTURE
    told = []
    assert cache.fetch(pack, lambda asset, fetched: told.append((asset.path, fetched))) == scene
    assert told == [('hall.usda', False), ('textures/wall.png', False)]
    assert store.asked == ['/Assets/hall.usda', '/Assets/textures/wall.png']


def test_a_name_with_spaces_is_quoted(store, tmp_path):
    store.files = {'/Assets/a%20hall.usda': SCENE}
    assert Cache(tmp_path).fetch(Pack(store.root, (_asset('a hall.usda', SCENE),))).exists()


def test_another_content_is_refused_and_leaves_nothing(store, tmp_path):
    pack = _fill(store)
    store.files['/Assets/textures/wall.png'] = TEXTURE[:-1] + b'x'
    with pytest.raises(AssetError, match=r'wall\.png: has the sha256'):
        Cache(tmp_path).fetch(pack)
    assert [path.name for path in tmp_path.rglob('*') if path.is_file()] == ['hall.usda']


@pytest.mark.parametrize(('content', 'sentence'), [
    (SCENE + b'x', 'is longer than'), (SCENE[:-1], 'ended after')])
def test_a_wrong_length_is_refused(store, tmp_path, content, sentence):
    pack = _fill(store)
    store.files['/Assets/hall.usda'] = content
    with pytest.raises(AssetError, match=sentence):
        Cache(tmp_path).fetch(pack)


def test_a_connection_that_breaks_is_tried_again(store, tmp_path):
    pack = _fill(store)
    store.cut['/Assets/textures/wall.png'] = 5000
    scene = Cache(tmp_path).fetch(pack)
    assert (scene.parent / 'textures' / 'wall.png').read_bytes() == TEXTURE
    assert store.asked.count('/Assets/textures/wall.png') == 2


def test_what_is_damaged_in_the_cache_is_fetched_anew(store, tmp_path):
    pack, cache = _fill(store), Cache(tmp_path)
    scene = cache.fetch(pack)
    scene.write_bytes(SCENE[:-1] + b'?')
    assert cache.fetch(pack).read_bytes() == SCENE
    assert store.asked.count('/Assets/hall.usda') == 2


def test_a_missing_file_is_a_sentence(store, tmp_path):
    pack = _fill(store)
    del store.files['/Assets/hall.usda']
    with pytest.raises(AssetError, match=r'hall\.usda: the server said 404'):
        Cache(tmp_path).fetch(pack)


def test_a_server_that_is_not_there_is_a_sentence(tmp_path):
    with _Server(('127.0.0.1', 0), _Store) as free:
        port = free.server_address[1]
    with pytest.raises(AssetError, match='cannot be reached'):
        Cache(tmp_path).fetch(Pack(f'http://127.0.0.1:{port}', (_asset('hall.usda', SCENE),)))


def test_the_oldest_files_make_room_but_never_those_of_the_pack(store, tmp_path):
    pack = _fill(store)
    size = len(SCENE) + len(TEXTURE)
    cache = Cache(tmp_path, max_bytes=size)
    old = Pack(store.root, (_asset('old.bin', b'o' * 5000), _asset('older.bin', b'p' * 5000)))
    store.files |= {'/Assets/old.bin': b'o' * 5000, '/Assets/older.bin': b'p' * 5000}
    cache.fetch(old)
    scene = cache.fetch(pack)
    left = {path.name for path in tmp_path.rglob('*') if path.is_file()}
    assert left == {'hall.usda', 'wall.png'}
    assert scene.read_bytes() == SCENE


def test_a_pack_that_cannot_fit_is_refused_before_anything_is_fetched(store, tmp_path):
    with pytest.raises(AssetError, match='give it more'):
        Cache(tmp_path, max_bytes=100).fetch(_fill(store))
    assert store.asked == []


def test_a_file_that_another_process_writes_is_left_alone(store, tmp_path):
    cache = Cache(tmp_path, max_bytes=len(SCENE) + len(TEXTURE))
    part = tmp_path / '.part-other'
    part.write_bytes(b'x' * 10_000)
    cache.fetch(_fill(store))
    assert part.exists()


@pytest.mark.parametrize('path', ['/etc/passwd', '../up.usd', 'a/../../up.usd', 'a\\b.usd', ''])
def test_no_path_leaves_the_root(tmp_path, path):
    document = {'schema_version': 1, 'root': str(tmp_path),
                'assets': [{'path': path, 'sha256': '0' * 64, 'size': 1}]}
    file = tmp_path / 'pack.json'
    file.write_text(json.dumps(document))
    with pytest.raises(AssetError, match='no path below an asset root'):
        read_pack(file)


@pytest.mark.parametrize('text', [
    'x', '{}', '{"schema_version": 2}', '{"schema_version": 1, "root": "r", "assets": []}',
    '{"schema_version": 1, "root": "r", "assets": [{"path": "a", "sha256": "0", "size": 1}]}'])
def test_what_is_no_pack_is_refused(tmp_path, text):
    file = tmp_path / 'pack.json'
    file.write_text(text)
    with pytest.raises(AssetError, match=r'pack\.json'):
        read_pack(file)


def test_a_pack_reads_back(tmp_path):
    pack = Pack('https://store.example/Assets', (_asset('hall.usda', SCENE),))
    file = tmp_path / 'pack.json'
    file.write_text(text_of(pack))
    assert read_pack(file) == pack
    assert read_pack(file, 'omniverse://server/other').root == 'omniverse://server/other'


def test_the_root_is_the_variable_then_the_setting():
    asked = []

    def setting(name):
        asked.append(name)
        return 'omniverse://server/NVIDIA/'

    assert asset_root(setting, {'ISAACSIM_ASSET_ROOT': '/data/assets/'}) == '/data/assets'
    assert asked == []
    assert asset_root(setting, {}) == 'omniverse://server/NVIDIA'
    assert asked == [ROOT_SETTING]
    with pytest.raises(AssetError, match='ISAACSIM_ASSET_ROOT'):
        asset_root(lambda _: None, {})


def test_s3_is_read_over_https_or_from_an_endpoint(store, monkeypatch):
    store.files = {'/bucket/hall.usda': SCENE}
    monkeypatch.setenv('AWS_ENDPOINT_URL', store.root.removesuffix('/Assets'))
    with open_source('s3://bucket/hall.usda') as source:
        assert source.read(1000) == SCENE


def test_nucleus_is_read_inside_isaac_sim_only():
    with pytest.raises(OSError, match='inside Isaac Sim'):
        open_source('omniverse://server/hall.usda')


def test_pinning_a_scene_finds_what_it_refers_to(tmp_path, capsys):
    """A scene with a layer, a payload and a texture, as usd-core writes it; all are in the pack."""
    pytest.importorskip('pxr')
    from pxr import Sdf, Usd
    root = tmp_path / 'root'
    (root / 'parts').mkdir(parents=True)
    (root / 'textures').mkdir()
    (root / 'textures' / 'wall.png').write_bytes(TEXTURE)
    rack = Usd.Stage.CreateNew(str(root / 'parts' / 'rack.usda'))
    prim = rack.DefinePrim('/rack', 'Cube')
    rack.SetDefaultPrim(prim)
    prim.CreateAttribute('inputs:file', Sdf.ValueTypeNames.Asset).Set('../textures/wall.png')
    prim.CreateAttribute('inputs:shader', Sdf.ValueTypeNames.Asset).Set('OmniPBR.mdl')
    rack.Save()
    hall = Usd.Stage.CreateNew(str(root / 'hall.usda'))
    hall.DefinePrim('/hall/one').GetReferences().AddReference('./parts/rack.usda')
    hall.DefinePrim('/hall/two').GetPayloads().AddPayload('./parts/rack.usda')
    hall.Save()
    pack = pin(str(root), 'hall.usda')
    assert {asset.path for asset in pack.assets} == {
        'hall.usda', 'parts/rack.usda', 'textures/wall.png'}
    assert pack.assets[0].path == 'hall.usda'
    file = tmp_path / 'pack.json'
    assert main(['pin', str(root), 'hall.usda']) == 0
    file.write_text(capsys.readouterr().out)
    assert main(['fetch', str(file), '--cache', str(tmp_path / 'cache')]) == 0
    scene = Path(capsys.readouterr().out.strip())
    stage = Usd.Stage.Open(str(scene))
    assert stage.GetPrimAtPath('/hall/one').GetTypeName() == 'Cube'


def test_two_processes_may_fetch_at_once(store, tmp_path):
    file = tmp_path / 'pack.json'
    file.write_text(text_of(_fill(store)))
    command = [sys.executable, '-m', 'isaac_bridge.isaac.assets', 'fetch', str(file), '--cache',
               str(tmp_path / 'cache')]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        assert Path(out.decode().strip()).read_bytes() == SCENE
    assert not list((tmp_path / 'cache').rglob('.part-*'))


def test_an_error_of_the_command_is_one_sentence(tmp_path, capsys):
    assert main(['fetch', str(tmp_path / 'none.json')]) == 1
    assert capsys.readouterr().err.startswith('assets: ')
