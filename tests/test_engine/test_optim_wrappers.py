"""Mixed precision on the CPU: autocast, scaler, accumulation, resume."""

import copy

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


def build(model, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return OPTIM_WRAPPERS.build(dict(type='CPUAmpOptimWrapper', optimizer=optimizer, **kwargs))


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_computes_in_the_narrow_type(dtype):
    model = nn.Linear(4, 4)
    wrapper = build(model, dtype=dtype)
    with wrapper.optim_context(model):
        out = model(torch.rand(2, 4))
    assert out.dtype == getattr(torch, dtype)
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize(('dtype', 'scaled'), [('bfloat16', False), ('float16', True)])
def test_float16_alone_is_scaled_by_default(dtype, scaled):
    assert bool(build(nn.Linear(1, 1), dtype=dtype).state_dict()['loss_scaler']) == scaled


def test_dynamic_scale_skips_an_overflow_and_halves():
    model = nn.Linear(1, 1, bias=False)
    wrapper = build(model, dtype='float16', loss_scale=dict(init_scale=8.0))
    before = model.weight.detach().clone()
    wrapper.update_params(model(torch.ones(1, 1)).sum() * torch.inf)
    assert torch.equal(model.weight, before)
    assert wrapper.loss_scaler.get_scale() == 4.0
    wrapper.update_params(model(torch.ones(1, 1)).sum())
    torch.testing.assert_close(model.weight, before - 0.1)


def test_accumulates_before_a_step():
    model = nn.Linear(1, 1, bias=False)
    wrapper = build(model, accumulative_counts=2, dtype='float16', loss_scale='dynamic')
    wrapper.initialize_count_status(model, 0, 10)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        wrapper.update_params(model(torch.ones(1, 1)).float().sum())
    assert torch.equal(model.weight, before)
    with wrapper.optim_context(model):
        wrapper.update_params(model(torch.ones(1, 1)).float().sum())
    torch.testing.assert_close(model.weight, before - 0.1)


def test_scaler_is_saved_and_resumed():
    model = nn.Linear(1, 1)
    wrapper = build(model, dtype='float16', loss_scale=dict(init_scale=2.0))
    state = copy.deepcopy(wrapper.state_dict())
    assert state['loss_scaler']['scale'] == 2.0
    other = build(model, dtype='float16', loss_scale='dynamic')
    other.load_state_dict(state)
    assert other.loss_scaler.get_scale() == 2.0


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(dtype='int8'), r"optim_wrapper\.dtype='int8': expected"),
        (dict(loss_scale='static'), r"optim_wrapper\.loss_scale='static': expected"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(nn.Linear(1, 1), **kwargs)
