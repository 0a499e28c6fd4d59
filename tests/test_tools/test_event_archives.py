"""From simulated archives of the original layouts to a trained and tested model, by commands."""

from pathlib import Path

import pytest
from mmengine.config import Config
from zoo import classifier_configs

from mmqkformer.models.shrink import shrink_classifier

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [path for path in classifier_configs() if 'dvs' in path]


@pytest.fixture(scope='module')
def stores(tmp_path_factory, run_tool):
    """The data roots of both data sets, prepared from archives as downloaded."""
    root = tmp_path_factory.mktemp('archives')
    film = ('misc/film_images.py', root / 'cifar10dvs', '--layout', 'cifar10dvs')
    run_tool(*film, '--per-class', 10, '--max-events', 20_000, '--archives', '--workers', 1)
    film = ('misc/film_images.py', root / 'dvs128', '--layout', 'dvs128gesture')
    run_tool(*film, '--users', 2, '--max-events', 20_000, '--archives', '--workers', 1)
    prepared = {}
    for name, src in (('cifar10dvs', 'cifar10dvs'), ('dvs128gesture', 'dvs128/DvsGesture.tar.gz')):
        prepared[name] = root / 'data' / name
        tool = f'dataset_converters/prepare_{name}.py'
        run_tool(tool, root / src, prepared[name], '--workers', 1)
    return prepared


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS)
def test_every_event_config_trains_and_tests(config, stores, run_tool, tmp_path):
    """One epoch of four recordings, as the config says but for width, depth and batch."""
    root = stores['cifar10dvs' if 'cifar10dvs' in config else 'dvs128gesture']
    cfg = Config.fromfile(ROOT / config)
    cfg.model = shrink_classifier(cfg.model.to_dict(), 64)
    for loader in ('train', 'val', 'test'):
        cfg[f'{loader}_dataloader'].update(batch_size=2, num_workers=0, persistent_workers=False)
        cfg[f'{loader}_dataloader'].dataset.update(data_root=str(root), indices=4)
    cfg.train_dataloader.sampler.multiple_of = 2
    cfg.optim_wrapper.accumulative_counts = 1
    cfg.train_cfg.max_epochs = 1
    cfg.experiment_name = tmp_path.name
    cfg.dump(tmp_path / 'config.py')
    run_tool('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / 'run')
    run_tool(
        'test.py',
        *(tmp_path / 'config.py', tmp_path / 'run' / 'epoch_1.pth', '--work-dir', tmp_path / 'run'),
        *('--out', tmp_path / 'metrics.json', '--out-item', 'metrics'),
    )
    assert 'accuracy/top1' in (tmp_path / 'metrics.json').read_text()


def test_there_are_event_configs():
    assert len(CONFIGS) > 10
