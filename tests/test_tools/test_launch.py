"""What train.py and test.py share, case by case."""

import argparse
import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmqkformer.engine import launch


def training(**settings):
    return Config(
        dict(
            launcher='none',
            train_dataloader=dict(batch_size=32),
            optim_wrapper=dict(
                type='AmpOptimWrapper',
                loss_scale='dynamic',
                accumulative_counts=2,
                optimizer=dict(type='AdamW', lr=1.2e-3),
            ),
        )
        | settings
    )


def load(path, *options):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    launch.add_launch_arguments(parser)
    return launch.load_config(parser.parse_args([str(path), *options]))


def runner_of(cfg, world_size=1):
    """What scaling needs of a runner that has not begun to train."""
    return SimpleNamespace(
        cfg=cfg,
        world_size=world_size,
        optim_wrapper=copy.deepcopy(cfg.optim_wrapper),
        auto_scale_lr=cfg.get('auto_scale_lr'),
        logger=logging.getLogger(__name__),
    )


@pytest.mark.parametrize(('world_size', 'rate'), [(8, 1.2e-3), (1, 1.5e-4)])
def test_rate_follows_the_effective_batch(world_size, rate):
    runner = runner_of(training(auto_scale_lr=dict(base_batch_size=512, enable=True)), world_size)
    launch.scale_learning_rate(runner)
    assert runner.optim_wrapper['optimizer']['lr'] == pytest.approx(rate)


def test_mmengine_does_not_scale_again_and_the_saved_config_keeps_its_rate():
    cfg = training(auto_scale_lr=dict(base_batch_size=512, enable=True))
    runner = runner_of(cfg)
    launch.scale_learning_rate(runner)
    assert runner.auto_scale_lr is None
    assert cfg.optim_wrapper.optimizer.lr == 1.2e-3


@pytest.mark.parametrize('settings', [{}, dict(auto_scale_lr=dict(base_batch_size=512))])
def test_rate_stays_unless_scaling_is_asked_for(settings):
    runner = runner_of(training(**settings))
    launch.scale_learning_rate(runner)
    assert runner.optim_wrapper['optimizer']['lr'] == 1.2e-3


@pytest.mark.parametrize('scaling', [dict(enable=True), dict(enable=True, base_batch_size=0)])
def test_scaling_without_a_base_is_refused(scaling):
    with pytest.raises(ValueError, match=r'auto_scale_lr\.base_batch_size='):
        launch.scale_learning_rate(runner_of(training(auto_scale_lr=scaling)))


@pytest.mark.parametrize(
    ('options', 'workers', 'persistent'),
    [([], 0, False), ([], 2, True), (['--no-persistent-workers'], 2, False)],
)
def test_workers_persist_where_there_are_any(tmp_path, options, workers, persistent):
    config = tmp_path / 'loader.py'
    config.write_text(f'val_dataloader = dict(num_workers={workers}, persistent_workers=True)')
    cfg = load(config, '--no-pin-memory', *options)
    assert cfg.val_dataloader.persistent_workers is persistent
    assert cfg.val_dataloader.pin_memory is False
    assert cfg.work_dir == 'work_dirs/loader'


@pytest.mark.parametrize('cuda', [False, True])
def test_a_configs_float16_is_for_gpus(tmp_path, monkeypatch, cuda):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    config = tmp_path / 'half.py'
    config.write_text('val_cfg = dict(fp16=True)\ntest_cfg = dict(fp16=True)')
    cfg = load(config)
    assert cfg.val_cfg.fp16 is cfg.test_cfg.fp16 is cuda
    # On request: mmengine's bfloat16
    cfg = load(config, '--cfg-options', 'test_cfg.fp16=True')
    assert cfg.test_cfg.fp16 is True


def test_stock_mixed_precision_becomes_bfloat16_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = training()
    launch.adapt_to_cpu(cfg)
    assert cfg.optim_wrapper.type == 'CPUAmpOptimWrapper'
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    assert 'loss_scale' not in cfg.optim_wrapper


def test_nothing_changes_on_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = training(launcher='slurm')
    before = cfg.pretty_text
    launch.adapt_to_cpu(cfg)
    assert cfg.pretty_text == before


def test_processes_on_the_cpu_need_torchrun(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match="launcher='slurm': expected 'pytorch' or 'none'"):
        launch.adapt_to_cpu(training(launcher='slurm'))
