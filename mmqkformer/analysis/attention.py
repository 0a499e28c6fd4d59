"""What attentions let through and look at, recorded from a forward pass."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import AttentionMap, SpikingSelfAttention
from .record import recording


@dataclass
class TokenMap:
    """A value of each token.

    Attributes:
        values (Tensor): ``[T, B, heads, h, w]``, on the CPU.
        unit (str): What a value is.
        is_mask (bool): Whether a value of 1 is a token that passes.
    """

    values: Tensor
    unit: str
    is_mask: bool = False


@dataclass
class Attention:
    """What an attention computed in a forward pass; the tensors are on the CPU.

    Attributes:
        kind (str): Its class, such as ``QKTokenAttention``.
        over (str): What its map has a value of: ``tokens``, ``channels``, ``pairs`` or
            ``space_time``, see :class:`~mmqkformer.layers.AttentionMap`.
        map (Tensor): The map, of the shape that ``over`` says.
        grid (tuple[int, int]): Rows and columns of the tokens that are looked at: those of the
            input, of a DSSA its patches.
        query (Tensor | None): Spikes Q ``[T, B, C, H, W]``; None where no layer of their own
            makes them.
        key (Tensor | None): Spikes K, likewise.
        out (Tensor): What the projection at its end receives, ``[T, B, C, H, W]``: of an attention
            that masks this is X', K or Q where the mask lets it pass.
    """

    kind: str
    over: str
    map: Tensor
    grid: tuple[int, int]
    query: Tensor | None
    key: Tensor | None
    out: Tensor

    @property
    def has_queries(self) -> bool:
        """Whether the map tells where a single query looks."""
        return self.over in ('pairs', 'space_time')

    def received(self) -> TokenMap:
        """What each token gets: a value of each step, sample, head and token.

        ============== =================================================================
        over           value of a token
        ============== =================================================================
        ``tokens``     the mask A_t
        ``channels``   mean of X' over the channels, of one head that is all channels
        ``pairs``      mean of the map over the queries
        ``space_time`` mean of the map over the queries of all steps
        ============== =================================================================
        """
        if self.over == 'tokens':
            return TokenMap(self.map, 'mask Aₜ, mean of the heads', is_mask=True)
        if self.over == 'channels':
            return TokenMap(self.out.mean(2, keepdim=True), "X', mean of the channels")
        if self.over == 'pairs':
            received = self.map.mean(-1).unflatten(-1, self.grid)
        else:
            received = self._keys_by_step(self.map.mean(-2))
        return TokenMap(received, f'{self._product}, mean of the queries')

    def asked_by(self, row: int, column: int) -> TokenMap:
        """Where the query of a token looks.

        Of ``space_time`` it is the query of the last step, and what a step has is its keys.

        Args:
            row (int): Row of the token in the input of the attention.
            column (int): Its column.

        Raises:
            ValueError: There is no such token, or the map is not one of queries.
        """
        rows, columns = self.out.shape[-2:]
        if not self.has_queries:
            raise ValueError(
                f'{self.kind} masks {self.over}: expected an attention of queries and keys'
            )
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(
                f'query=({row}, {column}): expected a token of the {rows} x {columns} of '
                f'{self.kind}'
            )
        token = row * columns + column
        if self.over == 'pairs':
            asked = self.map[..., token].unflatten(-1, self.grid)
        else:
            asked = self._keys_by_step(self.map[:, :, token - rows * columns])
        return TokenMap(asked, f'{self._product} of one query')

    def of_head(self, head: int, sample: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Mask, keys and masked keys of Q-K token attention, ``X' = A_t (x) K``, as rows of tokens.

        Args:
            head (int): Which head.
            sample (int): Which sample of the batch. Defaults to 0.

        Returns:
            tuple: A_t ``[T, 1, N]``, K and X' ``[T, d, N]`` of the head's d channels.

        Raises:
            ValueError: The attention has no mask of tokens over keys, or no such head.
        """
        if self.over != 'tokens' or self.key is None:
            raise ValueError(f'{self.kind}: expected an attention with a mask of tokens and keys')
        heads = self.map.size(2)
        if not 0 <= head < heads:
            raise ValueError(f'head={head}: expected 0 to {heads - 1}')
        key, out = (
            x[:, sample].flatten(2).unflatten(1, (heads, -1))[:, head] for x in (self.key, self.out)
        )
        return self.map[:, sample, head].flatten(1)[:, None], key, out

    @property
    def _product(self) -> str:
        """What the map has of a query and a key."""
        if self.over == 'space_time':
            return 'Q Kᵀ + bias'
        return 'A' if self.kind == 'DSSA' else 'Q Kᵀ'

    def _keys_by_step(self, keys: Tensor) -> Tensor:
        """``[B, heads, T * H * W] -> [T, B, heads, H, W]``."""
        return keys.unflatten(-1, (self.out.size(0), *self.grid)).permute(2, 0, 1, 3, 4)


def record_attention(network: nn.Module, forward: Callable[[], object]) -> dict[str, Attention]:
    """Runs a forward pass and returns what each attention with a map did.

    Spiking self attention computes ``(V K^T) Q`` where that is cheaper, and so no map. For this
    pass it computes ``V (K^T Q)``. Sums of spikes are exact integers, so that the spikes behind
    stay the same; of graded spikes too where their unit is a power of two.

    Args:
        network (nn.Module): Network that holds the attentions.
        forward (Callable): Runs the network, without arguments.

    Returns:
        dict[str, Attention]: By the attention's name in the network, in its order; of the last
        call where there were several.

    Raises:
        ValueError: The network has no attention with a map, or the pass called none where hooks
            could see it.
    """
    taps = {
        name.rpartition('.')[0]: name
        for name, module in network.named_modules()
        if isinstance(module, AttentionMap)
    }
    if not taps:
        raise ValueError(f'{type(network).__name__}: expected an attention with a map, has none')
    watched = {_part(name, f'{part}.neuron') for name in taps for part in ('query', 'key')}
    watched.update(taps.values())
    with (
        torch.no_grad(),
        _maps_computed(network),
        recording(network, lambda name, _: name in watched, Tensor.cpu) as outputs,
        _given(network, [_part(name, 'proj') for name in taps]) as given,
    ):
        forward()

    def last(name: str) -> Tensor | None:
        calls = outputs.get(name)
        return calls[-1] if calls else None

    attentions = {}
    for name, tap in taps.items():
        if not outputs[tap]:
            continue
        attention, out = network.get_submodule(name), given[_part(name, 'proj')]
        patch = getattr(attention, 'patch_size', 1)
        attentions[name] = Attention(
            kind=type(attention).__name__,
            over=network.get_submodule(tap).over,
            map=last(tap),
            grid=(out.size(-2) // patch, out.size(-1) // patch),
            query=last(_part(name, 'query.neuron')),
            key=last(_part(name, 'key.neuron')),
            out=out,
        )
    if not attentions:
        raise ValueError(f'{type(network).__name__}: expected a pass that calls its attentions')
    return attentions


def _part(owner: str, name: str) -> str:
    """Name of a module in another, which may be the network itself."""
    return f'{owner}.{name}' if owner else name


@contextmanager
def _maps_computed(network: nn.Module) -> Iterator[None]:
    """Spiking self attentions in the order that has a map."""
    attentions = [m for m in network.modules() if isinstance(m, SpikingSelfAttention)]
    orders = [attention.contraction for attention in attentions]
    try:
        for attention in attentions:
            attention.contraction = 'qk_first'
        yield
    finally:
        for attention, order in zip(attentions, orders, strict=True):
            attention.contraction = order


@contextmanager
def _given(network: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """The first argument of modules in their last call, by their names."""
    given: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in names:

            def keep(module: nn.Module, args: tuple, name: str = name) -> None:
                given[name] = args[0].detach().cpu()

            hook = network.get_submodule(name).register_forward_pre_hook(keep)
            hooks.callback(hook.remove)
        yield given
