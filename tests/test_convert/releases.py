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
from released_names import (
    NEURONS,
    cml_spikformer_cifar_keys,
    max_former_cifar_keys,
    max_former_events_keys,
    meta_spikeformer_distilled_keys,
    ms_resnet_104_keys,
    sew_resnet_18_keys,
    sew_resnet_50_keys,
    sew_resnet_events_keys,
    spikformer_events_keys,
    spikingformer_events_keys,
    spikingresformer_gesture_keys,
)

from mmqkformer.convert import FAMILIES

ROOT = Path(__file__).parents[2]
CONVERTER = ROOT / 'tools' / 'model_converters' / 'released_to_mm.py'


def _model_of_config(path):
    return lambda: Config.fromfile(ROOT / 'configs' / path).model


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
