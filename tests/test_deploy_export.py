"""Files of classifiers do what the classifiers do, and are there only if they do."""

import json
import math
import sys

import onnx
import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F

from mmqkformer.analysis import recording
from mmqkformer.deploy import Flips, export, fuse
from mmqkformer.deploy import export as export_function
from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink
from mmqkformer.neurons import BatchLeakingNeuron, SpikingNeuron

# Of the module, whose name the package gives to the function
MODULE = sys.modules[export_function.__module__]
FAMILIES = [name for name in ARCHITECTURES if '-' not in name]
# The biases of STSA's attention are those of one grid of tokens
ONE_SIZE = {'stsa'}
# Few operators, which is what exporting takes its time for; that of attentions is a slow test
TINY = [
    dict(
        embed=dict(type='ConvEmbed', units=[dict(pool='before_neuron')]),
        channels=8,
        depth=1,
        block=[dict(type='SpikingMLP', name='mlp', ratio=1)],
    )
]


def classifier(stages=TINY, side=8, preprocessor=None, **kwargs):
    """A small classifier that fires, and five images (or films) of it."""
    torch.manual_seed(0)
    kwargs = dict(time_steps=2, in_channels=3) | kwargs
    cfg = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='SpikingBackbone', stages=stages, **kwargs),
        head=dict(type='SpikingClsHead', num_classes=5, in_channels=stages[-1]['channels']),
        data_preprocessor=preprocessor,
    )
    model = MODELS.build(cfg)
    nn.init.normal_(model.head.fc.weight)
    side = max(side, model.backbone.strides[-1])
    images = torch.randn(5, kwargs['in_channels'], side, side)
    awaken(model.backbone, images)
    return model, images


def larger(images, height, width):
    return F.interpolate(images, (height, width), mode='bilinear')


def test_an_onnx_file_gives_the_logits_to_whoever_runs_it(tmp_path):
    model, images = classifier()
    path = tmp_path / 'model.onnx'
    found = export(model, path, {(8, 8): images}, metadata=dict(classes='["a", "b"]'))
    assert [(each.size, each.batch, each.samples) for each in found] == [
        ((8, 8), 1, 5),
        ((8, 8), 4, 5),
    ]
    with torch.no_grad(), recording(model, SpikingNeuron, torch.numel) as sizes:
        logits = model(images)
    assert {each.flips.outputs for each in found} == {sum(sum(n) for n in sizes.values())}
    assert all(each.same == 5 and each.flips.flips == 0 for each in found)
    # Another implementation, and what the file says of itself
    file = onnx.load(path)
    assert [x.name for x in file.graph.input] == ['inputs']
    assert [x.name for x in file.graph.output] == ['logits']
    assert {p.key: p.value for p in file.metadata_props}['classes'] == '["a", "b"]'
    (given,) = ReferenceEvaluator(file).run(None, {'inputs': images.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), logits, rtol=0, atol=1e-4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def reference_evaluator(monkeypatch):
    """ONNX's own evaluator, which knows convolutions in float64."""

    def load(path):
        network = ReferenceEvaluator(onnx.load(path))
        run = network.run
        return lambda x: [torch.from_numpy(y) for y in run(None, {'inputs': x.numpy()})]

    forms = dict(MODULE._FORMATS, onnx=(MODULE._write_onnx, load))
    monkeypatch.setattr(MODULE, '_FORMATS', forms)


@pytest.mark.slow
@pytest.mark.parametrize('form', ['pt2', 'onnx'])
def test_no_spike_flips_in_float64(form, tmp_path, reference_evaluator):
    model, images = classifier()
    model, images = model.double(), images.double()
    inputs = {(8, 8): images, (4, 12): larger(images, 4, 12)}
    path = tmp_path / f'model.{form}'
    found = export(model, path, inputs, form=form, dynamic_size=True, batches=(1, 2, 5))
    assert len(found) == 6
    for each in found:
        assert each.flips.flips == 0
        assert each.flips.difference < 1e-12
        assert each.same == 5


def test_the_preprocessor_can_be_in_the_graph(tmp_path):
    preprocessor = dict(
        type='mmpretrain.ClsDataPreprocessor',
        mean=[100.0, 110.0, 120.0],
        std=[50.0, 60.0, 70.0],
        to_rgb=True,
    )
    model, _ = classifier(preprocessor=preprocessor)
    raw = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    path = tmp_path / 'model.pt2'
    args = dict(preprocess=True, metadata=dict(time_steps='2'))
    export(model, path, {(8, 8): raw}, form='pt2', **args)
    mean = torch.tensor([100.0, 110.0, 120.0]).view(3, 1, 1)
    std = torch.tensor([50.0, 60.0, 70.0]).view(3, 1, 1)
    extra = {'metadata.json': ''}
    given = torch.export.load(path, extra_files=extra).module()(raw)
    assert json.loads(extra['metadata.json']) == {'time_steps': '2'}
    with torch.no_grad():
        expected = model((raw.flip(1).float() - mean) / std)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_fused_model_is_compared_with_the_model_itself(tmp_path):
    model, images = classifier(neuron=dict(type='LIFNeuron', backend='compiled'))
    inputs = {(8, 8): images}
    path = tmp_path / 'model.pt2'
    (found,) = export(fuse(model), path, inputs, form='pt2', reference=model, batches=[5])
    assert found.flips.outputs > 0
    assert found.same == 5
    # The model keeps its backend
    neurons = [m for m in model.modules() if isinstance(m, SpikingNeuron)]
    assert {neuron.backend for neuron in neurons} == {'compiled'}


def test_a_file_that_does_something_else_is_not_left(tmp_path):
    model, images = classifier()
    other, _ = classifier()
    with torch.no_grad():
        other.backbone.stages[0].blocks[0].mlp.fc1.norm.bias += 3.0
    path = tmp_path / 'model.pt2'
    with pytest.raises(ValueError, match=r'model\.pt2: not written, as the file does something'):
        export(model, path, {(8, 8): images}, form='pt2', reference=other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('flips', 'message'),
    [
        (Flips(51, 1000, 0.1), 'the file does something else than the model'),
        (Flips(50, 1000, math.inf), 'the file does something else than the model'),
        (Flips(0, 1000, 0.0011), 'logits differ by more than 0.001 where all spikes are the same'),
        (Flips(50, 1000, 1.0), None),
        (Flips(0, 1000, 0.0009), None),
    ],
)
def test_what_a_file_may_do_otherwise(flips, message):
    agreement = MODULE.Agreement((8, 8), 1, 5, 5, flips)
    if message is None:
        MODULE._check([agreement], 0.05, 'm.onnx')
        return
    with pytest.raises(ValueError, match=message):
        MODULE._check([agreement], 0.05, 'm.onnx')


def test_logits_that_are_no_numbers_are_infinitely_far():
    class Expected(nn.Module):
        def forward(self, inputs):
            return inputs.flatten(1), inputs

    def fired(inputs):
        return [inputs.flatten(1), inputs]

    def broken(inputs):
        return [inputs.flatten(1) * math.nan]

    found = MODULE._compare(broken, fired, Expected(), torch.ones(3, 1, 2, 2), batch=2)
    assert found.flips == Flips(0, 12, math.inf)


def test_agreements_read_well():
    agreement = MODULE.Agreement((8, 12), 4, 5, 3, Flips(2, 1000, 0.25))
    assert str(agreement) == (
        '8 x 12, batches of 4: 2 of 1,000 outputs of neurons differ (2.00e-03), what comes out by '
        'at most 2.50e-01; top-1 is the same for 3 of 5'
    )


def with_leak(model):
    model.extra = BatchLeakingNeuron()
    return model


def without_head(model):
    return model.backbone


def of_events(model):
    model.data_preprocessor.polarities = 2
    return model


@pytest.mark.parametrize(
    ('change', 'kwargs', 'message'),
    [
        (with_leak, {}, 'extra: its membrane runs through the batch'),
        (without_head, {}, 'SpikingBackbone: expected an image classifier'),
        (of_events, dict(preprocess=True), 'expected to stay outside of the graph'),
        (None, dict(form='tflite'), "form='tflite': expected 'onnx' or 'pt2'"),
        (None, dict(dynamic_size=True), r'sizes=\[\(8, 8\)\]: expected two at least to compare'),
        (None, dict(dynamic_size=True), 'input of 7 x 8 pixels: expected multiples of the total'),
    ],
)
def test_what_cannot_be_exported_is_refused(change, kwargs, message, tmp_path):
    model, images = classifier()
    side = 7 if 'pixels' in message else 8
    images = images[..., :side, :]
    model = model if change is None else change(model)
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / 'model.onnx', {(side, 8): images}, **kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime', 'onnxscript'])
def test_a_missing_package_is_named(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    model, images = classifier()
    with pytest.raises(ImportError, match=f'{package} is missing.*pip install onnx onnxscript'):
        export(model, tmp_path / 'model.onnx', {(8, 8): images})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path):
    model, images = classifier()
    with pytest.raises(IsADirectoryError, match='expected the name of a file'):
        export(model, tmp_path, {(8, 8): images})


@pytest.mark.slow
@pytest.mark.parametrize('dynamic_size', [False, True])
@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_in_onnx(family, dynamic_size, tmp_path):
    function = ARCHITECTURES[family]
    name = next(n for n, f in ARCHITECTURES.items() if getattr(f, 'func', None) is function)
    model, images = classifier(shrink(expand_arch(name), 16), side=64)
    side = max(64, 2 * model.backbone.strides[-1])
    images = larger(images[:2], side, side)
    awaken(model.backbone, images)
    inputs = {(side, side): images}
    if dynamic_size:
        stride = model.backbone.strides[-1]
        inputs[side + stride, side] = larger(images, side + stride, side)
    args = dict(batches=(1, 2), dynamic_size=dynamic_size)
    if dynamic_size and family in ONE_SIZE:
        with pytest.raises(ValueError, match=r'cannot express|does not run|something else'):
            export(model, tmp_path / 'm.onnx', inputs, **args)
        return
    export(model, tmp_path / 'm.onnx', inputs, **args)


def test_what_a_runtime_says_of_a_shape_is_one_error(tmp_path):
    def run(inputs):
        raise RuntimeError('bad shape\nand a long story')

    with pytest.raises(
        ValueError, match=r'^m: not written, .* on \[2, 3\]: bad shape and a long story$'
    ):
        MODULE._explained(run, 'm')(torch.zeros(2, 3))
