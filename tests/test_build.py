"""The builder: what a config may not say is one error, with the path of the field."""

import inspect

import pytest
import torch
from mmengine.registry import MODELS

from mmqkformer.build import ConfigError, build, check_init_cfg
from mmqkformer.layers import SpikingConv, SpikingMLP
from mmqkformer.models import PEDSNeck, QKFormer, SpikingBackbone, SpikingClsHead

COMMON = dict(neuron=dict(type='LIFNeuron'), norm_cfg=dict(type='BN'))
MLP = dict(type='SpikingMLP', ratio=2)
LINEAR = dict(type='TruncNormal', layer='Conv2d', std=0.02)


def backbone(embed=None, block=(MLP,), **kwargs):
    embed = embed or dict(type='ConvEmbed', units=[dict(stride=2)])
    stage = dict(embed=embed, block=list(block), channels=8, depth=1)
    return MODELS.build(dict(type='SpikingBackbone', stages=[stage], **kwargs))


def chain(*units, **kwargs):
    return dict(type='ConvEmbed', units=list(units), **kwargs)


def head(**kwargs):
    return MODELS.build(dict(type='SpikingClsHead', num_classes=3, in_channels=8) | kwargs)


def neck(**kwargs):
    return MODELS.build(dict(type='PEDSNeck', in_channels=[8], widths=[16]) | kwargs)


@pytest.mark.parametrize('cls', [SpikingBackbone, QKFormer, SpikingClsHead, PEDSNeck])
def test_a_checked_class_tells_its_arguments(cls):
    names = list(inspect.signature(cls).parameters)
    assert len(names) > 3
    assert not {'args', 'self'} & set(names)


def test_arguments_may_be_given_by_place():
    assert SpikingClsHead(3, 8).fc.out_features == 3
    with pytest.raises(ConfigError, match=r'^head\.in_channels=0: expected'):
        SpikingClsHead(3, 0)
    with pytest.raises(ConfigError, match=r"^head=.*: expected \['in_channels'\] too"):
        SpikingClsHead(3)


def test_a_class_of_ones_own_extends_a_checked_one():
    class Wider(SpikingBackbone):
        def __init__(self, width: int, **kwargs) -> None:
            super().__init__(**kwargs, in_channels=width)

    stage = dict(embed=dict(type='PEDS'), channels=8, depth=0)
    assert Wider(width=5, stages=[stage]).in_channels == 5


def test_an_error_shows_no_whole_network():
    with pytest.raises(ConfigError, match='expected either arch or stages') as error:
        MODELS.build(dict(type='QKFormer', arch='hst-4-384', stages=[dict(MLP)] * 100))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize('name', ['embed_dims', 'in_channels'])
def test_what_the_graph_gives_is_not_the_configs(name):
    message = rf'^backbone\.stages\[0\]\.embed\.{name}=8: expected none, as the graph gives it'
    with pytest.raises(ConfigError, match=message):
        backbone({**chain(dict()), name: 8})
    assert build(dict(MLP), fixed=dict(embed_dims=8, nobody=1), **COMMON).fc1.conv.in_channels == 8


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: backbone(chain(dict(), shortcut_on='membrane')), r'embed\.shortcut_on='),
        (lambda: backbone(chain({'channels': 8}, {}, shortcut_from=1)), r'embed\.shortcut_from=1'),
        (
            lambda: backbone(chain(dict(fire='none', neuron=COMMON['neuron']))),
            r"embed\.units\[0\]\.neuron=.*: expected none with fire='none'",
        ),
        (lambda: backbone(block=[dict(MLP, in_neuron=COMMON['neuron'])]), r'block\[0\]\.in_neuron'),
        (lambda: head(mse_target=2.0), r'^head\.mse_target=2\.0: expected none without mse_weight'),
    ],
)
def test_what_would_have_no_effect_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: backbone(in_channels=4097), r'^backbone\.in_channels=4097: .* from 1 to 4096'),
        (lambda: backbone(time_steps=4097), r'^backbone\.time_steps=4097: .* from 1 to 4096'),
        (lambda: backbone(chain(dict(channels=5000), {})), r'units\[0\]\.channels=5000: .* 4096'),
        (lambda: backbone(block=[dict(MLP, ratio=2049)]), r'\.ratio=2049: .*16384 hidden'),
        (lambda: backbone(block=[dict(MLP, ratio=1e300)]), r'\.ratio=1e\+300: expected a finite'),
        (lambda: head(num_classes=2**26), r'^head\.num_classes=67108864: .*268435456 weights'),
        (lambda: head(topk=(1, 5)), r'^head\.topk\[1\]=5: expected an integer from 1 to 3'),
        (lambda: head(topk=()), r'^head\.topk=\(\): expected at least one'),
        (lambda: neck(widths=[8, 10**6]), r'^neck\.widths\[1\]=1000000: .* from 1 to 4096'),
        (lambda: neck(in_channels=[]), r'^neck\.in_channels=\[\]: expected at least one level'),
        (lambda: neck(neuron=dict(type='LIFNeuron', tau=1)), r'^neck\.neuron\.tau=1: expected'),
    ],
)
def test_what_no_network_has_is_refused_at_once(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_a_large_kernel_on_wide_maps_is_refused():
    with pytest.raises(ValueError, match=r'^kernel_size=63: expected at most 268435456 weights'):
        SpikingConv(4096, 4096, 63, norm_cfg=dict(type='BN'))
    with torch.device('meta'):
        assert (
            SpikingConv(4096, 4096, 63, groups=4096, norm_cfg=dict(type='BN')).conv.groups == 4096
        )


@pytest.mark.parametrize(
    ('norm_cfg', 'message'),
    [
        ('BN', r"norm_cfg='BN': expected a dict with 'type'"),
        (dict(type='Nobody'), r"norm_cfg\.type='Nobody': expected the name of a norm"),
        (dict(type='BN', eps='stream'), r"norm_cfg\.eps='stream': expected a finite number > 0"),
        (dict(type='BN', momentum=-1), r'norm_cfg\.momentum=-1: expected a finite number'),
        (dict(type='BN', affine='False'), r"norm_cfg\.affine='False': expected True or False"),
        (dict(type='BN', width=3), r'norm_cfg\.width=3: BN knows no such key'),
        (dict(type='BN', num_features=3), r'norm_cfg\.num_features=3: BN knows no such key'),
        (dict(type='GN', num_groups=0), r'norm_cfg\.num_groups=0: expected an integer'),
        (dict(type='GN'), r"norm_cfg=.*: expected \['num_groups'\] too"),
        (dict(type='LIFNeuron'), r'norm_cfg='),
    ],
)
def test_a_wrong_norm_is_named_with_its_path(norm_cfg, message):
    with pytest.raises(ConfigError, match=rf'^backbone\.{message}'):
        backbone(norm_cfg=norm_cfg)
    with pytest.raises(ConfigError, match=rf'^backbone\.stages\[0\]\.block\[0\]\.{message}'):
        backbone(block=[dict(MLP, norm_cfg=norm_cfg)])


@pytest.mark.parametrize(
    ('init_cfg', 'message'),
    [
        (3, r'init_cfg=3: expected a list'),
        ([LINEAR, 3], r'init_cfg\[1\]=3: expected a dict'),
        (dict(layer='Conv2d'), r'init_cfg\.type=None: expected one of'),
        (dict(LINEAR, std='no'), r'init_cfg=.*TypeError'),
        (dict(LINEAR, std=-1.0), r'init_cfg='),
        (dict(LINEAR, mean=float('nan')), r'init_cfg='),
        (dict(LINEAR, width=3), r'init_cfg\.width=3: TruncNormalInit knows no such key'),
        (dict(LINEAR, layer='Linear'), r"init_cfg\.layer='Linear': expected classes of its"),
        (dict(LINEAR, layer=[]), r"init_cfg=.*: expected \['layer'\] too"),
        (dict(LINEAR, override=dict(name='fc3')), r'init_cfg\.override=.*: expected the name'),
        ([LINEAR, dict(type='Pretrained')], r"init_cfg\[1\]=.*: expected \['checkpoint'\] too"),
        (dict(type='Pretrained', checkpoint=3), r'init_cfg\.checkpoint=3: expected a string'),
    ],
)
def test_a_wrong_initialisation_is_named_with_its_path(init_cfg, message):
    with pytest.raises(ConfigError, match=rf'^backbone\.stages\[0\]\.block\[0\]\.{message}'):
        backbone(block=[dict(MLP, init_cfg=init_cfg)])


def test_a_right_initialisation_is_checked_without_random_numbers():
    mlp = SpikingMLP(8, **COMMON)
    state = torch.get_rng_state()
    for init_cfg in (None, [], LINEAR, [LINEAR], dict(LINEAR, override=dict(name='fc1'))):
        check_init_cfg(init_cfg, mlp)
    check_init_cfg(dict(type='Pretrained', checkpoint='none.pth', prefix='backbone.'), mlp)
    assert torch.equal(state, torch.get_rng_state())
