"""CML (arXiv 2305.05954): Spikformer and Spikingformer with their max-pools on membranes."""

from ...checks import check_str
from .registry import register_arch
from .spikformer import SIZES as SPIKFORMERS
from .spikformer import spikformer
from .spikingformer import SIZES as SPIKINGFORMERS
from .spikingformer import spikingformer

_NETWORKS = {'spikformer': spikformer, 'spikingformer': spikingformer}
_SIZES = {
    **{f'cml-{name}': dict(size, network='spikformer') for name, size in SPIKFORMERS.items()},
    **{f'cml-{name}': dict(size, network='spikingformer') for name, size in SPIKINGFORMERS.items()},
}


@register_arch('cml', **_SIZES)
def cml(
    network: str,
    depth: int,
    embed_dims: int,
    num_heads: int,
    data: str = 'imagenet',
    mlp_ratio: float = 4,
) -> list[dict]:
    """One stage, whose embedding pools between norm and neuron; nothing else changes.

    The release's models for events have neurons of tau 1.75.

    Args:
        network (str): ``spikformer`` or ``spikingformer``.
        depth (int): Blocks.
        embed_dims (int): Channels D.
        num_heads (int): Heads.
        data (str): ``imagenet``, ``events`` or ``cifar``. Defaults to ``imagenet``.
        mlp_ratio (float): Hidden channels of the MLP over D. Defaults to 4.

    Returns:
        list[dict]: The stage.

    Raises:
        ValueError: A value is out of range.
    """
    check_str('network', network, tuple(_NETWORKS))
    return _NETWORKS[network](depth, embed_dims, num_heads, data, mlp_ratio, pool='before_neuron')
