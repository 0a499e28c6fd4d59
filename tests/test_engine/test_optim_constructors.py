"""Parameter groups by stage."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import MODELS
from torch import nn

import mmqkformer  # noqa: F401

ARCH = dict(
    embed_dims=[8, 16],
    depths=[1, 1],
    num_heads=[2, 2],
    mlp_ratios=[1, 1],
    attentions=['QKTokenAttention', 'SpikingSelfAttention'],
    stem=dict(channels=[4, 8], pools=[False, True], shortcut_from=1),
    pool='last',
)


def model(**backbone):
    backbone = dict(type='QKFormer', arch=ARCH, **backbone)
    head = dict(type='SpikingClsHead', num_classes=2, in_channels=16)
    return MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=head))


def groups(network, **paramwise):
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        constructor='StageOptimWrapperConstructor',
        paramwise_cfg=paramwise,
    )
    return build_optim_wrapper(network, cfg).optimizer.param_groups


def test_rates_fall_from_stage_to_stage():
    network = model()
    found = {}
    for group in groups(network, stage_lr_decay=0.5, norm_decay_mult=0.0):
        for parameter in group['params']:
            assert parameter not in found
            found[parameter] = group
    rates = {'backbone.stages.0': 0.025, 'backbone.stages.1': 0.05, 'head': 0.1}
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    of_norms = {p for norm in norms for p in norm.parameters()}
    assert of_norms
    for name, parameter in network.named_parameters():
        (rate,) = [rate for prefix, rate in rates.items() if name.startswith(prefix)]
        assert found[parameter]['lr'] == rate, name
        assert found[parameter]['weight_decay'] == (0.0 if parameter in of_norms else 0.05), name


def test_groups_are_few_and_named():
    names = [group['name'] for group in groups(model(), norm_decay_mult=0.0)]
    assert sorted(names) == [
        *['backbone.stages.0'] * 2,
        *['backbone.stages.1'] * 2,
        'others',
    ]
    assert [group['name'] for group in groups(model())] == [
        'backbone.stages.0',
        'backbone.stages.1',
        'others',
    ]


def test_one_rate_trains_as_mmengines_constructor():
    def trained(constructor):
        torch.manual_seed(0)
        network = model()
        cfg = dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
            constructor=constructor,
            paramwise_cfg=dict(norm_decay_mult=0.0),
        )
        wrapper = build_optim_wrapper(network, cfg)
        for _ in range(2):
            wrapper.update_params(network(torch.ones(2, 3, 16, 16)).square().sum())
        return network.state_dict()

    torch.testing.assert_close(
        trained('StageOptimWrapperConstructor'), trained('DefaultOptimWrapperConstructor')
    )


def test_frozen_stages_have_no_group_and_neurons_behind_go_with_the_last():
    found = groups(model(frozen_stages=1))
    assert [group['name'] for group in found] == ['backbone.stages.1', 'others']
    neuron = dict(type='PLIFNeuron')
    network = model(residual='membrane', neuron=neuron)
    (parameter,) = network.backbone.out_neurons.parameters()
    (group,) = [g for g in groups(network) if any(p is parameter for p in g['params'])]
    assert group['name'] == 'backbone.stages.1'


@pytest.mark.parametrize('decay', [0, -0.5, 1.5])
def test_bad_decay_is_named(decay):
    with pytest.raises(ValueError, match=rf'paramwise_cfg.stage_lr_decay={decay}: expected'):
        groups(model(), stage_lr_decay=decay)


def test_models_and_optimizers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'Linear has no backbone\.stages'):
        groups(nn.Linear(2, 2))
    cfg = dict(optimizer=dict(type='AdamW'), constructor='StageOptimWrapperConstructor')
    with pytest.raises(ValueError, match=r'optim_wrapper\.optimizer\.lr is missing'):
        build_optim_wrapper(model(), cfg)
