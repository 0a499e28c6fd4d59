"""Early exit: rules by hand, and steps one by one against a run of all of them."""

import math

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from networks import awaken
from torch import nn
from zoo import distinct_architectures

from mmqkformer.analysis import (
    ExitRule,
    StepCosts,
    StepPredictions,
    count_operations,
    exit_early,
    logits_over_time,
    measure_steps,
    predict_over_time,
    recording,
    run_stepwise,
    sweep_thresholds,
)
from mmqkformer.analysis.stepwise import reads_ahead
from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink
from mmqkformer.neurons import BatchLeakingNeuron, SpikingNeuron

READS_AHEAD = 'stsa-2-256'
NAMES = [name for name in distinct_architectures(16) if name != READS_AHEAD]
# One of each family; the others are slow
QUICK = {ARCHITECTURES[name].func: name for name in reversed(NAMES)}.values()


def logits_of(*scores):
    return torch.tensor(scores, dtype=torch.float64).log()


# p of three samples after three steps
SCORES = logits_of(
    [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]],
    [[0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.4, 0.3, 0.3]],
    [[0.1, 0.1, 0.8], [0.05, 0.9, 0.05], [0.4, 0.3, 0.3]],
)


@pytest.mark.parametrize(
    ('rule', 'threshold', 'steps'),
    [
        ('confidence', 0.55, [1, 2, 3]),
        ('confidence', 0.75, [2, 3, 3]),
        ('confidence', 0.0, [1, 1, 1]),
        ('confidence', 1.0, [3, 3, 3]),
        ('margin', 0.25, [1, 2, 3]),
        ('margin', 0.65, [2, 3, 3]),
        # -sum p log p / log 3 of the first sample: 0.8173 and 0.582
        ('entropy', 0.82, [1, 2, 3]),
        ('entropy', 0.816, [2, 2, 3]),
        ('entropy', 1.0, [1, 1, 1]),
        ('entropy', 0.0, [3, 3, 3]),
    ],
)
def test_rules_stop_where_they_say(rule, threshold, steps):
    assert ExitRule(rule, threshold).steps(SCORES).tolist() == steps


def test_the_entropy_is_a_share_of_the_largest():
    p = [0.6, 0.3, 0.1]
    share = -sum(x * math.log(x) for x in p) / math.log(3)
    assert ExitRule('entropy', share + 1e-6).stops(logits_of(p)).item()
    assert not ExitRule('entropy', share - 1e-6).stops(logits_of(p)).item()


def test_a_sweep_counts_what_is_right_and_what_it_takes():
    predictions = StepPredictions(SCORES, torch.tensor([0, 1, 1]))
    costs = StepCosts([90, 190, 290], [10, 10, 10], [1, 2, 3], [1.5, 3.0, 5.0], 1, 'cpu')
    sweep = sweep_thresholds(predictions, 'confidence', [0.0, 0.55, 0.75], costs)
    assert sweep.accuracies == pytest.approx([200 / 3, 100 / 3, 100 / 3])
    first, second, third = sweep.points
    assert (first.exits, first.accuracy) == ([3, 0, 0], pytest.approx(200 / 3))
    assert (first.mean_steps, first.operations, first.milliseconds) == (1.0, 100.0, 1.5)
    assert second.exits == [1, 1, 1]
    assert second.mean_steps == 2.0
    assert second.operations == pytest.approx((100 + 200 + 300) / 3)
    assert second.milliseconds == pytest.approx((1.5 + 3 + 5) / 3)
    # The first sample is right after one step and wrong after two
    assert second.accuracy == pytest.approx(200 / 3)
    assert third.accuracy == pytest.approx(100 / 3)
    assert third.exits == [0, 1, 2]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('confidence', "'confidence': expected RULE=THRESHOLD"),
        ('confidence=x', 'expected RULE=THRESHOLD'),
        ('sure=0.5', "rule='sure': expected 'confidence' or 'margin' or 'entropy'"),
        ('margin=1.5', 'margin=1.5: expected a finite number >= 0 and <= 1'),
        ('margin=nan', 'margin=nan: expected a finite number'),
    ],
)
def test_what_is_no_rule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ExitRule.parse(text)


def classifier(name, time_steps=3, events=True, samples=4, **kwargs):
    """A small network in float64, in which no spike flips, and films or images."""
    torch.manual_seed(0)
    stages = shrink(expand_arch(name), 16)
    channels = 2 if events else 3
    kwargs.update(stages=stages, time_steps=time_steps, in_channels=channels)
    head = dict(type='SpikingClsHead', num_classes=5, in_channels=stages[-1]['channels'])
    backbone = dict(type='SpikingBackbone', **kwargs)
    cfg = dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head)
    model = MODELS.build(cfg).double()
    nn.init.normal_(model.head.fc.weight)
    side = max(16, model.backbone.strides[-1])
    frames = (time_steps,) if events else ()
    inputs = torch.randn(samples, *frames, channels, side, side + 3, dtype=torch.float64)
    awaken(model.backbone, inputs)
    return model, inputs


def check_steps(model, inputs):
    """Steps one by one, and runs of fewer steps, against the run of all."""
    time_steps = model.backbone.time_steps
    logits = logits_over_time(model, inputs)
    with torch.no_grad(), recording(model, SpikingNeuron) as expected:
        torch.testing.assert_close(logits[-1], model(inputs), rtol=0, atol=1e-12)
    for t in range(1, time_steps):
        model.backbone.time_steps = t
        given = inputs[:, :t] if inputs.dim() == 5 else inputs
        with torch.no_grad():
            torch.testing.assert_close(logits[t - 1], model(given), rtol=0, atol=1e-12)
    model.backbone.time_steps = time_steps
    with recording(model, SpikingNeuron) as spikes, run_stepwise(model, inputs) as run:
        for t in range(time_steps):
            torch.testing.assert_close(run.step(), logits[t], rtol=0, atol=1e-12)
    for name, calls in expected.items():
        assert torch.equal(torch.cat(spikes[name]), calls[0]), name
    # It is not the silence of a network that is compared
    assert sum(calls[0].any().item() for calls in expected.values()) > len(expected) / 2


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NAMES],
)
def test_the_steps_of_every_architecture(name):
    model, inputs = classifier(name, samples=2)
    assert not reads_ahead(model)
    check_steps(model, inputs)


def test_a_network_that_reads_ahead_is_refused_and_does():
    """STSA's first step is another where later frames are."""
    model, inputs = classifier(READS_AHEAD, samples=2)
    name = reads_ahead(model)
    with pytest.raises(ValueError, match=f'^{name}: the attention takes the tokens of all steps'):
        exit_early(model, inputs, ExitRule('confidence', 0.5))
    kind = type(model.get_submodule(name))
    neuron = dict(type='LIFNeuron', v_threshold=0.05)
    attention = kind(8, 2, neuron, dict(type='BN'), scale=1.0).double().eval()
    spikes = torch.randint(0, 2, (3, 1, 8, 2, 2)).double()
    others = torch.cat([spikes[:1], 1 - spikes[1:]])
    with torch.no_grad():
        assert not torch.equal(attention(spikes)[0], attention(others)[0])
    # Accuracies over T come from a run for each
    logits = logits_over_time(model, inputs)
    for t in range(1, 4):
        model.backbone.time_steps = t
        assert torch.equal(logits[t - 1], model(inputs[:, :t]).detach())


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(events=False),
        dict(events=False, out='spikes'),
        dict(events=False, residual='membrane'),
        dict(neuron=dict(type='PLIFNeuron')),
        dict(neuron=dict(type='IFNeuron', v_reset=None)),
        dict(neuron=dict(type='ILIFNeuron', levels=3, decay=0.25)),
        dict(neuron=dict(type='LIFNeuron', decay_input=False, backend='spikingjelly')),
    ],
)
def test_the_steps_of_images_and_neurons(kwargs):
    check_steps(*classifier('hst-2-256', **kwargs))


def test_a_sample_that_is_sure_goes_no_further():
    """What each sample is given is what it is after the steps that it ran, whoever is beside it."""
    model, inputs = classifier('hst-2-256', time_steps=4)
    logits = logits_over_time(model, inputs)
    confidences = logits.softmax(-1).amax(-1)
    rule = ExitRule('confidence', confidences[1].sort().values[1].item() + 1e-6)
    seen = []
    hook = model.backbone.register_forward_pre_hook(lambda m, args: seen.append(len(args[0])))
    given, steps = exit_early(model, inputs, rule)
    hook.remove()
    assert torch.equal(steps, rule.steps(logits))
    assert len(set(steps.tolist())) > 1
    expected = logits[steps - 1, torch.arange(len(inputs))]
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-12)
    assert seen == [int((steps > t).sum()) for t in range(steps.max())]
    # The model is as it was
    assert (model.backbone.time_steps, model.backbone.out) == (4, 'rates')
    assert torch.equal(logits_over_time(model, inputs), logits)


def test_predictions_are_those_of_the_labelled_samples():
    model, inputs = classifier('hst-2-256')
    labels = [0, 3, 1, 4]
    samples = [DataSample().set_gt_label(label) for label in labels]
    halves = [slice(0, 1), slice(1, 4)]
    batches = [dict(inputs=inputs[half], data_samples=samples[half]) for half in halves]
    predictions = predict_over_time(model, batches)
    assert predictions.labels.tolist() == labels
    expected = logits_over_time(model, inputs)
    torch.testing.assert_close(predictions.logits, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match='batches: expected at least one'):
        predict_over_time(model, [])


def test_costs_are_counted_and_measured():
    model, images = classifier('hst-2-256', events=False)
    model = model.float()
    costs = measure_steps(model, images[:1].float(), ExitRule('margin', 0.5), repeats=1)
    model.backbone.time_steps = 2
    counts = count_operations(model, images[0].shape)
    assert costs.accumulates[1] == sum(counts.accumulates.values())
    assert costs.multiply_accumulates[1] == sum(counts.multiply_accumulates.values())
    # All but the first layers are computed in every step
    one, two, three = costs.accumulates
    assert three - two == two - one == one
    assert len(set(costs.multiply_accumulates)) == 1
    assert all(ms > 0 for ms in costs.whole)
    assert costs.stepwise == sorted(costs.stepwise)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: setattr(m.backbone, 'time_steps', 1), 'time_steps=1: expected more than one'),
        (lambda m: setattr(m, 'head', nn.Identity()), 'head=Identity: expected a SpikingClsHead'),
        (lambda m: setattr(m, 'neck', nn.Identity()), 'neck=Identity: expected none'),
        (
            lambda m: setattr(m, 'extra', BatchLeakingNeuron()),
            'extra: its membrane runs from sample to sample',
        ),
    ],
)
def test_what_does_not_run_step_by_step_is_refused(change, message):
    model, inputs = classifier('hst-2-256')
    change(model)
    with pytest.raises(ValueError, match=message):
        exit_early(model, inputs, ExitRule('confidence', 0.5))
