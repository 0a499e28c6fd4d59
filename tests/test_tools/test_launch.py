"""What train.py and test.py share, case by case."""

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


@pytest.mark.parametrize(
    ('launcher', 'variable'),
    [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS'), ('mpi', 'OMPI_COMM_WORLD_SIZE')],
)
def test_rate_is_that_of_the_base_at_the_base(monkeypatch, launcher, variable):
    monkeypatch.setenv(variable, '8')
    cfg = training(launcher=launcher, auto_scale_lr=dict(base_batch_size=512, enable=True))
    launch.scale_learning_rate(cfg)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.2e-3)


def test_rate_is_proportional_and_mmengine_does_not_scale_again():
    cfg = training(auto_scale_lr=dict(base_batch_size=512, enable=True))
    launch.scale_learning_rate(cfg)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.2e-3 / 8)
    assert cfg.auto_scale_lr.enable is False


@pytest.mark.parametrize('settings', [{}, dict(auto_scale_lr=dict(base_batch_size=512))])
def test_rate_stays_unless_scaling_is_asked_for(settings):
    cfg = training(**settings)
    launch.scale_learning_rate(cfg)
    assert cfg.optim_wrapper.optimizer.lr == 1.2e-3


@pytest.mark.parametrize('scaling', [dict(enable=True), dict(enable=True, base_batch_size=0)])
def test_scaling_without_a_base_is_refused(scaling):
    with pytest.raises(ValueError, match=r'auto_scale_lr\.base_batch_size='):
        launch.scale_learning_rate(training(auto_scale_lr=scaling))


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


def test_address_of_a_checkpoint_goes_to_mmengine(monkeypatch):
    seen = []
    monkeypatch.setattr(
        launch.CheckpointLoader,
        'load_checkpoint',
        lambda path, map_location: seen.append(path) or {'state_dict': {}},
    )
    assert launch.read_checkpoint('https://example.org/a.pth') == {'state_dict': {}}
    assert seen == ['https://example.org/a.pth']


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
