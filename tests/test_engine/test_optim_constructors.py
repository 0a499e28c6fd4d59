"""Parameter groups by options and by stage, and states of runs with a group of each parameter."""

import logging
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import nn

import mmqkformer  # noqa: F401
from mmqkformer.engine.launch import adapt_to_cpu

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


def build(network, constructor, optimizer=None, **paramwise):
    cfg = dict(
        optimizer=dict(dict(type='AdamW', lr=0.1, weight_decay=0.05), **optimizer or {}),
        constructor=f'{constructor}OptimWrapperConstructor',
        paramwise_cfg=paramwise,
    )
    return build_optim_wrapper(network, cfg)


def groups(network, constructor='Stage', **paramwise):
    return build(network, constructor, **paramwise).optimizer.param_groups


@pytest.fixture
def logged():
    """Messages of mmengine's logger."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


# The recipes' options, and more
OPTIONS = dict(
    norm_decay_mult=0.0,
    bias_decay_mult=0.0,
    flat_decay_mult=0.0,
    bias_lr_mult=2.0,
    custom_keys={'stages.0': dict(lr_mult=0.1), 'neuron.w': dict(decay_mult=0.0)},
)


def test_every_parameter_keeps_its_options_in_few_groups():
    network = model(neuron=dict(type='PLIFNeuron'), frozen_stages=0)
    stock, merged = (groups(network, name, **OPTIONS) for name in ('Default', 'Merged'))
    options = {p: {**group, 'params': None} for group in stock for p in group['params']}
    assert len(stock) == len(options) > 30
    assert len(merged) == 5
    assert sum(len(group['params']) for group in merged) == len(options)
    for group in merged:
        for parameter in group['params']:
            assert options.pop(parameter) == {**group, 'params': None}
    assert not options


def test_groups_are_logged_instead_of_parameters(logged):
    network = model(frozen_stages=0)
    stock = groups(network, 'Default', norm_decay_mult=0.0)
    assert sum('paramwise_options' in line for line in logged) > 10
    frozen = sum('is skipped since' in line for line in logged)
    logged.clear()
    merged = groups(network, 'Merged', norm_decay_mult=0.0)
    decayed = sum(group['weight_decay'] > 0 for group in stock)
    assert [line for line in logged if 'tensors' in line or 'paramwise_options' in line] == [
        f'parameter group: {decayed} tensors',
        f'parameter group: {len(stock) - decayed} tensors, weight_decay=0.0',
        f'in no group: {frozen} tensors with requires_grad=False',
    ]
    assert [len(group['params']) for group in merged] == [decayed, len(stock) - decayed]


def test_a_shared_parameter_is_named():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    with pytest.raises(ValueError, match=r'expected optim_wrapper.paramwise_cfg.bypass_duplicate'):
        groups(network, 'Merged', bias_decay_mult=0.0)
    merged = groups(network, 'Merged', bias_decay_mult=0.0, bypass_duplicate=True)
    assert [len(group['params']) for group in merged] == [1, 2]


@pytest.mark.parametrize('foreach', [True, False])
def test_merged_groups_train_bit_for_bit_as_mmengines(foreach):
    """Together or one after the other, on the CPU every weight is the same."""

    def trained(constructor, foreach):
        torch.manual_seed(0)
        network = model()
        wrapper = build(network, constructor, dict(foreach=foreach), norm_decay_mult=0.0)
        for _ in range(5):
            wrapper.update_params(network(torch.rand(2, 3, 16, 16)).square().sum())
        return network.state_dict()

    expected = trained('Default', foreach=False)
    torch.testing.assert_close(trained('Merged', foreach), expected, rtol=0, atol=0)


ROOT = Path(__file__).parents[2]
SCHEDULERS = {
    'ours': dict(type='WarmupCosineLR', warmup_epochs=1, max_epochs=4, convert_to_iter_based=True),
    'stock': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=8),
        dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True),
    ],
}


class Stop(Hook):
    """Ends a run when the checkpoint of an epoch is written."""

    priority = 'LOWEST'

    def __init__(self, epoch):
        self.epoch = epoch

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def run(folder, epochs, constructor, scheduler, resume=False):
    """Trains a tiny network on digits, 4 epochs at most; returns the last checkpoint."""
    cfg = Config.fromfile(ROOT / 'configs' / 'qkformer' / 'hst-3-128_1xb64_digits.py')
    cfg.merge_from_dict(
        {
            'model.backbone.time_steps': 1,
            'train_dataloader.batch_size': 8,
            'train_dataloader.sampler.multiple_of': 16,
            'train_dataloader.dataset.indices': 64,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.collate_fn': dict(type='default_collate'),
            'train_cfg.max_epochs': 4,
            'optim_wrapper.type': 'CPUAmpOptimWrapper',
            'optim_wrapper.dtype': 'float16',
            'optim_wrapper.accumulative_counts': 2,
            'optim_wrapper.constructor': f'{constructor}OptimWrapperConstructor',
            # Rates that differ from group to group, which a mix-up would swap
            'optim_wrapper.paramwise_cfg.custom_keys': {'stages.1': dict(lr_mult=0.1)},
        }
    )
    cfg.model.backbone.arch = deepcopy(ARCH)
    cfg.model.head.in_channels = 16
    cfg.param_scheduler = SCHEDULERS[scheduler]
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    cfg.default_hooks.checkpoint.save_best = None
    cfg.default_hooks.logger.interval = 1
    for key in ('val', 'test'):
        cfg[f'{key}_dataloader'] = cfg[f'{key}_cfg'] = cfg[f'{key}_evaluator'] = None
    cfg.update(work_dir=str(folder), resume=resume, visualizer=None)
    cfg.experiment_name = f'{folder.parent.name}-{folder.name}-{constructor}-{epochs}'
    adapt_to_cpu(cfg)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Stop(epochs))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    return torch.load(folder / f'epoch_{epochs}.pth', weights_only=True)


def by_position(checkpoint):
    """State and options of every parameter, in the order of the groups."""
    optimizer = checkpoint['optimizer']
    return [
        (optimizer['state'][i], {**group, 'params': None})
        for group in optimizer['param_groups']
        for i in group['params']
    ]


@pytest.mark.parametrize('scheduler', SCHEDULERS)
def test_a_run_of_single_groups_goes_on_merged_bit_for_bit(tmp_path, scheduler):
    unbroken = run(tmp_path / 'unbroken', 4, 'Default', scheduler)
    run(tmp_path / 'broken', 2, 'Default', scheduler)
    merged = run(tmp_path / 'broken', 3, 'Merged', scheduler, resume=True)
    resumed = run(tmp_path / 'broken', 4, 'Merged', scheduler, resume=True)
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(resumed[part], unbroken[part], rtol=0, atol=0)
    assert len(unbroken['optimizer']['param_groups']) > 30
    assert [len(part['optimizer']['param_groups']) for part in (merged, resumed)] == [3, 3]
    # With mmengine's record of the rate before any factor
    assert len(resumed['param_schedulers'][-1]['base_values']) == 4
    rest = by_position(unbroken)
    for state, options in by_position(resumed):
        (i,) = [
            i
            for i, (other, other_options) in enumerate(rest)
            if options == other_options
            and other['exp_avg'].shape == state['exp_avg'].shape
            and torch.equal(other['exp_avg'], state['exp_avg'])
            and torch.equal(other['exp_avg_sq'], state['exp_avg_sq'])
        ][:1]
        rest.pop(i)
    assert not rest
    for key in ('train/lr', 'train/base_lr', 'train/loss'):
        logs = [part['message_hub']['log_scalars'][key] for part in (unbroken, resumed)]
        assert torch.equal(*(log['history_buffer']['log'] for log in logs)), key


def test_states_that_cannot_be_merged_are_named():
    network = model()
    wrapper = build(network, 'Merged', norm_decay_mult=0.0)
    other = build(network, 'Default', norm_decay_mult=0.5).state_dict()
    merged = wrapper.state_dict()
    wrapper.load_state_dict(other)  # as PyTorch does, a state brings its options
    assert [group['weight_decay'] for group in wrapper.optimizer.param_groups] == [0.05, 0.025]
    other = build(network, 'Default', norm_decay_mult=0.0, bias_lr_mult=3.0).state_dict()
    with pytest.raises(ValueError, match=r'optimizer state: lr=0\.\d+ and 0\.1 for parameters of'):
        wrapper.load_state_dict(other)
    merged['param_groups'] = merged['param_groups'][:1]
    with pytest.raises(ValueError, match=r'optimizer state: groups of \[\d+\] parameters'):
        wrapper.load_state_dict(merged)


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
