"""A minimal graph of QKFormer's release, HST-10 and HST-4, with the released names of parameters.

It is what the benchmarks compare with: plain modules and neurons that step through time, the stem
computed for every copy of the image, the neuron behind a self attention running over the batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmqkformer.neurons import SigmoidSurrogate


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad * SigmoidSurrogate(alpha=4.0).derivative(ctx.saved_tensors[0])


class StepwiseLIF(nn.Module):
    """LIF with tau 2 and a hard reset to 0 on ``[T, ...]``, one operation of PyTorch at a time."""

    def __init__(self, v_threshold: float = 1.0) -> None:
        super().__init__()
        self.v_threshold = v_threshold

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, ...]``."""
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            h = v + (current - v) / 2.0
            spikes.append(_Spike.apply(h - self.v_threshold))
            v = h * (1.0 - spikes[-1].detach())
        return torch.stack(spikes)


class _Part(nn.Module):
    """What has units of a convolution, a norm and a neuron, of released names."""

    def __init__(self, neuron: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.make_neuron = neuron
        self.pool = nn.MaxPool2d(3, 2, 1)

    def add(self, name: str, conv: nn.Module) -> None:
        """Adds a unit."""
        self.add_module(f'{name}_conv', conv)
        norm = nn.BatchNorm1d if isinstance(conv, nn.Conv1d) else nn.BatchNorm2d
        self.add_module(f'{name}_bn', norm(conv.out_channels))
        self.add_module(f'{name}_lif', self.make_neuron())

    def run(self, name: str, x: Tensor, pool: str = 'none') -> Tensor:
        """``[T, B, ...]`` through a unit; a pool stands in front of its neuron or behind it."""
        y = getattr(self, f'{name}_bn')(getattr(self, f'{name}_conv')(x.flatten(0, 1)))
        if pool == 'before':
            y = self.pool(y)
        y = getattr(self, f'{name}_lif')(y.unflatten(0, x.shape[:2]))
        return self.pool(y.flatten(0, 1)).unflatten(0, x.shape[:2]) if pool == 'after' else y


class _Stem(_Part):
    def __init__(self, width: int, large: bool, neuron: Callable[..., nn.Module]) -> None:
        super().__init__(neuron)
        self.large = large
        self.add('proj', nn.Conv2d(3, width // 2, 3, 1, 1, bias=False))
        self.add('proj1', nn.Conv2d(width // 2, width, 3, 1, 1, bias=False))
        if large:
            self.add('proj2', nn.Conv2d(width, width, 3, 1, 1, bias=False))
        self.add('proj_res', nn.Conv2d(width // 2, width, 1, 2 if large else 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        pool = 'before' if self.large else 'none'
        x = self.run('proj', x, pool)
        y = self.run('proj1', x, pool)
        y = self.run('proj2', y) if self.large else y
        return y + self.run('proj_res', x)


class _Embed(_Part):
    def __init__(
        self, inputs: int, width: int, large: bool, neuron: Callable[..., nn.Module]
    ) -> None:
        super().__init__(neuron)
        self.large = large
        self.add('proj3', nn.Conv2d(inputs, width, 3, 1, 1, bias=False))
        self.add('proj4', nn.Conv2d(width, width, 3, 1, 1, bias=False))
        self.add('proj_res', nn.Conv2d(inputs, width, 1, 2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        if self.large:
            y = self.run('proj4', self.run('proj3', x, 'before'))
        else:
            y = self.run('proj4', self.run('proj3', x), 'before')
        return y + self.run('proj_res', x)


class _Attention(_Part):
    """On tokens ``[T, B, C, N]``, with a mask of tokens or, with a value, self attention."""

    def __init__(
        self, width: int, heads: int, value: bool, neuron: Callable[..., nn.Module]
    ) -> None:
        super().__init__(neuron)
        self.heads, self.value = heads, value
        for name in ('q', 'k', 'v') if value else ('q', 'k'):
            self.add(name, nn.Conv1d(width, width, 1, bias=False))
        self.add('proj', nn.Conv1d(width, width, 1))
        self.attn_lif = neuron(v_threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        x = x.flatten(3)
        q, k = (self.run(name, x).unflatten(2, (self.heads, -1)) for name in 'qk')
        if not self.value:
            y = (self.attn_lif(q.sum(3, keepdim=True)) * k).flatten(2, 3)
            return self.run('proj', y).reshape(shape)
        v = self.run('v', x).unflatten(2, (self.heads, -1))
        y = (v @ k.transpose(-2, -1)) @ q * 0.125
        y = self.attn_lif(y.flatten(2, 3))
        y = self.proj_bn(self.proj_conv(y.flatten(0, 1)))
        # Of T x B steps, as in the release: what an image leaves runs into the next
        return self.proj_lif(y).reshape(shape)


class _MLP(_Part):
    def __init__(self, width: int, names: Sequence[str], neuron: Callable[..., nn.Module]) -> None:
        super().__init__(neuron)
        self.names = names
        self.add(names[0], nn.Conv2d(width, 4 * width, 1))
        self.add(names[1], nn.Conv2d(4 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = self.run(name, x)
        return x


class _Block(nn.Module):
    def __init__(
        self, width: int, heads: int, value: bool, large: bool, neuron: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        self.name = ('attn' if large else 'ssa') if value else 'tssa'
        self.add_module(self.name, _Attention(width, heads, value, neuron))
        self.mlp = _MLP(width, ('fc1', 'fc2') if large else ('mlp1', 'mlp2'), neuron)

    def forward(self, x: Tensor) -> Tensor:
        x = x + getattr(self, self.name)(x)
        return x + self.mlp(x)


class ReleaseGraph(nn.Module):
    """QKFormer as released, of images ``[B, 3, H, W]``: logits ``[B, classes]``.

    Args:
        large (bool): HST-10 for ImageNet, or HST-4 for CIFAR.
        width (int): Channels of the last stage. Defaults to 384.
        classes (int): Defaults to 1000.
        time_steps (int): Defaults to 4.
        neuron (Callable[..., nn.Module]): Makes a neuron; ``v_threshold=`` gives its threshold.
    """

    def __init__(
        self,
        large: bool,
        width: int = 384,
        classes: int = 1000,
        time_steps: int = 4,
        neuron: Callable[..., nn.Module] = StepwiseLIF,
    ) -> None:
        super().__init__()
        self.time_steps = time_steps
        heads = {384: 6, 512: 8, 768: 12}[width] if large else 8
        widths = [width // 4, width // 2, width]
        self.patch_embed1 = _Stem(widths[0], large, neuron)
        self.patch_embed2 = _Embed(*widths[:2], large, neuron)
        self.patch_embed3 = _Embed(*widths[1:], large, neuron)
        for i, depth in enumerate((1, 2, 7) if large else (1, 1, 2)):
            blocks = [_Block(widths[i], heads, i == 2, large, neuron) for _ in range(depth)]
            self.add_module(f'stage{i + 1}', nn.ModuleList(blocks))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x.repeat(self.time_steps, 1, 1, 1, 1)
        for i in range(1, 4):
            x = getattr(self, f'patch_embed{i}')(x)
            for block in getattr(self, f'stage{i}'):
                x = block(x)
        return self.head(x.flatten(3).mean(3)).mean(0)
