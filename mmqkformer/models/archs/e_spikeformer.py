"""E-SpikeFormer (TPAMI 2025, arXiv 2411.16061), also Spike-driven Transformer V3."""

from collections.abc import Sequence

from ...checks import check_bool, check_int, check_number
from .meta_spikeformer import DEPTHS, STRIDES
from .registry import register_arch
from .strided import check_stages, strided_stages

_LARGE_DEPTHS = (1, 1, 2, 12)


@register_arch(
    'e_spikeformer',
    **{
        'e-spikeformer-2.7m': dict(embed_dims=[12, 24, 48, 96, 128]),
        'e-spikeformer-5.1m': dict(embed_dims=[16, 32, 64, 128, 192]),
        'e-spikeformer-10m': dict(embed_dims=[24, 48, 96, 192, 240]),
        'e-spikeformer-19m': dict(embed_dims=[32, 64, 128, 256, 360]),
    },
)
def e_spikeformer(
    embed_dims: Sequence[int],
    depths: Sequence[int] = DEPTHS,
    num_heads: int = 8,
    mlp_ratio: float = 4,
) -> list[dict]:
    """Five stages: three of convolution blocks, two of attention; strides 2, 4, 8, 16 and 16.

    Meta-SpikeFormer's, with a norm and a neuron behind each depthwise convolution, and blocks of a
    separable convolution, a self attention on 1 x 1 convolutions with four times the channels in
    its values, ``SN((Q K^T) V 2 / sqrt(d))`` at d channels per head, and an MLP.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage. Defaults to (1, 1, 2, 6, 2).
        num_heads (int): Heads. Defaults to 8.
        mlp_ratio (float): Hidden channels of the MLP over the stage's. Defaults to 4.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_stages(embed_dims, depths, len(DEPTHS))
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    convolution = [
        dict(type='SepConv', name='sep', fire=True),
        dict(type='ConvBranch', name='conv'),
    ]

    def transformer(channels: int) -> list[dict]:
        return [
            dict(type='SepConv', name='sep', kernel_size=3, fire=True),
            dict(
                type='SpikingSelfAttention',
                name='attention',
                num_heads=num_heads,
                value_ratio=4,
                scale=2 * (channels / num_heads) ** -0.5,
                contraction='qk_first',
                proj_bias=False,
            ),
            dict(type='SpikingMLP', name='mlp', ratio=mlp_ratio),
        ]

    blocks = [convolution] * 3 + [transformer(channels) for channels in embed_dims[3:]]
    return strided_stages(embed_dims, depths, STRIDES, blocks)


@register_arch(
    'e_spikeformer_large',
    **{
        'e-spikeformer-83m': dict(embed_dims=[64, 128, 256, 512], linear_branch=True),
        # 196 and not 192: as the release has it
        'e-spikeformer-173m': dict(embed_dims=[98, 196, 384, 768], linear_branch=False),
    },
)
def e_spikeformer_large(
    embed_dims: Sequence[int],
    linear_branch: bool,
    depths: Sequence[int] = _LARGE_DEPTHS,
    num_heads: int = 8,
    mlp_ratio: float = 4,
    layer_scale: float = 1e-6,
) -> list[dict]:
    """Four stages: three of dense convolutions, one of attention; strides 2, 4, 8 and 16.

    A convolution block is one branch of two 3 x 3 convolutions; the others are a self attention
    whose layers are two 1 x 1 convolutions each, and an MLP, both with a layer scale. Drop path
    acts on those two only.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        linear_branch (bool): Whether a branch of two 1 x 1 convolutions, without a neuron between
            them, comes first in an attention's block.
        depths (Sequence[int]): Blocks of each stage. Defaults to (1, 1, 2, 12).
        num_heads (int): Heads. Defaults to 8.
        mlp_ratio (float): Hidden channels of the MLP over the stage's. Defaults to 4.
        layer_scale (float): Start of the factors of attention and MLP. Defaults to 1e-6.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range.
    """
    check_stages(embed_dims, depths, len(_LARGE_DEPTHS))
    check_bool('linear_branch', linear_branch)
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    check_number('layer_scale', layer_scale, above=0)
    convolution = [dict(type='ConvBranch', name='conv', bias=True, drop_path=0.0)]
    transformer = [
        dict(
            type='PointwiseRepConvSelfAttention',
            name='attention',
            num_heads=num_heads,
            contraction='kv_first',
            layer_scale=layer_scale,
        ),
        dict(type='SpikingMLP', name='mlp', ratio=mlp_ratio, layer_scale=layer_scale),
    ]
    if linear_branch:
        linear = dict(type='ConvBranch', ratio=1, kernel_size=1, fire=False, drop_path=0.0)
        transformer.insert(0, dict(linear, name='linear'))
    return strided_stages(embed_dims, depths, (2, 2, 2, 2), [convolution] * 3 + [transformer])
