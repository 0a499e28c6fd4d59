"""Checkpoints of plain data, complete or absent; averages per optimizer step; a stop at NaN."""

import enum
import io
import math
import os
import uuid
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from processes import run_two_processes
from torch import nn
from torch.utils.data import Dataset

import mmqkformer
from mmqkformer.engine import NonFiniteLossError
from mmqkformer.engine.hooks.atomic_checkpoint import AtomicLocalBackend, write_atomically
from mmqkformer.engine.hooks.plain_checkpoint import to_plain


class Numbers(Dataset):
    """Sixteen numbers; those in ``bad`` are not finite."""

    metainfo = {'classes': ('a', 'b'), 'path': Path('somewhere')}  # noqa: RUF012

    def __init__(self, bad=(), size=16):
        self.bad = bad
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float('nan') if index in self.bad else index / 16]))


@MODELS.register_module()
class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        if mode == 'loss':
            error = self.fc(inputs) - 2 * inputs
            return dict(loss_square=error.square().mean(), loss_one=self.fc.bias.sum() * 0 + 1)
        return [self.fc(inputs)]


class Score(Evaluator):
    """Gives the scores that it is told."""

    def __init__(self, scores):
        super().__init__([])
        self.scores = list(scores)

    def process(self, data_samples, data_batch=None):
        pass

    def evaluate(self, size):
        return {'score': self.scores.pop(0)}


def runner(
    tmp_path,
    *,
    dataset=None,
    counts=1,
    hooks=(),
    checkpoint=None,
    epochs=2,
    train_cfg=None,
    **kwargs,
):
    torch.manual_seed(0)
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dataset or Numbers(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        model=dict(type='Line'),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=loader,
        train_cfg=train_cfg or dict(type='ResumableTrainLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=counts),
        default_hooks=dict(
            checkpoint={'type': 'AtomicCheckpointHook', 'interval': 1, **(checkpoint or {})},
            logger=dict(type='LoggerHook', interval=1),
            plain=dict(type='PlainCheckpointHook'),
        ),
        custom_hooks=list(hooks),
        experiment_name=f'hooks-{uuid.uuid4().hex}',
        **kwargs,
    )


def test_checkpoints_are_plain_data_and_resume(tmp_path):
    runner(tmp_path).train()
    content = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)
    losses = content['message_hub']['log_scalars']['train/loss_square']['history_buffer']
    assert losses['log'].shape == (16,)
    assert content['meta']['dataset_meta'] == {'classes': ('a', 'b'), 'path': 'somewhere'}
    resumed = runner(tmp_path, epochs=3, resume=True)
    resumed.train()
    assert resumed.iter == 24
    history = resumed.message_hub.get_scalar('train/loss_square').data[0]
    assert len(history) == 24
    torch.testing.assert_close(torch.as_tensor(history[:16]), losses['log'])


class Colour(enum.IntEnum):
    RED = 3


class Name(str):
    pass


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.float32(1.5), 1.5),
        (np.str_('x'), 'x'),
        (np.array(['a', 'b']), ['a', 'b']),
        (np.array([1, 'a', None], dtype=object), [1, 'a', None]),
        (Colour.RED, 3),
        (Name('q'), 'q'),
        (Path('a'), 'a'),
        (torch.device('cpu'), 'cpu'),
        (np.datetime64('2026-01-01'), '2026-01-01'),
        ({np.int64(3): {1, 2}}, {3: {1, 2}}),
        (OrderedDict(a=(1, None)), OrderedDict(a=(1, None))),
    ],
    ids=repr,
)
def test_python_objects_become_plain_data(value, expected):
    file = io.BytesIO()
    torch.save(to_plain(value, 'value'), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert loaded == expected
    assert type(loaded) is type(expected)


class OnDevice:
    """A tensor that, like one of a GPU, has to be brought home before NumPy sees it."""

    def __init__(self, tensor):
        self.tensor = tensor

    def cpu(self):
        return self.tensor


def test_log_buffers_are_rebuilt_from_a_device():
    """mmengine resumes with all tensors of the file on the device of the run."""
    plain = to_plain(HistoryBuffer([1.0, 2.0], [1, 3]), 'loss')
    history = plain['history_buffer']
    history.update({key: OnDevice(history[key]) for key in ('log', 'count')})
    checkpoint = dict(message_hub=dict(log_scalars=dict(loss=plain)))
    mmqkformer.engine.PlainCheckpointHook().after_load_checkpoint(None, checkpoint)
    rebuilt = checkpoint['message_hub']['log_scalars']['loss']
    assert rebuilt.mean() == 3.0 / 4
    rebuilt.update(3.0)
    assert rebuilt.current() == 3.0


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / 'epoch_1.pth'
    write_atomically(b'old', target)

    def die(descriptor):
        assert target.read_bytes() == b'old'
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', die)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(b'new', target)
    assert target.read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['epoch_1.pth']


def test_a_write_that_dies_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    """Killed while the second checkpoint is written, a run resumes from the first."""
    put = AtomicLocalBackend.put

    def die_at_the_second(self, obj, filepath):
        if 'epoch_2' in str(filepath):
            # What a kill leaves: half a temporary file
            path = Path(filepath)
            path.with_name(f'.{path.name}.1.part').write_bytes(obj[: len(obj) // 2])
            raise KeyboardInterrupt
        put(self, obj, filepath)

    checkpoint = dict(max_keep_ckpts=1)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicLocalBackend, 'put', die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            runner(tmp_path, checkpoint=checkpoint).train()
    torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    resumed = runner(tmp_path, checkpoint=checkpoint, resume=True)
    resumed.train()
    files = {path.name for path in (tmp_path / 'run').glob('*.p*t*')}
    assert files == {'epoch_2.pth'}
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_2.pth')


def test_storage_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"checkpoint\.backend_args=\{'backend': 'petrel'\}"):
        mmqkformer.engine.AtomicCheckpointHook(backend_args=dict(backend='petrel'))


def test_the_best_checkpoint_is_replaced_only_when_complete(tmp_path, monkeypatch):
    seen = []
    put = AtomicLocalBackend.put

    def watch(self, obj, filepath):
        seen.append({path.name for path in (tmp_path / 'run').glob('best_*.pth')})
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicLocalBackend, 'put', watch)
    loader = dict(
        batch_size=8, dataset=Numbers(), sampler=dict(type='DefaultSampler', shuffle=False)
    )
    trained = runner(
        tmp_path,
        epochs=3,
        checkpoint=dict(max_keep_ckpts=1, save_best='score',
                        rule='greater'),
        val_dataloader=dict(loader, num_workers=0, collate_fn=dict(type='default_collate')),
        val_cfg=dict(),
        val_evaluator=Score([0.1, 0.3, 0.2]),
    )  # fmt: skip
    trained.train()
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_3.pth', 'best_score_epoch_2.pth'}
    # From the first best on there was one at every write
    first = next(i for i, best in enumerate(seen) if best)
    assert all(seen[first:])


def test_an_epoch_of_half_a_step_is_refused(tmp_path):
    message = r'len\(train_dataloader\)=8 is not a multiple of optim_wrapper\.accumulative_counts=3'
    with pytest.raises(ValueError, match=message):
        runner(tmp_path, counts=3).train()


def test_an_interval_of_half_a_step_is_refused(tmp_path):
    checkpoint = dict(by_epoch=False, interval=3)
    with pytest.raises(ValueError, match=r'default_hooks\.checkpoint\.interval=3 iterations'):
        runner(tmp_path, counts=2, checkpoint=checkpoint).train()


def test_an_epoch_of_half_a_step_is_refused_with_iteration_intervals_too(tmp_path):
    """The best checkpoint is saved after the epoch's end."""
    with pytest.raises(ValueError, match=r'train_dataloader\.sampler\.multiple_of'):
        runner(tmp_path, counts=3, checkpoint=dict(by_epoch=False, interval=6)).train()


@pytest.mark.parametrize(
    ('checkpoint', 'val_interval', 'message'),
    [
        (dict(save_begin=3), 2, r'checkpoint\.save_begin=3 iterations: expected a multiple of'),
        (dict(save_best='score', rule='greater'), 5, r'train_cfg\.val_interval=5 iterations'),
    ],
)
def test_no_other_key_saves_inside_a_step(tmp_path, checkpoint, val_interval, message):
    loader = dict(
        batch_size=8, num_workers=0, dataset=Numbers(), sampler=dict(type='DefaultSampler')
    )
    run = runner(
        tmp_path,
        counts=2,
        checkpoint=dict(by_epoch=False, interval=2, **checkpoint),
        train_cfg=dict(by_epoch=False, max_iters=10, val_interval=val_interval),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Score([0.1] * 5),
    )
    with pytest.raises(ValueError, match=message):
        run.train()


def test_a_loop_that_repeats_half_an_epoch_is_refused(tmp_path):
    """mmengine's own begins a resumed epoch anew, while the schedule goes on."""
    stock = dict(by_epoch=True, max_epochs=2)
    every_third = dict(by_epoch=False, interval=3)
    message = r"train_cfg\.type='EpochBasedTrainLoop' would repeat an epoch"
    with pytest.raises(ValueError, match=message):
        runner(tmp_path / 'a', checkpoint=every_third, train_cfg=stock).train()
    runner(tmp_path, checkpoint=every_third, epochs=1).train()
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'iter_6.pth'))
    with pytest.raises(ValueError, match=message):
        runner(tmp_path, train_cfg=stock, resume=True).train()
    with pytest.raises(ValueError, match=r'PreemptionHook saves in the middle of epochs'):
        runner(tmp_path / 'b', train_cfg=stock, hooks=[dict(type='PreemptionHook')]).train()


def test_the_best_of_several_metrics_are_kept(tmp_path):
    class Scores(Score):
        def evaluate(self, size):
            first, second = self.scores.pop(0)
            return {'first': first, 'second': second}

    loader = dict(
        batch_size=8,
        num_workers=0,
        dataset=Numbers(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    best = dict(max_keep_ckpts=1, save_best=['first', 'second'], rule='greater')
    scores = Scores([(0.1, 0.3), (0.2, 0.2), (0.1, 0.1)])
    valid = dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=scores)
    runner(tmp_path, epochs=3, checkpoint=best, **valid).train()
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_3.pth', 'best_first_epoch_2.pth', 'best_second_epoch_1.pth'}


def test_average_counts_optimizer_steps(tmp_path):
    trained = runner(tmp_path, counts=4, hooks=[dict(type='OptimStepEMAHook', momentum=0.1)])
    trained.train()
    content = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)
    assert content['ema_state_dict']['steps'] == 4  # 16 micro-steps
    # The average is what is saved to be used; the raw weights are kept for resuming
    assert not torch.equal(
        content['state_dict']['fc.weight'], trained.model.state_dict()['fc.weight']
    )
    assert torch.equal(
        content['ema_state_dict']['module.fc.weight'], trained.model.state_dict()['fc.weight']
    )


def test_average_follows_its_equation(tmp_path):
    weights = []

    class Watch(mmqkformer.engine.OptimStepEMAHook):
        def after_train_iter(self, runner, *args, **kwargs):
            super().after_train_iter(runner, *args, **kwargs)
            if runner.optim_wrapper.should_update():
                weights.append(self.src_model.fc.weight.item())
                self.average = self.ema_model.module.fc.weight.item()

    watch = Watch(momentum=0.1)
    runner(tmp_path, counts=2, hooks=[watch]).train()
    expected = weights[0]
    for weight in weights[1:]:
        expected = 0.9 * expected + 0.1 * weight
    assert watch.average == pytest.approx(expected, rel=1e-5)


def test_a_non_finite_loss_stops_the_run(tmp_path):
    """Sample 13 is in micro-batch 7 of epoch 1 of 16 samples, unseen by the first epoch."""
    run = runner(tmp_path, hooks=[dict(type='NonFiniteLossHook')], epochs=3)

    class Spoil(mmqkformer.engine.PlainCheckpointHook):
        def before_train_epoch(self, runner):
            if runner.epoch == 1:
                runner.train_dataloader.dataset.bad = (13,)

    run.register_hook(Spoil())
    message = (
        r'iteration 15 \(epoch 2\): loss=nan, loss_square=nan; weights: 2 of 2, fc\.weight to '
        r'fc\.bias; inputs: number 1 of the batch; the run stops'
    )
    with pytest.raises(NonFiniteLossError, match=message):
        run.train()
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_1.pth'}
    state = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """A finite loss whose gradients overflow shows one iteration too late for the checkpoint."""
    run = runner(tmp_path, hooks=[dict(type='NonFiniteLossHook')], epochs=2)

    class Spoil(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 15:  # the last, after its loss
                runner.model.fc.weight.data.fill_(float('inf'))

    run.register_hook(Spoil())
    with pytest.raises(NonFiniteLossError, match=r'fc\.weight is not finite; the run stops'):
        run.train()
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_1.pth'}


@pytest.mark.parametrize('to_iterations', [True, False])
def test_the_runner_steps_the_schedule_as_its_equation_says(tmp_path, to_iterations):
    """Epochs of 8 micro-batches, 2 of them a step: the rate of every optimizer step."""
    seen = []

    class See(Hook):
        priority = 'HIGH'  # before the schedule goes on

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.optim_wrapper.should_update():
                seen.append(runner.optim_wrapper.get_lr()['lr'][0])

    schedule = dict(type='WarmupCosineLR', warmup_epochs=2, max_epochs=4, eta_min=0.01)
    schedule['convert_to_iter_based'] = to_iterations
    runner(tmp_path, hooks=[See()], counts=2, epochs=5, param_scheduler=schedule).train()
    expected = []
    for step in range(20):
        epoch = step / 4 if to_iterations else step // 4
        cosine = 0.01 + 0.09 * (1 + math.cos(math.pi * (epoch - 2) / 2)) / 2
        expected.append(0.1 * epoch / 2 if epoch < 2 else cosine if epoch < 4 else 0.01)
    assert seen == pytest.approx(expected)


def one_of_two_processes(rank, folder):
    run = runner(folder)
    hook = mmqkformer.engine.NonFiniteLossHook()
    hook.after_train_iter(run, 0, outputs=dict(loss=torch.tensor(1.0)))
    said = 'nothing'
    try:
        hook.after_train_iter(run, 1, outputs=dict(loss=torch.tensor((1.0, torch.inf)[rank])))
    except NonFiniteLossError as error:
        said = str(error)
    (folder / f'{rank}.txt').write_text(said)


def test_all_processes_stop_when_one_sees_it(tmp_path):
    """Else the main process would save weights that the gradients of the other have spoilt."""
    run_two_processes(one_of_two_processes, tmp_path)
    main, other = ((tmp_path / f'{rank}.txt').read_text() for rank in (0, 1))
    assert main == other
    assert main.startswith('iteration 1 (epoch 1): process 1: loss=inf; the run stops')


def test_a_run_without_a_seed_resumes_with_the_first_one(tmp_path):
    hooks = [dict(type='IterationSeedHook')]
    # A dictionary each: mmengine writes the resumed seed into its default argument
    first = runner(tmp_path, hooks=hooks, epochs=1, randomness=dict(seed=None))
    first.train()
    resumed = runner(tmp_path, hooks=hooks, resume=True, randomness=dict(seed=None))
    assert resumed.seed != first.seed
    resumed.train()
    assert resumed.seed == resumed.train_dataloader.sampler.seed == first.seed


def test_iterations_are_seeded_by_their_number(tmp_path):
    draws = {}

    class Draw(mmqkformer.engine.PlainCheckpointHook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, *args, **kwargs):
            draws.setdefault(runner.iter, []).append(torch.rand(1).item())

    seed = dict(type='IterationSeedHook')
    randomness = dict(seed=3)
    runner(tmp_path, hooks=[seed, Draw()], randomness=randomness).train()
    runner(tmp_path / 'b', hooks=[seed, Draw()], randomness=randomness, epochs=1).train()
    assert len({values[0] for values in draws.values()}) == 16
    assert all(draws[i][0] == draws[i][1] for i in range(8))
    runner(tmp_path / 'c', hooks=[seed, Draw()], randomness=dict(seed=4), epochs=1).train()
    assert draws[0][2] != draws[0][0]
