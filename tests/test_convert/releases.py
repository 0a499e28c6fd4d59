"""The released state dicts whose names are known, and the models that they are converted to."""

import argparse
import math
import re
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
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


def spikingresformer_gesture_keys():
    """SpikingResformer for DVS128 Gesture: a small prologue, groups of 32, time constants."""
    widths = {size: size // 2 for size in (64, 128, 192, 256, 384, 768, 1536)} | {1000: 11}
    keys = golden.released_keys('spikingresformer-ti_in1k.keys.json')
    for shape in keys.values():
        shape[:2] = [widths.get(size, size) for size in shape[:2]]
    keys['prologue.0.weight'] = [32, 3, 3, 3]
    neurons = golden.load_case('spikingresformer-ti_in1k_t4_64px_b1')['firing_rates']
    return keys | {f'{neuron}.w': [] for neuron in neurons}


def _norm_keys(name, width):
    leaves = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{leaf}': [width] for leaf in leaves} | {f'{name}.num_batches_tracked': []}


def sew_resnet_18_keys():
    """SEW-ResNet-18 of a later SpikingJelly, whose container numbers its layers."""
    keys = golden.released_keys('sew-resnet34-add_in1k.keys.json')
    return {
        name.replace('.module', ''): shape
        for name, shape in keys.items()
        if not re.match(r'layer\d\.[2-5]\.', name)
    }


def sew_resnet_50_keys():
    """SEW-ResNet-50: bottlenecks, a shortcut with weights in every first block."""
    keys = golden.released_keys('sew-resnet34-add_in1k.keys.json')
    keys = {name: shape for name, shape in keys.items() if not name.startswith('layer')}
    keys['fc.weight'] = [1000, 2048]
    before = 64
    for i, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**i
        for j in range(blocks):
            block = f'layer{i + 1}.{j}'
            convs = {'conv1': (width, before, 1), 'conv2': (width, width, 3)}
            convs |= {'conv3': (4 * width, width, 1)}
            convs |= {'downsample.0': (4 * width, before, 1)} if j == 0 else {}
            for name, (out, in_, kernel) in convs.items():
                keys[f'{block}.{name}.module.0.weight'] = [out, in_, kernel, kernel]
                keys |= _norm_keys(f'{block}.{name}.module.1', out)
            before = 4 * width
    return keys


def sew_resnet_50_neurons():
    names = ['sn1']
    for i, blocks in enumerate((3, 4, 6, 3)):
        names += [f'layer{i + 1}.{j}.sn{k}' for j in range(blocks) for k in (1, 2, 3)]
        names.append(f'layer{i + 1}.0.downsample.1')
    return names


def ms_resnet_104_keys():
    """MS-ResNet-104, saved from several GPUs: three convolutions, then a norm; pooled shortcuts."""
    keys = golden.released_keys('ms-resnet18_in1k.keys.json')
    names = {
        'conv1.1.bn': 'conv1.3.bn',
        'shortcut.1.bn': 'shortcut.2.bn',
        'shortcut.0': 'shortcut.1',
    }
    renamed = {}
    for name, shape in keys.items():
        for old, new in names.items():
            if old in name:
                name = name.replace(old, new)
                break
        block = re.match(r'(conv(\d)_x)\.1\.(.*)', name)
        depth = (3, 8, 32, 8)[int(block[2]) - 2] if block else 0
        renamed |= {f'{block[1]}.{i}.{block[3]}': shape for i in range(1, depth)} or {name: shape}
    for i, in_ in enumerate((3, 64, 64)):
        renamed |= {f'conv1.{i}.weight': [64, in_, 3, 3], f'conv1.{i}.bias': [64]}
    return renamed


def sew_resnet_events_keys(widths, container, classes):
    """Names and shapes of SEW-ResNet for events, of blocks of these widths."""
    keys, before, number = {}, 2, 0
    units = {}
    for width in widths:
        if width != before:
            units[f'conv.{number}'] = (width, before, 1)
            number += 1
        units |= {f'conv.{number}.conv.{i}': (width, width, 3) for i in range(2)}
        before, number = width, number + 2
    for name, (out, in_, kernel) in units.items():
        keys[f'{name}.0{container}.0.weight'] = [out, in_, kernel, kernel]
        keys |= _norm_keys(f'{name}.0{container}.1', out) | {f'{name}.1.w': []}
    return keys | {'out.weight': [classes, before], 'out.bias': [classes]}


# Names of the neurons of forms without a golden case
NEURONS = {'sew-resnet-50_in1k': sew_resnet_50_neurons}


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


# Some neurons of forms without a golden case, by family
SOME_NEURONS = {
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
    'spikingresformer': {
        'spikingresformer-ti_in1k': (
            'spikingresformer-ti_in1k.keys.json',
            _model_of_config('spikingresformer/spikingresformer-ti_8xb32_in1k.py'),
            'spikingresformer-ti_in1k_t4_64px_b1',
        ),
        'spikingresformer-gesture_dvs128': (
            spikingresformer_gesture_keys,
            _model_of_config('spikingresformer/spikingresformer-gesture-t16_1xb8_dvs128.py'),
            None,
        ),
    },
    'sew_resnet': {
        'sew-resnet-34_in1k': (
            'sew-resnet34-add_in1k.keys.json',
            _model_of_config('sew_resnet/sew-resnet-34_8xb32_in1k.py'),
            'sew-resnet34-add_in1k_t4_64px_b1',
        ),
        'sew-resnet-18_in1k': (
            sew_resnet_18_keys,
            _model_of_config('sew_resnet/sew-resnet-18-iand_8xb32_in1k.py'),
            None,
        ),
    },
    'sew_resnet_bottleneck': {
        'sew-resnet-50_in1k': (
            sew_resnet_50_keys,
            _model_of_config('sew_resnet/sew-resnet-50_8xb32_in1k.py'),
            None,
        ),
    },
    'sew_resnet_events': {
        'sew-resnet-7b_dvs128': (
            partial(sew_resnet_events_keys, [32] * 7, '', 11),
            _model_of_config('sew_resnet/sew-resnet-7b-t16_1xb16_dvs128.py'),
            None,
        ),
        'sew-resnet-wide-7b_cifar10dvs': (
            partial(sew_resnet_events_keys, [64] * 4 + [128] * 3, '.module', 10),
            _model_of_config('sew_resnet/sew-resnet-wide-7b-t16_1xb16_cifar10dvs.py'),
            None,
        ),
    },
    'ms_resnet': {
        'ms-resnet-18_in1k': (
            'ms-resnet18_in1k.keys.json',
            _model_of_config('ms_resnet/ms-resnet-18-t6_8xb32_in1k.py'),
            'ms-resnet18_in1k_t6_64px_b1',
        ),
        'ms-resnet-104_in1k': (
            ms_resnet_104_keys,
            _model_of_config('ms_resnet/ms-resnet-104-t5_8xb32_in1k.py'),
            None,
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
    'e_spikeformer': {
        'e-spikeformer-5.1m_in1k': (
            'e-spikeformer-5.1m_in1k.keys.json',
            _model_of_config('e_spikeformer/e-spikeformer-5.1m_8xb256_in1k.py'),
            'e-spikeformer-5.1m_in1k_64px_b1',
        ),
    },
    'qsd': {
        'qsd-s-15m_in1k': (
            'qsd-s-15m_in1k.keys.json',
            _model_of_config('qsd/qsd-s_8xb196_in1k.py'),
            'qsd-s-15m_in1k_t1_64px_b1',
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


def neurons_of(family, form):
    """Released names of the neurons, where they are known."""
    case = RELEASES[family][form][2]
    return golden.load_case(case)['firing_rates'] if case else NEURONS.get(form, list)()


def parameters_of(keys):
    """Number of parameters of a released state dict."""
    buffers = re.compile(
        r'running_mean$|running_var$|num_batches_tracked$|firing_rate_\w+$|init_state$|signed$'
        r'|mask_mat$|relative_position_index$'
    )
    return sum(math.prod(shape) for name, shape in keys.items() if not buffers.search(name))


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
