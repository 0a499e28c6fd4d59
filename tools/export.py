"""Write a classifier as an ONNX or a torch.export (.pt2) file, and compare the file with it."""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from mmengine.registry import DATASETS
from torch import Tensor
from torch.nn import functional as F

from mmqkformer.analysis.subject import (
    RANDOM_WEIGHTS,
    Subject,
    add_subject_arguments,
    open_subject,
)
from mmqkformer.checks import at_least, number
from mmqkformer.deploy import fuse
from mmqkformer.deploy.export import FORMATS, check_exportable, export


def size(text: str) -> tuple[int, int]:
    """``224`` or ``192x256``, height first."""
    sides = [at_least(1)(side) for side in text.split('x')]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected an integer of at least 1, or HEIGHTxWIDTH'
        )
    return sides[0], sides[-1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_subject_arguments(parser, images=8)
    parser.add_argument('--format', choices=FORMATS, default='onnx', help='kind of file')
    parser.add_argument('--out', required=True, help='file to write, .onnx or .pt2')
    parser.add_argument(
        '--sizes',
        type=size,
        nargs='+',
        help='sizes of the input, 224 or 192x256 (height first); of several there is a file each, '
        'with the size in its name (default: that of the test images)',
    )
    parser.add_argument(
        '--dynamic-size',
        action='store_true',
        help='one file for all multiples of the total stride, compared at each of --sizes, of '
        'which there are two at least',
    )
    parser.add_argument(
        '--batches', type=at_least(1), nargs='+', default=[1, 4], help='sizes of batches to try'
    )
    parser.add_argument('--fuse', action='store_true', help='fold norms into convolutions first')
    parser.add_argument(
        '--with-preprocessing',
        action='store_true',
        help="the graph also normalises: it takes images as the config's pipeline gives them, "
        'uint8 and in its order of channels',
    )
    parser.add_argument(
        '--random-inputs',
        action='store_true',
        help='compare on random images of --sizes: needs no data set',
    )
    parser.add_argument(
        '--max-flips',
        type=number(0, 1),
        default=0.05,
        help='share of the spikes that may differ (default: %(default)s)',
    )
    args = parser.parse_args()
    if not args.out.endswith(f'.{args.format}'):
        parser.error(f'--out {args.out}: expected a name that ends in .{args.format}')
    if args.random_inputs and args.sizes is None:
        parser.error('--random-inputs: expected --sizes beside it')
    return args


def inputs_of(subject: Subject, args: argparse.Namespace) -> dict[tuple[int, int], Tensor]:
    """What the file is compared on, by height and width: ``[N, C, H, W]`` or ``[N, T, C, H, W]``.

    They are images of the test set, or random ones, resized where another size is asked for.
    """
    if args.random_inputs:
        raw = random_inputs(subject, args.images, args.sizes[0])
    else:
        batches = subject.batches(args.images, preprocess=False)
        raw = torch.cat([torch.stack(list(batch['inputs'])) for batch in batches])
    sizes = args.sizes or [tuple(raw.shape[-2:])]
    scaled = {each: resized(raw, each) for each in sizes}
    if args.with_preprocessing:
        return scaled
    return {each: as_network_takes_them(subject, x) for each, x in scaled.items()}


def first_inputs(args: argparse.Namespace, subject: Subject) -> Tensor:
    """Random images of the first size, prepared."""
    return as_network_takes_them(subject, random_inputs(subject, args.images, args.sizes[0]))


def random_inputs(subject: Subject, samples: int, sides: tuple[int, int]) -> Tensor:
    """Images of uint8 ``[N, 3, H, W]``, or frames of counts ``[N, T, 2, H, W]``."""
    polarities = getattr(subject.model.data_preprocessor, 'polarities', None)
    if polarities is None:
        return torch.randint(256, (samples, 3, *sides), dtype=torch.uint8)
    frames = (samples, subject.model.backbone.time_steps, polarities, *sides)
    return torch.randint(4, frames).float()


def as_network_takes_them(subject: Subject, raw: Tensor) -> Tensor:
    """Inputs behind the model's data preprocessor."""
    return subject.model.data_preprocessor(dict(inputs=raw), False)['inputs']


def resized(raw: Tensor, sides: tuple[int, int]) -> Tensor:
    """Images in another size, of the same type."""
    if tuple(raw.shape[-2:]) == sides:
        return raw
    images = raw.reshape(-1, *raw.shape[-3:]).float()
    scaled = F.interpolate(images, sides, mode='bilinear', align_corners=False)
    return scaled.round().to(raw.dtype).reshape(*raw.shape[:-2], *sides)


def metadata_of(subject: Subject, args: argparse.Namespace) -> dict[str, str]:
    """What the file says of itself; values are JSON."""
    preprocessor = subject.model.data_preprocessor
    about: dict[str, object] = dict(
        config=subject.name,
        trained=subject.trained,
        time_steps=subject.model.backbone.time_steps,
        preprocessing_in_graph=args.with_preprocessing,
        fused=args.fuse,
        dynamic_size=args.dynamic_size,
    )
    if hasattr(preprocessor, 'mean'):
        about.update(mean=preprocessor.mean.flatten().tolist())
        about.update(std=preprocessor.std.flatten().tolist())
    if not hasattr(preprocessor, 'polarities'):
        # The pipelines read BGR
        swaps = preprocessor.to_rgb and not args.with_preprocessing
        about['channel_order'] = 'RGB' if swaps else 'BGR'
    if classes := class_names(subject, args.random_inputs):
        about['classes'] = list(classes)
    return {key: json.dumps(value) for key, value in about.items()}


def class_names(subject: Subject, without_data: bool) -> tuple[str, ...] | None:
    """Those of the data set, or, where it is not there, of its kind."""
    settings = subject.cfg.get('test_dataloader', {}).get('dataset')
    if settings is None:
        return None
    if without_data:
        return getattr(DATASETS.get(settings.type), 'METAINFO', {}).get('classes')
    return DATASETS.build(settings).metainfo.get('classes')


def main() -> None:
    args = parse_args()
    try:
        subject = open_subject(args, partial(first_inputs, args) if args.random_inputs else None)
        check_exportable(subject.model, args.with_preprocessing)
        if not subject.trained:
            print(RANDOM_WEIGHTS)
        inputs = inputs_of(subject, args)
        model = fuse(subject.model) if args.fuse else subject.model
        one_file = args.dynamic_size or len(inputs) == 1
        out = Path(args.out)
        for each in [inputs] if one_file else [{sides: x} for sides, x in inputs.items()]:
            sides = '' if one_file else '-{}x{}'.format(*next(iter(each)))
            path = out.with_stem(out.stem + sides)
            found = export(
                model,
                path,
                each,
                form=args.format,
                batches=args.batches,
                reference=subject.model,
                preprocess=args.with_preprocessing,
                dynamic_size=args.dynamic_size,
                max_flips=args.max_flips,
                metadata=metadata_of(subject, args),
            )
            for agreement in found:
                print(agreement)
            print(f'{path}: {path.stat().st_size:,} bytes')
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error


if __name__ == '__main__':
    main()
