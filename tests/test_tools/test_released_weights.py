"""From a released file, as it was downloaded, to an accuracy on a folder of images."""

import argparse
import pickle
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from networks import awaken
from PIL import Image

from mmqkformer.convert import FAMILIES, UnknownCheckpointError

ROOT = Path(__file__).parents[2]
# The graph of Max-Former-10-384, narrow and shallow, on four classes
CONFIG = f"""
_base_ = '{ROOT}/configs/max_former/max-former-10-384_8xb64_in1k.py'
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            base='max-former-10-384',
            embed_dims=[8, 16, 32],
            depths=[1, 1, 1],
            num_heads=2,
        ),
    ),
    head=dict(in_channels=32, num_classes=4),
)
classes = ['n0', 'n1', 'n2', 'n3']
data_preprocessor = dict(num_classes=4)
test_dataloader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='imagenet', metainfo=dict(classes=classes)),
)
test_evaluator = dict(topk=(1,))
visualizer = None
experiment_name = '{{{{$EXPERIMENT:tiny}}}}'
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The config, and two images for each of four classes."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for i in range(8):
        place = tmp_path / 'imagenet' / 'val' / f'n{i // 2}'
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (280, 260, 3), np.uint8)
        Image.fromarray(pixels).save(place / f'{i}.JPEG', quality=95)
    (tmp_path / 'tiny.py').write_text(CONFIG)
    return tmp_path


@pytest.fixture
def model(folder):
    """A model whose neurons fire, in eval mode."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile('tiny.py').model)
    awaken(model.backbone, torch.randn(2, 3, 64, 64))
    return model.eval()


def release(model, **changes):
    """A file as the release's trainer writes it, with the released names."""
    rename = FAMILIES['max_former'].rename
    own = model.state_dict()
    state = {}
    for name, shape in golden.released_keys('max-former-10-384_in1k.keys.json').items():
        if rename(name) in own:
            value = own[rename(name)]
            state[name] = value.squeeze(3) if len(shape) == 3 else value
    assert len(state) == len(own)
    file = {
        'epoch': 195,
        'arch': 'distributeddataparallel',
        'state_dict': {**state, **changes},
        'optimizer': {'state': {0: {'step': torch.ones(())}}, 'param_groups': [{'lr': 1e-3}]},
        'version': 2,
        'args': argparse.Namespace(blr=1.35e-3, time_step=4),
        'amp_scaler': {'scale': 65536.0},
        'metric': np.float64(77.782),
    }
    torch.save(file, '10-384-T4.pth.tar')
    return '10-384-T4.pth.tar'


def scores(run_tool, checkpoint, *options):
    run_tool('test.py', 'tiny.py', checkpoint, '--out', 'pred.pkl', *options)
    predictions = pickle.loads(Path('pred.pkl').read_bytes())
    return torch.stack([prediction['pred_score'] for prediction in predictions])


def test_one_command_from_the_file_to_an_accuracy(model, run_tool):
    file = release(model)
    metrics = ('--out', 'metrics.json', '--out-item', 'metrics')
    run_tool('test.py', 'tiny.py', file, *metrics)
    accuracy = Config.fromfile('metrics.json')['accuracy/top1']
    assert accuracy in {100 * n / 8 for n in range(9)}
    # The same as in two steps, and other than with the weights that the config starts from
    run_tool('model_converters/released_to_mm.py', file, 'converted.pth')
    found = scores(run_tool, file)
    torch.testing.assert_close(found, scores(run_tool, 'converted.pth'), rtol=0, atol=0)
    labels = torch.arange(4).repeat_interleave(2)
    assert accuracy == 100 * (found.argmax(1) == labels).double().mean()
    torch.manual_seed(1)
    other = release(MODELS.build(Config.fromfile('tiny.py').model))
    assert not torch.allclose(found, scores(run_tool, other))
    assert sorted(path.name for path in Path().glob('*.pth*')) == [file, 'converted.pth']


def test_the_weights_are_of_any_number_of_steps(model, run_tool):
    one_step = ('--cfg-options', 'model.backbone.time_steps=1')
    file = release(model)
    assert not torch.equal(scores(run_tool, file), scores(run_tool, file, *one_step))


def test_weights_of_another_size_are_refused(model, run_tool):
    message = r"'10-384-T4\.pth\.tar', max_former family, does not fit .*\n.*of another shape"
    with pytest.raises(ValueError, match=message):
        scores(run_tool, release(model), '--cfg-options', 'model.head.num_classes=5')


def test_damaged_weights_are_refused(model, run_tool):
    file = release(model, **{'head.bias': torch.full((4,), float('nan'))})
    with pytest.raises(UnknownCheckpointError, match=r"10-384-T4\.pth\.tar: 'head\.bias' is not f"):
        scores(run_tool, file)
