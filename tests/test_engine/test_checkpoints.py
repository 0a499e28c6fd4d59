"""Checkpoints from outside: what is read, what is refused, and that nothing of theirs runs."""

import contextlib
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hostile import FORMS, serve, write_bomb
from mmengine.runner import CheckpointLoader
from torch import nn

import mmqkformer  # noqa: F401
from mmqkformer.engine.checkpoints import (
    check_checkpoint,
    check_weights,
    drop_config_texts,
    read_checkpoint,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """PyTorch's folder of downloads, of this test alone."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    return tmp_path / 'torch' / 'hub' / 'checkpoints'


@pytest.fixture
def web(tmp_path):
    """A folder, the address that it is served under, and the requests so far."""
    (tmp_path / 'web').mkdir()
    with serve(tmp_path / 'web') as (address, requests):
        yield tmp_path / 'web', address, requests


def save(content, path):
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize('unsafe', ['0', '1'])
@pytest.mark.parametrize('form', FORMS)
def test_code_in_a_checkpoint_never_runs(form, unsafe, web, tmp_path, monkeypatch):
    """Neither from a file nor from an address, which all of mmengine's ways of loading take."""
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', unsafe)
    folder, address, _ = web
    write_bomb(folder / 'bomb.pth', form, tmp_path / 'ran')
    loaders = {
        str(folder / 'bomb.pth'): [read_checkpoint],
        f'file://{folder}/bomb.pth': [read_checkpoint, CheckpointLoader.load_checkpoint],
        f'{address}/bomb.pth': [read_checkpoint, CheckpointLoader.load_checkpoint],
    }
    for place in loaders:
        for load in loaders[place]:
            with pytest.raises(ValueError, match=r'bomb\.pth.*expected plain tensors'):
                load(place)
    assert not (tmp_path / 'ran').exists()


def test_a_file_on_the_web_is_fetched_once(web, cache):
    folder, address, requests = web
    save({'state_dict': {'weight': torch.ones(2)}}, folder / 'good.pth')
    first = read_checkpoint(f'{address}/good.pth')
    again = CheckpointLoader.load_checkpoint(f'{address}/good.pth')
    assert torch.equal(first['state_dict']['weight'], again['state_dict']['weight'])
    assert requests == ['/good.pth']
    assert len(list(cache.glob('*.pth'))) == 1


def test_those_who_ask_at_once_wait_for_the_first(web):
    """As the processes of a machine do: the lock is the file's, not the process's."""
    folder, address, requests = web
    save({'weight': torch.ones(1)}, folder / 'good.pth')
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_checkpoint, [f'{address}/good.pth'] * 4))
    assert [checkpoint['weight'].item() for checkpoint in read] == [1] * 4
    assert requests == ['/good.pth']


def test_files_of_one_name_on_two_places_are_two_files(web):
    folder, address, _ = web
    for value, place in enumerate('ab'):
        (folder / place).mkdir()
        save({'weight': torch.tensor(value)}, folder / place / 'epoch_1.pth')
    assert [read_checkpoint(f'{address}/{p}/epoch_1.pth')['weight'].item() for p in 'ab'] == [0, 1]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('none.pth', r'none\.pth.*404'),
        ('broken-off.pth', r'broken-off\.pth.*broke off after \d+ of \d+ bytes'),
    ],
)
def test_a_download_that_fails_leaves_nothing(name, message, web, cache):
    folder, address, _ = web
    save({'weight': torch.ones(1000)}, folder / 'broken-off.pth')
    with pytest.raises(ConnectionError, match=message):
        read_checkpoint(f'{address}/{name}')
    assert [path.suffix for path in cache.iterdir()] == ['.lock']


def test_a_server_that_is_not_there_is_told(monkeypatch):
    with pytest.raises(ConnectionError, match=r'127\.0\.0\.1:9/a\.pth.*refused'):
        read_checkpoint('http://127.0.0.1:9/a.pth')


def test_the_hash_in_a_name_is_checked(web, cache):
    folder, address, _ = web
    for name in ('a-00000000.pth', 'a-20260131.pth', 'hst-10-384.pth'):
        save({'weight': torch.ones(1)}, folder / name)
    with pytest.raises(ValueError, match=r'a-00000000\.pth.*expected 00000000'):
        read_checkpoint(f'{address}/a-00000000.pth')
    assert not list(cache.glob('*.pth'))
    for name in ('a-20260131.pth', 'hst-10-384.pth'):  # a date, a width
        read_checkpoint(f'{address}/{name}')


def test_file_addresses_are_paths(tmp_path):
    save({'weight': torch.ones(1)}, tmp_path / 'a b.pth')
    for place in (f'file://{tmp_path}/a%20b.pth', f'file://localhost{tmp_path}/a%20b.pth'):
        assert CheckpointLoader.load_checkpoint(place)['weight'] == 1


@pytest.mark.parametrize('address', ['s3://bucket/a.pth', 'file://host/a.pth', 'ftp://host/a.pth'])
def test_other_addresses_are_refused_by_name(address):
    with pytest.raises(ValueError, match=rf'{address}.*file:///, http:// or https://'):
        read_checkpoint(address)


def test_places_that_hold_no_file(tmp_path):
    for empty in ('', tmp_path / 'none.pth'):
        with pytest.raises(FileNotFoundError, match='no such file'):
            read_checkpoint(empty)
    with pytest.raises(IsADirectoryError, match='expected a file, found a folder'):
        read_checkpoint(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = save({'weight': torch.ones(1)}, tmp_path / 'secret.pth')

    def refuse(file, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', file)

    monkeypatch.setattr('builtins.open', refuse)
    with pytest.raises(PermissionError, match=r'Permission denied: .*checkpoint .*secret\.pth'):
        read_checkpoint(path)


@pytest.mark.parametrize('content', [[1, 2], 'text', torch.ones(1)], ids=['list', 'text', 'tensor'])
def test_a_file_of_something_else(content, tmp_path):
    with pytest.raises(ValueError, match=r'else\.pth.*: holds \w+, expected a dict'):
        read_checkpoint(save(content, tmp_path / 'else.pth'))


@pytest.mark.parametrize('state_dict', [[1], {3: torch.ones(1)}, 'text'])
def test_weights_without_names(state_dict, tmp_path):
    path = save({'state_dict': state_dict}, tmp_path / 'nameless.pth')
    with pytest.raises(ValueError, match=r'nameless\.pth.*state_dict: expected tensors by name'):
        check_checkpoint(nn.Linear(3, 2), path)


def zip_again(source, target, compression):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', compression) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    return str(target)


@pytest.mark.parametrize('compression', [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_file_that_was_zipped_again_is_read_right(compression, tmp_path):
    model = nn.Linear(300, 200)
    path = save(model.state_dict(), tmp_path / 'a.pth')
    again = read_checkpoint(zip_again(path, tmp_path / 'again.pth', compression))
    torch.testing.assert_close(again, dict(model.state_dict()), rtol=0, atol=0)


def test_a_compression_that_pytorch_does_not_know(tmp_path):
    path = save({'weight': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'again\.pth.*expected plain tensors'):
        read_checkpoint(zip_again(path, tmp_path / 'again.pth', zipfile.ZIP_BZIP2))


def test_a_damaged_file_is_named_whatever_it_breaks(tmp_path):
    path = save({'weight': torch.ones(3), 'meta': {'text': 'a'}}, tmp_path / 'a.pth')
    whole = Path(path).read_bytes()
    broken = tmp_path / 'broken.pth'
    for cut in range(0, len(whole), 97):
        broken.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r'broken\.pth'):
            read_checkpoint(broken)
    record = whole.index(pickle.PROTO + b'\x02')
    for position in range(record, record + 150):
        broken.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with contextlib.suppress(ValueError):  # and nothing else; some flips are harmless
            read_checkpoint(broken)


WEIGHT = torch.randn(2, 3)
UNUSABLE = {
    'not finite': torch.full((2, 3), torch.nan),
    'not finite ': torch.tensor([[1.0, 2.0, torch.inf]]).repeat(2, 1),
    'not finite  ': torch.full((2, 3), 1e300, dtype=torch.float64),
    'sparse': WEIGHT.to_sparse(),
    'sparse_csr': WEIGHT.to_sparse_csr(),
    'nested': torch.nested.as_nested_tensor([WEIGHT[0], WEIGHT[1]]),
    'without values': torch.empty(2, 3, device='meta'),
    'qint8': torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8),
    'complex64': WEIGHT.to(torch.complex64),
    'float8_e4m3fn': WEIGHT.to(torch.float8_e4m3fn),
    'int64 instead of torch.float32': WEIGHT.long(),
    'expanded': torch.ones(3).expand(2, 3),
    'overlapping': torch.arange(4.0).as_strided((2, 3), (1, 1)),
    'str instead of a tensor': 'weight',
}


@pytest.mark.parametrize('fault', UNUSABLE)
@pytest.mark.parametrize('partial', [False, True])
def test_weights_that_are_none_are_refused_by_key(fault, partial, tmp_path):
    """They have the right shape, and most of them would load."""
    path = save({'weight': UNUSABLE[fault], 'bias': torch.ones(2)}, tmp_path / 'odd.pth')
    with pytest.raises(ValueError, match=rf'1 unusable: weight .*{fault.strip()}'):
        check_checkpoint(nn.Linear(3, 2), path, partial=partial)


def test_a_tensor_without_storage_is_refused(tmp_path):
    path = save({'weight': torch.ones(2, 3), 'bias': torch.ones(2)}, tmp_path / 'a.pth')
    emptied = tmp_path / 'emptied.pth'
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(emptied, 'w') as new:
        for record in old.infolist():
            data = b'' if record.filename.endswith('data/0') else old.read(record)
            new.writestr(record.filename, data)
    with pytest.raises(ValueError, match=r'emptied\.pth'):
        check_checkpoint(nn.Linear(3, 2), emptied)


def test_a_huge_expanded_tensor_is_refused_without_filling_it():
    huge = torch.ones(1).expand(10**6, 10**6)
    with pytest.raises(ValueError, match='weight expanded or overlapping'):
        check_weights({'state_dict': {'weight': huge}}, 'huge.pth')


@pytest.mark.parametrize(
    'weight',
    [
        WEIGHT.half(),
        WEIGHT.double(),
        WEIGHT.t().contiguous().t(),
        torch.randn(2, 6)[:, ::2],
        nn.Parameter(WEIGHT),
    ],
    ids=['half', 'double', 'transposed', 'sliced', 'parameter'],
)
def test_ordinary_tensors_are_weights(weight, tmp_path):
    path = save({'weight': weight, 'bias': torch.ones(2)}, tmp_path / 'a.pth')
    check_checkpoint(nn.Linear(3, 2), path)


def test_configuration_texts_are_left_out(tmp_path):
    content = {
        'state_dict': {},
        'meta': {'cfg': 'a = 1', 'config': 'a = 1', 'epoch': 3},
        'message_hub': {
            'runtime_info': {'cfg': 'a = 1', 'iter': 4},
            'resumed_keys': {'cfg': True, 'iter': True},
        },
    }
    assert read_checkpoint(save(content, tmp_path / 'a.pth')) == {
        'state_dict': {},
        'meta': {'epoch': 3},
        'message_hub': {'runtime_info': {'iter': 4}, 'resumed_keys': {'iter': True}},
    }


@pytest.mark.parametrize('content', [{}, {'meta': [1]}, {'message_hub': {'runtime_info': 'text'}}])
def test_odd_checkpoints_hold_no_configuration(content):
    assert drop_config_texts(dict(content)) == []


def test_text_that_resuming_would_run_is_refused(tmp_path):
    model = nn.Linear(3, 2)
    content = {'state_dict': model.state_dict(), 'meta': {'config': 'import os'}}
    path = save(content, tmp_path / 'forged.pth')
    with pytest.raises(ValueError, match=r'forged\.pth.*: meta\.config is text'):
        check_checkpoint(model, path)
    check_checkpoint(model, path, partial=True)  # weights only: it stays text


def test_older_format_of_a_checkpoint_is_read(tmp_path):
    path = tmp_path / 'old.pth'
    weights = {'module.weight': torch.ones(2, 3), 'module.bias': torch.ones(2)}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    check_checkpoint(torch.nn.Linear(3, 2), str(path))


def test_batch_counts_may_be_missing(tmp_path):
    model = torch.nn.BatchNorm2d(3)
    weights = model.state_dict()
    del weights['num_batches_tracked']
    torch.save(weights, tmp_path / 'bn.pth')
    check_checkpoint(model, str(tmp_path / 'bn.pth'))


def test_long_lists_of_keys_are_cut(tmp_path):
    torch.save({f'{i}.weight': torch.ones(1) for i in range(20)}, tmp_path / 'many.pth')
    with pytest.raises(ValueError, match=r'20 unexpected: .* and 14 more'):
        check_checkpoint(torch.nn.Identity(), str(tmp_path / 'many.pth'))


def test_new_classifier_on_a_trained_backbone_fits_in_part(tmp_path):
    old, new = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, n)) for n in (4, 5))
    path = str(tmp_path / 'old.pth')
    torch.save(old.state_dict(), path)
    check_checkpoint(new, path, partial=True)
    with pytest.raises(ValueError, match='2 of another shape'):
        check_checkpoint(new, path)
    with pytest.raises(ValueError, match='2 missing'):
        check_checkpoint(torch.nn.Linear(3, 2), path, partial=True)


def test_batch_counts_alone_do_not_fit_in_part(tmp_path):
    narrow, wide = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(4)
    torch.save(narrow.state_dict(), tmp_path / 'narrow.pth')
    with pytest.raises(ValueError, match='4 of another shape'):
        check_checkpoint(wide, str(tmp_path / 'narrow.pth'), partial=True)


def test_a_converted_file_of_another_model_names_its_family(tmp_path):
    content = dict(meta=dict(family='sdt_v1'), state_dict={'0.weight': torch.zeros(3, 2)})
    path = save(content, tmp_path / 'converted.pth')
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"converted\.pth', sdt_v1 family, does not fit the model"):
        check_checkpoint(model, path)
