"""A run stops in the iteration that stops being finite, says where, and saves nothing of it."""

import uuid

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from processes import run_two_processes
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset

from mmqkformer.engine import NonFiniteLossError, NonFiniteLossHook, OptimStepEMAHook

FIRST = 'backbone.stages.0.embed.convs.0.conv'
INNER = 'backbone.stages.0.blocks.0.mlp.fc1.conv'
BACKBONE = dict(
    type='QKFormer',
    arch=dict(
        embed_dims=[8, 16],
        depths=[1, 1],
        num_heads=[2, 2],
        mlp_ratios=[1, 1],
        attentions=['QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(channels=[4, 8], pools=[False, True], shortcut_from=1),
        pool='last',
    ),
    time_steps=2,
    # Every layer fires from the start, so that gradients reach the first
    neuron=dict(type='LIFNeuron', v_threshold=0.3),
)


class Images(Dataset):
    """Twenty images with a name; one pixel of those in ``bad`` is not a number."""

    metainfo = {'classes': ('a', 'b')}  # noqa: RUF012

    def __init__(self, bad=(), pixel=float('nan')):
        self.images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        for index in bad:
            self.images[index, 0, 3, 4] = pixel

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        meta = dict(sample_idx=index, img_path=f'{index}.png')
        sample = DataSample(metainfo=meta).set_gt_label(index % 2)
        return dict(inputs=self.images[index], data_samples=sample)


def runner(folder, *, dataset=None, hooks=(), wrapper=None, backbone=None, average=True, **kwargs):
    """A run of 10 iterations of 2 images; checkpoints behind every fourth."""
    torch.manual_seed(0)
    ema = [dict(type='OptimStepEMAHook', momentum=0.1)] if average else []
    return Runner(
        model=dict(
            type='ImageClassifier',
            backbone={**BACKBONE, **(backbone or {})},
            head=dict(type='SpikingClsHead', num_classes=2, in_channels=16),
        ),
        default_scope='mmpretrain',
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=dataset or Images(),
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=1),
        optim_wrapper={'optimizer': dict(type='AdamW', lr=1e-3), **(wrapper or {})},
        default_hooks=dict(
            checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=4),
            plain_checkpoint=dict(type='PlainCheckpointHook'),
            iteration_seed=dict(type='IterationSeedHook'),
            non_finite_loss=dict(type='NonFiniteLossHook'),
        ),
        custom_hooks=[*ema, *hooks],
        experiment_name=f'non-finite-{uuid.uuid4().hex}',
        **kwargs,
    )


def message_of(run):
    """The message of a run that has to stop; its last checkpoint has to be a good one."""
    with pytest.raises(NonFiniteLossError) as raised:
        run.train()
    return str(raised.value)


class Spoil(Hook):
    """Makes the gradient at the output of a layer not a number, in one iteration."""

    def __init__(self, iteration, value=float('nan'), layer=INNER):
        self.iteration, self.value, self.layer = iteration, value, layer

    def before_train(self, runner):
        def spoil(module, args, output):
            if runner.iter == self.iteration and output.requires_grad:
                output.register_hook(lambda gradient: gradient * self.value)

        runner.model.get_submodule(self.layer).register_forward_hook(spoil)


@pytest.mark.parametrize('pixel', [float('nan'), float('inf')])
def test_an_image_that_is_not_finite(tmp_path, pixel):
    run = runner(tmp_path, dataset=Images(bad=(11,), pixel=pixel))
    message = message_of(run)
    assert message.startswith('iteration 6 (epoch 1): weights: ')
    assert 'loss' not in message
    assert f'running statistics: 2 of 34, {FIRST[:-4]}norm.running_mean to ' in message
    assert '; inputs: sample_idx=11 img_path=11.png; the run stops and its last check' in message
    assert message.endswith(
        f'The batch replayed: the first output that is not finite is that of {FIRST}, whose '
        'weights are not finite either, for every sample'
    )
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    average = next(hook for hook in run.hooks if isinstance(hook, OptimStepEMAHook)).ema_model
    for state in (saved['state_dict'], saved['ema_state_dict'], average.state_dict()):
        assert all(value.isfinite().all() for value in state.values())


def test_an_image_that_reaches_no_weight(tmp_path):
    """A frozen stem passes it on as silence: nothing behind it can tell."""
    run = runner(tmp_path, dataset=Images(bad=(11,)), backbone=dict(frozen_stages=1))
    assert message_of(run) == (
        'iteration 6 (epoch 1): inputs: sample_idx=11 img_path=11.png; the run stops and its last '
        f'checkpoint stays in {tmp_path}. The batch replayed: the first output that is not finite '
        f'is that of {FIRST}, for sample_idx=11 img_path=11.png'
    )


def test_an_image_that_overflows_in_float16(tmp_path):
    """The scaler skips the step, but the running statistics are spoilt."""
    wrapper = dict(type='CPUAmpOptimWrapper', dtype='float16')
    message = message_of(runner(tmp_path, dataset=Images(bad=(10,), pixel=1e6), wrapper=wrapper))
    assert message.startswith('iteration 6 (epoch 1): running statistics: 2 of 34, ')
    assert message.endswith(
        f'the first output that is not finite is that of {FIRST}, for sample_idx=10 img_path=10.png'
    )


def test_a_gradient_that_is_not_a_number(tmp_path):
    """It spoils the weights of its layer and of those in front."""
    message = message_of(runner(tmp_path, hooks=[Spoil(5)]))
    assert message.startswith(
        f'iteration 6 (epoch 1): weights: 21 of 59, {FIRST}.weight to {INNER}'
    )
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']


def test_a_gradient_inside_an_accumulation_group(tmp_path):
    """It is told before it reaches a weight, and the replay goes backwards."""
    run = runner(tmp_path, hooks=[Spoil(4)], wrapper=dict(accumulative_counts=2))
    message = message_of(run)
    assert message.startswith(f'iteration 5 (epoch 1): gradients: 21 of 59, {FIRST}.weight to ')
    assert message.endswith(
        'The batch replayed: the first gradient that is not finite is the one at the output of '
        f'{INNER}'
    )
    assert all(value.isfinite().all() for value in run.model.parameters())


@pytest.mark.parametrize('counts', [1, 2])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_step_that_the_scaler_skips(tmp_path, counts, value):
    wrapper = dict(type='CPUAmpOptimWrapper', dtype='float16', accumulative_counts=counts)
    run = runner(tmp_path, hooks=[Spoil(4, value)], wrapper=wrapper)
    run.train()
    assert run.iter == 10
    assert run.optim_wrapper.loss_scaler.get_scale() == 2.0**15


def test_a_gradient_in_bfloat16_which_has_no_scaler(tmp_path):
    wrapper = dict(type='CPUAmpOptimWrapper', dtype='bfloat16')
    message = message_of(runner(tmp_path, hooks=[Spoil(5)], wrapper=wrapper))
    assert message.startswith(
        f'iteration 6 (epoch 1): weights: 21 of 59, {FIRST}.weight to {INNER}'
    )


@pytest.mark.parametrize(
    ('layer', 'backbone', 'spoilt'),
    [
        (INNER, dict(), f'23 of 59, {FIRST}.weight to {INNER[:-4]}norm.bias; running'),
        (FIRST, dict(frozen_stages=1, norm_eval=True), f'{FIRST}.weight; the run'),
    ],
)
def test_a_weight_that_is_not_a_number(tmp_path, layer, backbone, spoilt):
    class SpoilWeight(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 5:
                runner.model.get_submodule(layer).weight.data[0, 0] = float('nan')

    message = message_of(runner(tmp_path, hooks=[SpoilWeight()], backbone=backbone))
    assert message.startswith(f'iteration 6 (epoch 1): weights: {spoilt}')
    assert f'is that of {FIRST}, whose weights are not finite either, for every' in message


def test_a_cause_that_the_replay_does_not_meet(tmp_path):
    class SpoilOnce(Spoil):
        def before_train(self, runner):
            layer = runner.model.get_submodule(self.layer)

            def spoil(module, args, output):
                if runner.iter == self.iteration:
                    handle.remove()
                    output.register_hook(lambda gradient: gradient * self.value)

            handle = layer.register_forward_hook(spoil)

    message = message_of(
        runner(tmp_path, hooks=[SpoilOnce(4)], wrapper=dict(accumulative_counts=2))
    )
    assert message.endswith('The batch replayed: every output and every gradient is finite')


def test_huge_numbers_are_finite(tmp_path):
    """The norm that is read overflows, which is no reason to stop."""

    class Enlarge(Hook):
        def before_train(self, runner):
            statistics = runner.model.get_submodule(f'{FIRST[:-4]}norm').running_var
            statistics.fill_(3e38)

    run = runner(tmp_path, hooks=[Enlarge()])
    run.train()
    assert run.iter == 10


def test_an_optimizer_state_that_is_not_finite_is_not_saved(tmp_path):
    """The square of a gradient overflows: its weight would never move again."""
    message = message_of(runner(tmp_path, hooks=[Spoil(2, 1e25)]))
    assert message.startswith("iteration 4 (epoch 1): the optimizer's state is not finite")
    assert not list(tmp_path.glob('*.pth'))


class Reads(TorchDispatchMode):
    """Counts what waits for a device: tensors that become numbers of Python."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_check_reads_the_device_once(tmp_path, monkeypatch):
    counts = []
    check = NonFiniteLossHook.after_train_iter

    def counted(self, *args, **kwargs):
        with Reads() as reads:
            check(self, *args, **kwargs)
        counts.append(reads.count)

    monkeypatch.setattr(NonFiniteLossHook, 'after_train_iter', counted)
    runner(tmp_path, wrapper=dict(accumulative_counts=2)).train()
    assert counts == [1] * 10


def one_of_two(rank, folder):
    # Process 1 has the odd images; two a batch
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    run = runner(
        folder,
        dataset=Images(bad=(13,)),
        backbone=dict(frozen_stages=1),
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=wrapper),
        average=False,
    )
    (folder / f'{rank}.txt').write_text(message_of(run))
    assert run.iter == 3


def test_two_processes_stop_together(tmp_path):
    """Only one of them meets it, in an input that reaches neither a gradient nor a weight."""
    run_two_processes(one_of_two, tmp_path)
    main, other = ((tmp_path / f'{rank}.txt').read_text() for rank in (0, 1))
    assert main == other
    assert main == (
        'iteration 4 (epoch 1): process 1: inputs: sample_idx=13 img_path=13.png; the run stops '
        f'and its last checkpoint stays in {tmp_path}. Process 1: The batch replayed: the first '
        f'output that is not finite is that of {FIRST}, for sample_idx=13 img_path=13.png'
    )
