"""Draw QKFormer and the way from a config to a training run."""

import argparse
import os
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

EMBED, TOKEN, SELF, PLAIN, CONFIG = '#d7e8f7', '#fde3c8', '#f6c9c9', '#eeeeee', '#e2efd9'
BACKBONE = """\
backbone = dict(
  type='QKFormer',
  time_steps=4,
  neuron=dict(
    type='LIFNeuron'),
  stages=[
    dict(embed=...,
         block=...,
         channels=96,
         depth=1),
    ...])"""


def box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    """A rounded box with its lower left corner at (x, y)."""
    ax.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle='round,pad=0.04', facecolor=colour, edgecolor='#555555'
        )
    )
    ax.text(x + width / 2, y + height / 2, text, ha='center', va='center', fontsize=8.5)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], **style) -> None:
    """An arrow between two points."""
    style = {'arrowstyle': '-|>', 'mutation_scale': 11, 'color': '#333333', **style}
    ax.add_patch(FancyArrowPatch(start, end, **style))


def draw_network(ax: Axes) -> None:
    """The stages of HST-10-C with the shapes of a 224 x 224 image."""
    ax.set_title(
        'HST-10-C on a 224 x 224 image: spikes [T, B, channels, height, width] from stage to stage',
        fontsize=10,
    )
    stages = [
        ('PEDSStem\nspiking encoding', '1 x\nQ-K token\nattention\n+ MLP', TOKEN, 'C/4, 56 x 56'),
        ('PEDS', '2 x\nQ-K token\nattention\n+ MLP', TOKEN, 'C/2, 28 x 28'),
        ('PEDS', '7 x\nspiking\nself attention\n+ MLP', SELF, 'C, 14 x 14'),
    ]
    box(ax, 0.0, 0.75, 1.1, 1.0, 'image\n[B, 3, 224, 224]\nshown T times', PLAIN)
    x = 1.5
    arrow(ax, (1.15, 1.25), (x - 0.05, 1.25))
    for i, (embed, block, colour, shape) in enumerate(stages):
        box(ax, x, 0.75, 1.15, 1.0, embed, EMBED)
        arrow(ax, (x + 1.2, 1.25), (x + 1.4, 1.25))
        box(ax, x + 1.45, 0.55, 1.2, 1.4, block, colour)
        ax.text(x + 1.33, 0.2, f'stage {i + 1}: {shape}', ha='center', fontsize=8.5)
        arrow(ax, (x + 2.7, 1.25), (x + 3.0, 1.25))
        x += 3.05
    box(ax, x, 0.75, 1.25, 1.0, 'SpikingClsHead\nmean over tokens,\nlinear, mean over T', PLAIN)
    ax.set_xlim(-0.1, x + 1.4)
    ax.set_ylim(0.05, 2.1)


def draw_block(ax: Axes) -> None:
    """Q-K token attention and the deformed shortcut."""
    ax.set_title('Q-K token attention (one head) and PEDS', fontsize=10)
    box(ax, 0.0, 1.35, 0.55, 0.6, 'spikes\nx', PLAIN)
    box(ax, 1.0, 1.95, 1.35, 0.5, 'Q = SN(BN(W x))', TOKEN)
    box(ax, 1.0, 0.85, 1.35, 0.5, 'K = SN(BN(W x))', TOKEN)
    box(ax, 2.75, 1.95, 1.6, 0.5, 'A = SN(sum over\nchannels of Q)', TOKEN)
    box(ax, 2.75, 0.85, 1.6, 0.5, "X' = A masks\ntokens of K", TOKEN)
    box(ax, 4.75, 0.85, 1.3, 0.5, "SN(BN(W X'))", TOKEN)
    for start, end in [
        ((0.6, 1.75), (0.96, 2.15)),
        ((0.6, 1.55), (0.96, 1.15)),
        ((2.4, 2.2), (2.71, 2.2)),
        ((2.4, 1.1), (2.71, 1.1)),
        ((3.55, 1.9), (3.55, 1.4)),
        ((4.4, 1.1), (4.71, 1.1)),
    ]:
        arrow(ax, start, end)
    ax.text(6.15, 1.1, '+ x', va='center', fontsize=10)
    box(ax, 0.0, -0.35, 0.55, 0.6, 'spikes\nx', PLAIN)
    box(ax, 1.0, 0.0, 3.35, 0.45, 'conv 3x3, BN, pool, SN, conv 3x3, BN, SN', EMBED)
    box(ax, 1.0, -0.65, 3.35, 0.45, 'shortcut: conv 1x1 stride 2, BN, SN', EMBED)
    arrow(ax, (0.6, 0.05), (0.96, 0.2))
    arrow(ax, (0.6, -0.15), (0.96, -0.4))
    ax.text(4.85, -0.1, '+', va='center', fontsize=14)
    arrow(ax, (4.4, 0.2), (4.8, -0.02))
    arrow(ax, (4.4, -0.42), (4.8, -0.16))
    ax.set_xlim(-0.1, 6.7)
    ax.set_ylim(-0.8, 2.65)


def draw_graph(ax: Axes) -> None:
    """From a config to a run."""
    ax.set_title(
        'a config describes the graph; the registry builds it; mmengine trains it', fontsize=10
    )
    box(ax, 0.0, -0.55, 2.3, 2.9, '', CONFIG)
    ax.text(0.05, 0.9, BACKBONE, va='center', fontsize=7, family='monospace')
    parts = ['neurons', 'patch embeddings', 'attentions, MLP', "a user's own part"]
    for i, part in enumerate(parts):
        box(ax, 2.85, 1.75 - 0.75 * i, 1.4, 0.5, part, PLAIN)
        arrow(ax, (2.35, 0.95), (2.81, 2.0 - 0.75 * i))
        arrow(ax, (4.3, 2.0 - 0.75 * i), (4.76, 0.95))
    box(ax, 4.8, 0.35, 1.1, 1.2, 'mmengine\nrunner', PLAIN)
    ax.text(3.55, 2.45, 'mmengine.MODELS', ha='center', fontsize=8.5)
    uses = ['mmpretrain', 'mmdet', 'mmsegmentation']
    for i, use in enumerate(uses):
        box(ax, 6.45, 1.75 - 1.0 * i, 1.3, 0.5, use, PLAIN)
        arrow(ax, (5.95, 0.95), (6.41, 2.0 - 1.0 * i))
    ax.set_xlim(-0.1, 7.85)
    ax.set_ylim(-0.8, 2.65)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='docs/figures/architecture.png', help='picture to write')
    return parser.parse_args()


def main() -> None:
    out = Path(parse_args().out)
    figure = plt.figure(figsize=(13, 6.4), layout='constrained')
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.3])
    left, right = bottom.subplots(1, 2, width_ratios=[1, 1.15])
    axes = {top.subplots(): draw_network, left: draw_block, right: draw_graph}
    for ax, draw in axes.items():
        ax.set_axis_off()
        draw(ax)
    partial = out.with_name(f'.{out.name}.part')
    figure.savefig(partial, dpi=110, format=out.suffix.lstrip('.'))
    os.replace(partial, out)
    print(f'picture: {out}')


if __name__ == '__main__':
    main()
