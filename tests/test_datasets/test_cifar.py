"""CIFAR images have OpenMMLab's order of colours, in training and for the inferencer, and are
those of the original files."""

import hashlib
import pickle
import socket
import urllib.request
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image

ROOT = Path(__file__).parents[2]
RED = (250, 20, 10)


def write_pickle(path, content):
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture(params=['10', '100'])
def cifar(request, tmp_path, monkeypatch):
    """The layout of the download, with two red images a file; (config, data set's type)."""
    name = request.param
    cfg = Config.fromfile(ROOT / f'configs/qkformer/hst-4-384_1xb64_cifar{name}.py')
    kind = DATASETS.get(cfg.test_dataloader.dataset.type)
    folder = tmp_path / kind.base_folder
    folder.mkdir()
    data = np.repeat(np.uint8(RED), 32 * 32)[None].repeat(2, axis=0)
    entry = {'data': data, 'labels' if name == '10' else 'fine_labels': [0, 1]}
    for files in ('train_list', 'test_list'):
        listed = [[f, write_pickle(folder / f, entry)] for f, _ in getattr(kind, files)]
        monkeypatch.setattr(kind, files, listed)
    for loader in ('train', 'test'):
        cfg[f'{loader}_dataloader'].dataset.update(data_root=str(tmp_path))
    return cfg


def test_images_are_blue_green_red(cifar):
    for loader in ('train', 'test'):
        dataset = DATASETS.build(dict(cifar[f'{loader}_dataloader'].dataset, pipeline=[]))
        image = dataset[0]['img']
        assert image.shape == (32, 32, 3)
        assert (image == np.uint8(RED[::-1])).all()


def test_inferencer_sees_the_colours_of_the_test(cifar, tmp_path):
    """A file of another size, decoded by the inferencer, becomes what the data set gives."""
    sample = DATASETS.build(cifar.test_dataloader.dataset)[0]
    preprocessor = MODELS.build(cifar.data_preprocessor)
    tested = preprocessor(default_collate([sample]))['inputs']
    expected = (torch.tensor(RED) - torch.tensor(cifar.mean)) / torch.tensor(cifar.std)
    assert torch.allclose(tested, expected[None, :, None, None].expand_as(tested), atol=1e-5)

    Image.new('RGB', (48, 40), RED).save(tmp_path / 'red.png')
    infer = mmpretrain.ImageClassificationInferencer(cifar.filename, pretrained=False)
    (batch,) = infer.preprocess([str(tmp_path / 'red.png')])
    assert torch.equal(infer.model.data_preprocessor(batch)['inputs'], tested)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path('ran'),)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Whoever asks for a network or unpickles the bomb fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError('asked for a network')

    monkeypatch.setattr(socket, 'socket', refuse)
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('loader', ['train', 'test'])
def test_a_wrong_checksum_is_named_and_the_file_not_opened(cifar, tmp_path, loader, no_network):
    dataset = cifar[f'{loader}_dataloader'].dataset
    kind = DATASETS.get(dataset.type)
    name, expected = (kind.train_list if loader == 'train' else kind.test_list)[-1]
    path = tmp_path / kind.base_folder / name
    found = write_pickle(path, Bomb())
    message = f'^{path}: its md5 checksum is {found}, expected {expected}; '
    with pytest.raises(ValueError, match=message) as error:
        DATASETS.build(dataset)
    assert str(error.value).endswith(f'or set dataset.download=True, to fetch {kind.url}')


def test_a_missing_file_is_named(cifar, tmp_path, no_network):
    kind = DATASETS.get(cifar.test_dataloader.dataset.type)
    path = tmp_path / kind.base_folder / kind.train_list[0][0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf'{path} does not exist: copy the original'):
        DATASETS.build(cifar.test_dataloader.dataset)


def test_a_download_that_was_asked_for_fails_in_one_line(cifar, tmp_path, monkeypatch):
    dataset = dict(cifar.test_dataloader.dataset, download=True)
    kind = DATASETS.get(dataset['type'])
    write_pickle(tmp_path / kind.base_folder / kind.test_list[0][0], Bomb())
    asked = []

    def unreachable(request):
        asked.append(request.full_url)
        raise urllib.error.URLError('no route to host')

    monkeypatch.setattr(urllib.request, 'urlopen', unreachable)
    with pytest.raises(
        ConnectionError, match=r'download=True: https.* cannot be .*no route'
    ) as error:
        DATASETS.build(dataset)
    assert error.value.__suppress_context__
    assert asked[0] == kind.url
