"""What holds for every family: its table inverts, and names and shapes are checked by the model."""

import re
from pathlib import Path

import golden
import pytest
import torch
from released_names import SOME_NEURONS
from releases import (
    RELEASES,
    build_model,
    check_golden_logits_and_firing_rates,
    check_golden_training_step,
    neurons_of,
    parameters_of,
    released_keys,
    zeros,
)

import mmqkformer.convert
from mmqkformer.convert import (
    FAMILIES,
    Family,
    UnknownCheckpointError,
    convert_state_dict,
    family_of,
    register_family,
)
from mmqkformer.neurons import SpikingNeuron

FORMS = [(family, form) for family, forms in RELEASES.items() for form in forms]

COUNTS = {
    ('max_former_cifar', 'max-former-4-384_cifar10'): 6_568_282,
    ('max_former_events', 'max-former-2-256_dvs128'): 1_455_883,
}
# QKFormer's cases, and those that train or leak, are in a file of their own
GOLDEN = [(f, form) for f, form in FORMS if RELEASES[f][form][2] and f != 'qkformer']


@pytest.mark.parametrize(('family', 'form'), GOLDEN)
def test_golden_logits_and_firing_rates(family, form, tmp_path):
    case = RELEASES[family][form][2]
    model = check_golden_logits_and_firing_rates(family, form, case, tmp_path)
    # The release's parameters, without those that it never uses
    keys = released_keys(family, form)
    unused = {n: shape for n, shape in keys.items() if FAMILIES[family].rename(n) is None}
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == golden.load_case(case)['params'] - parameters_of(unused)


def test_golden_training_step(tmp_path):
    check_golden_training_step(
        'ms_qkformer_cifar',
        'ms-qkformer-4-384_cifar100',
        'ms-qkformer-4-384_cifar100_t4_b2_train',
        tmp_path,
    )


@pytest.mark.parametrize(('family', 'form'), COUNTS)
def test_released_names_without_a_golden_case_are_as_many_parameters_as_measured(family, form):
    assert parameters_of(released_keys(family, form)) == COUNTS[family, form]


def test_every_module_is_a_family_whose_released_names_are_known():
    modules = {path.stem for path in Path(mmqkformer.convert.__file__).parent.glob('*.py')}
    assert modules - {'__init__', 'reading', 'table'} == set(FAMILIES) == set(RELEASES)


@pytest.mark.parametrize(('family', 'form'), FORMS)
def test_each_weight_of_the_model_is_named_by_one_released_key(family, form):
    released = zeros(released_keys(family, form))
    own = build_model(family, form).state_dict()
    assert family_of(released) == family
    names = [FAMILIES[family].rename(name) for name in released]
    assert sorted(name for name in names if name is not None) == sorted(own)
    found, state = convert_state_dict(released)
    assert found == family
    shapes = {name: weight.shape for name, weight in state.items()}
    assert shapes == {name: weight.shape for name, weight in own.items()}


@pytest.mark.parametrize(('family', 'form'), [f for f in FORMS if neurons_of(*f)])
def test_each_neuron_of_the_model_is_named_by_one_released_name(family, form):
    model = build_model(family, form)
    own = [name for name, m in model.named_modules() if isinstance(m, SpikingNeuron)]
    names = [FAMILIES[family].rename(name) for name in neurons_of(family, form)]
    # One that leaks has another in it; where a release fires twice on one input, once is enough
    assert set(names) == set(own) - {f'{name}.neuron' for name in own}


@pytest.mark.parametrize('family', FAMILIES)
def test_each_rule_is_the_first_to_fit_some_released_name(family):
    rules = FAMILIES[family].rules
    names = {name for form in RELEASES[family] for name in released_keys(family, form)}
    names |= {name for form in RELEASES[family] for name in neurons_of(family, form)}
    names |= set(SOME_NEURONS.get(family, []))
    used = {
        next(i for i, (pattern, _) in enumerate(rules) if re.match(rf'({pattern})(\.\w+)?$', name))
        for name in names
    }
    assert used == set(range(len(rules)))


@pytest.mark.parametrize(('family', 'form'), FORMS)
def test_no_weight_may_be_missing_damaged_or_of_another_shape(family, form):
    released = zeros(released_keys(family, form))
    used = [name for name in released if FAMILIES[family].rename(name) is not None]
    marks = {name for marks in FAMILIES[family].marks for name in marks}
    for name in [n for n in used if n not in marks][len(used) // 8 :: len(used) // 4]:
        whole = released[name]
        with pytest.raises(UnknownCheckpointError, match='missing'):
            convert_state_dict({k: v for k, v in released.items() if k != name})
        damages = {
            'is not finite': whole.double() + float('nan'),
            'is of torch': whole.double() if name.endswith('tracked') else whole.long(),
            'is expanded or overlapping': torch.zeros(1).expand(2),
            '(has shape|these shapes)': torch.zeros(2, 3, 5, dtype=whole.dtype),
        }
        for message, value in damages.items():
            with pytest.raises(UnknownCheckpointError, match=message):
                convert_state_dict({**released, name: value})


@pytest.mark.parametrize(('family', 'form'), FORMS)
def test_a_key_of_a_block_that_is_not_there_is_refused(family, form):
    released = zeros(released_keys(family, form))
    name = next(name for name in released if '.blocks.0.' in (FAMILIES[family].rename(name) or ''))
    for number in ('9' * 18, '٣'):
        far = re.sub(r'\.\d\.', f'.{number}.', name, count=1)
        with pytest.raises(UnknownCheckpointError, match=r'missing|is not a name'):
            convert_state_dict({**released, far: released[name]})


def test_qsd_without_its_steps_is_told():
    released = zeros(released_keys('qsd', 'qsd-s-15m_in1k'))
    floats = {k: v for k, v in released.items() if not k.endswith(('.alpha', '.init_state'))}
    with pytest.raises(
        UnknownCheckpointError, match=r'276 steps of quantised weights .* qsd .*alph'
    ):
        convert_state_dict(floats)
    assert family_of(floats) == 'qsd'
    scales = {k: v for k, v in floats.items() if 'layer_scale' not in k}
    assert family_of(scales) == 'meta_spikeformer'


def test_keys_of_two_families_at_once_are_refused():
    both = {
        name: 0
        for family in ('qkformer', 'spikformer')
        for name in released_keys(family, next(iter(RELEASES[family])))
    }
    with pytest.raises(UnknownCheckpointError, match='of qkformer and spikformer family'):
        family_of(both)


def test_a_family_of_ones_own_is_a_table(monkeypatch):
    monkeypatch.setattr(mmqkformer.convert.table, 'FAMILIES', dict(FAMILIES))
    stage = dict(embed=dict(type='SPS', channels=[8], pools=[True]), channels=8, depth=0)
    register_family(
        Family(
            name='mine',
            marks=[['stem.w0']],
            rules=[
                (r'stem\.w0', 'backbone.stages.0.embed.convs.0.conv.weight'),
                (r'(stem|pos)\.norm', 'backbone.stages.0.embed.{1}.norm'),
                (r'pos', 'backbone.stages.0.embed.position.conv'),
                ('head', 'head.fc'),
                (r'unused\.w', None),
            ],
            words={'stem': 'convs.0', 'pos': 'position'},
            backbone=lambda state_dict: dict(type='QKFormer', stages=[stage]),
        )
    )
    norm = {'weight': [8], 'bias': [8], 'running_mean': [8], 'running_var': [8]}
    keys = {
        'stem.w0': [8, 3, 3, 3],
        'pos.weight': [8, 8, 3, 3],
        'head.weight': [4, 8],
        'head.bias': [4],
        'unused.w': [1],
        **{f'{at}.norm.{k}': v for at in ('stem', 'pos') for k, v in norm.items()},
        **{f'{at}.norm.num_batches_tracked': [] for at in ('stem', 'pos')},
    }
    family, state = convert_state_dict(zeros(keys))
    assert family == 'mine'
    assert len(state) == len(keys) - 1
    # What is dropped is known by its whole name
    with pytest.raises(UnknownCheckpointError, match=r"'unused\.w\.more' is not a name"):
        convert_state_dict(zeros({**keys, 'unused.w.more': [1]}))
