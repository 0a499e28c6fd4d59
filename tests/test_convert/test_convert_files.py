"""Released files: every form is read, without running what it may hold; the rest is refused."""

import argparse
import subprocess
import sys

import golden
import hostile
import numpy as np
import pytest
import torch
from releases import CONVERTER

from mmqkformer.convert import UnknownCheckpointError, convert_file, load_released


@pytest.fixture(scope='module')
def released():
    return golden.released_state_dict('hst-4-384_cifar100.keys.json')


def forms(state):
    """Every released file form."""
    wrapped = {f'module.{key}': value for key, value in state.items()}
    return {
        'model': {'model': state, 'args': argparse.Namespace(a=1), 'max_acc': np.float64(0.5)},
        'module': {'model': wrapped, 'epoch': 3},
        'net': {'net': state, 'max_test_acc': 0.0},
        'timm': {'state_dict': state, 'state_dict_ema': state, 'metric': np.float32(1.0)},
        'bare': state,
    }


@pytest.mark.parametrize('form', ['model', 'module', 'timm', 'bare'])
def test_every_released_form_converts(form, released, tmp_path):
    torch.save(forms(released)[form], tmp_path / 'src.pth')
    checkpoint = convert_file(tmp_path / 'src.pth', tmp_path / 'new' / 'dst.pth')
    assert checkpoint['meta'] == {'source': 'src.pth', 'family': 'qkformer'}
    state = torch.load(tmp_path / 'new' / 'dst.pth', weights_only=True)['state_dict']
    assert len(state) == len(released)
    assert set(state) == set(checkpoint['state_dict'])
    torch.testing.assert_close(state['head.fc.weight'], released['head.weight'])
    assert state['backbone.stages.0.blocks.0.attention.query.conv.weight'].shape == (96, 96, 1, 1)


def test_ema_weights_are_taken_on_request(released, tmp_path):
    ema = {key: value + 1 for key, value in released.items()}
    torch.save({'state_dict': released, 'state_dict_ema': ema}, tmp_path / 'src.pth')
    assert load_released(tmp_path / 'src.pth', use_ema=True)['head.bias'][0] == ema['head.bias'][0]
    torch.save({'state_dict': released}, tmp_path / 'plain.pth')
    with pytest.raises(UnknownCheckpointError, match='state_dict_ema'):
        load_released(tmp_path / 'plain.pth', use_ema=True)
    torch.save({'state_dict': released, 'state_dict_ema': None}, tmp_path / 'none.pth')
    with pytest.raises(UnknownCheckpointError, match='state_dict_ema'):
        load_released(tmp_path / 'none.pth', use_ema=True)


class Malicious:
    def __reduce__(self):
        return print, ('code from a checkpoint ran',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (lambda state: {'model': state, 'args': Malicious()}, 'loads safely'),
        (lambda state: [1, 2], 'expected a state dict'),
        (lambda state: {'resnet.conv1.weight': torch.zeros(1)}, 'no released family'),
        (lambda state: {**state, 'stage1.0.extra': torch.zeros(1)}, "'stage1.0.extra'"),
        (lambda state: {**state, 'head.bias': 3}, "'head.bias' is int"),
        (lambda state: {**state, 'module.head.bias': torch.zeros(100)}, 'a second time'),
        (lambda state: {**state, 7: torch.zeros(1)}, '7 is no name'),
        (lambda state: {k: v for k, v in state.items() if k != 'head.bias'}, "['head.fc.bias']"),
        (
            lambda state: {k: v for k, v in state.items() if 'stage3.0.mlp' not in k},
            "'backbone.stages.2.blocks.0.mlp.fc1.conv.bias'",
        ),
    ],
)
def test_anything_else_is_refused_by_name(content, message, released, tmp_path, capfd):
    torch.save(content(dict(released)), tmp_path / 'src.pth')
    run = subprocess.run(
        [sys.executable, CONVERTER, tmp_path / 'src.pth', tmp_path / 'dst.pth'],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert message in run.stderr
    assert 'Traceback' not in run.stderr
    assert 'code from a checkpoint ran' not in run.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ['src.pth']


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / 'src.pth').write_bytes(b'not a checkpoint')
    with pytest.raises(UnknownCheckpointError, match=r'src\.pth'):
        convert_file(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    with pytest.raises(FileNotFoundError, match=r'absent\.pth'):
        convert_file(tmp_path / 'absent.pth', tmp_path / 'dst.pth')


@pytest.mark.parametrize('form', hostile.FORMS)
def test_no_form_of_file_runs_code(form, tmp_path):
    hostile.write_bomb(tmp_path / 'src.pth', form, tmp_path / 'made by a checkpoint')
    with pytest.raises(UnknownCheckpointError, match='loads safely'):
        convert_file(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['src.pth']


def test_a_refused_file_leaves_the_former_conversion(released, tmp_path):
    torch.save(released, tmp_path / 'src.pth')
    convert_file(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    before = (tmp_path / 'dst.pth').read_bytes()
    torch.save({**released, 'extra.weight': torch.zeros(1)}, tmp_path / 'src.pth')
    with pytest.raises(UnknownCheckpointError, match=r"src\.pth: 'extra\.weight' is not a name"):
        convert_file(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert (tmp_path / 'dst.pth').read_bytes() == before
