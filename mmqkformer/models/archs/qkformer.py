"""QKFormer's hierarchical spiking transformers (paper, Tables 2 and 3)."""

from collections.abc import Sequence

from ...build import check_arguments, inside, parameters_of, type_of
from ...checks import check_dict, check_int, check_list, check_number, check_str
from ...layers import PEDSStem
from ...layers.conv import MAX_CHANNELS
from ...layers.presets import check_stem
from .registry import MAX_DEPTH, check_lengths, register_arch


def _imagenet(dims: int, num_heads: int) -> dict:
    return dict(
        embed_dims=[dims // 4, dims // 2, dims],
        depths=[1, 2, 7],
        num_heads=[num_heads] * 3,
        mlp_ratios=[4, 4, 4],
        attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(
            channels=[dims // 8, dims // 4, dims // 4], pools=[True, True, False], shortcut_from=1
        ),
        pool='first',
    )


SIZES = {
    'hst-10-384': _imagenet(384, 6),
    'hst-10-512': _imagenet(512, 8),
    'hst-10-768': _imagenet(768, 12),
    'hst-4-384': dict(
        embed_dims=[96, 192, 384],
        depths=[1, 1, 2],
        num_heads=[8, 8, 8],
        mlp_ratios=[4, 4, 4],
        attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(channels=[48, 96], pools=[False, False], shortcut_from=1),
        pool='last',
    ),
    'hst-2-256': dict(
        embed_dims=[128, 256],
        depths=[1, 1],
        num_heads=[16, 16],
        mlp_ratios=[1, 1],
        attentions=['QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(channels=[16, 32, 64, 128], pools=[False, True, True, True], shortcut_from=2),
        pool='last',
    ),
}


@register_arch('hst', **SIZES)
def hst(
    embed_dims: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    mlp_ratios: Sequence[float],
    attentions: Sequence[str | dict],
    stem: dict,
    pool: str,
) -> list[dict]:
    """A hierarchy of stages, each a PEDS and blocks of a Q-K or self attention and an MLP.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage.
        num_heads (Sequence[int]): Heads of each stage, for attentions given by name.
        mlp_ratios (Sequence[float]): Hidden channels of the MLP over the stage's.
        attentions (Sequence[str | dict]): Attention of each stage, by name or as a config.
        stem (dict): Arguments of ``PEDSStem``, the first embedding.
        pool (str): Of ``PEDS``, the others: ``first`` or ``last``.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: Lists of different lengths, or an attention that is not registered.
    """
    check_list('embed_dims', embed_dims, check_int, low=1, high=MAX_CHANNELS)
    check_list('depths', depths, check_int, low=0, high=MAX_DEPTH)
    check_list('num_heads', num_heads, check_int, low=1)
    check_list('mlp_ratios', mlp_ratios, check_number, above=0)
    stages = check_lengths(
        embed_dims=embed_dims,
        depths=depths,
        num_heads=num_heads,
        mlp_ratios=mlp_ratios,
        attentions=attentions,
    )
    with inside('stem', check_dict('stem', stem)):
        check_arguments(PEDSStem, stem, ('in_channels', 'embed_dims', 'neuron', 'norm_cfg'))
        check_stem(embed_dims[0], *(stem[key] for key in ('channels', 'pools', 'shortcut_from')))
    check_str('pool', pool, ('first', 'last'))
    return [
        dict(
            embed=dict(stem, type='PEDSStem') if i == 0 else dict(type='PEDS', pool=pool),
            block=dict(
                attention=_attention(f'attentions[{i}]', attentions[i], num_heads[i]),
                mlp=dict(type='SpikingMLP', ratio=mlp_ratios[i]),
            ),
            channels=embed_dims[i],
            depth=depths[i],
        )
        for i in range(stages)
    ]


def _attention(key: str, attention: str | dict, num_heads: int) -> dict:
    """A dict stays as it is; a name gets the stage's heads if the class takes any."""
    named = isinstance(attention, str)
    cfg = dict(type=attention) if named else dict(check_dict(key, attention))
    with inside(key, attention):
        takes_heads = 'num_heads' in parameters_of(type_of(cfg))
    return dict(cfg, num_heads=num_heads) if named and takes_heads else cfg
