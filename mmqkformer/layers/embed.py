"""Patch embeddings: a chain of convolutions with a shortcut."""

import math
from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..build import arguments_of, build_part, inside
from ..checks import check_dict, check_int, check_keys, check_list, check_str
from ..neurons import SpikingNeuron
from .conv import MAX_CHANNELS, POOL_TYPES, SpikingConv, check_defaults, pooled
from .residual import RESIDUALS

_UNIT_KEYS = arguments_of(SpikingConv) - {'in_channels', 'out_channels', 'norm_cfg'}


def _build_unit(key: str, unit: dict, in_channels: int, out_channels: int, **common) -> SpikingConv:
    check_keys(key, unit, _UNIT_KEYS, 'a unit')
    if unit.get('fire') == 'none' and unit.get('neuron') is not None:
        raise ValueError(f"{key}.neuron={unit['neuron']!r}: expected none with fire='none'")
    with inside(key, unit):
        check_int('channels', out_channels, 1, MAX_CHANNELS)
        return SpikingConv(in_channels, out_channels, **{**common, **unit})


@MODELS.register_module()
class ConvEmbed(BaseModule):
    """A chain of units ``u_0, u_1, ...`` of convolution, norm, pool and neuron, with a shortcut.

    Maps ``[T, B, C, H, W]`` to ``[T, B, C', ceil(H / stride), ceil(W / stride)]``.

    ``y = u_n(...u_s(x_s)) + shortcut(x_s)``, where ``x_s`` is what comes behind the first
    ``s = shortcut_from`` units, the input for s = 0. Every embedding of a stage is one: the
    deformed shortcut of QKFormer (:class:`PEDS`, :class:`PEDSStem`), Spikformer's patch splitting
    (:class:`SPS`), strided convolutions, the first block of a residual stage.

    What leaves it is told by ``stream``: ``spikes`` (0 or 1, times the neuron's unit), ``sums`` of
    spikes, or a ``membrane`` potential, where the last unit or the shortcut does not fire last.

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels C'.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        units (Sequence[dict]): Arguments of a :class:`~mmqkformer.layers.SpikingConv` each
            (``kernel_size``, ``stride``, ``padding``, ``groups``, ``bias``, ``pool``,
            ``pool_type``, ``norm``, ``count_copies``, ``fire``, ``neuron``), besides ``channels``
            (output channels; of the last unit C', which is its default) and ``name`` (of the
            module, else ``convs.{i}``).
        shortcut (str | dict): ``none``, ``identity``, ``conv`` (1 x 1, with the stride of what it
            spans, firing where the last unit fires last), or a dict of a unit's arguments.
            Defaults to ``none``.
        shortcut_from (int): Number of units before the shortcut. Defaults to 0.
        join (str): How the shortcut meets the y of the units: ``add``, or, of binary spikes on both
            sides, ``and`` (``shortcut * y``) or ``iand`` (``shortcut * (1 - y)``), SEW-ResNet's.
            Defaults to ``add``.
        shortcut_on (str): Where ``x_s`` is a membrane: ``spikes`` puts a neuron there, which
            fires for the shortcut and the units behind it, ``membrane`` takes it as it is.
            Defaults to ``spikes``.
        in_stream (str): What comes in, ``spikes`` (sums as well) or ``membrane``. Defaults to
            ``spikes``, and in a backbone to what the stage in front hands on.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None.

    Raises:
        ValueError: A value is out of range, or shortcut and units do not end in the same shape.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        units: Sequence[dict],
        shortcut: str | dict = 'none',
        shortcut_from: int = 0,
        join: str = 'add',
        shortcut_on: str = 'spikes',
        in_stream: str = 'spikes',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_int('in_channels', in_channels, 1, MAX_CHANNELS)
        check_int('embed_dims', embed_dims, 1, MAX_CHANNELS)
        check_defaults(neuron, norm_cfg)
        units = [dict(unit) for unit in check_list('units', units, check_dict)]
        if not units:
            raise ValueError(f'units={units!r}: expected at least one')
        check_int('shortcut_from', shortcut_from, 0, len(units) - 1)
        check_str('shortcut_on', shortcut_on, ('spikes', 'membrane'))
        if shortcut == 'none' and shortcut_from:
            raise ValueError(f'shortcut_from={shortcut_from!r}: expected none without a shortcut')
        if shortcut == 'none' and shortcut_on != 'spikes':
            raise ValueError(f'shortcut_on={shortcut_on!r}: expected none without a shortcut')
        check_str('join', join, ('add', 'and', 'iand'))
        if shortcut == 'none' and join != 'add':
            raise ValueError(f'join={join!r}: expected none without a shortcut')
        stream = check_str('in_stream', in_stream, ('spikes', 'membrane'))
        common = dict(neuron=neuron, norm_cfg=norm_cfg)
        self.convs = nn.ModuleList()
        # All attributes before the units, whose names must be others
        self.neuron = self.shortcut = None
        self.stride, self.stream = 1, stream
        self.shortcut_from = shortcut_from
        self.join = join
        self.chain: list[str] = []
        strides, width, start = [], in_channels, stream
        for i, unit in enumerate(units):
            key = f'units[{i}]'
            if i == shortcut_from:
                start, source = stream, width
            name = unit.pop('name', None)
            last = i == len(units) - 1
            channels = unit.pop('channels', embed_dims if last else None)
            if last and channels != embed_dims:
                raise ValueError(f'{key}.channels={channels!r}: expected {embed_dims}, the last')
            conv = _build_unit(key, unit, width, channels, **common)
            if name is None:
                name = f'convs.{len(self.convs)}'
                self.convs.append(conv)
            else:
                self._add_named(f'{key}.name', name, conv)
            self.chain.append(name)
            strides.append(conv.stride)
            width = channels
            stream = 'spikes' if conv.fire == 'last' else 'membrane'
        self.stride, self.stream = math.prod(strides), stream
        if shortcut == 'none':
            return
        span = math.prod(strides[shortcut_from:])
        if start == 'membrane' and shortcut_on == 'spikes':
            if self.get_submodule(self.chain[shortcut_from]).fire == 'first':
                raise ValueError(
                    f"shortcut_on='spikes': expected units[{shortcut_from}].fire to be 'last' or "
                    f"'none', as a neuron in front fires for it too"
                )
            self.neuron = build_part('neuron', neuron, SpikingNeuron)
            start = 'spikes'
        elif start == 'spikes' and shortcut_on == 'membrane':
            raise ValueError(
                f"shortcut_on='membrane': expected 'spikes', which is what comes behind "
                f'{shortcut_from} units'
            )
        self.shortcut = self._build_shortcut(
            shortcut, source, embed_dims, span, fires=stream == 'spikes', **common
        )
        self._check_padding(units, shortcut, shortcut_from)
        ends = start if shortcut == 'identity' else 'spikes'
        if shortcut != 'identity' and self.shortcut.fire != 'last':
            ends = 'membrane'
        spiking = stream == ends == 'spikes'
        if join == 'add':
            self.stream = 'sums' if spiking else 'membrane'
        elif not spiking:
            raise ValueError(f'join={join!r}: expected spikes on both sides, not a membrane')
        elif shortcut == 'identity' and not shortcut_from:
            # What comes in may be sums
            self.stream = 'sums'

    def _add_named(self, key: str, name: str, conv: SpikingConv) -> None:
        if not isinstance(name, str) or not name.isidentifier() or hasattr(self, name):
            raise ValueError(f'{key}={name!r}: expected a new name of a module')
        self.add_module(name, conv)

    @staticmethod
    def _build_shortcut(
        shortcut: str | dict, source: int, embed_dims: int, span: int, fires: bool, **common
    ) -> nn.Module:
        if shortcut == 'identity':
            if source != embed_dims or span != 1:
                raise ValueError(
                    f"shortcut='identity': expected what it spans to keep channels and size, not "
                    f'{source} to {embed_dims} channels at stride {span}'
                )
            return nn.Identity()
        unit = dict(kernel_size=1, fire='last' if fires else 'none')
        if shortcut == 'conv':
            unit['stride'] = span
        elif isinstance(shortcut, dict):
            unit.update(shortcut)
        else:
            raise ValueError(
                f"shortcut={shortcut!r}: expected 'none', 'identity', 'conv' or a dict"
            )
        conv = _build_unit('shortcut', unit, source, embed_dims, **common)
        if conv.stride != span:
            raise ValueError(
                f'shortcut={shortcut!r} has stride {conv.stride}: expected {span}, that of the '
                f'units that it spans'
            )
        return conv

    @staticmethod
    def _check_padding(units: Sequence[dict], shortcut: str | dict, shortcut_from: int) -> None:
        """What starts in one size has to end in one, whatever the size."""
        spanned = {f'units[{i}]': unit for i, unit in enumerate(units) if i >= shortcut_from}
        if isinstance(shortcut, dict):
            spanned['shortcut'] = {'kernel_size': 1, **shortcut}
        for key, unit in spanned.items():
            kernel = unit.get('kernel_size', 3)
            padding = unit.get('padding')
            if kernel % 2 == 0 or padding not in (None, kernel // 2):
                raise ValueError(
                    f'{key}={unit!r}: expected an odd kernel_size k and padding k // 2, as a '
                    f'shortcut spans it'
                )

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C', H', W']``, ``H' = ceil(H / stride)``.

        (With a unit of an even kernel or of another padding than ``kernel_size // 2``, as the
        convolution computes it.)
        """
        units = [self.get_submodule(name) for name in self.chain]
        for unit in units[: self.shortcut_from]:
            x = unit(x)
        if self.neuron is not None:
            x = self.neuron(x)
        y = x
        for unit in units[self.shortcut_from :]:
            y = unit(y)
        return y if self.shortcut is None else RESIDUALS[self.join](self.shortcut(x), y)


@MODELS.register_module()
class MaxPoolEmbed(BaseModule):
    """A max-pool of 2 x 2 without weights: the next stage's blocks on half the size.

    Maps ``[T, B, C, H, W]`` to ``[T, B, C, ceil(H / 2), ceil(W / 2)]``, a membrane to a membrane,
    and spikes, or sums of them, to what counts as sums.

    Args:
        in_channels (int): Input channels C.
        embed_dims (int): Output channels, which are C.
        in_stream (str): What comes in, ``spikes`` (sums as well) or ``membrane``. Defaults to
            ``spikes``, and in a backbone to what the stage in front hands on.

    Raises:
        ValueError: The channels are to change.
    """

    def __init__(self, in_channels: int, embed_dims: int, in_stream: str = 'spikes') -> None:
        super().__init__()
        check_int('in_channels', in_channels, 1, MAX_CHANNELS)
        if embed_dims != in_channels:
            raise ValueError(
                f'channels={embed_dims!r}: expected {in_channels}, as a pool keeps them'
            )
        check_str('in_stream', in_stream, ('spikes', 'membrane'))
        self.stream = 'membrane' if in_stream == 'membrane' else 'sums'
        self.pool = POOL_TYPES['max2']()
        self.stride = 2

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C, ceil(H / 2), ceil(W / 2)]``."""
        return pooled(self.pool, x)
