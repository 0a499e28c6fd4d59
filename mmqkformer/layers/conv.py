"""Convolution, normalisation, pooling and neuron: the unit that every layer is made of."""

import inspect
from functools import partial

import torch
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..build import build_part, inside, parameters_of
from ..checks import check_bool, check_int, check_number, check_str
from ..neurons import SpikingNeuron
from ..neurons.fused import norm_and_fire, pool_and_fire, pooled, steps_are_equal
from ..saved import convolved, normalised
from ..time_axis import merge_time, split_time

FIRE = ('last', 'first', 'none')
POOLS = ('before_neuron', 'after_neuron', 'before_conv')
# All of stride 2: H becomes ceil(H / 2)
POOL_TYPES = {
    'max3': lambda: nn.MaxPool2d(3, stride=2, padding=1),
    'max2': lambda: nn.MaxPool2d(2, ceil_mode=True),
    'avg2': lambda: nn.AvgPool2d(2, ceil_mode=True),
}
# Wider than any network of the field; what is above is a slip that would take hours or all memory
MAX_CHANNELS = 2**12
MAX_HIDDEN = 2**14
MAX_WEIGHTS = 2**28
MAX_KERNEL = 63


def _check_momentum(key: str, value: object) -> None:
    if value is not None:
        check_number(key, value, low=0, high=1)


# What norms take without a look
_NORM_FIELDS = dict(
    eps=partial(check_number, above=0),
    momentum=_check_momentum,
    affine=check_bool,
    track_running_stats=check_bool,
    requires_grad=check_bool,
    num_groups=partial(check_int, low=1),
)


# Types that have been tried
_NORMS_OF_MAPS: set[type[nn.Module]] = set()


def check_norm_cfg(norm_cfg: object) -> None:
    """Refuses what is no config of a norm, whatever the channels.

    Raises:
        ValueError: It has no type, or the type or a field is wrong; the message begins with the
            path of the field, ``norm_cfg.eps``.
    """
    if not isinstance(norm_cfg, dict) or 'type' not in norm_cfg:
        raise ValueError(f"norm_cfg={norm_cfg!r}: expected a dict with 'type', such as 'BN'")
    name = norm_cfg['type']
    with inside('norm_cfg', norm_cfg):
        # As mmcv looks it up, the default scope first
        with MODELS.switch_scope_and_registry(None) as registry:
            norm = registry.get(name) if isinstance(name, str) else name
        if not inspect.isclass(norm):
            raise ValueError(f'type={name!r}: expected the name of a norm')
        parameters = parameters_of(norm)
        # mmcv gives the channels
        parameters.pop('num_channels' if norm is nn.GroupNorm else next(iter(parameters), ''), None)
        known = {*parameters, 'requires_grad'}
        for key, value in norm_cfg.items():
            if key != 'type' and key not in known:
                raise ValueError(f'{key}={value!r}: {name} knows no such key, only {sorted(known)}')
            if key in _NORM_FIELDS:
                _NORM_FIELDS[key](key, value)
        needed = {key for key, p in parameters.items() if p.default is p.empty}
        if missing := sorted(needed - set(norm_cfg)):
            raise ValueError(f'expected {missing} too')


def check_defaults(neuron: object, norm_cfg: object) -> None:
    """Refuses the neuron or norm of many layers by its own path, not that of the first layer.

    Raises:
        ValueError: One of them is wrong; the message begins with its path.
    """
    build_part('neuron', neuron, SpikingNeuron)
    check_norm_cfg(norm_cfg)
    # Of channels that any norm takes
    build_norm(norm_cfg, norm_cfg.get('num_groups', 8))


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """Builds a norm of feature maps ``[B, C, H, W]``.

    Raises:
        ValueError: It is no config of one.
    """
    check_norm_cfg(norm_cfg)
    with inside('norm_cfg', norm_cfg):
        norm = build_norm_layer(norm_cfg, channels)[1]
        # Some take vectors or volumes, which would show in the first forward pass only
        if type(norm) not in _NORMS_OF_MAPS:
            with torch.no_grad():
                norm.eval()(torch.zeros(2, channels, 2, 2))
            norm.train()
            _NORMS_OF_MAPS.add(type(norm))
    return norm


def norm_of_copies(norm: nn.Module, x: Tensor, copies: int) -> Tensor:
    """Normalises ``copies`` identical copies of ``x`` by computing one of them.

    Mean and variance of the copies are those of one copy. Only the running variance differs: its
    Bessel factor n / (n - 1) counts the elements of all copies.

    Args:
        norm (nn.Module): Normalisation layer.
        x (Tensor): ``[B, C, H, W]``.
        copies (int): Number of copies, T for a static image.

    Returns:
        Tensor: One normalised copy, ``[B, C, H, W]``.
    """
    updates = isinstance(norm, _BatchNorm) and norm.training and norm.track_running_stats
    if copies == 1 or not updates:
        return norm(x)
    before = norm.running_var.clone()
    y = norm(x)
    n = x.numel() // x.size(1)
    if isinstance(norm, nn.SyncBatchNorm) and torch.distributed.is_initialized():
        n *= torch.distributed.get_world_size(norm.process_group)
    momentum = norm.momentum
    if momentum is None:
        momentum = 1.0 / norm.num_batches_tracked.item()
    bessel_of_copies = copies * (n - 1) / (copies * n - 1)
    kept = before * (1.0 - momentum)
    # Through .data: autograd saved the buffer, though training-mode gradients never read it.
    norm.running_var.data.copy_(kept + (norm.running_var - kept) * bessel_of_copies)
    return y


class SpikingConv(nn.Module):
    """Convolution, norm, and where they are asked for a max-pool and a neuron.

    ========== ==================================================
    fire       order, with the places of a pool
    ========== ==================================================
    ``last``   [before_conv] conv - norm - [before_neuron] neuron [after_neuron]
    ``first``  [before_neuron] neuron [after_neuron, before_conv] conv - norm
    ``none``   [before_conv] conv - norm [before_neuron: behind the norm]
    ========== ==================================================

    A membrane comes out where the neuron is not last. If all steps of the input are equal
    (expanded along time, as a static image is), everything in front of the neuron is computed for
    one of them.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Kernel size. Defaults to 3.
        stride (int): Stride. Defaults to 1.
        padding (int | None): Padding. Defaults to None, ``kernel_size // 2``: of an odd kernel
            H becomes ceil(H / stride).
        groups (int): Groups of the convolution. Defaults to 1.
        bias (bool): Whether the convolution has a bias. Defaults to False.
        pool (str | None): Place of a pool of stride 2, ``before_neuron``, ``after_neuron`` or
            ``before_conv``. Defaults to None.
        pool_type (str): ``max3`` (3 x 3), ``max2`` or ``avg2`` (2 x 2). Defaults to ``max3``.
        norm (bool): Whether there is a norm. Defaults to True.
        count_copies (bool): Whether, of equal steps, the running variance of the norm counts all T
            copies, as in a network that repeats an image before this layer, or one, as in a network
            that repeats what leaves it. Defaults to True.
        fire (str): ``last``, ``first`` or ``none``. Defaults to ``last``.
        drop (float): Dropout between convolution and norm. Defaults to 0.0.
        neuron (dict | None): Neuron config; None fires nowhere. Defaults to None.
        norm_cfg (dict | None): Config of the norm; None has none.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = False,
        pool: str | None = None,
        pool_type: str = 'max3',
        norm: bool = True,
        count_copies: bool = True,
        fire: str = 'last',
        drop: float = 0.0,
        neuron: dict | None = None,
        norm_cfg: dict | None,
    ) -> None:
        super().__init__()
        check_int('channels', in_channels, 1, MAX_HIDDEN)
        check_int('channels', out_channels, 1, MAX_HIDDEN)
        check_int('kernel_size', kernel_size, 1, MAX_KERNEL)
        check_int('stride', stride, 1, MAX_KERNEL)
        half = kernel_size // 2
        padding = half if padding is None else check_int('padding', padding, 0, MAX_KERNEL)
        check_int('groups', groups, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f'groups={groups!r}: expected a divisor of the channels, {in_channels} and '
                f'{out_channels}'
            )
        if in_channels // groups * out_channels * kernel_size**2 > MAX_WEIGHTS:
            raise ValueError(
                f'kernel_size={kernel_size!r}: expected at most {MAX_WEIGHTS} weights of '
                f'{in_channels} x {out_channels} channels in {groups} groups'
            )
        check_bool('bias', bias)
        check_str('fire', fire, FIRE)
        if pool is not None:
            check_str('pool', pool, POOLS)
        check_str('pool_type', pool_type, tuple(POOL_TYPES))
        if pool is None and pool_type != 'max3':
            raise ValueError(f'pool_type={pool_type!r}: expected none without a pool')
        check_bool('norm', norm)
        check_bool('count_copies', count_copies)
        fire = 'none' if neuron is None else fire
        if fire == 'none' and pool == 'after_neuron':
            raise ValueError(f'pool={pool!r}: expected another place, as the unit has no neuron')
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
        )
        self.drop = nn.Dropout(drop) if check_number('drop', drop, low=0, below=1) else None
        without = norm_cfg is None or not norm
        self.norm = nn.Identity() if without else build_norm(norm_cfg, out_channels)
        self.pool = POOL_TYPES[pool_type]() if pool else None
        self.count_copies = count_copies
        self.neuron = None if fire == 'none' else build_part('neuron', neuron, SpikingNeuron)
        self.fire = fire
        self.pool_place = pool
        self.stride = stride * (2 if pool else 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to spikes or currents ``[T, B, C', H', W']``."""
        if self.fire == 'first':
            x = self._pooled(x, 'before_neuron')
            x = self._pooled(self.neuron(x), 'after_neuron')
        time_steps, copies = x.size(0), 1
        # What is dropped differs from step to step
        if steps_are_equal(x) and not (self.drop is not None and self.training):
            x, copies = x[:1], time_steps
        x = self._pooled(x, 'before_conv')
        y = convolved(self.conv, merge_time(x))
        y = y if self.drop is None else self.drop(y)
        if self.fire == 'last' and copies == 1 and self.pool_place != 'before_neuron':
            spikes = norm_and_fire(self.norm, self.neuron, split_time(y, time_steps))
            return self._pooled(spikes, 'after_neuron')
        copied = copies if self.count_copies else 1
        y = normalised(self.norm, y, norm_of_copies(self.norm, y, copied))
        x = split_time(y, x.size(0))
        if copies > 1:
            x = x.expand(time_steps, *x.shape[1:])
        if self.fire != 'last':
            return x if self.fire == 'first' else self._pooled(x, 'before_neuron')
        if self.pool_place == 'before_neuron':
            return pool_and_fire(self.pool, self.neuron, x)
        return self._pooled(self.neuron(x), 'after_neuron')

    def _pooled(self, x: Tensor, place: str) -> Tensor:
        return pooled(self.pool, x) if self.pool_place == place else x
