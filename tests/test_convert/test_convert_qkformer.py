"""QKFormer's release: the golden outputs behind the converter."""

import golden
import pytest
import torch
from releases import (
    build_model,
    check_golden_logits_and_firing_rates,
    check_golden_training_step,
)

from mmqkformer.convert import convert_state_dict
from mmqkformer.neurons import BatchLeakingNeuron

CASES = {
    'hst-10-384_t4_64px_b1': 'hst-10-384_in1k',
    'hst-10-384_t4_224px_b1': 'hst-10-384_in1k',
    'hst-4-384_cifar100_t4_b1': 'hst-4-384_cifar100',
    'hst-4-384_cifar100_t4_b3_leaky': 'hst-4-384_cifar100',
    'hst-2-256_cifar10dvs_t16_b1': 'hst-2-256_cifar10dvs',
}


@pytest.mark.parametrize('name', CASES)
def test_golden_logits_and_firing_rates(name, tmp_path):
    model = check_golden_logits_and_firing_rates('qkformer', CASES[name], name, tmp_path)
    assert any(isinstance(module, BatchLeakingNeuron) for module in model.modules())
    assert sum(p.numel() for p in model.parameters()) == golden.load_case(name)['params']


def test_golden_training_step(tmp_path):
    check_golden_training_step(
        'qkformer', 'hst-4-384_cifar100', 'hst-4-384_cifar100_t4_b1_train', tmp_path
    )


def test_without_the_leak_neighbours_do_not_matter():
    case = golden.load_case('hst-4-384_cifar100_t4_b3_leaky')
    model = build_model('qkformer', 'hst-4-384_cifar100').double()
    model.load_state_dict(convert_state_dict(golden.released_state_dict(case['keys']))[1])
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
