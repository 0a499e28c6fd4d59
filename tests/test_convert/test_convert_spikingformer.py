"""Spikingformer's release, and CML's: golden outputs, and parameters as their models have them."""

import math

import golden
import pytest
from releases import (
    RELEASES,
    build_model,
    check_golden_logits_and_firing_rates,
    released_keys,
)

CASES = {case: form for form, (*_, case) in RELEASES['spikingformer'].items() if case}


@pytest.mark.parametrize('name', CASES)
def test_golden_logits_and_firing_rates(name, tmp_path):
    model = check_golden_logits_and_firing_rates('spikingformer', CASES[name], name, tmp_path)
    # Two layer norms a block that the release builds and never uses
    unused = 4 * model.backbone.channels[-1] * len(model.backbone.stages[0].blocks)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == golden.load_case(name)['params'] - unused


def test_the_event_models_keys_are_as_many_parameters_as_measured():
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    keys = released_keys('spikingformer', 'spikingformer-2-256_dvs128')
    count = sum(math.prod(shape) for name, shape in keys.items() if not name.endswith(buffers))
    model = build_model('spikingformer', 'spikingformer-2-256_dvs128')
    assert count == 2_568_971
    assert sum(p.numel() for p in model.parameters()) == count - 4 * 256 * 2
