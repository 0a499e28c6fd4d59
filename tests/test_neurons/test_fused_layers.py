"""A network whose layers call the fused kernels, as C++ on the CPU, is the network of modules."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken

from mmqkformer.analysis import recording, saved_bytes
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink

FORWARD = {'norm_fire_forward', 'pool_fire_forward', 'token_attention_forward', 'fire_forward'}
BACKWARD = {'norm_fire_backward', 'pool_backward', 'token_attention_backward', 'fire_backward'}


def build(backend, **kwargs):
    torch.manual_seed(0)
    stages = shrink(expand_arch('hst-10-384'), 32)
    neuron = dict(type='LIFNeuron', backend=backend)
    cfg = dict(type='QKFormer', stages=stages, time_steps=3, neuron=neuron, **kwargs)
    return MODELS.build(cfg).double()


def images():
    return torch.randn(
        2, 3, 37, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def pair(backend):
    """The reference, awake, and the same network on the kernels."""
    reference, fused = build('torch'), build('cpu')
    fused.load_state_dict(awaken(reference, images()).state_dict())
    return reference, fused


def test_inference_is_the_same(backend, pair):
    reference, fused = (model.eval() for model in pair)
    with torch.no_grad():
        (expected,), (found,) = reference(images()), fused(images())
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert set(backend.launcher.launched) == FORWARD


@pytest.mark.parametrize('memory', [None, 'packed', 'recompute'])
def test_a_training_step_is_the_same(backend, pair, memory):
    reference, fused = (model.train() for model in pair)
    fused.memory = memory
    for model in (reference, fused):
        (model(images())[0] ** 2).sum().backward()
    assert set(backend.launcher.launched) >= FORWARD | BACKWARD
    for (name, p), q in zip(reference.named_parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-9, msg=name)
    for (name, p), q in zip(reference.named_buffers(), fused.buffers(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-12, atol=1e-12, msg=name)


def test_dropped_paths_are_those_of_modules(pair):
    reference, fused = (build(b, drop_path_rate=0.5).train() for b in ('torch', 'cpu'))
    fused.load_state_dict(reference.state_dict())
    found = []
    for model in (reference, fused):
        torch.manual_seed(1)
        found.append(model(images())[0])
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


def test_who_looks_sees_what_there_is_to_see(backend, pair):
    reference, fused = (model.eval() for model in pair)
    maps = []
    for model in (reference, fused):
        with torch.no_grad(), recording(model, 'stages.[01].*.attention_map') as recorded:
            model(images())
        maps.append(recorded)
    expected, found = maps
    assert expected
    assert 'token_attention_forward' not in backend.launcher.launched
    for name, (mask,) in expected.items():
        assert torch.equal(found[name][0], mask)
    seen = []
    for neuron in (m for m in fused.modules() if hasattr(m, 'dynamics')):
        neuron.register_forward_hook(lambda module, args, spikes: seen.append(spikes))
    backend.launcher.launched.clear()
    with torch.no_grad():
        fused(images())
    assert len(seen) == sum(hasattr(m, 'dynamics') for m in reference.modules())
    assert set(backend.launcher.launched) == {'fire_forward'}


def test_spikes_are_kept_as_bits(pair):
    model = pair[1].train()
    plain = saved_bytes(model, lambda: model(images())).total
    model.memory = 'packed'
    assert saved_bytes(model, lambda: model(images())).total < 0.6 * plain
