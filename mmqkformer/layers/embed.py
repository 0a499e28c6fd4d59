"""Patch embeddings: PEDS (patch embedding with deformed shortcut) and Spikformer's SPS."""

from collections.abc import Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from .conv import SpikingConv, max_pool
from .time import merge_time, split_time

RESIDUALS = ('add', 'membrane')


def check_residual(residual: str) -> str:
    """Returns ``residual`` if it is a known kind.

    Raises:
        ValueError: It is neither ``add`` nor ``membrane``.
    """
    if residual not in RESIDUALS:
        raise ValueError(f"residual={residual!r}: expected 'add' or 'membrane'")
    return residual


def _check_widths(channels: Sequence[int], pools: Sequence[bool], embed_dims: int) -> None:
    if any(not isinstance(pool, int) or pool not in (0, 1) for pool in pools):
        raise ValueError(f'stem.pools={pools!r}: expected True or False for each unit')
    if not channels or len(channels) != len(pools):
        raise ValueError(
            f'stem.pools={list(pools)!r}: expected one entry for each of '
            f'stem.channels={list(channels)!r}, at least one'
        )
    if channels[-1] != embed_dims:
        raise ValueError(
            f'stem.channels={list(channels)!r}: expected the last to be the channels of the '
            f'first stage, {embed_dims}'
        )


@MODELS.register_module()
class PEDS(nn.Module):
    """Patch embedding with deformed shortcut, stride 2 (paper, Eq. 16).

    ``y = F(x) + SN(BN(conv1x1 stride 2 (x)))``, where F is conv-BN-pool-SN-conv-BN-SN
    (``pool='first'``, ImageNet models) or conv-BN-SN-conv-BN-pool-SN (``pool='last'``, CIFAR and
    event models). With ``residual='membrane'`` (paper, Eq. 17, moved to the start of the branch) a
    neuron comes first and none before the sum.

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        pool (str): ``first`` or ``last``. Defaults to ``first``.
        residual (str): ``add`` or ``membrane``. Defaults to ``add``.
    """

    stride = 2

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        neuron: dict,
        norm_cfg: dict,
        pool: str = 'first',
        residual: str = 'add',
    ) -> None:
        super().__init__()
        if pool not in ('first', 'last'):
            raise ValueError(f"embed.pool={pool!r}: expected 'first' or 'last'")
        membrane = check_residual(residual) == 'membrane'
        last = dict(neuron=None if membrane else neuron, norm_cfg=norm_cfg)
        self.neuron = MODELS.build(neuron) if membrane else None
        self.convs = nn.Sequential(
            SpikingConv(
                in_channels, embed_dims, 3, pool=pool == 'first', neuron=neuron, norm_cfg=norm_cfg
            ),
            SpikingConv(embed_dims, embed_dims, 3, pool=pool == 'last', **last),
        )
        self.shortcut = SpikingConv(in_channels, embed_dims, 1, stride=2, **last)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C', ceil(H/2), ceil(W/2)]``."""
        if self.neuron is not None:
            x = self.neuron(x)
        return self.convs(x) + self.shortcut(x)


@MODELS.register_module()
class PEDSStem(nn.Module):
    """Spiking encoding of the input, then PEDS: the patch embedding of the first stage.

    A chain of conv3x3-BN[-pool]-SN; the deformed shortcut, a 1 x 1 convolution with the stride of
    what it spans, starts behind the first ``shortcut_from`` units and joins the end. The three
    stems of the paper are three settings (C: channels of the last stage):

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
        super().__init__()
        _check_widths(channels, pools, embed_dims)
        if not 0 < shortcut_from < len(channels):
            raise ValueError(
                f'stem.shortcut_from={shortcut_from!r}: expected 1 to {len(channels) - 1}'
            )
        membrane = check_residual(residual) == 'membrane'
        self.shortcut_from = shortcut_from
        self.stride = 2 ** sum(pools)
        last = None if membrane else neuron
        self.convs = nn.ModuleList()
        for i, (width, pool) in enumerate(zip(channels, pools)):
            fire = last if i == len(channels) - 1 else neuron
            self.convs.append(
                SpikingConv(in_channels, width, 3, pool=pool, neuron=fire, norm_cfg=norm_cfg)
            )
            in_channels = width
        self.shortcut = SpikingConv(
            channels[shortcut_from - 1],
            embed_dims,
            1,
            stride=2 ** sum(pools[shortcut_from:]),
            neuron=last,
            norm_cfg=norm_cfg,
        )

    def forward(self, x: Tensor, copies: int = 1) -> Tensor:
        """Embeds images or events.

        Args:
            x (Tensor): ``[T, B, C, H, W]``, or ``[1, B, C, H, W]`` for ``copies`` equal steps.
            copies (int): Number of equal steps that ``x`` stands for. Defaults to 1.

        Returns:
            Tensor: ``[T, B, C', ceil(H/stride), ceil(W/stride)]``.
        """
        x = self.convs[0](x, copies)
        for conv in self.convs[1 : self.shortcut_from]:
            x = conv(x)
        y = x
        for conv in self.convs[self.shortcut_from :]:
            y = conv(y)
        return y + self.shortcut(x)


@MODELS.register_module()
class SPS(nn.Module):
    """Spikformer's spiking patch splitting with its relative position convolution.

    Units of conv3x3-BN-SN[-pool], pooling spikes, then ``y + SN(BN(conv3x3(y)))``, the only
    position information of Spikformer.

    Args:
        in_channels (int): Input channels.
        embed_dims (int): Output channels, equal to ``channels[-1]``.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        channels (Sequence[int]): Output channels of each unit (D/8, D/4, D/2, D).
        pools (Sequence[bool]): Whether each unit pools behind its neuron: all for ImageNet and
            events, the last two for CIFAR.
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
        residual: str = 'add',
    ) -> None:
        super().__init__()
        _check_widths(channels, pools, embed_dims)
        if check_residual(residual) != 'add':
            raise ValueError(f"residual={residual!r}: SPS has residual='add' only")
        self.stride = 2 ** sum(pools)
        self.convs = nn.ModuleList()
        self.pools = nn.ModuleList()
        for width, pool in zip(channels, pools):
            self.convs.append(SpikingConv(in_channels, width, 3, neuron=neuron, norm_cfg=norm_cfg))
            self.pools.append(max_pool() if pool else nn.Identity())
            in_channels = width
        self.position = SpikingConv(embed_dims, embed_dims, 3, neuron=neuron, norm_cfg=norm_cfg)

    def forward(self, x: Tensor, copies: int = 1) -> Tensor:
        """See :meth:`PEDSStem.forward`."""
        for i, (conv, pool) in enumerate(zip(self.convs, self.pools)):
            x = conv(x, copies if i == 0 else 1)
            x = split_time(pool(merge_time(x)), x.size(0))
        return x + self.position(x)
