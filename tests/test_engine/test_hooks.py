"""Checkpoints of plain data, complete or absent; averages per optimizer step; a stop at NaN."""

import os
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmqkformer
from mmqkformer.engine import NonFiniteLossError
from mmqkformer.engine.hooks.atomic_checkpoint import AtomicLocalBackend, write_atomically


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


def runner(tmp_path, *, dataset=None, counts=1, hooks=(), checkpoint=None, epochs=2, **kwargs):
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
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
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
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_2.pth'}
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_2.pth')


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
    message = r'iteration 15 \(epoch 2\): loss=nan, loss_square=nan; the run stops'
    with pytest.raises(NonFiniteLossError, match=message):
        run.train()
    files = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert files == {'epoch_1.pth'}
    state = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


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
