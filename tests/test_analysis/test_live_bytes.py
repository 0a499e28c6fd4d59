"""Live bytes of computations that are counted by hand."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmqkformer.analysis import LiveBytes

KB = 256  # float32 numbers of 1 KiB


def test_the_peak_is_what_was_alive_at_once():
    with LiveBytes() as live:
        a = torch.ones(KB)
        b = a + 1
        del a
        c = b + 1
        del b
    assert live.peak == {'working': 2048}
    assert live.now == {'working': 1024}
    del c
    assert live.now == {'working': 0}


def test_views_and_changes_in_place_are_no_memory():
    with LiveBytes() as live:
        x = torch.ones(KB)
        y = x.view(16, 16).t()[3:].add_(1)
    assert y.shape == (13, 16)
    assert live.peak == {'working': 1024}


def test_a_view_keeps_all_of_its_storage():
    with LiveBytes() as live:
        x = torch.ones(KB)[:1]
    assert len(x) == 1
    assert live.now == {'working': 1024}


def test_what_was_there_before_counts_when_it_is_used_or_labelled():
    x, y, unused = torch.ones(KB), torch.ones(2 * KB), torch.ones(KB)
    live = LiveBytes()
    live.label([x, x.view(16, 16)], 'weights')
    assert +live.now == {'weights': 1024}
    with live:
        y.add_(1)
    assert live.now == {'weights': 1024, 'working': 2048}
    assert len(unused) == KB


def test_labels_change_no_sum():
    with LiveBytes() as live:
        x = torch.ones(KB)
        live.label_working('saved')
        y = torch.ones(KB)
    assert live.now == {'saved': 1024, 'working': 1024}
    live.label([x], 'gradients')
    assert +live.now == {'gradients': 1024, 'working': 1024}
    assert len(y) == KB


def test_an_alias_counts_once_as_long_as_either_lives():
    live = LiveBytes()
    with live:
        x = torch.ones(KB)
        y = torch.ones(KB)
        live.alias(y, x)
        assert live.now.total() == 1024
        del x
        z = y.view(16, 16)
        del y
        assert live.now.total() == 1024
        del z
    assert live.now.total() == 0


def test_tensors_without_data_count_like_those_with_data():
    def run(x):
        with LiveBytes() as live:
            ((x @ x).relu() @ x).sum().backward()
        return live.peak

    real = torch.ones(16, 16, requires_grad=True)
    assert run(FakeTensorMode().from_tensor(real)) == run(real)
