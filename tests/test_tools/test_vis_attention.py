"""Pictures of attentions from the command line."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmqkformer.analysis.subject import RANDOM_WEIGHTS

ROOT = Path(__file__).resolve().parents[2]
TOOL = 'visualization/vis_attention.py'
DIGITS = ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py'
WEIGHTS = ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth'


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder of two images and something else."""
    folder = tmp_path_factory.mktemp('photos')
    random = np.random.default_rng(0)
    for name in ('a.png', 'b.jpg'):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / name)
    (folder / 'notes.txt').write_text('no image')
    return folder


@pytest.fixture(scope='module')
def config(make_config):
    return make_config()


def written(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()
    )


def test_the_default_is_every_kind_that_the_network_has(run_tool, tmp_path, capsys):
    run_tool(TOOL, DIGITS, WEIGHTS, '--sample', 1, '--layer', 'stages.[02]', '--out', tmp_path)
    kinds = [
        'overlay',
        'qk_stages.0.blocks.0.attention',
        'query_stages.2.blocks.0.attention',
        'stages',
    ]
    assert written(tmp_path) == [f'sample_00001/{name}.png' for name in kinds]
    for path in tmp_path.rglob('*.png'):
        with Image.open(path) as picture:
            assert len(picture.convert('L').getcolors()) > 20
    assert RANDOM_WEIGHTS not in capsys.readouterr().out


def test_a_folder_of_images_has_a_folder_of_pictures_each(
    config, run_tool, photos, tmp_path, capsys
):
    # Images are enough: there is no data set
    options = ['--cfg-options', 'test_dataloader.dataset.data_root=nowhere']
    args = ['--image', photos, '--kind', 'overlay', '--format', 'gif', '--out', tmp_path]
    run_tool(TOOL, config, *args, *options)
    assert written(tmp_path) == ['a.png/overlay.gif', 'b.jpg/overlay.gif']
    with Image.open(tmp_path / 'a.png/overlay.gif') as animation:
        assert animation.n_frames == 2
    assert RANDOM_WEIGHTS in capsys.readouterr().out


def test_layers_are_chosen_by_name(config, run_tool, photos, tmp_path):
    args = ['--image', photos / 'a.png', '--out', tmp_path, '--layer', 'stages.0.blocks.*.query']
    run_tool(TOOL, config, *args, '--kind', 'raster')
    assert written(tmp_path) == ['a.png/raster_stages.0.blocks.0.attention.query.neuron.png']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['--kind', 'channels', 'stages'],
            '--kind channels --layer *: tiny has nothing of it; attentions: '
            'stages.0.blocks.0.attention (QKTokenAttention), '
            'stages.1.blocks.0.attention (SpikingSelfAttention); '
            'kinds of this layer: overlay, heads, qk, query, stages',
        ),
        (['--layer', 'stages.7'], '--layer stages.7: tiny has nothing of it; attentions: stages.0'),
        (['--kind', 'raster', '--layer', 'x'], "layer='x': expected a name of layers of neurons"),
        (['--head', '2'], 'head=2: expected 0 to 1'),
        (['--query', '16', '0'], 'query 16 0: expected a pixel of the 16 x 16 of the input'),
        (['--image', 'none.png'], 'none.png: no such file'),
        (['--image', '{photos}/notes.txt'], 'notes.txt: expected an image'),
        (['--image', '{empty}'], 'expected images in this folder, found none'),
        (['--image', '{photos}', '{photos}/a.png'], 'a.png: expected one image of this name'),
        (['--sample', '99'], 'sample 99: expected 0 to 7'),
        (['--out', '{photos}/notes.txt'], 'notes.txt'),
    ],
)
def test_what_cannot_be_drawn_is_one_line(config, run_tool, photos, tmp_path, options, message):
    (tmp_path / 'empty').mkdir()
    options = [o.format(photos=photos, empty=tmp_path / 'empty') for o in options]
    with pytest.raises(SystemExit, match=f'^error: .*{re.escape(message)}') as error:
        run_tool(TOOL, config, '--out', tmp_path / 'out', *options)
    assert '\n' not in str(error.value)
    assert not list((tmp_path / 'out').rglob('*.part'))


def test_networks_without_attention_say_so(make_config, run_tool, tmp_path):
    config = make_config(('depths=[1, 1]', 'depths=[0, 0]'))
    message = '--kind overlay .*attentions: none; kinds of this layer: stages$'
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOL, config, '--kind', 'overlay', '--out', tmp_path)
    run_tool(TOOL, config, '--out', tmp_path)
    assert written(tmp_path) == ['sample_00000/stages.png']
