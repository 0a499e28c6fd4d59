"""Meta-SpikeFormer (ICLR 2024, arXiv 2404.03663), also Spike-driven Transformer V2."""

from collections.abc import Sequence

from ...build import build_part
from ...checks import check_int, check_number
from ...neurons import SpikingNeuron
from .registry import register_arch
from .strided import check_stages, strided_stages

DEPTHS = (1, 1, 2, 6, 2)
SIZES = {
    'meta-spikeformer-15m': dict(embed_dims=[32, 64, 128, 256, 360]),
    'meta-spikeformer-31m': dict(embed_dims=[48, 96, 192, 384, 480]),
    'meta-spikeformer-55m': dict(embed_dims=[64, 128, 256, 512, 640]),
}
STRIDES = (2, 2, 2, 2, 1)


@register_arch('meta_spikeformer', **SIZES)
def meta_spikeformer(
    embed_dims: Sequence[int],
    depths: Sequence[int] = DEPTHS,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    scale: float = 0.125,
    product_neuron: dict | None = None,
    layer_scale: float | None = None,
) -> list[dict]:
    """Five stages: three of convolution blocks, two of attention; strides 2, 4, 8, 16 and 16.

    A convolution block is a separable and a dense convolution branch, the other a self attention
    on RepConvs and an MLP, all with membrane shortcuts.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage. Defaults to (1, 1, 2, 6, 2).
        num_heads (int): Heads. Defaults to 8.
        mlp_ratio (float): Hidden channels of the MLP over the stage's. Defaults to 4.
        scale (float): Factor of the attention's product. Defaults to 0.125.
        product_neuron (dict | None): Neuron behind it. Defaults to None, see
            :class:`~mmqkformer.layers.RepConvSelfAttention`.
        layer_scale (float | None): Start of a learnt factor for each channel of attention and MLP.
            Defaults to None: there is none.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_stages(embed_dims, depths, len(DEPTHS))
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    check_number('scale', scale, above=0)
    if product_neuron is not None:
        build_part('product_neuron', product_neuron, SpikingNeuron)
    if layer_scale is not None:
        check_number('layer_scale', layer_scale, above=0)
    convolution = [dict(type='SepConv', name='sep'), dict(type='ConvBranch', name='conv')]
    attention = dict(
        type='RepConvSelfAttention', num_heads=num_heads, scale=scale, product_neuron=product_neuron
    )
    mlp = dict(type='SpikingMLP', ratio=mlp_ratio)
    transformer = [
        dict(branch, name=name, layer_scale=layer_scale)
        for name, branch in dict(attention=attention, mlp=mlp).items()
    ]
    blocks = [convolution] * 3 + [transformer] * 2
    return strided_stages(embed_dims, depths, STRIDES, blocks)
