"""Memory of a training step: what the tool prints, and the table of the documentation."""

import re
import runpy
from pathlib import Path

import pytest
from mmengine.config import Config
from zoo import FAMILIES

from mmqkformer.analysis import TrainingMemory, micro_batches, training_memory

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools' / 'misc' / 'estimate_memory.py'))
PAGE = (ROOT / 'docs' / 'v100.md').read_text()
FIT, MARGIN = 32.0, 2.0  # GiB, of the table
ROWS = {match[1]: match[0] for match in re.finditer(r'^\| `([\w.-]+)` \| \d+ x .*$', PAGE, re.M)}
PATHS = {
    path.stem: path
    for folder in (*FAMILIES, 'detection', 'segmentation')
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
    if re.search('coco|ade20k|in1k', path.stem) and '288px' not in path.stem
}


def estimate(run_tool, capsys, *args):
    run_tool('misc/estimate_memory.py', *args)
    return capsys.readouterr().out


def test_parts_add_up_to_the_peak(make_config, run_tool, capsys):
    out = estimate(run_tool, capsys, make_config(), '--size', 64, 32, '--gpus', 2)
    assert '4 images of 64 x 32 on each of 2 GPUs, 1 micro-batches an optimizer step' in out
    values = {name: float(value) for value, name in re.findall(r' ([\d.]+) GiB  (\w+)', out)}
    peak = values.pop('peak')
    assert len(values) == 8
    assert peak == pytest.approx(sum(values.values()), abs=8e-3)
    assert 'Not counted' in out


def test_overrides_of_the_config_count(make_config, run_tool, capsys):
    arguments = (make_config(), '--size', 128, 128, '--gpus', 1, '--cfg-options')
    arguments += ('train_dataloader.batch_size=60',)
    peaks = []
    for option, said in (
        ('with_cp=False', 'without checkpointing, memory=None'),
        ('with_cp=True', 'with checkpointing, memory=None'),
        ('memory=packed', "without checkpointing, memory='packed'"),
    ):
        out = estimate(run_tool, capsys, *arguments, f'model.backbone.{option}')
        assert '60 images of 128 x 128 on each of 1 GPUs' in out
        assert said in out
        peaks.append(float(re.search(r'([\d.]+) GiB  peak', out)[1]))
    assert max(peaks[1:]) < 0.8 * peaks[0]


def test_the_largest_micro_batch_that_fits(make_config, run_tool, capsys):
    config = make_config()
    cfg = Config.fromfile(config)
    four, two = (m.total / 2**30 for m in list(micro_batches(cfg, False, (64, 64), 1))[:2])
    arguments = (config, '--size', 64, 64, '--gpus', 1, '--margin', 0.5, '--fit')
    out = estimate(run_tool, capsys, *arguments, 0.5 + (four + two) / 2)
    assert f'without checkpointing: 2 images ({two:.3f} GiB)' in out
    assert 'with checkpointing: 4 images' in out
    one = ('--cfg-options', 'train_dataloader.batch_size=1')
    out = estimate(run_tool, capsys, *arguments, 0.5001, *one)
    assert out.count('checkpointing: none') == 2


def test_a_row_of_the_table():
    def memory(images, **parts):
        return TrainingMemory(
            {name: n * 2**30 for name, n in parts.items()}, (4, 5), 8, images, 6, images == 3
        )

    row = TOOL['table_row']('name', memory(3, parameters=1, saved=2, working=4), memory(9), None)
    assert row == '| `name` | 4 x 5 | 3 x 6 | yes | 1.0 | 6.0 | 7.0 | 9 (0.0) | none |'
    # With the peak in the forward pass
    assert TOOL['table_row']('name', memory(3, parameters=1, working=6), memory(9), None) == row


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--markdown'], r'--markdown: expected --fit GIB'),
        (['--gpus', '0'], r'argument --gpus: 0: expected an integer of at least 1'),
        (['--size', '0', '9'], r'argument --size: 0: expected an integer of at least 1'),
        (['--fit', '1'], r'--margin 2: expected at least 0 and less than --fit'),
    ],
)
def test_nonsense_is_refused(arguments, message, make_config, run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('misc/estimate_memory.py', make_config(), *arguments)
    assert re.search(message, capsys.readouterr().err)


def test_a_config_without_a_size_asks_for_it(make_config, run_tool):
    with pytest.raises(ValueError, match=r'no transform states the size .* --size HEIGHT WIDTH'):
        run_tool('misc/estimate_memory.py', make_config())


def test_the_table_has_the_header_of_the_tool_and_a_row_for_each_large_config():
    assert TOOL['HEADER'] in PAGE
    assert ROWS.keys() == PATHS.keys()


@pytest.mark.parametrize('name', ROWS)
def test_every_micro_batch_of_the_table_fits(name):
    peak = float(ROWS[name].split(' | ')[6])
    assert peak <= FIT - MARGIN


def computed_row(name):
    cfg = Config.fromfile(PATHS[name])
    memory = training_memory(cfg)
    tries = (micro_batches(cfg, checkpointing, known=memory) for checkpointing in (False, True))
    fitting = [TOOL['largest'](memories, FIT - MARGIN) for memories in tries]
    return TOOL['table_row'](name, memory, *fitting)


def test_a_row_of_the_documentation_is_what_the_tool_computes():
    name = 'hst-10-768-t1_8xb64_in1k'
    assert computed_row(name) == ROWS[name]


MARKS = dict(detection=[pytest.mark.det], segmentation=[pytest.mark.seg])


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=MARKS.get(path.parent.name, [])) for name, path in PATHS.items()],
)
def test_every_row_of_the_documentation_is_what_the_tool_computes(name):
    assert computed_row(name) == ROWS[name]
