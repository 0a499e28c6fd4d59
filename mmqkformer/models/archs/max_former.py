"""Max-Former (NeurIPS 2025, arXiv 2505.18608): max-pools and depthwise convolutions keep detail."""

from collections.abc import Sequence

from ...checks import check_int, check_list, check_number, check_str
from ...layers.conv import MAX_CHANNELS, MAX_KERNEL
from .registry import MAX_DEPTH, check_lengths, register_arch

# The ImageNet release's, of all convolutions but those of the attention
_INIT = dict(type='TruncNormal', layer='Conv2d', std=0.02, bias=0.0)
# By the code base of the release: units of the stem, as a divisor of its channels and whether it
# halves height and width, and how many of them stand before the shortcut
_STEMS = {
    'imagenet': ([(2, 'stride'), (1, 'stride'), (1, None)], 1),
    'cifar': ([(2, None), (1, None)], 1),
    'events': ([(8, None), (4, 'pool'), (2, 'pool'), (1, 'pool')], 2),
}


def _imagenet(dims: int) -> dict:
    return dict(
        embed_dims=[dims // 4, dims // 2, dims],
        depths=[1, 2, 7],
        kernel_sizes=[7, 5],
        num_heads=dims // 64,
    )


@register_arch(
    'max_former',
    **{
        'max-former-10-384': _imagenet(384),
        'max-former-10-512': _imagenet(512),
        'max-former-10-768': _imagenet(768),
        'max-former-4-384': dict(
            embed_dims=[96, 192, 384],
            depths=[1, 1, 2],
            kernel_sizes=[0, 3],
            num_heads=8,
            data='cifar',
        ),
        'max-former-2-256': dict(
            embed_dims=[128, 256],
            depths=[1, 1],
            kernel_sizes=[3],
            num_heads=16,
            data='events',
            mlp_ratio=1,
        ),
    },
)
def max_former(
    embed_dims: Sequence[int],
    depths: Sequence[int],
    kernel_sizes: Sequence[int],
    num_heads: int,
    data: str = 'imagenet',
    mlp_ratio: float = 4,
) -> list[dict]:
    """Stages with membrane shortcuts: depthwise convolutions mix tokens, and in the last attention.

    An embedding between two stages pools the membrane of its branch, and that of its shortcut:
    ``BN(conv3x3(SN(P(BN(conv3x3(s)))))) + P(BN(conv1x1(s)))``, with s the spikes of the stage in
    front and P a max-pool.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage.
        kernel_sizes (Sequence[int]): Of the depthwise convolution, odd, of each stage but the
            last; 0 mixes no tokens.
        num_heads (int): Heads of the last stage.
        data (str): Whose stem: ``imagenet`` (total stride 16), ``cifar`` (4) or ``events`` (16, two
            stages). Defaults to ``imagenet``.
        mlp_ratio (float): Hidden channels of the MLP over the stage's. With 1, as in the release,
            each of the MLP's two layers has a shortcut of its own. Defaults to 4.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: A value is out of range, or lists do not fit each other.
    """
    check_list('embed_dims', embed_dims, check_int, low=8, high=MAX_CHANNELS)
    check_list('depths', depths, check_int, low=0, high=MAX_DEPTH)
    stages = check_lengths(embed_dims=embed_dims, depths=depths)
    check_list('kernel_sizes', kernel_sizes, _check_kernel, length=stages - 1)
    check_int('num_heads', num_heads, 1)
    check_str('data', data, tuple(_STEMS))
    check_number('mlp_ratio', mlp_ratio, above=0)
    # Those of CIFAR and events keep PyTorch's initialisation
    init = dict(init_cfg=_INIT) if data == 'imagenet' else {}
    attention = dict(type='SpikingSelfAttention', name='attention', num_heads=num_heads)
    mixers = [
        [dict(type='ConvUnit', name='mixer', kernel_size=size, depthwise=True, **init)] * (size > 0)
        for size in kernel_sizes
    ]
    mlp = _mlp(mlp_ratio, init)
    return [
        dict(
            embed=dict(type='ConvEmbed', **(_between(width) if i else _stem(data, width)), **init),
            block=[dict(branch, residual='membrane') for branch in (*mixer, *mlp)],
            channels=width,
            depth=depth,
        )
        for i, (width, depth, mixer) in enumerate(zip(embed_dims, depths, [*mixers, [attention]]))
    ]


def _check_kernel(key: str, value: int) -> int:
    check_int(key, value, 0, MAX_KERNEL)
    if value and value % 2 == 0:
        raise ValueError(f'{key}={value!r}: expected an odd number, or 0 for no convolution')
    return value


def _stem(data: str, width: int) -> dict:
    layout, before = _STEMS[data]
    units = [
        dict(
            channels=width // divisor,
            stride=2 if halves == 'stride' else 1,
            pool='before_neuron' if halves == 'pool' else None,
        )
        for divisor, halves in layout
    ]
    units[-1]['fire'] = 'none'
    return dict(units=units, shortcut='conv', shortcut_from=before)


def _between(width: int) -> dict:
    pool = dict(pool='before_neuron')
    return dict(units=[dict(pool, channels=width), dict(fire='none')], shortcut=pool)


def _mlp(ratio: float, init: dict) -> list[dict]:
    """The MLP's branches: where its layers keep the channels, each is one."""
    if ratio == 1:
        return [dict(type='ConvUnit', name=n, kernel_size=1, **init) for n in ('fc1', 'fc2')]
    return [dict(type='SpikingMLP', name='mlp', ratio=ratio, **init)]
