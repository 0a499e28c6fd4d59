"""Quantised models: exact through loading, copies, averages, precision and compilation."""

import copy
import io
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner.base_loop import BaseLoop
from mmpretrain.structures import DataSample
from networks import awaken
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mmqkformer.analysis import count_operations
from mmqkformer.engine.checkpoints import check_checkpoint
from mmqkformer.engine.hooks.partial_load import PartialLoadHook
from mmqkformer.layers import LSQ
from mmqkformer.layers.quant import (
    check_steps,
    codes,
    quantise,
    quantised_layers,
)

LSQ4 = dict(type='LSQ', bits=4)
TINY = dict(
    embed_dims=[8, 16],
    depths=[1, 1],
    num_heads=[2, 2],
    mlp_ratios=[1, 1],
    attentions=['QKTokenAttention', 'SpikingSelfAttention'],
    stem=dict(channels=[4, 8], pools=[False, True], shortcut_from=1),
    pool='last',
)


def classifier(quant=LSQ4, seed=0, **kwargs):
    torch.manual_seed(seed)
    head = dict(type='SpikingClsHead', num_classes=5, in_channels=16, quant=quant)
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='QKFormer', arch=TINY, time_steps=2, quant=quant, **kwargs),
            head=head,
        )
    )


def images(batch=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, 17, 22, dtype=torch.float64, generator=generator).to(dtype)


def awake(**kwargs):
    """In float64, with spikes in every layer."""
    model = classifier(**kwargs).double()
    nn.init.normal_(model.head.fc.weight)
    return awaken(model, images(4))


def trained_steps(model):
    """Other steps than the weights give, a different one for each channel."""
    with torch.no_grad():
        for layer in quantised_layers(model).values():
            layer.alpha.mul_(torch.linspace(0.7, 1.3, len(layer.alpha)))
    return model


def test_every_layer_is_swapped_and_names_stay():
    plain, quantised = classifier(None), classifier()
    layers = quantised_layers(quantised)
    is_linear = (nn.Conv2d, nn.Linear)
    assert layers.keys() == {n for n, m in plain.named_modules() if isinstance(m, is_linear)}
    own = quantised.state_dict()
    added = {f'{name}.{key}' for name in layers for key in ('alpha', 'init_state')}
    assert own.keys() == plain.state_dict().keys() | added
    for name, value in plain.state_dict().items():
        assert torch.equal(own[name], value)  # the same random numbers
    for name, layer in layers.items():
        expected = 2 * layer.weight.abs().mean() / 7**0.5
        assert own[f'{name}.alpha'].shape == (layer.weight.size(0),)
        torch.testing.assert_close(layer.alpha, expected.repeat(len(layer.alpha)))
        assert own[f'{name}.init_state'].tolist() == [1.0]


@pytest.mark.parametrize(
    ('part', 'cfg'),
    [
        ('backbone', dict(type='QKFormer', arch=TINY)),
        ('neck', dict(type='PEDSNeck', in_channels=[4], widths=[8])),
        ('head', dict(type='SpikingClsHead', num_classes=3, in_channels=4)),
    ],
)
def test_errors_of_configs_have_their_path(part, cfg):
    assert quantised_layers(MODELS.build(dict(cfg, quant=LSQ4)))
    for quant, message in [
        (dict(type='LSQ', bits=1), r'\.bits=1: expected an integer from 2 to 8'),
        (dict(type='LSQ', bits=9), r'\.bits=9: expected an integer from 2 to 8'),
        (dict(type='LSQ', nonsense=3), r'\.nonsense=3: LSQ knows no such key'),
        (dict(type='LIFNeuron'), r"\.type='LIFNeuron': expected a LSQ"),
        ('LSQ', "='LSQ': expected a dict with 'type'"),
    ]:
        with pytest.raises(ValueError, match=rf'^{part}\.quant{message}'):
            MODELS.build(dict(cfg, quant=quant))


@pytest.mark.parametrize('wrong', [0.0, -0.1, float('nan'), float('inf')])
def test_steps_to_divide_by_are_positive(wrong):
    model = classifier()
    with torch.no_grad():
        model.backbone.stages[1].blocks[0].mlp.fc1.conv.alpha[3] = wrong
    name = r'backbone\.stages\.1\.blocks\.0\.mlp\.fc1\.conv\.alpha'
    with pytest.raises(ValueError, match=rf'^{name}={wrong:g}: expected positive steps'):
        model(images(dtype=torch.float32))
    model = classifier()
    nn.init.zeros_(model.head.fc.weight)
    model.init_weights()  # draws the classifier anew
    model(images(dtype=torch.float32))
    with torch.no_grad():
        model.head.fc.alpha.fill_(wrong)
    with pytest.raises(ValueError, match=r'^head\.fc\.alpha='):
        model(images(dtype=torch.float32))
    with pytest.raises(ValueError, match=r'^head\.fc\.alpha='):
        check_steps(model)


def test_init_weights_takes_the_steps_from_the_weights_it_draws():
    constant = dict(type='Kaiming', layer=['Conv2d'], a=0.1)
    model = classifier(init_cfg=constant)
    before = model.state_dict()['head.fc.alpha'].clone()
    model.init_weights()
    for layer in quantised_layers(model).values():
        expected = 2 * layer.weight.abs().mean() / 7**0.5
        torch.testing.assert_close(layer.alpha, expected.repeat(len(layer.alpha)))
        assert layer.init_state == 1
    assert not torch.equal(before, model.head.fc.alpha)


def without_steps(state_dict):
    return {k: v for k, v in state_dict.items() if k.split('.')[-1] not in ('alpha', 'init_state')}


def test_float_weights_give_the_steps_anew():
    floats, model = classifier(None, seed=1).state_dict(), trained_steps(classifier())
    model.load_state_dict(floats)
    for layer in quantised_layers(model).values():
        expected = 2 * layer.weight.abs().mean() / 7**0.5
        torch.testing.assert_close(layer.alpha, expected.repeat(len(layer.alpha)))
        assert layer.init_state == 1
    assert torch.equal(model.head.fc.weight, floats['head.fc.weight'])


def test_steps_are_loaded_as_they_are(tmp_path):
    saved = trained_steps(classifier(seed=1))
    saved.backbone.init_weights()
    file = io.BytesIO()
    torch.save(trained_steps(saved).state_dict(), file)
    file.seek(0)
    loaded = classifier()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    # As mmengine's runner does with any model that it is given
    loaded.backbone.init_weights()
    for name, value in saved.backbone.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value), name
    x = images(dtype=torch.float32)
    assert torch.equal(loaded.eval()(x), saved.eval()(x))
    # Steps that a training has not begun to use, in other people's files
    state_dict = {k: v.clone() for k, v in saved.state_dict().items()}
    state_dict['head.fc.init_state'].zero_()
    loaded.load_state_dict(state_dict)
    expected = 2 * loaded.head.fc.weight.abs().mean() / 7**0.5
    torch.testing.assert_close(loaded.head.fc.alpha, expected.repeat(5))
    assert loaded.head.fc.init_state == 1
    torch.save(dict(state_dict=saved.state_dict()), tmp_path / 'saved.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'saved.pth'), prefix='backbone.')
    pretrained = classifier(init_cfg=cfg)
    pretrained.init_weights()
    for name, value in saved.backbone.state_dict().items():
        assert torch.equal(pretrained.backbone.state_dict()[name], value), name


def test_a_state_dict_that_lacks_a_step_is_damaged():
    state_dict = classifier().state_dict()
    gone = 'backbone.stages.0.embed.convs.0.conv.alpha'
    del state_dict[gone]
    with pytest.raises(RuntimeError, match=r'1 weights, e\.g\. stages.*alpha missing'):
        classifier().load_state_dict(state_dict, strict=False)
    state_dict = classifier().state_dict()
    state_dict[gone] = torch.full_like(state_dict[gone], float('nan'))
    with pytest.raises(RuntimeError, match='alpha not finite'):
        classifier().load_state_dict(state_dict)
    floats = classifier(None).state_dict()
    del floats['backbone.stages.0.embed.convs.0.conv.weight']
    with pytest.raises(RuntimeError, match='weight missing'):
        classifier().load_state_dict(floats, strict=False)


def test_what_is_tested_has_its_steps(tmp_path):
    torch.save(classifier(None).state_dict(), tmp_path / 'float.pth')
    check_checkpoint(classifier(), tmp_path / 'float.pth', partial=True)
    with pytest.raises(ValueError, match=r'36 steps of quantised weights missing: .*\.alpha'):
        check_checkpoint(classifier(), tmp_path / 'float.pth')
    state_dict = classifier().state_dict()
    torch.save(state_dict, tmp_path / 'quantised.pth')
    check_checkpoint(classifier(), tmp_path / 'quantised.pth')
    with pytest.raises(ValueError, match=r'unexpected: .*\.alpha'):
        check_checkpoint(classifier(None), tmp_path / 'quantised.pth')
    del state_dict['head.fc.alpha']
    torch.save(state_dict, tmp_path / 'damaged.pth')
    with pytest.raises(ValueError, match=r'1 missing: head\.fc\.alpha'):
        check_checkpoint(classifier(), tmp_path / 'damaged.pth')


class IdleLoop(BaseLoop):
    def __init__(self):
        pass

    def run(self):
        pass


@pytest.mark.parametrize('given', [None, LSQ4])
@pytest.mark.parametrize('classes', [5, 7])
def test_a_partial_load_takes_steps_from_the_weights_that_it_loads(given, classes):
    source = trained_steps(classifier(given, seed=1)).state_dict()
    source['head.fc.weight'] = 3 * torch.randn(classes, 16)
    source['head.fc.bias'] = torch.zeros(classes)
    if given:
        source['head.fc.alpha'] = torch.full((classes,), 0.5)
    warnings = []
    model = classifier()
    runner = SimpleNamespace(
        model=model,
        _resume=False,
        _train_loop=IdleLoop(),
        _load_from='',
        logger=SimpleNamespace(warning=warnings.append),
    )
    checkpoint = dict(state_dict=dict(source))
    PartialLoadHook().after_load_checkpoint(runner, checkpoint)
    model.load_state_dict(checkpoint['state_dict'])
    fits = classes == 5
    assert len(warnings) == (not fits)
    assert torch.equal(model.head.fc.weight, source['head.fc.weight']) == fits
    expected = 2 * model.head.fc.weight.abs().mean() / 7**0.5
    if fits and given:
        expected = torch.tensor(0.5)
    torch.testing.assert_close(model.head.fc.alpha, expected.repeat(5))


def losses_and_gradients(model, run=None):
    model.train().zero_grad()
    samples = [DataSample().set_gt_label(label) for label in (0, 3, 4)]
    x = images(dtype=next(model.parameters()).dtype)
    losses = (model if run is None else run)(x, samples, mode='loss')
    sum(losses.values()).backward()
    return [*losses.values(), *(p.grad.clone() for p in model.parameters()), *model.buffers()]


def assert_same(found, expected):
    for value, wanted in zip(found, expected, strict=True):
        assert torch.equal(value, wanted)


def test_copies_and_averages_compute_the_same():
    model = trained_steps(awake())
    copied = copy.deepcopy(model)
    averaged = [AveragedModel(model), ExponentialMovingAverage(model, momentum=0.5)]
    x = images()
    model.eval()
    for other in (copied, averaged[0].module, averaged[1].module):
        assert torch.equal(other.eval()(x), model(x))
    for average in averaged:
        average.update_parameters(model)
    before = [p.detach().clone() for p in model.parameters()]
    trained_steps(model)
    for average in averaged:
        average.update_parameters(model)
    for average in averaged:
        for old, new, mean in zip(before, model.parameters(), average.module.parameters()):
            torch.testing.assert_close(mean, (old + new) / 2)
    for layer in quantised_layers(averaged[1]).values():  # of their own weights and steps
        levels = layer.quantised_weight() / layer.alpha.reshape(-1, *[1] * (layer.weight.dim() - 1))
        torch.testing.assert_close(levels, levels.round())
    losses_and_gradients(copied)


def test_checkpointing_changes_nothing():
    assert_same(losses_and_gradients(awake(with_cp=True)), losses_and_gradients(awake()))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_arithmetic_is_float32_under_autocast_and_in_half_precision(dtype):
    model = trained_steps(awake()).float()
    layers = quantised_layers(model)
    expected = {name: layer.quantised_weight() for name, layer in layers.items()}
    with torch.autocast('cpu', dtype=dtype):
        for name, layer in layers.items():
            assert layer.quantised_weight().dtype == torch.float32
            assert torch.equal(layer.quantised_weight(), expected[name])
        gradients = losses_and_gradients(model)
    assert all(grad.isfinite().all() for grad in gradients)
    assert all(layer.alpha.grad.abs().sum() > 0 for layer in layers.values())
    layer = nn.Linear(64, 8)
    LSQ()(layer, 'fc')
    half = copy.deepcopy(layer).to(dtype)
    weight = half.quantised_weight()
    assert weight.dtype == dtype
    # One rounding, of the product
    whole = codes(half.weight, half.alpha, 4)
    assert torch.equal(weight, (whole * half.alpha.float()[:, None]).to(dtype))
    assert torch.equal(quantise(weight, half.alpha, 4), weight)


@pytest.mark.parametrize('backend', ['eager', pytest.param('aot_eager', marks=pytest.mark.slow)])
def test_it_compiles_to_one_graph(backend):
    eager, compiled = trained_steps(awake()), trained_steps(awake())
    torch.compiler.reset()
    run = torch.compile(compiled, backend=backend, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(run(images()), eager(images()), rtol=0, atol=1e-12)
    expected = losses_and_gradients(eager)
    for value, wanted in zip(losses_and_gradients(compiled, run), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('strict', [False, True])
def test_it_exports(strict):
    model = trained_steps(awake()).eval()
    with torch.no_grad():
        program = torch.export.export(
            model,
            (images(),),
            dynamic_shapes=({0: torch.export.Dim('batch')},),
            strict=strict,
        )
        found, expected = program.module()(images(5)), model(images(5))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_steps_do_not_decay():
    model = classifier()
    schedule = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        constructor='MergedOptimWrapperConstructor',
        paramwise_cfg=schedule,
    )
    groups = build_optim_wrapper(model, cfg).param_groups
    decays = {p: group['weight_decay'] for group in groups for p in group['params']}
    for layer in quantised_layers(model).values():
        assert decays[layer.alpha] == 0.0
        assert decays[layer.weight] == 0.05


def test_frozen_stages_keep_their_steps():
    model = classifier(frozen_stages=1)
    frozen = quantised_layers(model.backbone.stages[0])
    assert not any(layer.alpha.requires_grad for layer in frozen.values())
    assert model.backbone.stages[1].embed.convs[0].conv.alpha.requires_grad


def test_operations_are_those_of_the_float_model():
    plain, quantised = (count_operations(classifier(q), (3, 32, 32)) for q in (None, LSQ4))
    assert quantised.layers == plain.layers
    steps = sum(len(layer.alpha) for layer in quantised_layers(classifier()).values())
    assert quantised.parameters == plain.parameters + steps


@pytest.mark.parametrize(
    ('arch', 'steps'),
    [
        ('meta-spikeformer-15m', 43_712),
        ('meta-spikeformer-31m', 62_968),
        ('meta-spikeformer-55m', 83_624),
    ],
)
def test_there_are_as_many_steps_as_in_qsd_transformer(arch, steps):
    """In the release of arXiv 2501.13492 (classifiers of 1000 classes), without the unused ones."""
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='SpikingBackbone', arch=arch, quant=LSQ4))
    own = sum(len(layer.alpha) for layer in quantised_layers(backbone).values())
    assert own + 1000 == steps
