"""No registered component of engine and data takes a value that it cannot mean."""

import inspect
import math
import types
import typing
from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine import registry
from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler
from mmengine.optim import OptimWrapper
from torch import nn
from torch.utils.data import DataLoader

import mmqkformer  # noqa: F401
from mmqkformer.engine import launch

REGISTRIES = (
    registry.DATASETS,
    registry.DATA_SAMPLERS,
    registry.HOOKS,
    registry.LOOPS,
    registry.METRICS,
    registry.OPTIM_WRAPPER_CONSTRUCTORS,
    registry.OPTIM_WRAPPERS,
    registry.PARAM_SCHEDULERS,
    registry.TRANSFORMS,
    registry.MODELS,
)
# Networks and what they are made of are no part of this test
NETWORKS = (
    'models.backbones',
    'models.classifiers',
    'models.dense',
    'models.heads',
    'models.necks',
    'layers',
    'neurons',
)
# What other parts of a run hand over
HANDED_OVER = dict(
    dataset=list(range(8)),
    sampler=DefaultSampler(list(range(8)), shuffle=False),
    optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),
    optim_wrapper_cfg=dict(optimizer=dict(type='SGD', lr=0.1)),
    runner=types.SimpleNamespace(),
    dataloader=DataLoader(range(8)),
    lazy_init=True,
)
# Values that make sense, for what has no default
REQUIRED = dict(
    data_root='nowhere',
    split='train',
    batch_size=2,
    time_steps=2,
    std_us=1.0,
    max_epochs=3,
    weight=0.5,
)
SCALARS = (bool, int, float, str, type(None))
NONSENSE = [
    None, '', 'False', 'nonsense', True, False, float('nan'), float('inf'), -float('inf'),
    -1, 0, 1.5, 10**30, [], ['x'], {}, {'x': 1}, object(), 1j, b'x',
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(NONSENSE),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.floats(), st.none(), st.text(max_size=2)), max_size=3),
)


COMPONENTS = {
    name: cls
    for part in REGISTRIES
    for name, cls in part.module_dict.items()
    if cls.__module__.startswith('mmqkformer.')
    and not cls.__module__.removeprefix('mmqkformer.').startswith(NETWORKS)
}


def arguments(cls):
    """Parameters of a constructor and, through ``**kwargs``, of those of ours that it extends."""
    found = {}
    for base in cls.__mro__:
        if not base.__module__.startswith('mmqkformer.') or '__init__' not in vars(base):
            continue
        hints = typing.get_type_hints(base.__init__)
        parameters = inspect.signature(base.__init__).parameters.values()
        for parameter in list(parameters)[1:]:
            if parameter.kind is not parameter.VAR_KEYWORD:
                found.setdefault(parameter.name, hints[parameter.name])
    return found


def kinds(hint):
    """The members of a union; of containers what they are outside."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for member in typing.get_args(hint) for kind in kinds(member)]
    return [typing.get_origin(hint) or hint]


def is_of_config(hint):
    """Whether a config sets it: a scalar, or a container."""
    return all(kind in (*SCALARS, dict, list, tuple, Sequence) for kind in kinds(hint))


def fits(value, hint):
    """Whether the annotation allows a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    allowed = kinds(hint)
    if isinstance(value, bool):
        return bool in allowed
    if isinstance(value, int) and float in allowed:
        return True
    return any(
        isinstance(value, kind) and not (kind is Sequence and isinstance(value, (str, bytes)))
        for kind in allowed
    )


CASES = [
    (name, argument)
    for name, cls in COMPONENTS.items()
    for argument, hint in arguments(cls).items()
    if is_of_config(hint) and argument not in HANDED_OVER
]


def build(name, values):
    cls = COMPONENTS[name]
    wanted = {*arguments(cls), *inspect.signature(cls).parameters}
    wanted |= {'data_root', 'lazy_init'} if issubclass(cls, BaseDataset) else set()
    wanted |= {'optimizer'} if issubclass(cls, OptimWrapper) else set()
    given = {key: value for key, value in HANDED_OVER.items() if key in wanted}
    return cls(**{**given, **{k: v for k, v in REQUIRED.items() if k in wanted}, **values})


@pytest.mark.parametrize('name', COMPONENTS)
def test_every_component_builds_with_sense(name):
    build(name, {})


@pytest.mark.parametrize(('name', 'argument'), CASES)
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=VALUES)
def test_nonsense_is_refused_by_name(name, argument, value):
    """What the annotation does not allow is; what it allows builds, or is refused as clearly."""
    refused = None
    try:
        build(name, {argument: value})
    except (ValueError, TypeError) as error:
        refused = str(error)
    if refused:
        keys = (argument, *value) if isinstance(value, dict) else (argument,)
        assert any(key in refused for key in keys)
        assert len(refused.splitlines()) == 1
    else:
        assert fits(value, arguments(COMPONENTS[name])[argument]), (
            f'{name}({argument}={value!r}) was accepted'
        )


NEURON = dict(type='LIFNeuron')
BLOCK = dict(
    attention=dict(type='SpikingSelfAttention', num_heads=1), mlp=dict(type='SpikingMLP', ratio=1)
)
STEM = dict(type='PEDSStem', channels=[4, 4], pools=[False, False], shortcut_from=1)


def network(**values):
    stage = dict(embed=STEM, block=BLOCK, channels=4, depth=1)
    return {**dict(type='QKFormer', stages=[stage], time_steps=2), **values}


def network_with(embed=STEM, **block):
    stage = dict(embed=embed, block={**BLOCK, **block}, channels=4, depth=1)
    return network(stages=[stage])


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (network(release_batch_leak='False'), "release_batch_leak='False': expected True or False"),
        (network(norm_eval='False'), "norm_eval='False': expected True or False"),
        (network(with_cp='False'), "with_cp='False': expected a list of 1"),
        (network(with_cp=['no']), r"with_cp\[0\]='no': expected True or False"),
        (dict(NEURON, detach_reset='False'), r"detach_reset='False': expected True or"),
        (dict(NEURON, tau=math.inf), r'tau=inf: expected a finite number > 1'),
        (dict(NEURON, tau='2'), r"tau='2': expected a finite number > 1"),
        (dict(type='PLIFNeuron', init_tau=math.nan), r'init_tau=nan: expected a finite'),
        (dict(NEURON, v_threshold=math.inf), r'v_threshold=inf: expected a finite number'),
        (dict(NEURON, v_threshold=True), r'v_threshold=True: expected a finite number'),
        (dict(NEURON, v_reset=-math.inf), r'v_reset=-inf: expected a finite number'),
        (dict(type='ATanSurrogate', alpha=math.inf), r'^.*alpha=inf: expected a finite'),
        (
            network_with(attention=dict(type='SpikingSelfAttention', num_heads=1, scale=math.nan)),
            r'attention\.scale=nan: expected a finite number > 0',
        ),
        (
            network_with(attention=dict(type='SpikingMLP', ratio=2)),
            r"block\.attention=\{'type': 'SpikingMLP', 'ratio': 2\}: expected an attention",
        ),
        (
            network_with(embed=dict(STEM, pools=[0.5, 'no'])),
            r'embed\.pools\[0\]=0\.5: expected True or False',
        ),
    ],
)
def test_networks_refuse_what_they_were_seen_to_accept(config, message):
    registry.MODELS.build(network())
    with pytest.raises(ValueError, match=message):
        registry.MODELS.build(config)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'optim_wrapper.accumulative_counts': '2'},
            r"optim_wrapper\.accumulative_counts='2': exp",
        ),
        ({'optim_wrapper.accumulative_counts': 1.5}, r'optim_wrapper\.accumulative_counts=1\.5: '),
        ({'train_dataloader.batch_size': 0}, r'train_dataloader\.batch_size=0: expected an int'),
        ({'val_dataloader.num_workers': -1}, r'val_dataloader\.num_workers=-1: expected an int'),
        ({'auto_scale_lr.enable': 'False'}, r"auto_scale_lr\.enable='False': expected True or"),
        ({'auto_scale_lr.base_batch_size': True}, r'auto_scale_lr\.base_batch_size=True: expected'),
    ],
)
def test_a_run_names_the_key_of_its_config(options, message):
    loader = dict(batch_size=2, num_workers=0)
    cfg = Config(
        dict(
            train_dataloader=loader,
            val_dataloader=loader,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )
    launch.check_numbers(cfg)
    cfg.merge_from_dict(options)
    with pytest.raises(ValueError, match=message):
        launch.build_runner(cfg)
