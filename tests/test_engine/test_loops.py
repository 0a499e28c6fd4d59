"""A run goes back to its newest checkpoint, and makes up for a validation that was missed."""

import pytest
import torch
from mmengine.hooks import Hook
from test_hooks import Numbers, Score, runner

from mmqkformer.engine import NonFiniteLossError


class Spoil(Hook):
    """The batch of iteration ``at`` is no number with some seeds."""

    def __init__(self, at, seeds):
        self.at = at
        self.seeds = seeds
        self.trained = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.trained.append((runner.seed, runner.iter, batch_idx))
        if runner.iter == self.at and runner.seed in self.seeds:
            data_batch['inputs'].fill_(float('nan'))


def run_of(tmp_path, spoil, rollbacks, checkpoint=None, seed_hook=None, **kwargs):
    """Epochs of eight iterations, two of them an optimizer step."""
    return runner(
        tmp_path,
        counts=2,
        hooks=[
            spoil,
            dict(type='NonFiniteLossHook'),
            dict(type='IterationSeedHook', **(seed_hook or {})),
            dict(type='OptimStepEMAHook', momentum=0.1),
        ],
        checkpoint=checkpoint,
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=3, max_rollbacks=rollbacks),
        randomness=dict(seed=0),
        **kwargs,
    )


def test_a_run_goes_back_and_on_with_the_next_seed(tmp_path):
    every_fourth = dict(by_epoch=False, interval=4)
    spoil = Spoil(at=14, seeds=(0, 1))
    run_of(tmp_path, spoil, 2, every_fourth).train()
    # To the checkpoint behind iteration 12 twice, in the middle of the second epoch
    before = [(0, i, i % 8) for i in range(15)]
    again = [(1, i, i % 8) for i in (12, 13, 14)]
    rest = [(2, i, i % 8) for i in range(12, 24)]
    assert spoil.trained == before + again + rest
    rolled = torch.load(tmp_path / 'run' / 'iter_24.pth', weights_only=True)
    assert rolled['meta']['seed'] == 2
    assert rolled['message_hub']['runtime_info']['rollbacks'] == 2
    assert all(value.isfinite().all() for value in rolled['state_dict'].values())

    # As if the run had been resumed there by hand
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'iter_12.pth'))
    spoil = Spoil(at=14, seeds=(0, 1))
    run_of(tmp_path, spoil, 0, every_fourth, dict(data_seed=2), resume=True).train()
    assert spoil.trained == rest
    resumed = torch.load(tmp_path / 'run' / 'iter_24.pth', weights_only=True)
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[part], rolled[part], rtol=0, atol=0)
    # Later checkpoints hold the new seed
    assert resumed['meta']['seed'] == 2


def test_a_run_goes_back_so_often_and_no_oftener(tmp_path):
    spoil = Spoil(at=10, seeds=range(100))
    with pytest.raises(NonFiniteLossError, match=r'iteration 11 \(epoch 2\): loss=nan'):
        run_of(tmp_path, spoil, 3).train()
    assert [seed for seed, at, _ in spoil.trained if at == 10] == [0, 1, 2, 3]


def test_without_a_checkpoint_there_is_no_way_back(tmp_path):
    spoil = Spoil(at=3, seeds=(0,))
    with pytest.raises(NonFiniteLossError):
        run_of(tmp_path, spoil, 3).train()
    assert spoil.trained[-1] == (0, 3, 3)


@pytest.mark.parametrize('rollbacks', [-1, 1.5, '2', True, None])
def test_nonsense_is_named(tmp_path, rollbacks):
    with pytest.raises(ValueError, match=r'train_cfg\.max_rollbacks=.*: expected an integer'):
        run_of(tmp_path, Spoil(0, ()), rollbacks).train()


@pytest.mark.parametrize('seed', [-1, 1.5, '2', True, 2**32])
def test_a_seed_that_is_none_is_named(tmp_path, seed):
    with pytest.raises(ValueError, match=r'iteration_seed\.data_seed=.*: expected an integer'):
        run_of(tmp_path, Spoil(0, ()), 0, seed_hook=dict(data_seed=seed))


def test_half_an_epoch_of_another_length_is_refused(tmp_path):
    class Stop(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path, checkpoint=dict(by_epoch=False, interval=3), hooks=[Stop()]).train()
    message = r'saved after 3 of the 8 iterations of epoch 1; an epoch of this run has 4: expected'
    with pytest.raises(ValueError, match=message):
        runner(tmp_path, dataset=Numbers(size=8), resume=True).train()


@pytest.mark.parametrize('legacy', [False, True])
def test_a_schedule_by_iterations_needs_epochs_of_one_length(tmp_path, legacy):
    """Its clock would run at another speed; one by epochs does not mind."""
    schedule = dict(type='WarmupCosineLR', max_epochs=2)
    by_iterations = dict(schedule, convert_to_iter_based=True)
    for name, scheduler in (('a', by_iterations), ('b', schedule)):
        runner(tmp_path / name, epochs=1, param_scheduler=dict(scheduler)).train()
        path = tmp_path / name / 'run' / 'epoch_1.pth'
        if legacy:  # a checkpoint of before
            checkpoint = torch.load(path, weights_only=True)
            del checkpoint['message_hub']['runtime_info']['epoch_length']
            torch.save(checkpoint, path)
    short = dict(dataset=Numbers(size=8), resume=True)
    with pytest.raises(ValueError, match=r'0 of the 8 iterations of epoch 2; an epoch .* has 4'):
        runner(tmp_path / 'a', param_scheduler=by_iterations, **short).train()
    resumed = runner(tmp_path / 'b', param_scheduler=schedule, **short)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (2, 12)


class Validations(Hook):
    """Counts them, and can die in one."""

    def __init__(self, die_in=None):
        self.begun = []
        self.die_in = die_in

    def before_val_epoch(self, runner):
        self.begun.append(runner.epoch)
        if runner.epoch == self.die_in:
            raise KeyboardInterrupt


def validate(tmp_path, scores, hook, **kwargs):
    """Three epochs, each of which is validated."""
    loader = dict(
        batch_size=8,
        num_workers=0,
        dataset=Numbers(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    runner(
        tmp_path,
        epochs=3,
        hooks=[hook],
        checkpoint=dict(save_best='score', rule='greater'),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Score(scores),
        **kwargs,
    ).train()


def test_a_validation_that_was_missed_is_made_up_for(tmp_path):
    """The choice of the best is then that of the unbroken run."""
    with pytest.raises(KeyboardInterrupt):
        validate(tmp_path, [0.1], Validations(die_in=2))
    resumed = Validations()
    validate(tmp_path, [0.3, 0.2], resumed, resume=True)
    assert resumed.begun == [2, 3]
    best = [path.name for path in (tmp_path / 'run').glob('best_*')]
    assert best == ['best_score_epoch_2.pth']


def test_the_best_checkpoint_knows_that_it_is_validated(tmp_path):
    validate(tmp_path, [0.1, 0.3, 0.2], Validations())
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'epoch_2.pth'))
    resumed = Validations()
    validate(tmp_path, [0.4], resumed, resume=True)
    assert resumed.begun == [3]
