"""Draw what a network's attentions, stages and neurons do with images.

Of each image a folder of pictures is written. Kinds of pictures (--kind):

  overlay   every attention laid over the image: the mask of tokens of Q-K attention, what each
            token gets from the queries of a self attention, the masked channels of the others
  heads     the same for one attention and each of its heads
  qk        A_t, K and X' of Q-K token attention, Figure 3 of the paper
  query     where one query of a self attention looks (--query)
  channels  the mask of an attention that masks channels
  stages    mean over the channels of what each stage hands on
  raster    spikes of neurons over time, a picture for each layer of them (--layer)

By default those of overlay, qk, query, channels and stages that the network has.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import starmap
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from tqdm import tqdm

from mmqkformer.analysis import below, record_attention, record_rasters, record_stage_maps
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.pictures import (
    Picture,
    channels_picture,
    heads_picture,
    input_pictures,
    overlay_picture,
    qk_picture,
    query_picture,
    raster_picture,
    stages_picture,
)
from mmqkformer.analysis.subject import (
    RANDOM_WEIGHTS,
    Subject,
    add_subject_arguments,
    open_subject,
)
from mmqkformer.checks import at_least
from mmqkformer.datasets.events.pictures import figure_image, save_animation
from mmqkformer.files import disk_errors_in_one_line
from mmqkformer.layers import AttentionMap

DEFAULT = ('overlay', 'qk', 'query', 'channels', 'stages')
KINDS = ('overlay', 'heads', *DEFAULT[1:], 'raster')
SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_subject_arguments(parser, images=1)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        '--image', nargs='+', type=Path, help='image files or folders of them, instead of --images'
    )
    chosen.add_argument(
        '--sample', nargs='+', type=at_least(0), help='samples of the test set, from 0, likewise'
    )
    parser.add_argument(
        '--layer',
        default='*',
        help="only attentions (of raster: neurons) of this name or inside of it, such as 'stages.1'"
        " or '*.mask_neuron'",
    )
    parser.add_argument('--kind', nargs='+', choices=KINDS, help='kinds of pictures')
    parser.add_argument('--head', type=at_least(0), default=0, help='head of qk, from 0')
    parser.add_argument(
        '--query',
        nargs=2,
        type=at_least(0),
        metavar=('ROW', 'COLUMN'),
        help="pixel of the network's input whose token asks; by default the middle",
    )
    parser.add_argument(
        '--format', choices=['png', 'gif'], default='png', help='gif: a frame for each time step'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/attention'), help='folder')
    return parser.parse_args()


def images_of(args: argparse.Namespace) -> dict[str, Path | int]:
    """What is looked at, by the name of its folder: image files, or samples of the test set."""
    if args.image is None:
        indices = range(args.images) if args.sample is None else args.sample
        return {f'sample_{index:05d}': index for index in indices}
    images = {}
    for given in args.image:
        files = [given]
        if given.is_dir():
            files = sorted(path for path in given.iterdir() if path.suffix.lower() in SUFFIXES)
            if not files:
                raise ValueError(f'--image {given}: expected images in this folder, found none')
        for path in files:
            if path.name in images:
                raise ValueError(f'--image {path}: expected one image of this name, found two')
            images[path.name] = path
    return images


def pictures_of(args: argparse.Namespace, subject: Subject, batch: dict) -> list[Picture]:
    """What there is to draw of one image, by kind."""
    network, inputs = subject.model.backbone, batch['inputs']
    (images,) = input_pictures(subject.model.data_preprocessor, inputs)

    def forward() -> None:
        network(inputs)

    def of_each(draw: Callable, *options: object) -> list[Picture]:
        return [p for item in attentions.items() if (p := draw(*item, *options)) is not None]

    has_maps = any(isinstance(module, AttentionMap) for module in network.modules())
    recorded = record_attention(network, forward) if has_maps else {}
    attentions = {name: a for name, a in recorded.items() if below(name, args.layer)}
    pictures = dict(
        overlay=[overlay_picture(images, attentions)] if attentions else [],
        heads=of_each(partial(heads_picture, images)),
        qk=of_each(qk_picture, args.head),
        query=of_each(partial(query_picture, images), args.query),
        channels=of_each(channels_picture),
        stages=[stages_picture(images, record_stage_maps(network, forward))],
    )
    if 'raster' in (args.kind or ()):
        rasters = record_rasters(network, forward, args.layer)
        pictures['raster'] = list(starmap(raster_picture, rasters.items()))
    chosen = args.kind or [kind for kind in DEFAULT if pictures[kind]]
    missing = [kind for kind in chosen if not pictures[kind]]
    if missing or (args.kind is None and args.layer != '*' and not attentions):
        found = ', '.join(f'{name} ({a.kind})' for name, a in recorded.items()) or 'none'
        there = ', '.join(kind for kind, drawable in pictures.items() if drawable)
        raise ValueError(
            f'--kind {" ".join(missing or chosen)} --layer {args.layer}: {subject.name} has '
            f'nothing of it; attentions: {found}; kinds of this layer: {there}'
        )
    return [picture for kind in chosen for picture in pictures[kind]]


def write(picture: Picture, heading: str, notices: list[str], time_steps: int, path: Path) -> None:
    """Draw a picture into a PNG, or a frame of each time step into a GIF."""
    animated = path.suffix == '.gif'
    every = range(time_steps)
    frames = []
    for steps in [[t] for t in every] if animated else [every]:
        figure = plt.figure(figsize=picture.size(len(steps)), layout='constrained')
        now = f', t = {steps[0] + 1} of {time_steps}' if animated else ''
        lines = [f'{heading}{now}', *notices, picture.title]
        width = int(14 * figure.get_figwidth())
        figure.suptitle('\n'.join(fill(line, width) for line in lines), fontsize=9)
        picture.draw(figure, steps)
        if animated:
            frames.append(figure_image(figure))
        else:
            save_figure(figure, path)
        plt.close(figure)
    if animated:
        save_animation(frames, path, frame_ms=700)


def run(args: argparse.Namespace) -> None:
    """All pictures of all images."""
    images = images_of(args)
    first = next(iter(images.values()))
    inputs = (lambda subject: subject.image(first)['inputs']) if args.image else None
    subject = open_subject(args, inputs)
    notices = [] if subject.trained else [RANDOM_WEIGHTS]
    for notice in notices:
        print(notice)
    for name, image in tqdm(images.items(), unit='image'):
        batch = subject.image(image) if args.image else subject.sample(image)
        for picture in pictures_of(args, subject, batch):
            suffix = 'png' if picture.is_still else args.format
            path = args.out / name / f'{picture.name}.{suffix}'
            write(
                picture, f'{subject.name}: {name}', notices, subject.model.backbone.time_steps, path
            )
            tqdm.write(f'picture: {path}')


def main() -> None:
    args = parse_args()
    try:
        with disk_errors_in_one_line():
            run(args)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error


if __name__ == '__main__':
    main()
