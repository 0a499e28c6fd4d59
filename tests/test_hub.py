"""mmpretrain's hub knows this zoo."""

import subprocess
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch
import yaml
from mmengine.registry import MODELS
from mmpretrain.apis import ModelHub
from zoo import FAMILIES, ROOT

from mmqkformer import hub

CONFIGS = ROOT / 'configs'
INDEX = 'Import:\n  - configs/tiny/metafile.yml\n'

METAFILE = """
Collections:
  - Name: Tiny
    README: configs/tiny/README.md
    Paper:
      Title: A paper
      URL: https://arxiv.org/abs/2403.16552
Models:
  - Name: tiny-hub-test
    In Collection: Tiny
    Config: configs/tiny/tiny.py
    Metadata:
      FLOPs: 20
      Parameters: 22
    Weights: weights/tiny.pth
  - Name: tiny-hub-test-online
    In Collection: Tiny
    Config: configs/tiny/tiny.py
    Metadata:
      FLOPs: 20
      Parameters: 22
    Weights: https://example.org/tiny.pth
"""

CONFIG = """
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmpretrain.LeNet5', num_classes=2),
    head=dict(type='mmpretrain.ClsHead'))
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo of one config under two names, with shipped weights; the hub is restored after."""
    monkeypatch.setattr(ModelHub, '_models_dict', dict(ModelHub._models_dict))
    (tmp_path / 'configs' / 'tiny').mkdir(parents=True)
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'model-index.yml').write_text(INDEX)
    (tmp_path / 'configs' / 'tiny' / 'metafile.yml').write_text(METAFILE)
    (tmp_path / 'configs' / 'tiny' / 'README.md').write_text('# Tiny\n')
    (tmp_path / 'configs' / 'tiny' / 'tiny.py').write_text(CONFIG)
    model = MODELS.build(dict(type='mmpretrain.LeNet5', num_classes=2))
    weights = {f'backbone.{k}': torch.full_like(v, 0.5) for k, v in model.state_dict().items()}
    torch.save({'state_dict': weights}, tmp_path / 'weights' / 'tiny.pth')
    return tmp_path


def test_models_are_listed(zoo):
    hub.register_model_index(zoo)
    assert mmpretrain.list_models('tiny-hub*') == ['tiny-hub-test', 'tiny-hub-test-online']


def test_registering_twice_is_registering_once(zoo):
    hub.register_model_index(zoo)
    hub.register_model_index(zoo)
    assert len(mmpretrain.list_models('tiny-hub*')) == 2


def test_shipped_weights_load_without_a_network(zoo):
    hub.register_model_index(zoo)
    model = mmpretrain.get_model('tiny-hub-test', pretrained=True)
    assert all((parameter == 0.5).all() for parameter in model.parameters())


def test_addresses_of_weights_stay(zoo):
    hub.register_model_index(zoo)
    assert ModelHub.get('tiny-hub-test-online').weights == 'https://example.org/tiny.pth'


def test_missing_index_is_told(tmp_path):
    with pytest.warns(UserWarning, match=r'model-index\.yml is missing'):
        hub.register_model_index(tmp_path)


def test_root_is_the_repository_or_the_installed_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, 'PACKAGE', tmp_path / 'mmqkformer')
    assert hub.zoo_root() == tmp_path
    (tmp_path / 'mmqkformer' / '.mim').mkdir(parents=True)
    (tmp_path / 'mmqkformer' / '.mim' / 'model-index.yml').touch()
    assert hub.zoo_root() == tmp_path / 'mmqkformer' / '.mim'


def test_without_mmpretrain_nothing_is_registered():
    code = (
        "import sys; sys.modules['mmpretrain'] = None\n"
        'from mmqkformer import hub\n'
        'hub.register_model_index()\n'
        "assert not [name for name in sys.modules if name.startswith('mmpretrain.')]\n"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, '-W', 'error::UserWarning', '-c', code], check=True, cwd=root)


def test_the_zoo_itself_is_known():
    import mmqkformer  # noqa: F401

    assert 'qkformer_hst-10-384_8xb64_in1k' in mmpretrain.list_models('*qkformer*')
    model = mmpretrain.get_model('qkformer_hst-10-384_8xb64_in1k')
    assert sum(parameter.numel() for parameter in model.parameters()) == 16_473_688


def test_every_classifier_in_the_index_is_listed():
    import mmqkformer  # noqa: F401

    names = {
        model['Name']
        for family in FAMILIES
        for model in yaml.safe_load((CONFIGS / family / 'metafile.yml').read_text())['Models']
    }
    assert len(names) > 30
    assert names <= set(mmpretrain.list_models())
