"""Spikes have a price: the term, its gradient, and whatever it is trained with."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmpretrain.structures import DataSample

from mmqkformer.neurons import SpikingNeuron


class Run:
    """What the hook sees of a runner."""

    def __init__(self, model):
        self.model = model


def network(neuron='LIFNeuron', **kwargs):
    torch.manual_seed(0)
    stem = dict(type='PEDSStem', channels=[8, 8], pools=[False, True], shortcut_from=1)
    block = [
        dict(type='QKTokenAttention', name='attention', num_heads=2),
        dict(type='SpikingMLP', name='mlp', ratio=2),
    ]
    stage = dict(embed=stem, block=block, channels=8, depth=1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(
                    type='SpikingBackbone',
                    stages=[stage],
                    time_steps=2,
                    neuron=dict(type=neuron),
                    **kwargs,
                ),
                head=dict(type='SpikingClsHead', num_classes=3, in_channels=8),
            )
        )


def batch():
    generator = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(4, 3, 8, 8, generator=generator)
    return dict(inputs=images, data_samples=[DataSample().set_gt_label(i % 3) for i in range(4)])


def penalised(model, **kwargs):
    hook = HOOKS.build(dict(type='FiringRatePenaltyHook', **kwargs))
    hook.before_train(Run(model))
    return hook


def gradients(model):
    loss, logs = model.parse_losses(model(**batch(), mode='loss'))
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}, logs


def rate_by_hand(model):
    """With its graph."""
    counts, outputs = [], 0
    handles = []
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            handles.append(
                module.register_forward_hook(
                    lambda m, args, spikes: counts.append((spikes / m.unit).flatten())
                )
            )
    losses = model(**batch(), mode='loss')
    for handle in handles:
        handle.remove()
    outputs = torch.cat(counts)
    return losses['loss'], outputs.mean(), len(counts)


@pytest.mark.parametrize('neuron', ['LIFNeuron', 'MultiSpikeNeuron'])
@pytest.mark.parametrize('target', [0.0, 0.01])
def test_the_loss_has_the_price_of_the_rate(neuron, target):
    expected = network(neuron).train()
    loss, rate, calls = rate_by_hand(expected)
    assert calls == 9
    assert rate > 0.02
    (loss + 3.0 * (rate - target)).backward()
    model = network(neuron).train()
    hook = penalised(model, weight=3.0, target=target)
    found, logs = gradients(model)
    assert logs['loss_firing_rate'].item() == pytest.approx(3.0 * (rate.item() - target), rel=1e-6)
    assert logs['firing_rate'].item() == pytest.approx(rate.item(), rel=1e-6)
    # What is logged as the loss stays that of the classes: the price has a name of its own
    assert logs['loss'].item() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)
    hook.after_train(None)
    assert 'loss_firing_rate' not in model.parse_losses(model(**batch(), mode='loss'))[1]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_rate_below_the_target_costs_nothing():
    expected, _ = gradients(network().train())
    model = network().train()
    penalised(model, weight=5.0, target=0.9)
    found, logs = gradients(model)
    assert logs['loss_firing_rate'] == 0
    assert all(torch.equal(found[name], grad) for name, grad in expected.items())


def test_checkpointed_stages_count_once():
    results = []
    for with_cp in (False, True):
        model = network(with_cp=with_cp).train()
        penalised(model, weight=3.0)
        results.append([gradients(model) for _ in range(2)])
    for (plain, logs), (recomputed, logs_cp) in zip(*results):
        assert logs['firing_rate'] == logs_cp['firing_rate']
        assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_compiled_it_is_the_same():
    model = network().train()
    penalised(model, weight=3.0)
    plain, _ = gradients(model)
    model.zero_grad()
    loss = torch.compile(
        lambda data: model.parse_losses(model(**data, mode='loss'))[0], backend='eager'
    )(batch())
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name], rtol=0, atol=1e-6)


def test_training_with_it_lowers_the_rate():
    rates = {}
    for weight in (1e-6, 20.0):
        model = network().train()
        penalised(model, weight=weight)
        wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
        data = batch()
        for _ in range(20):
            logs = model.train_step(data, wrapper)
        rates[weight] = logs['firing_rate'].item()
    assert rates[20.0] < 0.7 * rates[1e-6]


def test_predictions_leave_nothing_behind():
    model = network().eval()
    hook = penalised(model, weight=1.0)
    with torch.no_grad():
        model(**batch(), mode='predict')
        model(batch()['inputs'])
    assert hook._calls is None


def test_a_model_without_neurons_is_refused():
    with pytest.raises(ValueError, match='with spiking neurons, not Linear'):
        penalised(torch.nn.Linear(2, 2), weight=1.0)
