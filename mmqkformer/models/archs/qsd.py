"""QSD-Transformer (ICLR 2025, arXiv 2501.13492): Meta-SpikeFormer of multi-level spikes."""

from collections.abc import Sequence

from ...checks import check_int, check_number
from .meta_spikeformer import DEPTHS, SIZES, meta_spikeformer
from .registry import register_arch


@register_arch(
    'qsd',
    **{
        'qsd-s': SIZES['meta-spikeformer-15m'],
        'qsd-m': SIZES['meta-spikeformer-31m'],
        'qsd-l': SIZES['meta-spikeformer-55m'],
    },
)
def qsd(
    embed_dims: Sequence[int],
    depths: Sequence[int] = DEPTHS,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    levels: int = 4,
    gain: float = 2.0,
    scale: float = 0.25,
    layer_scale: float | None = 1e-6,
) -> list[dict]:
    """Meta-SpikeFormer's stages; attention and MLP have a layer scale.

    For ``neuron=dict(type='MultiSpikeNeuron')`` and ``quant=dict(type='LSQ', bits=4)``. Behind the
    attention's product a :class:`~mmqkformer.neurons.MultiSpikeNeuron` of its own fires with a
    gain, where a LIF neuron would have a low threshold.

    Args:
        embed_dims (Sequence[int]): Channels of each of the five stages.
        depths (Sequence[int]): Blocks of each stage. Defaults to (1, 1, 2, 6, 2).
        num_heads (int): Heads. Defaults to 8.
        mlp_ratio (float): Hidden channels of the MLP over the stage's. Defaults to 4.
        levels (int): Highest number of spikes of the product's neuron. Defaults to 4.
        gain (float): Factor of that neuron's output. Defaults to 2.
        scale (float): Factor of the product. Defaults to 0.25.
        layer_scale (float | None): Start of the layer scale; None: there is none. Defaults to 1e-6.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    neuron = dict(
        type='MultiSpikeNeuron',
        levels=check_int('levels', levels, 1, 255),
        gain=check_number('gain', gain, above=0),
    )
    return meta_spikeformer(
        embed_dims,
        depths,
        num_heads,
        mlp_ratio,
        scale,
        product_neuron=neuron,
        layer_scale=layer_scale,
    )
