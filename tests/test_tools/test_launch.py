"""What train.py and test.py share, case by case."""

import argparse
import copy
import io
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


class Malicious:
    def __reduce__(self):
        return print, ('code from a checkpoint ran',)


@pytest.mark.parametrize('safe', [True, False])
def test_checkpoint_behind_an_address_is_untrusted_too(safe, monkeypatch, capfd):
    def fetch(address):
        assert address == 'https://example.org/a.pth'
        file = io.BytesIO()
        torch.save({'state_dict': {}} if safe else {'state_dict': Malicious()}, file)
        return file.getvalue()

    monkeypatch.setattr(launch.fileio, 'get', fetch)
    if safe:
        assert launch.read_checkpoint('https://example.org/a.pth') == {'state_dict': {}}
    else:
        with pytest.raises(ValueError, match='expected plain tensors'):
            launch.read_checkpoint('https://example.org/a.pth')
        assert 'code from a checkpoint ran' not in capfd.readouterr().out


def test_older_format_of_a_checkpoint_is_read(tmp_path):
    path = tmp_path / 'old.pth'
    weights = {'module.weight': torch.ones(2, 3), 'module.bias': torch.ones(2)}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    launch.check_checkpoint(torch.nn.Linear(3, 2), str(path))


def test_batch_counts_may_be_missing(tmp_path):
    model = torch.nn.BatchNorm2d(3)
    weights = model.state_dict()
    del weights['num_batches_tracked']
    torch.save(weights, tmp_path / 'bn.pth')
    launch.check_checkpoint(model, str(tmp_path / 'bn.pth'))


def test_long_lists_of_keys_are_cut(tmp_path):
    torch.save({f'{i}.weight': torch.ones(1) for i in range(20)}, tmp_path / 'many.pth')
    with pytest.raises(ValueError, match=r'20 unexpected: .* and 14 more'):
        launch.check_checkpoint(torch.nn.Identity(), str(tmp_path / 'many.pth'))


def test_new_classifier_on_a_trained_backbone_fits_in_part(tmp_path):
    old, new = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, n)) for n in (4, 5))
    path = str(tmp_path / 'old.pth')
    torch.save(old.state_dict(), path)
    launch.check_checkpoint(new, path, partial=True)
    with pytest.raises(ValueError, match='2 of another shape'):
        launch.check_checkpoint(new, path)
    with pytest.raises(ValueError, match='2 missing'):
        launch.check_checkpoint(torch.nn.Linear(3, 2), path, partial=True)


def test_batch_counts_alone_do_not_fit_in_part(tmp_path):
    narrow, wide = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(4)
    torch.save(narrow.state_dict(), tmp_path / 'narrow.pth')
    with pytest.raises(ValueError, match='4 of another shape'):
        launch.check_checkpoint(wide, str(tmp_path / 'narrow.pth'), partial=True)
