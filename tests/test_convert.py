"""Released checkpoints: the converter's command line and the golden outputs behind it."""

import argparse
import subprocess
import sys
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmqkformer.convert import (
    UnknownCheckpointError,
    convert_file,
    convert_state_dict,
    family_of,
    load_released,
    rename,
)
from mmqkformer.neurons import BatchLeakingNeuron

ROOT = Path(__file__).parents[1]
CONVERTER = ROOT / 'tools' / 'model_converters' / 'qkformer_to_mm.py'
CONFIGS = {
    'imagenet': 'configs/qkformer/release/hst-10-384_8xb64_in1k.py',
    'cifar': 'configs/qkformer/release/hst-4-384_1xb64_cifar100.py',
    'events': 'configs/qkformer/release/hst-2-256-t16_1xb16_cifar10dvs.py',
}


def build_model(case, keys):
    """The model of the family's release config."""
    family = family_of(keys)
    cfg = Config.fromfile(ROOT / CONFIGS[family]).model
    assert cfg.backbone.release_batch_leak
    assert cfg.backbone.time_steps == case['time_steps']
    model = MODELS.build(cfg).double()
    assert sum(p.numel() for p in model.parameters()) == case['params']
    return model, family


def converted_model(case, tmp_path):
    """The released weights, through the converter's command line, in this zoo's model."""
    released = golden.released_state_dict(case['keys'])
    torch.save({'model': released, 'args': argparse.Namespace(lr=1e-3)}, tmp_path / 'src.pth')
    subprocess.run(
        [sys.executable, CONVERTER, tmp_path / 'src.pth', tmp_path / 'dst.pth'], check=True
    )
    model, family = build_model(case, released)
    converted = torch.load(tmp_path / 'dst.pth', weights_only=True)
    assert converted['meta'] == {'source': 'src.pth', 'family': family}
    model.load_state_dict(converted['state_dict'], strict=True)
    return model, family


@pytest.mark.parametrize('name', golden.EVAL_CASES)
def test_golden_logits_and_firing_rates(name, tmp_path):
    case = golden.load_case(name)
    model, family = converted_model(case, tmp_path)
    model.eval()
    modules = dict(model.named_modules())
    rates = {}

    def record(neuron):
        def hook(module, args, out):
            rates[neuron] = out.double().mean().item()

        return hook

    for neuron in case['firing_rates']:
        modules[rename(neuron, family)].register_forward_hook(record(neuron))
    with torch.no_grad():
        logits = model(golden.case_input(case))
    torch.testing.assert_close(logits, case['logits'], rtol=0, atol=1e-9)
    assert rates == pytest.approx(case['firing_rates'], rel=0, abs=1e-9)


def test_golden_training_step(tmp_path):
    case = golden.load_case(golden.TRAIN_CASE)
    model, family = converted_model(case, tmp_path)
    model.train()
    logits = model(golden.case_input(case))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(case['targets']))
    loss.backward()
    torch.testing.assert_close(logits.detach(), case['logits'], rtol=0, atol=1e-9)
    assert loss.item() == pytest.approx(case['loss'], rel=0, abs=1e-9)
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert len(case['grad_norms']) == len(parameters)
    for key, norm in case['grad_norms'].items():
        grad = parameters[rename(key, family)].grad
        assert grad.norm().item() == pytest.approx(norm, rel=0, abs=1e-9), key
    for key, norm in case['running_stat_norms'].items():
        stat = buffers[rename(key, family)].double()
        assert stat.norm().item() == pytest.approx(norm, rel=0, abs=1e-9), key


def test_without_the_leak_neighbours_do_not_matter():
    case = golden.load_case('hst-4-384_cifar100_t4_b3_leaky')
    released = golden.released_state_dict(case['keys'])
    model, _ = build_model(case, released)
    model.load_state_dict(convert_state_dict(released))
    for block in model.backbone.stages[2].blocks:
        assert isinstance(block.attention_neuron, BatchLeakingNeuron)
        block.attention_neuron = block.attention_neuron.neuron
    model.eval()
    images = golden.case_input(case)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    assert (together - case['logits']).abs().max() > 1e-3


@pytest.fixture(scope='module')
def released():
    return golden.released_state_dict('hst-4-384_cifar100.keys.json')


def forms(state):
    """Every released file form."""
    wrapped = {f'module.{key}': value for key, value in state.items()}
    return {
        'model': {'model': state, 'args': argparse.Namespace(a=1), 'max_acc': np.float64(0.5)},
        'module': {'model': wrapped, 'epoch': 3},
        'timm': {'state_dict': state, 'state_dict_ema': state, 'metric': np.float32(1.0)},
        'bare': state,
    }


@pytest.mark.parametrize('form', ['model', 'module', 'timm', 'bare'])
def test_every_released_form_converts(form, released, tmp_path):
    torch.save(forms(released)[form], tmp_path / 'src.pth')
    assert convert_file(tmp_path / 'src.pth', tmp_path / 'new' / 'dst.pth') == 'cifar'
    state = torch.load(tmp_path / 'new' / 'dst.pth', weights_only=True)['state_dict']
    assert len(state) == len(released)
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
        (lambda state: {'resnet.conv1.weight': torch.zeros(1)}, 'no released QKFormer family'),
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
