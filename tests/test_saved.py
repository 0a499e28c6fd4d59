"""What autograd keeps: bits of whole numbers, and recipes of what can be computed again."""

import pytest
import torch
from cuda_on_cpu import COMPILER, CpuLauncher
from torch import nn
from torch.nn import functional as F

from mmqkformer import saved
from mmqkformer.saved import bits as saved_bits
from mmqkformer.saved.bits import bits_of, pack, pack_bits, unpack, unpack_bits
from mmqkformer.saved.saver import Saver
from mmqkformer.saved.tensors import AsItIs, Derived, Packed, found_integers, known_integers

N = 6000


@pytest.mark.parametrize('n', [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize('bits', range(1, 9))
def test_bits_come_back(bits, n):
    codes = torch.randint(0, 2**bits, (n,), dtype=torch.uint8)
    planes = pack_bits(codes, bits)
    assert planes.dtype == torch.uint8
    assert planes.numel() == bits * -(-n // 8)
    assert torch.equal(unpack_bits(planes, n), codes)


@pytest.fixture
def launcher(monkeypatch):
    """The kernels as C++, as long as a test runs."""
    if COMPILER is None:
        pytest.skip('there is no C++ compiler')
    monkeypatch.setattr(saved_bits, '_LAUNCHER', CpuLauncher())
    return saved_bits._LAUNCHER


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('n', [1, 7, 31, 32, 33, 1000])
def test_kernels_pack_as_pytorch_does(launcher, n, dtype):
    for bits in range(1, 9):
        codes = torch.randint(0, 2**bits, (n,), dtype=torch.uint8)
        planes = pack(codes.to(dtype), bits)
        assert torch.equal(unpack(planes, n, dtype), codes.to(dtype))
        padded = torch.nn.functional.pad(codes, (0, 8 * planes.size(1) - n))
        assert torch.equal(planes, pack_bits(padded, bits))
    assert set(launcher.launched) == {'pack_bits', 'unpack_bits'}
    assert launcher.together == {8 // dtype.itemsize}


def test_numbers_that_begin_in_the_middle_of_an_access_are_packed(launcher):
    codes = torch.randint(0, 8, (1001,), dtype=torch.uint8)[1:]
    planes = pack(codes.half().clone()[1:], 3)
    assert torch.equal(unpack(planes, 999, torch.float16), codes[1:].half())
    assert 1 in launcher.together


def test_bits_of_levels():
    assert [bits_of(levels) for levels in (0, 1, 2, 3, 4, 15, 16, 255)] == [1, 1, 2, 2, 3, 4, 5, 8]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('unit', [1.0, 1 / 2, 1 / 3, 1 / 10, 2 / 7])
def test_multiples_of_a_unit_are_found_and_come_back(unit, dtype):
    wide = dtype if dtype == torch.float64 else torch.float32
    counts = torch.randint(0, 8, (3, N // 3), dtype=wide)
    x = (counts / (1.0 / unit)).to(dtype)
    found = found_integers(x, [1.0, unit])
    assert found.planes.shape == (3, N // 8)
    assert torch.equal(found.read(), x.flatten())
    assert found.read().dtype == dtype


@pytest.mark.parametrize('odd', [0.5, 1 + 2**-20, -1.0, 256.0, float('nan'), float('inf')])
@pytest.mark.parametrize('place', [0, N - 1])
def test_a_single_other_value_is_not_packed(odd, place):
    x = torch.ones(N)
    assert found_integers(x, [1.0]) is not None
    x[place] = odd
    assert found_integers(x, [1.0]) is None


def test_more_levels_than_a_byte_has_are_not_packed():
    assert known_integers(torch.zeros(N), 255).planes.size(0) == 8
    assert known_integers(torch.zeros(N), 256) is None


def spikes(*shape):
    return (torch.rand(*shape) < 0.3).float().requires_grad_()


def saver():
    return Saver('packed', nn.Identity())


def test_a_tensor_and_its_views_are_packed_once():
    x, keeper = spikes(4, 2, N), saver()
    views = [x, x.flatten(), x.transpose(0, 2), *x.chunk(2, dim=1), x[:1].expand(3, 2, N)]
    kept = [keeper.pack(view) for view in views]
    assert len({id(view.source) for view in kept}) == 1
    assert isinstance(kept[0].source, Packed)
    assert kept[0].source.planes.numel() == N
    for view, wanted in zip(kept, views):
        found = keeper.unpack(view)
        assert torch.equal(found, wanted)
        assert found.stride() == wanted.stride()


def test_what_was_known_of_changed_values_is_forgotten():
    keeper = saver()
    x = torch.ones(N)
    keeper.note(x, 1, 1.0)
    assert keeper.known(x) == (1, 1.0)
    x.mul_(0.3)
    assert keeper.known(x) is None
    assert torch.equal(keeper.unpack(keeper.pack(x)), torch.full((N,), 0.3))


def test_knowledge_is_of_whole_storages():
    """A part says nothing of the rest."""
    keeper = saver()
    x = torch.cat([torch.ones(N), torch.full((N,), 0.3)])
    keeper.note(x[:N], 1, 1.0)
    keeper.derive([x[:N]], torch.ones_like, [torch.zeros(N)])
    assert isinstance(keeper.pack(x).source, AsItIs)


def test_parameters_and_small_tensors_are_kept_as_they_are():
    layer = nn.Linear(N, 1, bias=False)
    nn.init.ones_(layer.weight)
    assert isinstance(Saver('packed', layer).pack(layer.weight).source, AsItIs)
    small = torch.ones(3)
    assert saver().pack(small) is small


def test_masks_take_a_bit():
    mask = torch.rand(N) < 0.5
    kept = saver().pack(mask)
    assert kept.source.planes.numel() == N // 8
    assert torch.equal(kept.read(), mask)


class Counting:
    """Doubles, and counts how often."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return 2 * x


def test_a_recipe_runs_once_for_all_of_its_readers():
    double = Counting()
    x = torch.rand(N, requires_grad=True)
    with saved.saving('packed', nn.Identity()):
        y = saved.derived(double, x)
        loss = (y * y).sum() + y.square().sum()  # three save y
    assert double.calls == 1
    loss.backward(retain_graph=True)
    assert double.calls == 2
    once = x.grad.clone()
    assert torch.equal(once, 16 * x)
    loss.backward()
    assert torch.equal(x.grad, 2 * once)


def test_recipes_of_recipes():
    x = torch.rand(2, 4, 16, 16, requires_grad=True)
    conv, pool = nn.Conv2d(4, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1)
    norm = nn.BatchNorm2d(8)

    def run():
        y = saved.convolved(conv, x)
        y = saved.max_pooled(pool, saved.normalised(norm, y, norm(y)))
        return y.exp().square().sum()

    gradients = []
    for memory in (None, 'packed', 'recompute'):
        norm.reset_running_stats()
        if memory is None:
            loss = run()
        else:
            with saved.saving(memory, conv):
                loss = run()
        statistics = norm.running_mean.clone()
        found = torch.autograd.grad(loss, [x, *conv.parameters(), *norm.parameters()])
        gradients.append([*found, statistics, norm.running_mean.clone(), norm.running_var.clone()])
    for plain, *others in zip(*gradients):
        assert all(torch.equal(plain, other) for other in others)


def test_what_a_recipe_gives_has_its_memory_order():
    x = torch.rand(2, 8, 6, 6, requires_grad=True)
    keeper = saver()
    y = x.contiguous(memory_format=torch.channels_last)
    keeper.derive([y], lambda x: x.clone(), [x])
    kept = keeper.pack(y)
    assert isinstance(kept.source, Derived)
    assert torch.equal(kept.read(), y)
    assert kept.read().stride() == y.stride()


def test_a_recipe_runs_in_the_autocast_of_its_forward_pass():
    x, weight = torch.rand(8, N, requires_grad=True), torch.rand(4, N)
    with torch.autocast('cpu', torch.bfloat16), saved.saving('packed', nn.Identity()):
        loss = saved.derived(F.linear, x, weight).exp().sum()
    loss.backward()
    with torch.autocast('cpu', torch.bfloat16):
        (wanted,) = torch.autograd.grad(F.linear(x, weight).exp().sum(), x)
    assert torch.equal(x.grad, wanted)


def test_nothing_outlives_the_forward_pass():
    with pytest.raises(RuntimeError, match='stop'), saved.saving('packed', nn.Identity()):
        raise RuntimeError('stop')
    x = torch.rand(N, requires_grad=True)
    assert not saved.recomputable(saved.derived(Counting(), x))
