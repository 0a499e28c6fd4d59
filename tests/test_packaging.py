"""The wheel and the editable install carry configs, tools, index and weights."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
OFFLINE = ('--no-index', '--no-build-isolation', '--no-deps')
IGNORED = shutil.ignore_patterns('.*', 'build', '*.egg-info', '__pycache__', 'data', 'work_dirs')

USE_THE_INDEX = """
import json
import mmpretrain
import numpy as np
import mmqkformer
names = mmpretrain.list_models('*qkformer*')
shipped = [n for n in names if 'weights/' in (mmpretrain.apis.ModelHub.get(n).weights or '')]
for name in shipped:
    mmpretrain.get_model(name, pretrained=True)
    infer = mmpretrain.ImageClassificationInferencer(name, pretrained=True)
    assert infer(np.zeros((20, 30, 3), np.uint8))[0]['pred_class']
# On a line of its own: the inferencer leaves a progress bar behind
print('\\n' + json.dumps([mmqkformer.__file__, names, shipped]))
"""


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the source tree, as a release would hold it."""
    copy = tmp_path_factory.mktemp('release') / 'source'
    shutil.copytree(ROOT, copy, ignore=IGNORED)
    return copy


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    run(*PIP, 'wheel', *OFFLINE, '--wheel-dir', folder, source)
    return next(folder.glob('mmqkformer-*.whl'))


def below(folder):
    return {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob('*') if p.is_file()}


def test_wheel_carries_everything(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = below('configs') | below('tools') | below('weights') | {'model-index.yml'}
    expected = {name for name in expected if '__pycache__' not in name}
    assert {'configs/qkformer/README.md', 'tools/dist_train.sh', 'weights/README.md'} <= expected
    assert {f'mmqkformer/.mim/{name}' for name in expected} <= names
    parts = {name for name in below('mmqkformer') if name.endswith(('.py', '.cu', '.csv', '.md'))}
    parts = {name for name in parts if '.mim' not in name}
    curves = 'mmqkformer/analysis/curves/released/'
    assert {'mmqkformer/kernels/fire.cu', f'{curves}cifar10.csv', f'{curves}README.md'} <= parts
    assert parts <= names
    assert not {name for name in names if name.startswith(('tests', 'configs', 'tools'))}


def test_requirements_leave_openmmlab_to_the_user(wheel):
    archive = zipfile.ZipFile(wheel)
    path = next(name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
    lines = archive.read(path).decode().splitlines()
    required = [line for line in lines if line.startswith('Requires-Dist:')]
    assert not [line for line in required if 'mmcv' in line or 'mmpretrain' in line]
    extras = {line.split(': ')[1] for line in lines if line.startswith('Provides-Extra:')}
    assert {'det', 'seg', 'cuda', 'tests'} <= extras


def test_index_works_from_an_installed_wheel(wheel, tmp_path):
    target = tmp_path / 'site'
    run(*PIP, 'install', *OFFLINE, '--target', target, wheel)
    environment = {**os.environ, 'PYTHONPATH': str(target)}
    printed = run(sys.executable, '-c', USE_THE_INDEX, cwd=tmp_path, env=environment)
    package, names, shipped = json.loads(printed.splitlines()[-1])
    assert package.startswith(str(target))
    assert 'qkformer_hst-10-384_8xb64_in1k' in names
    assert shipped


def test_editable_install_links_to_the_source(source, tmp_path):
    run(*PIP, 'install', *OFFLINE, '--target', tmp_path / 'site', '--editable', source)
    for entry in ('configs', 'tools', 'weights', 'model-index.yml'):
        linked = source / 'mmqkformer' / '.mim' / entry
        assert linked.is_symlink()
        assert linked.resolve() == (source / entry).resolve()


def test_setup_needs_no_torch_and_no_openmmlab(source):
    code = (
        'import runpy, sys\n'
        "sys.modules.update(dict.fromkeys(['torch', 'mmengine', 'mmcv', 'mmpretrain']))\n"
        "sys.argv = ['setup.py', '--version']\n"
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    assert run(sys.executable, '-c', code, cwd=source).strip() == '0.1.0'
