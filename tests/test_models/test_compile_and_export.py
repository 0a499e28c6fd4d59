"""A classifier compiles to one graph, exports, and computes what it computes eagerly."""

import onnx
import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from networks import awaken
from onnx.reference import ReferenceEvaluator

from mmqkformer.models.spikes import SpikeFeatures

TINY = dict(
    embed_dims=[8, 16],
    depths=[1, 1],
    num_heads=[2, 2],
    mlp_ratios=[1, 1],
    attentions=['QKTokenAttention', 'SpikingSelfAttention'],
    stem=dict(channels=[4, 8], pools=[False, True], shortcut_from=1),
    pool='last',
)
OUTS = ['rates', 'spikes']


def images(batch=3):
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, 17, 22, dtype=torch.float64, generator=generator)


def classifier(out, loss_on='mean'):
    """In float64, where no spike flips."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='QKFormer', arch=TINY, time_steps=2, out=out),
            head=dict(type='SpikingClsHead', num_classes=5, in_channels=16, loss_on=loss_on),
        )
    ).double()
    torch.nn.init.normal_(model.head.fc.weight)
    return awaken(model, images(4))


def losses_and_gradients(model, run):
    model.train().zero_grad()
    losses = run(images(), [DataSample().set_gt_label(label) for label in (0, 3, 4)], mode='loss')
    sum(losses.values()).backward()
    return [*losses.values(), *(p.grad.clone() for p in model.parameters()), *model.buffers()]


def check_compiled(backend, out, loss_on):
    """Logits, losses, gradients and running statistics of the compiled and the eager model."""
    eager, compiled = classifier(out, loss_on), classifier(out, loss_on)
    torch.compiler.reset()
    run = torch.compile(compiled, backend=backend, fullgraph=True)
    with torch.no_grad():
        logits = eager(images())
        assert logits.std() > 1e-3
        torch.testing.assert_close(run(images()), logits, rtol=0, atol=1e-12)
    expected = losses_and_gradients(eager, eager)
    assert all(grad.abs().sum() > 0 for grad in expected[1 : 1 + len(list(eager.parameters()))])
    for value, wanted in zip(losses_and_gradients(compiled, run), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(('out', 'loss_on'), [('rates', 'mean'), ('spikes', 'steps')])
def test_compiles_to_one_graph_that_computes_the_same(out, loss_on):
    check_compiled('aot_eager', out, loss_on)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('out', 'loss_on'), [('rates', 'mean'), ('spikes', 'mean'), ('spikes', 'steps')]
)
def test_the_default_backend_computes_the_same(out, loss_on):
    check_compiled('inductor', out, loss_on)


def test_a_compiled_head_takes_the_spikes_of_a_backbone_that_is_not():
    model = classifier('spikes')
    head = torch.compile(model.head, backend='eager')
    with torch.no_grad():
        spikes = model.extract_feat(images())
        assert isinstance(spikes[-1], SpikeFeatures)
        assert torch.equal(head(spikes), model(images()))


@pytest.mark.parametrize('out', OUTS)
def test_exports_for_any_batch(out):
    model = classifier(out)
    with torch.no_grad():
        program = torch.export.export(
            model, (images(),), dynamic_shapes=({0: torch.export.Dim('batch')},)
        )
        for batch in (1, 3, 5):
            logits = program.module()(images(batch))
            torch.testing.assert_close(logits, model(images(batch)), rtol=0, atol=1e-12)


def logits_in_onnx(model, path, batches, **kwargs):
    """The logits of each batch, by the model's ONNX file and by the model."""
    with torch.no_grad():
        torch.onnx.export(model, (images(),), path, input_names=['inputs'], **kwargs)
        network = ReferenceEvaluator(onnx.load(path))
        for batch in batches:
            (logits,) = network.run(None, {'inputs': images(batch).numpy()})
            yield torch.from_numpy(logits), model(images(batch))


@pytest.mark.parametrize('out', [pytest.param('rates', marks=pytest.mark.slow), 'spikes'])
def test_onnx_gives_the_same_logits_for_any_batch(out, tmp_path):
    batch = dict(dynamic_shapes=({0: torch.export.Dim('batch')},))
    for logits, expected in logits_in_onnx(
        classifier(out), tmp_path / 'model.onnx', (1, 3, 5), dynamo=True, **batch
    ):
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('out', OUTS)
def test_onnx_by_tracing_gives_the_same_logits_for_the_traced_batch(out, tmp_path):
    for logits, expected in logits_in_onnx(
        classifier(out), tmp_path / 'model.onnx', (3,), dynamo=False
    ):
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
