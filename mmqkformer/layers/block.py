"""The spiking transformer block and its drop path."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks import check_bool
from .attention import SpikingSelfAttention
from .embed import check_residual
from .mlp import SpikingMLP
from .time import merge_time, split_time


class DropPath(nn.Module):
    """Stochastic depth: drops a branch for a whole sample, one draw for all of its time steps.

    Args:
        drop_prob (float): Probability of dropping, in [0, 1).
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        if not 0.0 <= drop_prob < 1.0:
            raise ValueError(f'drop_path_rate={drop_prob!r}: expected a number in [0, 1)')
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, ...]``; kept samples are scaled by ``1 / (1 - drop_prob)``."""
        if not self.training or self.drop_prob == 0.0:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty(1, x.size(1), *[1] * (x.dim() - 2)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob:g}'


class SpikingBlock(BaseModule):
    """Attention and MLP, each in a residual branch, on ``[T, B, C, H, W]``.

    ``residual='add'`` (paper, Eq. 13 and 14): ``x = x + SN(f(x))``; spikes are added, so that the
    stream carries small integers. ``residual='membrane'`` (MS-QKFormer): ``x = x + f(SN(x))``; the
    stream is a membrane potential.

    Args:
        embed_dims (int): Channels C.
        attention (dict): Config of a registered attention. It is built with ``embed_dims``,
            ``neuron`` and ``norm_cfg`` unless it sets them, and maps spikes ``[T, B, C, H, W]``
            to currents of the same shape.
        mlp (dict): Config of a registered MLP, of the same contract.
        neuron (dict): Neuron config.
        norm_cfg (dict): Config of the norms.
        residual (str): ``add`` or ``membrane``. Defaults to ``add``.
        drop_path (float): Probability of dropping a branch of a sample. Defaults to 0.0.
        release_batch_leak (bool): Whether the neuron behind a :class:`SpikingSelfAttention` runs
            over the flattened T*B axis, its membrane leaking from one image of the batch into the
            next, as the public release of QKFormer does. Defaults to False.
    """

    def __init__(
        self,
        embed_dims: int,
        attention: dict,
        mlp: dict,
        neuron: dict,
        norm_cfg: dict,
        residual: str = 'add',
        drop_path: float = 0.0,
        release_batch_leak: bool = False,
    ) -> None:
        super().__init__()
        defaults = dict(embed_dims=embed_dims, neuron=neuron, norm_cfg=norm_cfg)
        self.membrane = check_residual(residual) == 'membrane'
        if check_bool('release_batch_leak', release_batch_leak) and self.membrane:
            raise ValueError("release_batch_leak=True: expected residual='add', the release's")
        self.attention = MODELS.build({**defaults, **attention})
        if isinstance(self.attention, SpikingMLP):
            raise ValueError(
                f"block.attention={attention!r}: expected an attention, such as 'QKTokenAttention'"
            )
        self.attention_neuron = MODELS.build(neuron)
        self.mlp = MODELS.build({**defaults, **mlp})
        self.mlp_neuron = MODELS.build(neuron)
        self.drop_path = DropPath(drop_path)
        self.leaks = release_batch_leak and isinstance(self.attention, SpikingSelfAttention)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C, H, W]``."""
        if self.membrane:
            x = x + self.drop_path(self.attention(self.attention_neuron(x)))
            return x + self.drop_path(self.mlp(self.mlp_neuron(x)))
        x = x + self.drop_path(self._fire_behind_attention(self.attention(x)))
        return x + self.drop_path(self.mlp_neuron(self.mlp(x)))

    def _fire_behind_attention(self, x: Tensor) -> Tensor:
        if not self.leaks:
            return self.attention_neuron(x)
        return split_time(self.attention_neuron(merge_time(x)), x.size(0))
