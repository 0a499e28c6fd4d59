"""Films to stores to a trained model, its pictures and its predictions, in a few seconds."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from event_streams import random_events
from PIL import Image

from mmqkformer.datasets.events.camera import EventCamera, film_image
from mmqkformer.datasets.events.store import StoreWriter, encode
from mmqkformer.datasets.events.write_aedat import write_aedat2

CONFIG = """
_base_ = {base!r}
experiment_name = '{{{{$EXPERIMENT:tiny}}}}'
data_root = {root!r}
backbone = dict(
    time_steps=3,
    arch=dict(
        embed_dims=[8, 16],
        num_heads=[2, 2],
        stem=dict(channels=[4, 8], pools=[True, True], shortcut_from=1),
    ),
)
model = dict(backbone=backbone, head=dict(in_channels=16, num_classes=2))
data_preprocessor = dict(num_classes=2)
frames = dict(type='EventsToFrames', time_steps=3)
test_pipeline = [dict(type='LoadEvents'), frames, dict(type='PackEvents')]
train_pipeline = [dict(type='SeedSample'), *test_pipeline[:2], dict(type='EventAugment'),
                  dict(type='PackEvents')]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(multiple_of=4),
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    dataset=dict(data_root=data_root, split='test', pipeline=test_pipeline)
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
auto_scale_lr = dict(base_batch_size=4)
"""
BASE = Path(__file__).resolve().parents[2] / 'configs/qkformer/hst-2-64-t8_1xb32_digits-events.py'


def bars(vertical):
    image = np.zeros((16, 16), np.uint8)
    image[2::6] = 255
    return np.ascontiguousarray(image.T) if vertical else image


@pytest.fixture(scope='module')
def trained(tmp_path_factory, run_tool):
    """Films of two classes, prepared by the tool; a config; and a checkpoint of one epoch."""
    root = tmp_path_factory.mktemp('events')
    camera = EventCamera((16, 16))
    for split, count in (('train', 8), ('test', 2)):
        for name in ('across', 'upright'):
            (root / 'films' / split / name).mkdir(parents=True)
            for i in range(count):
                film = film_image(bars(name == 'upright'), camera, 30_000, amplitude=2.0, seed=i)
                write_aedat2(root / 'films' / split / name / f'{i}.aedat', film)
    size = ('--sensor-size', 16, 16, '--workers', 1)
    run_tool('dataset_converters/prepare_events.py', root / 'films', root / 'stores', *size)
    (root / 'config.py').write_text(CONFIG.format(base=str(BASE), root=str(root / 'stores')))
    run_tool('train.py', root / 'config.py', '--work-dir', root / 'run')
    return root


def test_the_pictures_of_recordings(trained, run_tool, tmp_path):
    arguments = ('visualization/browse_events.py', trained / 'config.py', '--out-dir', tmp_path)
    run_tool(*arguments, '--number', 2)
    run_tool(*arguments, '--split', 'test', '--index', 3, '--format', 'gif')
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['test_00003.gif', 'train_00000.png', 'train_00015.png']
    strip = np.asarray(Image.open(tmp_path / 'train_00000.png').convert('RGB')).astype(int)
    # Frames are drawn above the rates: red and blue pixels in the upper third
    upper = strip[: len(strip) // 3]
    assert ((upper[..., 0] - upper[..., 2]) > 60).sum() > 100
    assert ((upper[..., 2] - upper[..., 0]) > 60).sum() > 100
    with Image.open(tmp_path / 'test_00003.gif') as animation:
        assert animation.n_frames == 3
    with pytest.raises(SystemExit, match='--index 99: expected 0 to 15'):
        run_tool(*arguments, '--index', 99)


def test_the_picture_of_a_prediction(trained, run_tool, tmp_path):
    checkpoint = trained / 'run' / 'epoch_1.pth'
    run_tool(
        'visualization/draw_events.py',
        *(trained / 'config.py', checkpoint, '--out', tmp_path / 'a.gif', '--index', 0, 3),
    )
    with Image.open(tmp_path / 'a.gif') as animation:
        # One image a time step; Pillow joins the last, which stays longer
        assert 3 <= animation.n_frames <= 6


def test_own_files_are_classified(trained, run_tool, tmp_path, capsys):
    files = sorted((trained / 'films' / 'test').glob('*/*.aedat'))
    arguments = (trained / 'config.py', trained / 'run' / 'epoch_1.pth', *files)
    run_tool('predict_events.py', *arguments, '--sensor-size', 16, 16, '--out', tmp_path / 'a.csv')
    with open(tmp_path / 'a.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['file'] for row in rows] == [str(path) for path in files]
    assert {row['class'] for row in rows} <= {'across', 'upright'}
    assert all(0.5 <= float(row['score']) <= 1 for row in rows)
    (tmp_path / 'bad.aedat').write_bytes(files[0].read_bytes()[:-3])
    with pytest.raises(SystemExit, match=r'error: .*bad\.aedat: field events'):
        run_tool('predict_events.py', *arguments[:2], tmp_path / 'bad.aedat')


def test_predictions_by_weights_that_are_not_finite_are_refused(trained, run_tool, tmp_path):
    checkpoint = torch.load(trained / 'run' / 'epoch_1.pth', weights_only=True)
    checkpoint['state_dict']['head.fc.weight'][0, 0] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match=r'nan\.pth.*\n.*1 unusable: head\.fc\.weight not finite'):
        run_tool('predict_events.py', trained / 'config.py', tmp_path / 'nan.pth', 'a.aedat')


@pytest.fixture
def stores(tmp_path):
    """Two small stores, of three recordings each."""
    for split in ('train', 'test'):
        files = [f'{split}/{i}' for i in range(3)]
        writer = StoreWriter(tmp_path / split, dict(sensor_size=[12, 9], classes=['a']), files)
        for i, file in enumerate(files):
            events = random_events(20, seed=i)
            writer.add([(file, 0, len(events), events.duration, encode(events, file))])
        writer.finish()
    return tmp_path


def test_stores_are_verified(stores, run_tool, capsys):
    (stores / '.val.part').mkdir()
    (stores / '.val.part' / 'meta.json').touch()
    tool = 'dataset_converters/verify_events.py'
    run_tool(tool, stores)
    assert capsys.readouterr().out.splitlines() == [
        f'{stores / split}: 3 recordings, 0 damaged' for split in ('test', 'train')
    ]
    content = bytearray((stores / 'train' / 'events.bin').read_bytes())
    for place in (3, -3):
        content[place] ^= 1
    (stores / 'train' / 'events.bin').write_bytes(content)
    with pytest.raises(SystemExit, match='1'):
        run_tool(tool, stores / 'train')
    out, err = capsys.readouterr()
    assert out == f'{stores / "train"}: 3 recordings, 2 damaged\n'
    for file in ('train/0', 'train/2'):
        assert f'error: {stores / "train"}: {file}: field checksum' in err
    # One that cannot be opened does not keep the other from being looked at
    (stores / 'test' / 'manifest.csv').unlink()
    with pytest.raises(SystemExit, match='1'):
        run_tool(tool, stores)
    out, err = capsys.readouterr()
    assert '2 damaged' in out
    assert 'test/manifest.csv: cannot be read' in err
    with pytest.raises(SystemExit, match='1'):
        run_tool(tool, stores / 'none')
    assert 'none/meta.json: does not exist: expected a store' in capsys.readouterr().err


def test_the_benchmark_compares_equal_frames(run_tool, tmp_path):
    run_tool(
        'benchmark/events_to_frames.py',
        *('--events', 2000, '--time-steps', 4, '--size', 16, '--repeats', 2),
        *('--json', tmp_path / 'a.json'),
    )
    rows = json.loads((tmp_path / 'a.json').read_text())
    assert [(row['split_by'], row['by']) for row in rows] == [
        (split_by, by)
        for split_by in ('number', 'time')
        for by in ('SpikingJelly', 'mmqkformer', 'mmqkformer, from a store')
    ]
    assert all(row['events_per_second'] > 0 and row['peak_mb'] > 0 for row in rows)
