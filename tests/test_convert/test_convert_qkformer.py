"""QKFormer's release: the golden outputs behind the converter."""

import golden
import pytest
import torch
from releases import RELEASES, build_model, check_golden_logits_and_firing_rates, converted_model

from mmqkformer.convert import FAMILIES, convert_state_dict

CASES = {
    'hst-10-384_t4_64px_b1': 'hst-10-384_in1k',
    'hst-10-384_t4_224px_b1': 'hst-10-384_in1k',
    'hst-4-384_cifar100_t4_b1': 'hst-4-384_cifar100',
    'hst-4-384_cifar100_t4_b3_leaky': 'hst-4-384_cifar100',
    'hst-2-256_cifar10dvs_t16_b1': 'hst-2-256_cifar10dvs',
}
rename = FAMILIES['qkformer'].rename


@pytest.mark.parametrize('name', CASES)
def test_golden_logits_and_firing_rates(name, tmp_path):
    model = check_golden_logits_and_firing_rates('qkformer', CASES[name], name, tmp_path)
    assert RELEASES['qkformer'][CASES[name]][1]().backbone.release_batch_leak
    assert sum(p.numel() for p in model.parameters()) == golden.load_case(name)['params']


def test_golden_training_step(tmp_path):
    case = golden.load_case('hst-4-384_cifar100_t4_b1_train')
    model = converted_model('qkformer', 'hst-4-384_cifar100', case, tmp_path)
    model.train()
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


def test_without_the_leak_neighbours_do_not_matter():
    case = golden.load_case('hst-4-384_cifar100_t4_b3_leaky')
    model = build_model('qkformer', 'hst-4-384_cifar100').double()
    model.load_state_dict(convert_state_dict(golden.released_state_dict(case['keys']))[1])
    for block in model.backbone.stages[2].blocks:
        assert block.leaks
        block.leaks = False
    model.eval()
    images = golden.case_input(case)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    assert (together - case['logits']).abs().max() > 1e-3
