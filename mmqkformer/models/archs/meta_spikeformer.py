"""Meta-SpikeFormer (ICLR 2024, arXiv 2404.03663), also Spike-driven Transformer V2."""

from collections.abc import Sequence

from ...checks import check_int, check_number
from .registry import register_arch
from .strided import check_stages, strided_stages

_DEPTHS = (1, 1, 2, 6, 2)
_STRIDES = (2, 2, 2, 2, 1)


@register_arch(
    'meta_spikeformer',
    **{
        'meta-spikeformer-15m': dict(embed_dims=[32, 64, 128, 256, 360]),
        'meta-spikeformer-31m': dict(embed_dims=[48, 96, 192, 384, 480]),
        'meta-spikeformer-55m': dict(embed_dims=[64, 128, 256, 512, 640]),
    },
)
def meta_spikeformer(
    embed_dims: Sequence[int],
    depths: Sequence[int] = _DEPTHS,
    num_heads: int = 8,
    mlp_ratio: float = 4,
) -> list[dict]:
    """Five stages: three of convolution blocks, two of attention; strides 2, 4, 8, 16 and 16.

    A convolution block is a separable and a dense convolution branch, the other a self attention
    on RepConvs and an MLP, all with membrane shortcuts.

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
    check_stages(embed_dims, depths, len(_DEPTHS))
    check_int('num_heads', num_heads, 1)
    check_number('mlp_ratio', mlp_ratio, above=0)
    convolution = [dict(type='SepConv', name='sep'), dict(type='ConvBranch', name='conv')]
    transformer = [
        dict(type='RepConvSelfAttention', name='attention', num_heads=num_heads),
        dict(type='SpikingMLP', name='mlp', ratio=mlp_ratio),
    ]
    blocks = [convolution] * 3 + [transformer] * 2
    return strided_stages(embed_dims, depths, _STRIDES, blocks)
