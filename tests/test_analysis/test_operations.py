"""Operations by kind, against counts by hand."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmqkformer.analysis import LayerOperations, count_operations

# One stage of 8 channels at stride 2 on 8 x 8 pixels: the tokens are 4 x 4
T, N, C = 3, 16, 8


class Model(nn.Module):
    """A backbone with an analogue layer behind its rates."""

    def __init__(self, time_steps=T, **kwargs):
        super().__init__()
        self.backbone = MODELS.build(
            dict(
                type='QKFormer',
                arch=dict(
                    embed_dims=[C],
                    depths=[1],
                    num_heads=[2],
                    mlp_ratios=[2],
                    attentions=['SpikingSelfAttention'],
                    stem=dict(channels=[4, C], pools=[False, True], shortcut_from=1),
                    pool='last',
                ),
                time_steps=time_steps,
                **kwargs,
            )
        )
        self.lateral = nn.Conv2d(C, 5, 1)

    def forward(self, x, mode):
        assert mode == 'tensor'
        return self.lateral(self.backbone(x)[0])


def of_convolutions(counts):
    return counts.accumulates['aten.convolution'], counts.multiply_accumulates['aten.convolution']


def test_counts_by_hand():
    counts = count_operations(Model(), (3, 8, 8))
    # The stem's first convolution sees the image once, then 64 pixels at every step
    first = 64 * 4 * 3 * 9
    stem = T * (64 * C * 4 * 9 + 16 * C * 4)  # the 3 x 3 layer, and the shortcut at half size
    attention = T * N * 4 * C * C
    mlp = T * N * 2 * C * 2 * C
    accumulates, analogue = of_convolutions(counts)
    assert analogue == first + N * 5 * C
    assert accumulates == stem + attention + mlp
    # K V^T and its product with Q, d = 4 channels in each of 2 heads
    assert counts.accumulates['aten.bmm'] == T * 2 * 2 * N * 4 * 4
    assert set(counts.multiply_accumulates) == {'aten.convolution'}
    assert counts.total == accumulates + analogue + counts.accumulates['aten.bmm']
    assert counts.parameters == sum(p.numel() for p in Model().parameters())


def test_every_layer_behind_one_step_of_spikes_accumulates():
    """With T = 1 rates are spikes, and so is what the first analogue layer takes."""
    _, analogue = of_convolutions(count_operations(Model(time_steps=1), (3, 8, 8)))
    assert analogue == 64 * 4 * 3 * 9


def test_frames_of_events_are_counts():
    model = Model(time_steps=2, in_channels=2)
    _, analogue = of_convolutions(count_operations(model, (2, 2, 8, 8)))
    assert analogue == N * 5 * C


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_the_weights_do_not_matter(value):
    """A silent network, or weights of whole numbers, would look like spikes."""
    model = Model()
    expected = count_operations(Model(), (3, 8, 8))
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    assert count_operations(model, (3, 8, 8)) == expected


@pytest.mark.parametrize(
    'neuron',
    [
        dict(type='ILIFNeuron', levels=4),
        dict(type='ILIFNeuron', levels=3, normalize=True),
        dict(type='MultiSpikeNeuron', gain=0.7),
        dict(type='BatchLeakingNeuron', neuron=dict(type='ILIFNeuron', normalize=True)),
    ],
    ids=['whole numbers', 'thirds', 'multi-spike', 'inner'],
)
def test_products_with_graded_spikes_are_accumulates(neuron):
    """Whatever the unit of a spike is."""
    assert count_operations(Model(neuron=neuron), (3, 8, 8)) == count_operations(Model(), (3, 8, 8))


def test_layers_are_counted_by_themselves():
    counts = count_operations(Model(), (3, 8, 8))
    attention = 'backbone.stages.0.blocks.0.attention'
    assert counts.layers[f'{attention}.query.conv'] == LayerOperations(
        accumulates={'aten.convolution': T * N * C * C}
    )
    assert counts.layers[attention] == LayerOperations(
        accumulates={'aten.bmm': T * 2 * 2 * N * 4 * 4}
    )
    assert counts.layers['lateral'] == LayerOperations(
        multiply_accumulates={'aten.convolution': N * 5 * C}
    )
    assert 'backbone' not in counts.layers
    products = sum(
        sum(layer.accumulates.values()) + sum(layer.multiply_accumulates.values())
        for layer in counts.layers.values()
    )
    assert products == counts.total


def test_products_of_the_model_itself_have_no_name():
    class Square(nn.Module):
        def forward(self, x, mode):
            return x @ x

    counts = count_operations(Square(), (3, 8, 8))
    assert counts.layers == {'': LayerOperations(multiply_accumulates={'aten.bmm': 3 * 8 * 8 * 8})}


class Failing(Model):
    def forward(self, x, mode):
        super().forward(x, mode)
        raise KeyError


@pytest.mark.parametrize('kind', [Model, Failing])
def test_the_model_stays_as_it_was(kind):
    """Bit for bit, in its mode, without hooks, and the random numbers to come are the same."""
    model = kind().train()
    model.backbone.stages[0].embed.eval()
    model.lateral.weight.requires_grad_(False)
    model.register_buffer('calls', torch.zeros(2))
    model.lateral.register_forward_hook(lambda module, args, out: model.calls.add_(1))
    parameters = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()

    if kind is Failing:
        with pytest.raises(KeyError):
            count_operations(model, (3, 8, 8))
    else:
        count_operations(model, (3, 8, 8))

    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    for before, after in (
        (parameters, dict(model.named_parameters())),
        (buffers, dict(model.named_buffers())),
    ):
        assert list(after) == list(before)
        assert all(after[name] is tensor for name, tensor in before.items())
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())
    assert not model.lateral.weight.requires_grad
    hooks = [
        hook
        for module in model.modules()
        for registered in (module._forward_hooks, module._forward_pre_hooks)
        for hook in registered
    ]
    assert len(hooks) == 1
