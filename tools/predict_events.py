"""Classify recordings of one's own: ``python tools/predict_events.py CONFIG CHECKPOINT FILE...``

Each file is one recording, ``.aedat`` (2.0 or 3.1) or ``.npz`` with t, x, y, p.
"""

import argparse
import csv
import io
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner import load_state_dict
from mmpretrain.apis import get_model
from tqdm import tqdm

from mmqkformer.checks import at_least
from mmqkformer.datasets.events import EventError
from mmqkformer.engine.checkpoints import check_checkpoint, weights_of
from mmqkformer.files import disk_errors_in_one_line, write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the model')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('files', nargs='+', help='recordings')
    parser.add_argument(
        '--sensor-size',
        type=at_least(1),
        nargs=2,
        default=(128, 128),
        metavar=('HEIGHT', 'WIDTH'),
        help='pixels of the sensor, by default 128 128',
    )
    parser.add_argument('--out', help='CSV file to write: file, class, score')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, key=value; a list is key="[a,b]" or key=a,b',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    model = get_model(cfg, device=args.device).eval()
    checkpoint = check_checkpoint(model, args.checkpoint)
    load_state_dict(model, weights_of(checkpoint, args.checkpoint))
    classes = checkpoint.get('meta', {}).get('dataset_meta', {}).get('classes')
    steps = cfg.test_dataloader.dataset.pipeline
    for step in steps:
        if step['type'] == 'LoadEvents':
            step['sensor_size'] = args.sensor_size
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipeline = Compose(steps)
    rows = [['file', 'class', 'score']]
    for file in tqdm(args.files, desc='recordings', disable=len(args.files) == 1):
        try:
            sample = pipeline(dict(events_path=file))
        except EventError as error:
            raise SystemExit(f'error: {error}') from error
        with torch.no_grad():
            (result,) = model.test_step(pseudo_collate([sample]))
        label = result.pred_label.item()
        name = str(classes[label]) if classes else str(label)
        rows.append([file, name, f'{result.pred_score[label]:.4f}'])
        tqdm.write('{}: {} ({})'.format(*rows[-1]))
    if args.out:
        text = io.StringIO(newline='')
        csv.writer(text, lineterminator='\n').writerows(rows)
        write_atomically(text.getvalue().encode(), Path(args.out))


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
