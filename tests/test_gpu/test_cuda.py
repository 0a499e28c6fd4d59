"""On a GPU: the golden outputs, neurons, mixed precision, compilation, samples, whole runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import golden
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from networks import awaken

from mmqkformer.analysis import compare_with_batch_of_one
from mmqkformer.analysis.batches import training_batch
from mmqkformer.convert import FAMILIES, convert_state_dict
from mmqkformer.neurons import SpikingNeuron

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py'
GOLDEN = {
    'hst-10-384_t4_224px_b1': 'qkformer/release/hst-10-384_8xb64_in1k',
    'hst-4-384_cifar100_t4_b1': 'qkformer/release/hst-4-384_1xb64_cifar100',
    'hst-4-384_cifar100_t4_b3_leaky': 'qkformer/release/hst-4-384_1xb64_cifar100',
    'hst-2-256_cifar10dvs_t16_b1': 'qkformer/release/hst-2-256-t16_1xb16_cifar10dvs',
    'spikformer-8-384_in1k_t4_64px_b1': 'spikformer/spikformer-8-384_8xb24_in1k',
    'spikformer-4-384_cifar100_t4_b1': 'spikformer/spikformer-4-384_1xb128_cifar100',
}
NEURONS = sorted(
    name
    for name, part in MODELS.module_dict.items()
    if issubclass(part, SpikingNeuron) and part.__module__.startswith('mmqkformer.')
)
DETERMINISTIC = ('randomness.deterministic=True', 'env_cfg.cudnn_benchmark=False')


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def load(name):
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def golden_model(name, case):
    family, state_dict = convert_state_dict(golden.released_state_dict(case['keys']))
    model = MODELS.build(load(GOLDEN[name]).model).double().cuda()
    model.load_state_dict(state_dict)
    return model, FAMILIES[family].rename


@pytest.mark.parametrize('name', GOLDEN)
def test_golden_logits(name):
    case = golden.load_case(name)
    model, _ = golden_model(name, case)
    with torch.no_grad():
        logits = model.eval()(golden.case_input(case).cuda())
    torch.testing.assert_close(logits.cpu(), case['logits'], rtol=0, atol=1e-9)


def test_golden_training_step():
    case = golden.load_case('hst-4-384_cifar100_t4_b1_train')
    model, rename = golden_model('hst-4-384_cifar100_t4_b1', case)
    logits = model.train()(golden.case_input(case).cuda())
    targets = torch.tensor(case['targets'], device='cuda')
    torch.nn.functional.cross_entropy(logits, targets).backward()
    torch.testing.assert_close(logits.detach().cpu(), case['logits'], rtol=0, atol=1e-9)
    parameters = dict(model.named_parameters())
    for key, norm in case['grad_norms'].items():
        assert parameters[rename(key)].grad.norm().item() == pytest.approx(norm, rel=0, abs=1e-9)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', NEURONS)
def test_a_neuron_computes_what_it_computes_on_the_cpu(name, dtype):
    neuron = MODELS.build(dict(type=name)).to(dtype)
    x = 2 * torch.randn(5, 8, 64, 49, generator=torch.Generator().manual_seed(0), dtype=dtype)
    results = {}
    for device in ('cpu', 'cuda'):
        given = x.detach().clone().to(device).requires_grad_()
        spikes = neuron.to(device)(given)
        (spikes * torch.linspace(0, 1, 49, dtype=dtype, device=device)).sum().backward()
        results[device] = spikes.detach().cpu(), given.grad.cpu()
    assert 0 < results['cpu'][0].count_nonzero() < x.numel()
    assert torch.equal(*(spikes for spikes, _ in results.values()))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(*(grad for _, grad in results.values()), rtol=0, atol=tolerance)


@pytest.mark.parametrize('name', ['LIFNeuron', 'IFNeuron', 'PLIFNeuron'])
def test_spikingjelly_agrees(name):
    x = 2 * torch.randn(5, 8, 64, 49, device='cuda')
    results = []
    for backend in ('torch', 'spikingjelly'):
        given = x.clone().requires_grad_()
        spikes = MODELS.build(dict(type=name, backend=backend)).cuda()(given)
        (spikes * torch.linspace(0, 1, 49, device='cuda')).sum().backward()
        results.append((spikes.detach(), given.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=0, atol=1e-5)


def test_mixed_precision_trains():
    cfg = load('qkformer/hst-4-384_1xb64_cifar100')
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).cuda().train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    wrapper.loss_scaler._init_scale = 2.0**10
    membranes = set()
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(
                lambda m, args, out: membranes.add((args[0].dtype, out.dtype))
            )
    batch = training_batch('mmpretrain', (3, 32, 32), 16)
    losses = [model.train_step(batch, wrapper)['loss'].item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert (torch.float16, torch.float16) in membranes


@pytest.mark.parametrize(
    'name', ['qkformer/hst-3-128_1xb64_digits', 'qkformer/hst-10-384_8xb64_in1k']
)
def test_a_sample_does_not_depend_on_the_batch(name):
    torch.manual_seed(0)
    model = MODELS.build(load(name).model).double()
    images = torch.randn(4, 3, 37, 63, dtype=torch.float64)
    model = awaken(model, images).cuda()
    difference = compare_with_batch_of_one(model, images.cuda())
    assert difference.spikes > 1e5
    assert difference.flips == 0
    assert difference.logits < 1e-12


def test_compiled_and_in_channels_last_it_is_the_same_network():
    torch.manual_seed(0)
    model = MODELS.build(load('qkformer/hst-3-128_1xb64_digits').model).double()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    model, images = awaken(model, images).cuda(), images.cuda()
    with torch.no_grad():
        expected = model(images)
        compiled = torch.compile(model.backbone, fullgraph=True)(images)
        torch.testing.assert_close(compiled, model.backbone(images), rtol=0, atol=1e-12)
        model.to(memory_format=torch.channels_last)
        found = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def run(*command, **kwargs):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def train(work_dir, *options, epochs=2):
    options = (f'train_cfg.max_epochs={epochs}', 'train_dataloader.num_workers=0', *options)
    tool = [sys.executable, ROOT / 'tools/train.py', DIGITS, '--work-dir', work_dir, '--amp']
    return [*map(str, tool), '--cfg-options', *options]


def logged(work_dir, tag):
    (scalars,) = work_dir.rglob('scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    return [line[tag] for line in lines if tag in line]


def test_a_run_tests_what_it_validated(tmp_path):
    run(*train(tmp_path / 'run'))
    measured = logged(tmp_path / 'run', 'val/accuracy_ema/top1')
    test = (sys.executable, ROOT / 'tools/test.py', DIGITS, tmp_path / 'run/epoch_2.pth')
    out = tmp_path / 'metrics.json'
    # The validation's split, in float32 as there
    split = 'test_dataloader.dataset.split=val'
    run(*test, '--out', out, '--out-item', 'metrics', '--cfg-options', split)
    assert json.loads(out.read_text())['accuracy/top1'] == pytest.approx(measured[-1], abs=1e-4)
    assert logged(tmp_path / 'run', 'train_epoch/loss')[-1] > 0


def test_nccl_and_synchronised_norms_run(tmp_path):
    config = tmp_path / 'sync.py'
    config.write_text(f"_base_ = '{DIGITS}'\nsync_bn = 'torch'\n")
    options = ('--work-dir', tmp_path / 'run', '--amp', '--cfg-options', 'train_cfg.max_epochs=1')
    run(
        'bash',
        ROOT / 'tools/dist_train.sh',
        config,
        1,
        *options,
        env={**os.environ, 'PYTHON': sys.executable},
    )
    assert (tmp_path / 'run/epoch_1.pth').is_file()


def test_a_killed_run_ends_with_the_bits_of_the_unbroken_one(tmp_path):
    run(*train(tmp_path / 'whole', *DETERMINISTIC))
    broken = train(tmp_path / 'broken', *DETERMINISTIC)
    with subprocess.Popen(broken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / 'broken/epoch_1.pth').is_file():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / 'broken/epoch_2.pth').is_file()
    run(*broken, '--resume')
    whole, resumed = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)
        for name in ('whole', 'broken')
    )
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in whole[part].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, resumed[part][key]), key
