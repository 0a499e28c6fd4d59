"""The benchmarks run, and what they count is what is counted by hand."""

import importlib
import json
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmqkformer.neurons import LIFNeuron

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'tools' / 'benchmark'


@pytest.fixture
def tool(monkeypatch):
    """Import a benchmark by its name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def results_of(path):
    result = json.loads(path.read_text())
    assert set(result) == {'title', 'device', 'versions', 'results'}
    assert torch.__version__.startswith(result['versions']['torch'])
    return result['results']


def with_figure(folder):
    return '--json', folder / 'found.json', '--figure', folder / 'found.png'


def test_contestants_of_one_process_take_turns(tool):
    order = []
    calls = {name: lambda name=name: order.append(name) for name in 'ab'}
    times = tool('interleaved').take_turns(calls, 3, '')
    assert ''.join(order) == 'aabb' + 'ab' + 'ba' + 'ab'
    assert [len(one.seconds) for one in times.values()] == [3, 3]
    assert times['a'].ratios(times['a']) == [1, 1, 1]


def test_short_calls_are_repeated_and_the_mean_is_taken(tool, monkeypatch):
    now, calls = [0.0], []

    def call():
        now[0] += 2.0
        calls.append(now[0])

    interleaved = tool('interleaved')
    monkeypatch.setattr(interleaved.time, 'perf_counter', lambda: now[0])
    times = interleaved.take_turns(dict(one=call), 4, '', least=5.0)['one']
    assert (times.first, times.seconds, len(calls)) == (4.0, [2.0] * 4, 2 + 4 * 3)


def test_a_neuron_layer_is_measured_by_every_backend_that_computes_it(run_tool, tmp_path):
    arguments = ('--elements', 64, '--time-steps', 2, '--rounds', 1, '--milliseconds', 0)
    run_tool(
        'benchmark/neuron.py', *arguments, '--backends', 'torch', 'cupy', *with_figure(tmp_path)
    )
    rows = results_of(tmp_path / 'found.json')
    names = ['copy', 'clone', 'torch', *(['cupy'] if torch.cuda.is_available() else [])]
    passes = ['forward', 'forward and backward']
    assert [(r['what'], r['name']) for r in rows] == [(w, n) for w in passes for n in names]
    assert (tmp_path / 'found.png').stat().st_size > 1000


def test_the_traffic_of_a_layer_is_that_of_its_tensors(tool):
    neuron, times = tool('neuron'), tool('interleaved').Times
    measured = dict(copy=times([1.0, 2.0]), torch=times([4.0, 2.0]))
    copy, layer = neuron.rows_of(measured, torch.ones(2, 500), neuron.TRAINING)
    # 1000 floats in and out in 1.5 s; twice in, spikes out, gradient in and out in 3 s
    assert copy.gigabytes == pytest.approx(2 * 4000 / 1.5 / 1e9)
    assert layer.gigabytes == pytest.approx(5 * 4000 / 3 / 1e9)
    # Of 2.5 copies, a quarter in the first round and all in the second
    assert layer.spread == (2.5 / 4, 2.5)
    assert layer.nanoseconds == pytest.approx(3e6)
    assert copy.of_copy == 1


@pytest.mark.slow
def test_training_data_are_loaded_by_every_transform(tmp_path):
    # A script of its own: its workers are forked, which other tests' threads would disturb
    names = ('hst-10-384_8xb64_in1k', 'hst-4-384_1xb64_cifar10', 'hst-2-256-t16_1xb16_dvs128')
    configs = [ROOT / 'configs' / 'qkformer' / f'{name}.py' for name in names]
    sizes = ['--batches', '2', '--batch', '2', '--rounds', '1', '--workers', '1']
    films = ['--films', '1', '--duration', '20000']
    command = [sys.executable, FOLDER / 'loaders.py', *configs, *sizes, *films]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([*command, *with_figure(tmp_path)], check=True, env=env, timeout=300)
    found = results_of(tmp_path / 'found.json')
    assert [one['config'] for one in found] == list(names)
    for path, one in zip(configs, found, strict=True):
        pipeline = Config.fromfile(path).train_dataloader.dataset.pipeline
        assert list(one['stages']) == ['info', *(step['type'] for step in pipeline)]
        assert one['alone'] == pytest.approx(1000 / sum(one['stages'].values()))
        assert one['workers']['1'][0] > 0
    assert [one['card'] for one in found] == [pytest.approx(32 / 0.3435), None, None]
    assert (tmp_path / 'found.png').stat().st_size > 1000


def test_data_that_cannot_be_made_are_named(tool, tmp_path):
    dataset = dict(type='CocoDataset', pipeline=[])
    with pytest.raises(ValueError, match=r"dataset\.type='CocoDataset': expected ImageNet"):
        tool('loaders').dataset_of(dataset, tmp_path, 2, None)


@pytest.fixture
def small_quantised(tmp_path):
    """A config of a small QSD-Transformer."""
    base = ROOT / 'configs' / 'qsd' / 'qsd-s_8xb196_in1k.py'
    config = tmp_path / 'small.py'
    arch = dict(base='qsd-s', embed_dims=[8, 8, 16, 16, 16], num_heads=2)
    config.write_text(
        f'_base_ = {str(base)!r}\nmodel = dict(\n'
        f'    backbone=dict(arch=dict(_delete_=True, **{arch!r})), head=dict(in_channels=16)\n)\n'
    )
    return config


def test_forms_of_a_quantised_network_are_timed(small_quantised, run_tool, tmp_path, capsys):
    sizes = ('--batch', 2, 1, '--size', 32, '--rounds', 3, '--milliseconds', 0)
    arguments = ('--whole', *sizes, '--json', tmp_path / 'found.json')
    run_tool('benchmark/int8.py', '--config', small_quantised, *arguments)
    results = results_of(tmp_path / 'found.json')
    assert list(results) == ['2', '1']
    for forms in results.values():
        assert list(forms) == ['quantised', 'dequantised', 'fused', 'int8']
        assert all(len(one['seconds']) == 3 for one in forms.values())
    assert re.search('int8: [0-9,]+ of [0-9,]+ outputs of neurons differ', capsys.readouterr().out)


def test_what_runs_on_the_cpu_is_said_to_beside_a_gpu(tool, monkeypatch, tmp_path):
    interleaved = tool('interleaved')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'a GPU')
    assert interleaved.device_name() == 'a GPU'
    assert re.match('[0-9]+ CPU threads', interleaved.cpu_name())
    for name, device in (('default', None), ('cpu', interleaved.cpu_name())):
        interleaved.write(tmp_path / name, '', {}, device)
    found = [json.loads((tmp_path / name).read_text())['device'] for name in ('default', 'cpu')]
    assert found == ['a GPU', interleaved.cpu_name()]


def test_convolutions_of_spikes_are_exact_in_int8(small_quantised, run_tool, tmp_path):
    sizes = ('--size', 32, '--rounds', 1, '--milliseconds', 0)
    run_tool(
        'benchmark/int8.py', '--config', small_quantised, *sizes, '--json', tmp_path / 'found.json'
    )
    rows = results_of(tmp_path / 'found.json')['1']
    for row in rows:
        spikes = row['kind'].startswith('spikes')
        assert {'int8', 'conversion'} & set(row['seconds']) == (
            {'int8', 'conversion'} if spikes else set()
        )
        assert row['off']['float32'] == row['off'].get('int8', 0) == 0
    kinds = {row['kind'] for row in rows}
    # The first sees the image, and within a mixer convolutions see convolutions
    assert {'real numbers, 7x7', 'real numbers, depthwise', 'spikes, 3x3', 'spikes, 1x1'} <= kinds


def test_layers_without_int8_stay_float32(tool):
    int8 = tool('int8')
    floats = {name: [8.0] for name in int8.FLOATS}
    rows = [
        dict(layers=2, seconds={**floats, 'int8': [1.0], 'conversion': [0.5]}),
        dict(layers=3, seconds={**floats, 'float32, packed': [7.0]}),
    ]
    assert int8.total(rows, 'float32') == [40]
    assert int8.total(rows, 'int8') == [2 + 21]
    assert int8.total(rows, 'int8 with conversion') == [3 + 21]


def test_the_table_of_an_attentions_memory(run_tool, tmp_path, capsys):
    run_tool('benchmark/attention_memory.py', '--sides', 10, 80, *with_figure(tmp_path))
    out = capsys.readouterr().out
    assert '162.50' in out
    rows = results_of(tmp_path / 'found.json')
    assert [row['paper'] for row in rows] == [0.10, 0.14, None, 6.32, 162.5, None]
    assert (tmp_path / 'found.png').stat().st_size > 1000


def test_an_exponent_is_that_of_the_larger_half(tool):
    exponent = tool('scaling').exponent
    sizes = [1, 2, 4, 8, 16]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [9, 7, 4, 8, 16]) == pytest.approx(1)
    assert exponent(sizes[:4], [5, 6, 16, 64]) == pytest.approx(2)


def test_times_are_measured_against_every_axis(run_tool, tmp_path):
    sizes = {
        '--time-steps': (1, 2, 3),
        '--sides': (32, 33, 34),
        '--token-sides': (2, 3, 4),
        '--batch': (1, 2, 3),
    }
    arguments = [text for key, values in sizes.items() for text in (key, *values)]
    small = ('--arch', 'hst-2-256', '--channels', 16, '--heads', 2, '--rounds', 1)
    run_tool('benchmark/scaling.py', *arguments, *small, *with_figure(tmp_path))
    curves = results_of(tmp_path / 'found.json')
    assert len(curves) == 4 * 3
    assert {c['axis']: c['sizes'] for c in curves} == dict(
        T=[1, 2, 3], tokens=[4, 9, 16], batch=[1, 2, 3]
    )
    assert all(math.isfinite(curve['exponent']) for curve in curves)


def test_a_curve_needs_three_sizes(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('benchmark/scaling.py', '--batch', 1, 2)
    assert (
        '--batch [1, 2]: expected at least 3 sizes, from small to large' in capsys.readouterr().err
    )


@pytest.mark.slow
def test_two_processes_train_beside_one(tmp_path):
    # A script of its own, which the processes import
    command = [sys.executable, FOLDER / 'scaling.py', '--processes', '--arch', 'hst-2-256']
    sizes = ['--batch', '1', '--sides', '32', '--rounds', '1']
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([*command, *sizes, *with_figure(tmp_path)], check=True, env=env, timeout=300)
    times = results_of(tmp_path / 'found.json')
    assert list(times) == ['one process', 'two, apart', 'two, DDP']
    assert all(one['seconds'][0] > 0 for one in times.values())


class Small(nn.Module):
    """A layer of each kind, and a sum."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.pool = nn.MaxPool2d(2)
        self.neuron = LIFNeuron()

    def forward(self, x):
        y = self.pool(self.norm(self.conv(x)))
        return self.neuron(y.unsqueeze(0)) + y


def test_operations_and_traffic_of_layers_are_counted(tool):
    kinds = tool('roofline').count(Small().eval(), torch.randn(1, 3, 4, 4))
    # 1 x 1 convolution on 16 pixels, 3 channels to 5, and its weights
    assert kinds['convolution'].operations == 2 * 3 * 5 * 16
    assert kinds['convolution'].traffic == 4 * (3 * 16 + 5 * 16 + 3 * 5)
    assert kinds['norm'].traffic == 4 * (2 * 5 * 16 + 2 * 5)
    assert kinds['pool'].traffic == 4 * (5 * 16 + 5 * 4)
    assert kinds['neuron'].traffic == 4 * 2 * 20
    assert kinds['other'].operations == 20
    assert kinds['other'].traffic == 4 * 3 * 20


def test_an_expanded_tensor_is_read_once(tool):
    assert tool('roofline').touched(torch.ones(1, 6).expand(4, 6)) == 24


def test_layers_have_their_own_time_only(tool, monkeypatch):
    roofline = tool('roofline')
    now = iter(range(100))
    monkeypatch.setattr(roofline.time, 'perf_counter', lambda: next(now))
    model = nn.Sequential(nn.Conv2d(3, 3, 1), LIFNeuron())
    seconds = roofline.seconds_of(model, torch.randn(1, 3, 4, 4), rounds=1)
    # Boundaries: into the sequence, each of its modules, out, end; one tick a stretch
    assert seconds == dict(other=5, convolution=1, neuron=1)


def test_a_roof_is_the_slower_of_memory_and_products(tool):
    kind = tool('roofline').Kind(operations=100, traffic=10)
    assert (kind.roof(bandwidth=1, rate=20), kind.roof(bandwidth=10, rate=20)) == (10, 5)


def test_the_roofline_is_drawn(run_tool, tmp_path):
    arguments = ('--arch', 'hst-2-256', '--size', 32, '--time-steps', 2, '--rounds', 1)
    machine = ('--copied', 1, '--side', 32)
    run_tool('benchmark/roofline.py', *arguments, *machine, *with_figure(tmp_path))
    kinds = results_of(tmp_path / 'found.json')['kinds']
    assert set(kinds) == {'attention', 'convolution', 'neuron', 'norm', 'other', 'pool'}
    assert all(kind['seconds'] > 0 for kind in kinds.values())
    assert (tmp_path / 'found.png').stat().st_size > 1000


def test_more_gpus_exchange_what_a_ring_does(tool):
    predict = tool('many_gpus').predict
    # A step of 3 s; a ring of 8 within the node, of 16 over the link between
    links = dict(images=3, rate=1, gradients=800, inside=100, across=50, latency=0.5)
    inside, across = predict(8, **links), predict(16, **links)
    assert inside.all_reduce == pytest.approx(2 * 7 / 8 * 800 / 100 + 14 * 0.5)
    assert across.all_reduce == pytest.approx(2 * 15 / 16 * 800 / 50 + 30 * 0.5)
    assert inside.at_least == pytest.approx(24 / (3 + 21))
    assert inside.at_most == pytest.approx(24 / (3 + 19))
    assert predict(8, **dict(links, gradients=1, latency=0)).at_most == 8


def test_the_table_of_many_gpus(run_tool, tmp_path):
    run_tool('benchmark/many_gpus.py', '--gpus', 8, 16, *with_figure(tmp_path))
    rows = results_of(tmp_path / 'found.json')['rows']
    assert [(row['gpus'], row['batch']) for row in rows] == [(8, 256), (16, 512)]


def contestant(name):
    """What a race builds in a process of its own."""
    facts = dict(name=name, calls=0)

    def step():
        facts['calls'] += 1

    return step, lambda: facts


@pytest.mark.slow
def test_contestants_race_in_processes_of_their_own(tool, tmp_path, capsys):
    interleaved = tool('interleaved')
    contestants = {name: partial(contestant, name) for name in ('one', 'other')}
    times = interleaved.race(contestants, 3, '')
    assert [len(one.seconds) for one in times.values()] == [3, 3]
    # On a GPU each is called once more to get back its memory, untimed
    calls = 2 + 3 * (2 if torch.cuda.is_available() else 1)
    assert [one.facts for one in times.values()] == [
        dict(name='one', calls=calls),
        dict(name='other', calls=calls),
    ]
    interleaved.report('race', times, ['other'], tmp_path / 'found.json')
    assert list(results_of(tmp_path / 'found.json')) == ['one', 'other']
    assert 'x other' in capsys.readouterr().out


def test_a_race_is_drawn(tool, tmp_path):
    interleaved = tool('interleaved')
    interleaved.draw('', dict(one=interleaved.Times([1.0, 2.0, 4.0])), tmp_path / 'found.png')
    assert (tmp_path / 'found.png').stat().st_size > 1000


def expanded(line, arrays):
    """A line of the shell with what its arrays stand for."""
    for name, words in arrays.items():
        line = line.replace(f'"${{{name}[@]}}"', ' '.join(words.split()))
    return line.replace('"$batch"', '64').replace('"', '').split()


@pytest.mark.parametrize('size', ['quick', 'full'])
def test_the_command_for_gpus_runs_tools_with_arguments_that_there_are(tool, monkeypatch, size):
    script = (FOLDER / 'gpu.sh').read_text()
    lines = re.findall(r'^ *bench \S+ (\w+)\.py (.*)$', script, re.M)
    assert len(lines) >= 8
    quick, full = script.split('if [[ ${QUICK', 1)[1].split('\nfi\n')[0].split('\nelse\n')
    arrays = dict(re.findall(r'(\w+)=\((.*?)\)', dict(quick=quick, full=full)[size], re.S))
    for name, line in lines:
        words = expanded(line, arrays)
        assert '$' not in ' '.join(words).replace('$folder', '')
        monkeypatch.setattr(sys, 'argv', [name, *words])
        tool(name).parse_args()
