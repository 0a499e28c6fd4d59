"""The field's patch embeddings, as chains of units: QKFormer's PEDS and Spikformer's SPS."""

from collections.abc import Sequence

from mmengine.registry import MODELS

from ..checks import check_bool, check_int, check_list, check_str
from .conv import MAX_CHANNELS
from .embed import ConvEmbed
from .residual import check_residual


@MODELS.register_module()
class PEDS(ConvEmbed):
    """Patch embedding with deformed shortcut, stride 2 (paper, Eq. 16).

    ``y = F(x) + SN(BN(conv1x1 stride 2 (x)))`` on ``[T, B, C, H, W]``, where F is
    conv-BN-pool-SN-conv-BN-SN (``pool='first'``, ImageNet models) or conv-BN-SN-conv-BN-pool-SN
    (``pool='last'``, CIFAR and event models). With ``residual='membrane'`` (paper, Eq. 17, moved
    to the start of the branch) a neuron comes first and none before the sum.

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        pool (str): ``first`` or ``last``. Defaults to ``first``.
        residual (str): ``add`` or ``membrane``. Defaults to ``add``.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        pool: str = 'first',
        residual: str = 'add',
    ) -> None:
        check_str('pool', pool, ('first', 'last'))
        membrane = check_residual(residual) == 'membrane'
        places = ['before_neuron' if pool == place else None for place in ('first', 'last')]
        super().__init__(
            in_channels,
            embed_dims,
            neuron,
            norm_cfg,
            units=[
                dict(channels=embed_dims, pool=places[0]),
                dict(pool=places[1], fire='none' if membrane else 'last'),
            ],
            shortcut='conv',
            in_stream='membrane' if membrane else 'spikes',
        )


def _check_flag(key: str, value: object) -> bool:
    return bool(value) if value in (0, 1) and isinstance(value, int) else check_bool(key, value)


def _check_widths(channels: Sequence[int], pools: Sequence[bool], embed_dims: int) -> None:
    check_list('channels', channels, check_int, low=1, high=MAX_CHANNELS)
    check_list('pools', pools, _check_flag)
    if not channels or len(channels) != len(pools):
        raise ValueError(
            f'pools={list(pools)!r}: expected one entry for each of channels={list(channels)!r}, '
            f'at least one'
        )
    if channels[-1] != embed_dims:
        raise ValueError(
            f'channels={list(channels)!r}: expected the last to be the channels of the first '
            f'stage, {embed_dims}'
        )


def check_stem(
    embed_dims: int, channels: Sequence[int], pools: Sequence[bool], shortcut_from: int
) -> None:
    """Checks what :class:`PEDSStem` is made of.

    Raises:
        ValueError: A value is out of range, or two do not fit each other.
    """
    _check_widths(channels, pools, embed_dims)
    check_int('shortcut_from', shortcut_from, 1, len(channels) - 1)


@MODELS.register_module()
class PEDSStem(ConvEmbed):
    """Spiking encoding of the input, then PEDS: the patch embedding of the first stage.

    A chain of conv3x3-BN[-pool]-SN on ``[T, B, C, H, W]``; the deformed shortcut, a 1 x 1
    convolution with the stride of what it spans, starts behind the first ``shortcut_from`` units
    and joins the end. The three stems of the paper are three settings (C: channels of the last
    stage):

    ======== ======================= ======================= =============
    data     channels                pools                   shortcut_from
    ======== ======================= ======================= =============
    ImageNet C/8, C/4, C/4           yes, yes, no            1
    CIFAR    C/8, C/4                no, no                  1
    events   C/16, C/8, C/4, C/2     no, yes, yes, yes       2
    ======== ======================= ======================= =============

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels, equal to ``channels[-1]``.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        channels (Sequence[int]): Output channels of each unit.
        pools (Sequence[bool]): Whether each unit pools before its neuron.
        shortcut_from (int): Number of units before the shortcut.
        residual (str): ``add`` or ``membrane``. Defaults to ``add``.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        channels: Sequence[int],
        pools: Sequence[bool],
        shortcut_from: int,
        residual: str = 'add',
    ) -> None:
        check_stem(embed_dims, channels, pools, shortcut_from)
        units = [
            dict(channels=width, pool='before_neuron' if pool else None)
            for width, pool in zip(channels, pools)
        ]
        if check_residual(residual) == 'membrane':
            units[-1]['fire'] = 'none'
        super().__init__(
            in_channels,
            embed_dims,
            neuron,
            norm_cfg,
            units=units,
            shortcut='conv',
            shortcut_from=shortcut_from,
        )


@MODELS.register_module()
class SPS(ConvEmbed):
    """Spikformer's spiking patch splitting with its relative position convolution.

    Units of conv3x3-BN-SN[-pool] on ``[T, B, C, H, W]``, pooling spikes, then
    ``y + SN(BN(conv3x3(y)))``, the only position information of Spikformer. CML (arXiv 2305.05954)
    pools membranes, conv3x3-BN[-pool]-SN: a gradient goes to the largest of them, not to the first
    of equal spikes.

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels, equal to ``channels[-1]``.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        channels (Sequence[int]): Output channels of each unit (D/8, D/4, D/2, D).
        pools (Sequence[bool]): Whether each unit pools: all for ImageNet and events, the last two
            for CIFAR.
        pool (str): Where, ``after_neuron`` (Spikformer's) or ``before_neuron`` (CML's). Defaults
            to ``after_neuron``.
        residual (str): Only ``add``, Spikformer's.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        channels: Sequence[int],
        pools: Sequence[bool],
        pool: str = 'after_neuron',
        residual: str = 'add',
    ) -> None:
        _check_widths(channels, pools, embed_dims)
        check_str('pool', pool, ('after_neuron', 'before_neuron'))
        if check_residual(residual) != 'add':
            raise ValueError(f"residual={residual!r}: expected 'add', the only one of SPS")
        units = [
            dict(channels=width, pool=pool if pooled else None)
            for width, pooled in zip(channels, pools)
        ]
        super().__init__(
            in_channels,
            embed_dims,
            neuron,
            norm_cfg,
            units=[*units, dict(name='position')],
            shortcut='identity',
            shortcut_from=len(units),
        )
