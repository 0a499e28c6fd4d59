"""Rates are logged while a model trains, layers that are silent named, and nothing else changes."""

import copy
import types

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS, OPTIM_WRAPPERS, DefaultScope
from mmengine.runner import IterBasedTrainLoop
from mmpretrain.structures import DataSample
from processes import run_two_processes
from spikingjelly.activation_based.monitor import OutputMonitor
from torch import nn
from torch._dynamo.utils import counters

from mmqkformer.analysis import firing_rates
from mmqkformer.neurons import SpikingNeuron

STAGE = dict(
    embed=dict(type='PEDSStem', channels=[8, 8], pools=[False, True], shortcut_from=1),
    block=[
        dict(type='QKTokenAttention', name='attention', num_heads=2),
        dict(type='SpikingMLP', name='mlp', ratio=2),
    ],
    channels=8,
    depth=2,
)


def network(**kwargs):
    torch.manual_seed(0)
    backbone = dict(type='SpikingBackbone', stages=[STAGE], time_steps=2, drop_path_rate=0.5)
    head = dict(type='SpikingClsHead', num_classes=3, in_channels=8, dropout=0.2)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(type='ImageClassifier', backbone=backbone | kwargs, head=head)
        ).train()


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.randn(4, 3, 8, 8, generator=generator)
    return dict(inputs=images, data_samples=[DataSample().set_gt_label(i % 3) for i in range(4)])


class Run:
    """What the hook sees of a runner, and what it tells it."""

    def __init__(self, model, wrapper=None, train_loop=None):
        self.model = model
        self.optim_wrapper = wrapper or wrapped(model)
        self.iter, self.epoch, self.timestamp = 0, 3, 'now'
        self.train_loop = train_loop
        self.val_loop = types.SimpleNamespace(fp16=False)
        self.rows, self.warnings = [], []
        self.visualizer = types.SimpleNamespace(add_scalars=self.add)
        self.logger = types.SimpleNamespace(warning=self.warnings.append)

    def add(self, scalars, step, file_path):
        assert file_path == 'now.json'
        self.rows.append((step, scalars))


def wrapped(model, **kwargs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    wrapper = OPTIM_WRAPPERS.build(dict(type='OptimWrapper', optimizer=optimizer) | kwargs)
    wrapper.initialize_count_status(model, 0, 6)
    return wrapper


def begun(run, **kwargs):
    hook = HOOKS.build(dict(type='FiringRateHook', **kwargs))
    hook.before_train(run)
    return hook


def train(run, hook, iterations=6):
    """As the runner's loop does; logs of the iterations."""
    torch.manual_seed(1)
    logs = []
    for i in range(iterations):
        run.iter, data = i, batch(i)
        hook.before_train_iter(run, i, data)
        outputs = run.model.train_step(data, run.optim_wrapper)
        hook.after_train_iter(run, i, data, outputs)
        logs.append({name: float(value) for name, value in outputs.items()})
    return logs


def validate(run, hook, i):
    run.model.eval().val_step(batch(i))
    hook.after_val_iter(run, i, batch(i))
    run.model.train()


def measure(run, hook):
    """An iteration that changes no weight."""
    hook.before_train_iter(run, 0)
    run.model.data_preprocessor(batch(), True)
    hook.after_train_iter(run, 0)


VARIANTS = {
    'plain': {},
    'checkpointed': dict(with_cp=True),
    'packed': dict(memory='packed'),
    'recomputed': dict(memory='recompute', with_cp=True),
    'accumulated': dict(wrapper=dict(accumulative_counts=2)),
    'mixed': dict(wrapper=dict(type='CPUAmpOptimWrapper')),
    'membrane': dict(residual='membrane', out='rates', norm_eval=True),
}


@pytest.mark.parametrize('variant', [*VARIANTS, pytest.param('compiled', marks=pytest.mark.slow)])
def test_a_training_is_the_same_to_the_last_bit(variant):
    kwargs = dict(VARIANTS.get(variant, {}))
    wrapper = kwargs.pop('wrapper', {})
    runs, logs, states, graphs = [], [], [], []
    for with_hook in (False, True):
        model = network(**kwargs)
        counters.clear()
        if variant == 'compiled':
            # As mmengine's runner and EagerPreprocessingHook
            torch._dynamo.reset()
            model.train_step = torch.compile(model.train_step, backend='eager')
            preprocessor = model.data_preprocessor
            preprocessor.forward = torch.compiler.disable(preprocessor.forward)
        run = Run(model, wrapped(model, **wrapper))
        hook = begun(run, interval=2) if with_hook else Hook()
        logs.append(train(run, hook))
        states.append([torch.get_rng_state(), *model.state_dict().values()])
        graphs.append(counters['stats']['unique_graphs'])
        runs.append(run)
    assert logs[0] == logs[1]
    assert graphs[0] == graphs[1]
    assert (graphs[0] > 0) == (variant == 'compiled')
    assert all(map(torch.equal, *states))
    moments = [list(run.optim_wrapper.optimizer.state_dict()['state'].values()) for run in runs]
    for plain, hooked in zip(*moments, strict=True):
        assert all(torch.equal(plain[name], hooked[name]) for name in plain)
    assert [step for step, _ in runs[1].rows] == [2, 4, 6]
    neurons = sum(isinstance(module, SpikingNeuron) for module in runs[1].model.modules())
    assert all(len(scalars) == neurons + 1 for _, scalars in runs[1].rows)
    assert all(module.training for module in runs[1].model.head.modules())


def test_what_is_logged_is_what_fires_in_training_behind_the_step():
    run = Run(network())
    hook = begun(run, interval=3)
    train(run, hook, iterations=3)
    # Weights, statistics and random numbers are those that the measurement had
    twin = copy.deepcopy(run.model)
    assert twin.training
    monitor = OutputMonitor(twin, SpikingNeuron, lambda spikes: spikes.double().mean().item())
    with torch.no_grad(), monitor:
        twin(batch(2)['inputs'])
    ((step, scalars),) = run.rows
    assert step == 3
    assert len(scalars) == len(monitor.monitored_layers) + 1
    for name in monitor.monitored_layers:
        assert [scalars[f'train/firing_rate/{name}']] == monitor[name]
    assert 0.02 < scalars['train/firing_rate/network'] < 0.5


def test_half_precision_is_that_of_the_training():
    types_seen = set()
    model = network()
    run = Run(model, wrapped(model, type='CPUAmpOptimWrapper'))
    hook = begun(run, interval=1)
    data = batch()
    hook.before_train_iter(run, 0, data)
    outputs = model.train_step(data, run.optim_wrapper)
    conv = model.backbone.stages[0].blocks[0].mlp.fc1.conv
    conv.register_forward_hook(lambda module, args, output: types_seen.add(output.dtype))
    hook.after_train_iter(run, 0, data, outputs)
    assert types_seen == {torch.bfloat16}


def test_a_validation_measures_its_first_batch_once():
    model = network()
    run = Run(model)
    hook = begun(run, interval=None)
    train(run, hook, iterations=2)
    assert run.rows == []
    hook.before_val_epoch(run)
    # As OptimStepEMAHook does, which validates the averaged weights behind the others
    for i in (0, 1, 0, 1):
        validate(run, hook, i)
    ((step, scalars),) = run.rows
    assert step == 3
    expected = firing_rates(model, [dict(inputs=batch(0)['inputs'])])
    assert scalars['val/firing_rate/network'] == expected.mean
    hook.after_train(run)
    assert not model.data_preprocessor._forward_hooks
    hook.before_val_epoch(run)
    validate(run, hook, 0)
    assert len(run.rows) == 1


def test_the_step_of_a_training_by_iterations_is_one():
    run = Run(network(), train_loop=object.__new__(IterBasedTrainLoop))
    hook = begun(run)
    run.iter = 17
    hook.before_val_epoch(run)
    validate(run, hook, 0)
    assert run.rows[0][0] == 17


def test_dead_and_saturated_layers_are_named_once_until_they_change():
    model = network()
    run = Run(model)
    hook = begun(run, interval=1, dead=0.0, saturated=0.9)
    mlp = model.backbone.stages[0].blocks[0].mlp
    fc1 = 'backbone.stages.0.blocks.0.mlp.fc1.neuron'
    norm = mlp.fc1.norm

    def warnings(shift):
        """Of an iteration behind which the norm in front of a neuron gives ``shift``."""
        nn.init.zeros_(norm.weight)
        nn.init.constant_(norm.bias, shift)
        run.warnings.clear()
        measure(run, hook)
        return [w for w in run.warnings if f'\n  {fc1}' in f'{w}\n']

    assert warnings(0.0)[0].startswith('Firing rates (train, step 1): dead, no spike at all:\n')
    assert warnings(-1.0) == []
    (saturated,) = warnings(9.0)
    assert 'saturated, at least 90% of the most spikes per output' in saturated
    assert run.rows[-1][1][f'train/firing_rate/{fc1}'] == 1
    assert warnings(9.0) == []
    # 1.5 / tau = 0.75, 1.125 and a spike: every second step
    assert warnings(1.5) == []
    assert run.rows[-1][1][f'train/firing_rate/{fc1}'] == 0.5
    assert len(warnings(0.0)) == 1
    # Validations are judged by themselves: the network is another one in eval mode
    for expected in (1, 0):
        run.warnings.clear()
        hook.before_val_epoch(run)
        validate(run, hook, 0)
        assert sum(f'\n  {fc1}' in f'{w}\n' for w in run.warnings) == expected
    assert warnings(0.0) == []


def test_a_batch_of_an_iteration_that_was_broken_off_is_forgotten():
    run = Run(network())
    hook = begun(run, interval=2)
    run.iter = 1
    hook.before_train_iter(run, 1)
    run.model.data_preprocessor(batch(), True)
    run.iter = 0
    hook.before_train_iter(run, 0)
    hook.after_train_iter(run, 0)
    assert run.rows == []


def test_graded_neurons_are_saturated_at_their_most_spikes():
    model = network(neuron=dict(type='MultiSpikeNeuron', levels=4))
    run = Run(model)
    hook = begun(run, interval=1, saturated=0.5)
    norm = model.backbone.stages[0].blocks[0].mlp.fc1.norm
    nn.init.zeros_(norm.weight)
    found = {}
    for shift in (0.25, 0.5):
        nn.init.constant_(norm.bias, shift)
        run.warnings.clear()
        measure(run, hook)
        found[shift] = ''.join(w for w in run.warnings if 'saturated' in w)
    rates = [scalars['train/firing_rate/backbone.stages.0.blocks.0.mlp.fc1.neuron']
             for _, scalars in run.rows]  # fmt: skip
    assert rates == [1.0, 2.0]
    assert ['mlp.fc1.neuron' in text for text in found.values()] == [False, True]


def one_of_two_processes(rank, folder):
    states = []
    for with_hook in (False, True):
        model = MMDistributedDataParallel(network(), device_ids=None, broadcast_buffers=True)
        run = Run(model)
        hook = begun(run, interval=2) if with_hook else Hook()
        logs = train(run, hook, iterations=4)
        states.append((logs, torch.get_rng_state(), list(model.state_dict().values())))
    torch.save((states, [step for step, _ in run.rows]), folder / f'{rank}.pt')


def test_the_first_of_two_processes_measures_and_both_train_as_without(tmp_path):
    run_two_processes(one_of_two_processes, tmp_path)
    for rank, steps in ((0, [2, 4]), (1, [])):
        (plain, hooked), found = torch.load(tmp_path / f'{rank}.pt')
        assert found == steps
        assert plain[0] == hooked[0]
        assert torch.equal(plain[1], hooked[1])
        assert all(map(torch.equal, plain[2], hooked[2]))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(interval=0), r'FiringRateHook\.interval=0: expected an integer of at least 1'),
        (dict(dead=-0.1), r'FiringRateHook\.dead=-0\.1: expected a finite number'),
        (dict(saturated=1.1), r'FiringRateHook\.saturated=1\.1: expected'),
        (dict(dead=0.5, saturated=0.5), r'FiringRateHook\.saturated=0\.5: expected .* > 0\.5'),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='FiringRateHook', **arguments))


def test_a_model_without_neurons_is_refused():
    with pytest.raises(ValueError, match='FiringRateHook: expected a model with spiking neurons'):
        begun(Run(nn.Linear(2, 2), wrapper=object()))
