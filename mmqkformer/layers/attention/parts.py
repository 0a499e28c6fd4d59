"""What the attentions share."""

from torch import Tensor, nn

from ...build import build, build_part
from ...checks import check_int, check_number, check_str
from ...neurons import SpikingNeuron, with_threshold

MAPS = ('tokens', 'channels', 'pairs', 'space_time')


class AttentionMap(nn.Module):
    """A place where an attention's map can be seen: returns what it is given.

    An attention that has a map passes it through one, so that whoever wants the map hooks the tap
    and needs to know nothing of the attention. It has no parameters and no state.

    ============== =================================================================
    over           the map
    ============== =================================================================
    ``tokens``     of each head and token, ``[T, B, heads, H, W]``
    ``channels``   of each channel, ``[T, B, C, 1, 1]``
    ``pairs``      of key and query, ``[T, B, heads, keys, queries]``
    ``space_time`` of query and key of any steps, ``[B, heads, T * H * W, T * H * W]``
    ============== =================================================================

    Args:
        over (str): What the map has a value of, ``tokens``, ``channels``, ``pairs`` or
            ``space_time``.

    Raises:
        ValueError: It is another.
    """

    def __init__(self, over: str) -> None:
        super().__init__()
        self.over = check_str('over', over, MAPS)

    def forward(self, x: Tensor) -> Tensor:
        """The map, as it is."""
        return x

    def extra_repr(self) -> str:
        return self.over


def check_heads(embed_dims: int, num_heads: int, key: str = 'num_heads') -> None:
    """Refuses a number of heads, the argument ``key``, that does not divide the channels.

    Raises:
        ValueError: It does not.
    """
    check_int(key, num_heads, 1)
    if embed_dims % num_heads:
        raise ValueError(f'{key}={num_heads!r}: expected a divisor of embed_dims={embed_dims}')


def own_neuron(
    key: str, own: dict | None, neuron: dict, v_threshold: float | None
) -> SpikingNeuron:
    """Builds a neuron that counts spikes: its own, or the layers' at the papers' threshold.

    Args:
        key (str): Name of the argument that is its config.
        own (dict | None): That argument.
        neuron (dict): The layers' neuron.
        v_threshold (float | None): Threshold of the latter; None is 0.5 where it has one.

    Raises:
        ValueError: Both a neuron and a threshold are given, or a neuron without one.
    """
    if own is not None:
        if v_threshold is not None:
            raise ValueError(f'v_threshold={v_threshold!r}: expected none beside {key}')
        return build_part(key, own, SpikingNeuron)
    if v_threshold is None:
        return build_part('neuron', with_threshold(neuron, 0.5), SpikingNeuron)
    check_number('v_threshold', v_threshold)
    at_threshold = with_threshold(neuron, v_threshold)
    if at_threshold is neuron:
        raise ValueError(
            f'v_threshold={v_threshold!r}: expected none, as neuron={neuron!r} has no threshold'
        )
    # The neuron itself is that of other layers: what can be wrong is the threshold
    return build(at_threshold, SpikingNeuron)
