"""Processes that divide a test meet the batches of a single process, each once."""

from itertools import chain, pairwise
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner

import mmqkformer  # noqa: F401

RELEASE = Path(__file__).parents[2] / 'configs' / 'qkformer' / 'release'


def parts(monkeypatch, size, batch_size, world_size, **kwargs):
    """The batches of every process."""
    found = []
    for rank in range(world_size):
        for module in ('mmengine.dataset.sampler', 'mmqkformer.datasets.samplers'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda r=rank: (r, world_size))
        inner = DefaultSampler(range(size), **{'shuffle': False, 'seed': 0, **kwargs})
        sampler = DATA_SAMPLERS.build(
            dict(type='ContiguousBatchSampler', sampler=inner, batch_size=batch_size)
        )
        found.append(list(sampler))
        assert len(sampler) == len(found[-1])
    return found


@pytest.mark.parametrize('world_size', [2, 3, 8])
@pytest.mark.parametrize(('size', 'batch_size'), [(64, 8), (13, 4), (50, 1), (7, 8), (0, 4)])
def test_the_parts_are_the_batches_of_one_process(monkeypatch, size, batch_size, world_size):
    (alone,) = parts(monkeypatch, size, batch_size, 1)
    indices = list(range(size))
    assert alone == [indices[i : i + batch_size] for i in range(0, size, batch_size)]
    divided = parts(monkeypatch, size, batch_size, world_size)
    assert [*chain(*divided)] == alone
    lengths = [len(part) for part in divided]
    assert max(lengths) - min(lengths) <= 1


def test_neighbours_share_their_class_as_on_one_process(monkeypatch):
    """ImageNet: 50 images a class, 32 a batch, 8 processes."""

    def share(batches):
        pairs = [pair for batch in batches for pair in pairwise(batch)]
        return sum(a // 50 == b // 50 for a, b in pairs) / len(pairs)

    assert share(chain(*parts(monkeypatch, 50_000, 32, 8))) == pytest.approx(0.98, abs=0.001)
    dealt = range(50_000)[3::8]
    assert share([dealt[i : i + 32] for i in range(0, 6250, 32)]) == pytest.approx(0.84, abs=0.001)


@pytest.mark.parametrize('path', sorted(RELEASE.glob('*.py')), ids=lambda path: path.stem)
@pytest.mark.parametrize('split', ['val', 'test'])
def test_loaders_of_the_release_configs_divide_by_batches(path, split, monkeypatch):
    cfg = Config.fromfile(path)
    loader = cfg[f'{split}_dataloader']
    loader.update(num_workers=0, persistent_workers=False)
    monkeypatch.setattr('mmqkformer.datasets.samplers.get_dist_info', lambda: (1, 8))
    built = Runner.build_dataloader({**loader, 'dataset': range(50_000)}, seed=0)
    size = cfg.train_dataloader.batch_size
    first = next(iter(built.batch_sampler))
    assert first == list(range(first[0], first[0] + size))
    assert first[0] % size == 0
    assert first[0] == pytest.approx(50_000 / 8, abs=size)
    # In float16, as the release's
    assert cfg[f'{split}_cfg'].fp16 is True


def test_a_shuffling_sampler_is_named(monkeypatch):
    with pytest.raises(ValueError, match=r'sampler\.shuffle=True: expected False'):
        parts(monkeypatch, 10, 2, 1, shuffle=True)


def test_an_mmengine_that_would_lose_results_is_named(monkeypatch):
    monkeypatch.setattr('mmengine.__version__', '0.10.2')
    assert parts(monkeypatch, 10, 4, 1)
    with pytest.raises(ImportError, match=r'2 processes needs mmengine>=0\.10\.3; 0\.10\.2 is'):
        parts(monkeypatch, 10, 4, 2)
