"""The released state dicts whose names are known, and the models that they are converted to."""

import argparse
import math
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import golden
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmqkformer.convert import FAMILIES

ROOT = Path(__file__).parents[2]
CONVERTER = ROOT / 'tools' / 'model_converters' / 'released_to_mm.py'


def _model_of_config(path):
    return lambda: Config.fromfile(ROOT / 'configs' / path).model


def _events_keys(keys_file, classes):
    """The names of ImageNet's 8-384, at the shapes of 2-256 for events."""
    width = {48: 32, 96: 64, 192: 128, 384: 256, 1536: 1024, 1000: classes, 3: 3, 1: 1}
    keys = {
        name: [width[size] for size in shape]
        for name, shape in golden.released_keys(keys_file).items()
        if not re.match(r'block\.[2-7]\.', name)
    }
    keys['patch_embed.proj_conv.weight'][1] = 2
    return keys


def spikformer_events_keys():
    """Spikformer-2-256 for CIFAR10-DVS: 1-D convolutions, and a norm and positions never used."""
    keys = _events_keys('spikformer-8-384_in1k.keys.json', 10)
    for name, shape in keys.items():
        if name.endswith(('fc1_conv.weight', 'fc2_conv.weight')):
            shape.pop()
    return {**keys, 'pos_embed': [1, 64, 256], 'norm.weight': [256], 'norm.bias': [256]}


def cml_spikformer_cifar_keys():
    """CML-Spikformer-4-384 for CIFAR-10: other names of the patch splitting."""
    keys = golden.released_keys('spikformer-4-384_cifar100.keys.json')
    keys |= {'head.weight': [10, 384], 'head.bias': [10]}
    unit = re.compile(r'(?<=patch_embed\.)proj_(conv|bn)(\d?)')
    return {
        unit.sub(lambda match: f'block{int(match[2] or 0) + 1}_{match[1]}', name): shape
        for name, shape in keys.items()
    }


def spikingformer_events_keys():
    """Spikingformer-2-256 for DVS128 Gesture."""
    return _events_keys('spikingformer-8-384_in1k.keys.json', 11)


def meta_spikeformer_distilled_keys():
    """Meta-SpikeFormer with a second classifier."""
    keys = golden.released_keys('meta-spikeformer-15m_in1k.keys.json')
    return keys | {f'head_kd.{leaf}': keys[f'head.{leaf}'] for leaf in ('weight', 'bias')}


def max_former_cifar_keys():
    """Max-Former-4-384 for CIFAR-10: the stem of MS-QKFormer's, and ImageNet's embeddings."""
    wide = golden.released_keys('max-former-10-384_in1k.keys.json')
    keys = {
        name: shape
        for name, shape in golden.released_keys('ms-qkformer-4-384_cifar100.keys.json').items()
        if not re.match(r'patch_embed[23]|stage[12]\.0\.attn', name)
    }
    embeds = {n: shape for n, shape in wide.items() if re.match(r'patch_embed[23]', n)}
    mixer = {n: shape for n, shape in wide.items() if n.startswith('stage2.0.mixer')}
    mixer['stage2.0.mixer.conv.weight'] = [192, 1, 3, 3]
    return {**keys, **embeds, **mixer, 'head.weight': [10, 384], 'head.bias': [10]}


def max_former_events_keys():
    """Max-Former-2-256 for DVS128 Gesture."""
    convs = {
        'patch_embed1.proj_': (16, 2, 3, 3),
        'patch_embed1.max_embed1.embed_': (32, 16, 3, 3),
        'patch_embed1.max_embed2.embed_': (64, 32, 3, 3),
        'patch_embed1.max_embed3.embed_': (128, 64, 3, 3),
        'patch_embed1.embed1.embed_': (128, 32, 1, 1),
        'stage1.0.mixer.conv': (128, 1, 3, 3),
        'patch_embed2.max_embed1.embed_': (256, 128, 3, 3),
        'patch_embed2.embed1.embed_': (256, 256, 3, 3),
        'patch_embed2.max_embed2.embed_': (256, 128, 1, 1),
        **{f'stage2.0.attn.{layer}_': (256, 256, 1) for layer in ('q', 'k', 'v', 'proj')},
        **{
            f'stage{stage}.0.mlp.fc{layer}_': (width, width, 1, 1)
            for stage, width in ((1, 128), (2, 256))
            for layer in (1, 2)
        },
    }
    keys = {'head.weight': [11, 256], 'head.bias': [11]}
    for name, (channels, *rest) in convs.items():
        conv, norm = (name, f'{name}_bn') if 'mixer' in name else (f'{name}conv', f'{name}bn')
        keys[f'{conv}.weight'] = [channels, *rest]
        if re.search('mixer|proj_$|fc', name) and 'patch' not in name:
            keys[f'{conv}.bias'] = [channels]
        leaves = ('weight', 'bias', 'running_mean', 'running_var')
        keys |= {f'{norm}.{leaf}': [channels] for leaf in leaves}
        keys[f'{norm}.num_batches_tracked'] = []
    return keys


# Of STSA's window
BUFFERS = ('mask_mat', 'relative_position_index')
# Neurons of forms without a golden case, beside those of the family's others
NEURONS = {
    'max_former_cifar': [
        'patch_embed1.embed1.embed_lif',
        'patch_embed2.max_embed1.embed_lif',
        'patch_embed2.embed1.embed_lif',
        'stage2.0.mixer.conv_neuron',
        'stage3.0.attn.x_lif',
        'stage3.0.attn.attn_lif',
        'stage1.0.mlp.fc1_lif',
        'stage1.0.mlp.fc2_lif',
        'head_lif',
    ],
    'max_former_events': [
        'patch_embed1.max_embed1.embed_lif',
        'patch_embed1.max_embed2.embed_lif',
        'patch_embed1.max_embed3.embed_lif',
        'patch_embed2.max_embed1.embed_lif',
        'patch_embed2.embed1.embed_lif',
        'stage1.0.mixer.conv_neuron',
        'stage2.0.attn.x_lif',
        'stage2.0.attn.attn_lif',
        'stage1.0.mlp.fc1_lif',
        'stage2.0.mlp.fc2_lif',
        'head_lif',
    ],
}

# Of each family its released forms: names and shapes, the model, and a golden case with neurons
RELEASES = {
    'qkformer': {
        'hst-10-384_in1k': (
            'hst-10-384_in1k.keys.json',
            _model_of_config('qkformer/release/hst-10-384_8xb64_in1k.py'),
            'hst-10-384_t4_64px_b1',
        ),
        'hst-4-384_cifar100': (
            'hst-4-384_cifar100.keys.json',
            _model_of_config('qkformer/release/hst-4-384_1xb64_cifar100.py'),
            'hst-4-384_cifar100_t4_b1',
        ),
        'hst-2-256_cifar10dvs': (
            'hst-2-256_cifar10dvs.keys.json',
            _model_of_config('qkformer/release/hst-2-256-t16_1xb16_cifar10dvs.py'),
            'hst-2-256_cifar10dvs_t16_b1',
        ),
    },
    'spikformer': {
        'spikformer-8-384_in1k': (
            'spikformer-8-384_in1k.keys.json',
            _model_of_config('spikformer/spikformer-8-384_8xb24_in1k.py'),
            'spikformer-8-384_in1k_t4_64px_b1',
        ),
        'spikformer-4-384_cifar100': (
            'spikformer-4-384_cifar100.keys.json',
            _model_of_config('spikformer/spikformer-4-384_1xb128_cifar100.py'),
            'spikformer-4-384_cifar100_t4_b1',
        ),
        'spikformer-2-256_cifar10dvs': (
            spikformer_events_keys,
            _model_of_config('spikformer/spikformer-2-256-t16_1xb16_cifar10dvs.py'),
            None,
        ),
        'cml-spikformer-4-384_cifar10': (
            cml_spikformer_cifar_keys,
            _model_of_config('cml/cml-spikformer-4-384_1xb64_cifar10.py'),
            None,
        ),
    },
    'spikingformer': {
        'spikingformer-8-384_in1k': (
            'spikingformer-8-384_in1k.keys.json',
            _model_of_config('spikingformer/spikingformer-8-384_8xb36_in1k.py'),
            'spikingformer-8-384_in1k_t4_64px_b1',
        ),
        'spikingformer-4-384_cifar10': (
            'spikingformer-4-384_cifar10.keys.json',
            _model_of_config('spikingformer/spikingformer-4-384_1xb64_cifar10.py'),
            'spikingformer-4-384_cifar10_t4_b1',
        ),
        'spikingformer-2-256_dvs128': (
            spikingformer_events_keys,
            _model_of_config('spikingformer/spikingformer-2-256-t16_1xb16_dvs128.py'),
            None,
        ),
        'cml-spikingformer-4-384_cifar100': (
            'cml-spikingformer-4-384_cifar100.keys.json',
            _model_of_config('cml/cml-spikingformer-4-384_1xb64_cifar100.py'),
            'cml-spikingformer-4-384_cifar100_t4_b1',
        ),
    },
    'sdt_v1': {
        'sdt-v1-8-384_in1k': (
            'sdt-v1-8-384_in1k.keys.json',
            _model_of_config('sdt_v1/sdt-v1-8-384_8xb48_in1k.py'),
            'sdt-v1-8-384_in1k_t4_64px_b1',
        ),
        'sdt-v1-2-256_cifar10dvs': (
            'sdt-v1-2-256_cifar10dvs.keys.json',
            _model_of_config('sdt_v1/sdt-v1-2-256-t10_1xb32_cifar10dvs.py'),
            'sdt-v1-2-256_cifar10dvs_t10_b1',
        ),
    },
    'meta_spikeformer': {
        'meta-spikeformer-15m_in1k': (
            'meta-spikeformer-15m_in1k.keys.json',
            _model_of_config('meta_spikeformer/meta-spikeformer-15m-t1_8xb128_in1k.py'),
            'meta-spikeformer-15m_in1k_t1_64px_b1',
        ),
        'meta-spikeformer-15m-distilled_in1k': (
            meta_spikeformer_distilled_keys,
            _model_of_config('meta_spikeformer/meta-spikeformer-15m-t4-distilled_8xb24_in1k.py'),
            None,
        ),
    },
    'max_former': {
        'max-former-10-384_in1k': (
            'max-former-10-384_in1k.keys.json',
            _model_of_config('max_former/max-former-10-384_8xb64_in1k.py'),
            'max-former-10-384_in1k_t4_64px_b1',
        ),
    },
    'max_former_cifar': {
        'max-former-4-384_cifar10': (
            max_former_cifar_keys,
            _model_of_config('max_former/max-former-4-384_1xb128_cifar10.py'),
            None,
        ),
    },
    'max_former_events': {
        'max-former-2-256_dvs128': (
            max_former_events_keys,
            _model_of_config('max_former/max-former-2-256-t16_1xb16_dvs128.py'),
            None,
        ),
    },
    'ms_qkformer': {
        'ms-qkformer-10-384_in1k': (
            'ms-qkformer-10-384_in1k.keys.json',
            _model_of_config('max_former/ms-qkformer-10-384_8xb64_in1k.py'),
            'ms-qkformer-10-384_in1k_t4_64px_b1',
        ),
    },
    'ms_qkformer_cifar': {
        'ms-qkformer-4-384_cifar100': (
            'ms-qkformer-4-384_cifar100.keys.json',
            _model_of_config('max_former/ms-qkformer-4-384_1xb64_cifar100.py'),
            'ms-qkformer-4-384_cifar100_t4_b2_train',
        ),
    },
    'stsa': {
        'stsa-2-256_dvs128': (
            'stsa-2-256_dvs128.keys.json',
            _model_of_config('stsa/stsa-2-256_1xb32_dvs128.py'),
            'stsa-2-256_dvs128_t10_b1',
        ),
    },
}


def released_keys(family, form):
    source = RELEASES[family][form][0]
    return source() if callable(source) else golden.released_keys(source)


def parameters_of(keys):
    """Number of parameters of a released state dict."""
    buffers = ('running_mean', 'running_var', 'num_batches_tracked', *BUFFERS)
    return sum(math.prod(shape) for name, shape in keys.items() if not name.endswith(buffers))


def zeros(keys):
    """A released state dict of these names and shapes."""
    counts = {name for name in keys if name.endswith('num_batches_tracked')}
    return {
        name: torch.zeros(shape, dtype=torch.int64 if name in counts else torch.float32)
        for name, shape in keys.items()
    }


def build_model(family, form):
    return MODELS.build(RELEASES[family][form][1]())


def converted_model(family, form, case, tmp_path):
    """The golden weights, through the converter's command line, in this zoo's model."""
    released = golden.released_state_dict(case['keys'])
    torch.save({'model': released, 'args': argparse.Namespace(lr=1e-3)}, tmp_path / 'src.pth')
    command = [sys.executable, CONVERTER, tmp_path / 'src.pth', tmp_path / 'dst.pth']
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    model = build_model(family, form).double()
    assert model.backbone.time_steps == case['time_steps']
    converted = torch.load(tmp_path / 'dst.pth', weights_only=True)
    assert converted['meta'] == {'source': 'src.pth', 'family': family}
    count = len(converted['state_dict'])
    assert printed == f'{tmp_path / "dst.pth"}: {family} family, {count} weights\n'
    model.load_state_dict(converted['state_dict'], strict=True)
    return model


@contextmanager
def _firing_rates(family, model, neurons):
    """Fills a dict with the mean output of each of the neurons, by their released names."""
    modules = dict(model.named_modules())
    rates, handles = {}, []

    def record(neuron):
        def hook(module, args, out):
            rates[neuron] = out.double().mean().item()

        return hook

    for neuron in neurons:
        module = modules[FAMILIES[family].rename(neuron)]
        handles.append(module.register_forward_hook(record(neuron)))
    yield rates
    for handle in handles:
        handle.remove()


def check_golden_logits_and_firing_rates(family, form, name, tmp_path):
    """The released network's outputs and the firing rate of each of its neurons."""
    case = golden.load_case(name)
    model = converted_model(family, form, case, tmp_path)
    model.train(case['mode'] == 'train')
    with torch.no_grad(), _firing_rates(family, model, case['firing_rates']) as rates:
        logits = model(golden.case_input(case))
    torch.testing.assert_close(logits, case['logits'], rtol=0, atol=1e-9)
    assert rates == pytest.approx(case['firing_rates'], rel=0, abs=1e-9)
    return model


def check_golden_training_step(family, form, name, tmp_path):
    """Loss, gradients and running statistics of the released network, and its logits."""
    case = golden.load_case(name)
    rename = FAMILIES[family].rename
    model = converted_model(family, form, case, tmp_path).train()
    logits = model(golden.case_input(case))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(case['targets']))
    loss.backward()
    torch.testing.assert_close(logits.detach(), case['logits'], rtol=0, atol=1e-9)
    assert loss.item() == pytest.approx(case['loss'], rel=0, abs=1e-9)
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert len(case['grad_norms']) == len(parameters)
    for key, norm in case['grad_norms'].items():
        grad = parameters[rename(key)].grad
        assert grad.norm().item() == pytest.approx(norm, rel=0, abs=1e-9), key
    for key, norm in case['running_stat_norms'].items():
        stat = buffers[rename(key)].double()
        assert stat.norm().item() == pytest.approx(norm, rel=0, abs=1e-9), key
