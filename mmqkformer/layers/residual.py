"""Residual branches, and the block that is a list of them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..build import build, build_part, inside
from ..checks import check_dict, check_list, check_number, check_str
from ..neurons import SpikingNeuron
from ..neurons.fused import fire_and_add
from ..saved import added, multiplied
from .branches import SpikingMLP
from .conv import check_norm_cfg

# x: the stream; y: the branch's spikes, or its currents where the residual is `membrane`
RESIDUALS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'add': added,
    'membrane': added,
    'and': multiplied,
    'iand': lambda x, y: x * (1.0 - y),
}


def check_residual(residual: str) -> str:
    """Returns ``residual`` if it is one of those that a whole network can have.

    Raises:
        ValueError: It is neither ``add`` nor ``membrane``.
    """
    return check_str('residual', residual, ('add', 'membrane'))


class DropPath(nn.Module):
    """Stochastic depth: drops a branch for a whole sample, one draw for all of its time steps.

    Args:
        drop_prob (float): Probability of dropping, in [0, 1).
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = check_number('drop_path', drop_prob, low=0, below=1)

    @property
    def drops(self) -> bool:
        """Whether it does anything now."""
        return self.training and self.drop_prob > 0

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, ...]``; kept samples are scaled by ``1 / (1 - drop_prob)``."""
        if not self.drops:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty(1, x.size(1), *[1] * (x.dim() - 2)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob:g}'


def branches_of(block: Mapping | Sequence[dict], neuron: dict, residual: str) -> dict[str, dict]:
    """A block's config as the branches that it stands for, by the path of each.

    Args:
        block (Mapping | Sequence[dict]): A list of branches, or the shorthand
            ``dict(attention=..., mlp=...)`` with, for both, ``neuron``, ``norm_cfg``, ``residual``.
        neuron (dict): Neuron of the branches that name none.
        residual (str): Kind of the branches that name none.

    Returns:
        dict[str, dict]: Configs that name neurons and residual, by ``block[0]`` or
        ``block.attention``.

    Raises:
        ValueError: It is neither, or a key is unknown.
    """
    if isinstance(block, Mapping):
        both = {'attention', 'mlp'}
        shared = {key: value for key, value in block.items() if key not in both}
        if not both <= set(block) or set(shared) - {'neuron', 'norm_cfg', 'residual'}:
            raise ValueError(
                f'block={block!r}: expected attention and mlp (and perhaps neuron, norm_cfg and '
                f'residual), or a list of branches'
            )
        if 'neuron' in shared:
            build_part('block.neuron', shared['neuron'], SpikingNeuron)
        if 'norm_cfg' in shared:
            with inside('block', block):
                check_norm_cfg(shared['norm_cfg'])
        if 'residual' in shared:
            check_str('block.residual', shared['residual'], tuple(RESIDUALS))
        neuron, residual = shared.pop('neuron', neuron), shared.pop('residual', residual)
        # A neuron that one of the two names is that of its layers, not of the residual
        named = {}
        for name in ('attention', 'mlp'):
            branch = check_dict(f'block.{name}', block[name])
            if name == 'attention' and branch.get('type') in ('SpikingMLP', SpikingMLP):
                raise ValueError(
                    f"block.attention={branch!r}: expected an attention, such as 'QKTokenAttention'"
                )
            place = _place(branch.get('residual', residual))
            named[f'block.{name}'] = {'name': name, place: neuron, **shared, **branch}
    else:
        branches = check_list('block', block, check_dict)
        named = {
            f'block[{i}]': {'name': f'branch{i}', **branch} for i, branch in enumerate(branches)
        }
    for path, branch in named.items():
        branch = {'neuron': neuron, 'residual': residual, **branch}
        named[path] = {_place(branch['residual']): branch['neuron'], **branch}
    return named


def _place(residual: str) -> str:
    return 'in_neuron' if residual == 'membrane' else 'out_neuron'


def stream_behind(stream: str, residual: str) -> str:
    """What a stream is behind a residual branch: ``spikes``, ``sums`` or ``membrane``."""
    if residual == 'membrane' or stream == 'membrane':
        return 'membrane'
    return 'sums' if residual == 'add' else 'spikes'


class SpikingBlock(BaseModule):
    """Residual branches on the stream ``[T, B, C, H, W]``, one behind the other.

    ============ =============================== =============================================
    residual     equation                        source
    ============ =============================== =============================================
    ``add``      ``x = x + SN(f(x))``            paper, Eq. 13 and 14; SEW-ResNet's ADD
    ``membrane`` ``x = x + f(SN(x))``            MS-ResNet (arXiv 2112.08954), MS-QKFormer
    ``and``      ``x = x * SN(f(x))``            SEW-ResNet (arXiv 2102.04159), on 0/1 spikes
    ``iand``     ``x = x * (1 - SN(f(x)))``      SEW-ResNet, on 0/1 spikes
    ============ =============================== =============================================

    With ``add`` the stream carries small integers (``sums`` of spikes), with ``membrane`` it is a
    membrane potential. ``stream`` tells what leaves the block.

    Args:
        embed_dims (int): Channels C.
        block (Mapping | Sequence[dict]): The branches. Of each the ``type`` and the arguments of
            anything registered that maps ``[T, B, C, H, W]`` to the same shape, and

            - ``name``: of its module, ``branch{i}`` if there is none; its neuron is
              ``{name}_neuron``;
            - ``residual``: see the table; defaults to ``residual``;
            - ``neuron``: of its layers and its residual; defaults to ``neuron``;
            - ``out_neuron`` (``in_neuron`` with ``membrane``): the residual's neuron SN, where it
              is another;
            - ``drop_path``: probability of dropping it for a sample; defaults to ``drop_path``;
            - ``layer_scale``: start of a learnt factor of its output for each channel, with
              ``membrane``.

            ``dict(attention=..., mlp=...)`` is short for two branches of these names.
        neuron (dict): Neuron of branches that name none.
        norm_cfg (dict): Norm of branches that name none.
        residual (str): Residual of branches that name none. Defaults to ``add``.
        drop_path (float): Probability of dropping a branch of a sample. Defaults to 0.0.
        in_stream (str): What comes in: ``spikes``, ``sums`` or ``membrane``. Defaults to ``sums``.

    Raises:
        ValueError: A key is unknown, or a value wrong; the message begins with its path.
    """

    def __init__(
        self,
        embed_dims: int,
        block: Mapping | Sequence[dict],
        neuron: dict,
        norm_cfg: dict,
        residual: str = 'add',
        drop_path: float = 0.0,
        in_stream: str = 'sums',
    ) -> None:
        super().__init__()
        self.residuals: dict[str, str] = {}
        self.stream = in_stream
        for path, branch in branches_of(block, neuron, residual).items():
            with inside(path, branch):
                self._add_branch(branch, embed_dims, norm_cfg, drop_path)

    def _add_branch(self, branch: dict, embed_dims: int, norm_cfg: dict, drop_path: float) -> None:
        branch = dict(branch)
        name = branch.pop('name')
        if not isinstance(name, str) or not name.isidentifier() or hasattr(self, name):
            raise ValueError(f'name={name!r}: expected a new name of a module')
        kind = check_str('residual', branch.pop('residual'), tuple(RESIDUALS))
        place = _place(kind)
        neuron = branch.pop(place)
        for key in {'in_neuron', 'out_neuron'} & set(branch):
            raise ValueError(f'{key}={branch[key]!r}: expected {place} with residual={kind!r}')
        drop_path = branch.pop('drop_path', drop_path)
        scale = branch.pop('layer_scale', None)
        if kind in ('and', 'iand'):
            if self.stream != 'spikes':
                raise ValueError(
                    f'residual={kind!r}: expected a stream of spikes in front, not {self.stream}'
                )
            if drop_path:
                raise ValueError(f'drop_path={drop_path!r}: expected 0 with residual={kind!r}')
        if scale is not None:
            check_number('layer_scale', scale)
            if kind != 'membrane':
                raise ValueError(f"layer_scale={scale!r}: expected residual='membrane' with it")
            scale = nn.Parameter(torch.full((embed_dims,), float(scale)))
        of_layers = branch.pop('neuron')
        build_part('neuron', of_layers, SpikingNeuron)
        inner = dict(neuron=of_layers, norm_cfg=norm_cfg)
        self.add_module(name, build(branch, nn.Module, fixed=dict(embed_dims=embed_dims), **inner))
        self.add_module(f'{name}_neuron', build_part(place, neuron, SpikingNeuron))
        self.add_module(f'{name}_drop_path', DropPath(drop_path))
        self.register_parameter(f'{name}_scale', scale)
        self.residuals[name] = kind
        self.stream = stream_behind(self.stream, kind)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C, H, W]``."""
        for name, kind in self.residuals.items():
            branch, neuron = getattr(self, name), getattr(self, f'{name}_neuron')
            drop_path = getattr(self, f'{name}_drop_path')
            if kind == 'membrane':
                y = branch(neuron(x))
                scale = getattr(self, f'{name}_scale')
                y = y if scale is None else y * scale[:, None, None]
            elif kind == 'add' and not drop_path.drops:
                x = fire_and_add(neuron, branch(x), x)
                continue
            else:
                y = neuron(branch(x))
            x = RESIDUALS[kind](x, drop_path(y))
        return x
