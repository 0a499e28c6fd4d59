"""Draw QKFormer, what a stage may be, and the way from a config to a training run."""

import argparse

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mmqkformer.analysis.figures import save_figure

WIDTH, HEIGHT = 12.0, 10.3  # inches, which are also the coordinates of everything drawn
EMBED, TOKEN, SELF, PLAIN, CONFIG = '#d7e8f7', '#fde3c8', '#f6c9c9', '#eeeeee', '#e2efd9'
BACKBONE = """\
backbone = dict(
  type='SpikingBackbone',
  neuron=dict(type='LIFNeuron'),
  time_steps=4, out='rates',
  stages=[
    dict(embed=dict(type='PEDS'),
         block=[dict(type=...), ...],
         channels=96, depth=1),
    dict(...)])
# or: arch='hst-10-384'"""
CHAIN = """\
units of convolution, norm,
pool and neuron, in any order

shortcut: none, identity or
convolution, from any unit"""


def box(ax: Axes, x: float, y: float, w: float, h: float, text: str = '', **style) -> None:
    """A rounded box with its lower left corner at (x, y), and a text in its middle."""
    style = {
        'facecolor': PLAIN,
        'edgecolor': '#555555',
        'boxstyle': 'round,pad=0,rounding_size=0.05',
    } | style
    ax.add_patch(FancyBboxPatch((x, y), w, h, **style))
    ax.text(x + w / 2, y + h / 2, text, ha='center', va='center')


def group(ax: Axes, x: float, y: float, w: float, h: float, label: str) -> None:
    """A dashed frame with a label below it."""
    box(ax, x, y, w, h, facecolor='none', edgecolor='#888888', linestyle='--')
    ax.text(x + w / 2, y - 0.18, label, ha='center', va='center')


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two points."""
    style = dict(arrowstyle='-|>', mutation_scale=12, color='#333333', shrinkA=1, shrinkB=1)
    ax.add_patch(FancyArrowPatch(start, end, **style))


def title(ax: Axes, x: float, y: float, text: str) -> None:
    ax.text(x, y, text, ha='left', va='center', fontsize=11, fontweight='bold')


def draw_network(ax: Axes, bottom: float) -> None:
    """The stages of HST-10-C with the shapes of a 224 x 224 image."""
    title(ax, 0.1, bottom + 2.05, 'HST-10-C on a 224 x 224 image')
    token = '{} x\nQ-K token\nattention\n+ MLP'
    stages = [
        ('PEDSStem', token.format(1), TOKEN, 'C/4, 56, 56'),
        ('PEDS', token.format(2), TOKEN, 'C/2, 28, 28'),
        ('PEDS', '7 x\nspiking self\nattention\n+ MLP', SELF, 'C, 14, 14'),
    ]
    middle = bottom + 1.05
    box(ax, 0.1, middle - 0.4, 1.25, 0.8, 'image\n[B, 3, 224, 224]\nT times')
    arrow(ax, (1.35, middle), (1.7, middle))
    x = 1.6
    for i, (embed, block, colour, shape) in enumerate(stages):
        group(ax, x, bottom + 0.35, 2.7, 1.4, f'stage {i + 1}: spikes [T, B, {shape}]')
        box(ax, x + 0.1, middle - 0.4, 1.05, 0.8, embed, facecolor=EMBED)
        arrow(ax, (x + 1.15, middle), (x + 1.4, middle))
        box(ax, x + 1.4, middle - 0.55, 1.2, 1.1, block, facecolor=colour)
        arrow(ax, (x + 2.6, middle), (x + (3.05 if i < 2 else 2.95), middle))
        x += 2.95
    box(ax, x, middle - 0.4, 1.45, 0.8, 'SpikingClsHead\nmean over tokens\nand T, linear')


def draw_attention(ax: Axes, bottom: float) -> None:
    """Q-K token attention."""
    title(ax, 0.1, bottom + 1.95, 'Q-K token attention, one head (SN: spiking neurons)')
    top, low = bottom + 1.25, bottom + 0.3
    box(ax, 0.1, bottom + 0.45, 0.7, 0.7, 'spikes\nx')
    box(ax, 1.15, top - 0.3, 1.5, 0.6, 'Q = SN(BN(W x))', facecolor=TOKEN)
    box(ax, 1.15, low - 0.3, 1.5, 0.6, 'K = SN(BN(W x))', facecolor=TOKEN)
    box(ax, 2.95, top - 0.3, 1.75, 0.6, 'A = SN(sum of Q):\n0 or 1 per token', facecolor=TOKEN)
    box(ax, 2.95, low - 0.3, 1.75, 0.6, "X' = K, but 0\nwhere A is 0", facecolor=TOKEN)
    box(ax, 5.0, low - 0.3, 1.35, 0.6, "SN(BN(W X'))", facecolor=TOKEN)
    arrow(ax, (0.8, bottom + 0.9), (1.15, top))
    arrow(ax, (0.8, bottom + 0.7), (1.15, low))
    arrow(ax, (2.65, top), (2.95, top))
    arrow(ax, (2.65, low), (2.95, low))
    arrow(ax, (3.82, top - 0.3), (3.82, low + 0.3))
    arrow(ax, (4.7, low), (5.0, low))
    ax.text(6.45, low, '+ x', va='center', fontsize=12)


def draw_peds(ax: Axes, bottom: float) -> None:
    """Patch embedding with deformed shortcut."""
    title(ax, 7.35, bottom + 1.95, 'PEDS, patch embedding with deformed shortcut')
    top, low = bottom + 1.25, bottom + 0.3
    box(ax, 7.35, bottom + 0.45, 0.7, 0.7, 'spikes\nx')
    box(
        ax,
        8.4,
        top - 0.3,
        2.7,
        0.6,
        'conv 3x3, BN, max-pool, SN,\nconv 3x3, BN, SN',
        facecolor=EMBED,
    )
    box(ax, 8.4, low - 0.3, 2.7, 0.6, 'conv 1x1 stride 2, BN, SN', facecolor=EMBED)
    middle = (top + low) / 2
    arrow(ax, (8.05, middle + 0.1), (8.4, top))
    arrow(ax, (8.05, middle - 0.1), (8.4, low))
    arrow(ax, (11.1, top), (11.48, middle + 0.1))
    arrow(ax, (11.1, low), (11.48, middle - 0.1))
    ax.text(11.6, middle, '+', ha='center', va='center', fontsize=15)


def draw_stage(ax: Axes, bottom: float) -> None:
    """An embedding, blocks of residual branches, and the ways out."""
    title(ax, 0.1, bottom + 2.05, 'Any stage: an embedding, and blocks that are lists of branches')
    middle = bottom + 0.95
    ax.text(0.1, middle, '[T, B,\nC, H, W]', va='center')
    arrow(ax, (0.8, middle), (1.1, middle))
    group(ax, 1.1, bottom + 0.2, 2.35, 1.5, "embedding: a chain, or one's own")
    ax.text(2.275, middle, CHAIN, ha='center', va='center', linespacing=1.3)
    arrow(ax, (3.45, middle), (3.8, middle))
    group(ax, 3.8, bottom + 0.2, 5.15, 1.5, 'blocks: each branch f with a residual of its own')
    kinds = [('add', 'x + SN(f(x))'), ('membrane', 'x + f(SN(x))'), ('and, iand', 'x s, x (1 - s)')]
    for i, (kind, formula) in enumerate(kinds):
        y = middle + 0.47 * (1 - i)
        box(ax, 3.9, y - 0.18, 2.15, 0.36, f'{kind}: {formula}', facecolor=SELF)
    branches = ['QK attention', 'self attention', 'MLP', "one's own"]
    for i, branch in enumerate(branches):
        column, row = divmod(i, 2)
        x, y = 6.25 + 1.32 * column, middle + 0.05 - 0.5 * row
        box(ax, x, y, 1.25, 0.4, branch, facecolor=TOKEN)
    ax.text(7.53, middle + 0.6, 'f, then the next f, ...', ha='center', va='center')
    arrow(ax, (8.95, middle), (9.25, middle))
    box(ax, 9.25, middle - 0.5, 1.1, 1.0, 'stream:\nspikes, sums\nor membrane')
    ways = [('rates', '[B, C, H, W]'), ('spikes', '[T, B, ...]'), ('stream', '[T, B, ...]')]
    for i, (way, shape) in enumerate(ways):
        y = middle + 0.5 * (1 - i)
        arrow(ax, (10.35, middle + 0.2 * (1 - i)), (10.6, y))
        ax.text(10.65, y, f"'{way}'\n{shape}", va='center', fontsize=8.5)


def draw_graph(ax: Axes, bottom: float) -> None:
    """From a config to a run."""
    title(
        ax,
        0.1,
        bottom + 2.45,
        'A config describes the graph, the registry builds it, the runner trains it',
    )
    middle = bottom + 1.2
    box(ax, 0.1, bottom + 0.1, 3.45, 2.1, facecolor=CONFIG)
    ax.text(0.2, middle, BACKBONE, va='center', fontsize=8.5, family='monospace', linespacing=1.35)
    columns = [
        (
            4.0,
            1.75,
            'mmengine.MODELS',
            ['neurons', 'embeddings', 'branches', "parts of one's own"],
        ),
        (8.45, 1.65, 'models', ['mmpretrain', 'mmdet', 'mmsegmentation']),
    ]
    for x, w, label, entries in columns:
        group(ax, x - 0.1, bottom + 0.1, w + 0.2, 2.1, label)
        step = 2.1 / len(entries)
        for i, entry in enumerate(entries):
            box(ax, x, bottom + 2.2 - (i + 0.5) * step - 0.19, w, 0.38, entry)
    box(
        ax,
        6.3,
        middle - 0.45,
        1.65,
        0.9,
        'SpikingBackbone:\nthe outputs of\nchosen stages',
        facecolor=EMBED,
    )
    box(ax, 10.6, middle - 0.35, 1.3, 0.7, 'mmengine\nRunner')
    for start, end in [(3.55, 3.9), (5.85, 6.3), (7.95, 8.35), (10.2, 10.6)]:
        arrow(ax, (start, middle), (end, middle))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='docs/figures/architecture.png', help='picture to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    plt.rcParams['font.size'] = 9.5
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    ax.set_axis_off()
    draw_network(ax, bottom=8.0)
    draw_attention(ax, bottom=5.6)
    draw_peds(ax, bottom=5.6)
    draw_stage(ax, bottom=3.05)
    draw_graph(ax, bottom=0.25)
    save_figure(figure, args.out, dpi=130)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
