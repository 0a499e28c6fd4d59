"""Whether a run is on track: its logged epochs against a reference, and where it leaves it.

Printed is, for the learning rate, the losses and the accuracies, the first epoch at which the run
departs and by how much. Written are a picture, the differences of every epoch as CSV, and all of it
as JSON.
"""

import argparse
import csv
import json
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from mmqkformer.analysis import Comparison, Rule, compare_curves, read_curves, read_work_dir
from mmqkformer.analysis.curves.comparison import verdict
from mmqkformer.analysis.curves.figure import draw_comparison
from mmqkformer.analysis.curves.reading import TAGS, released_curves
from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least, number
from mmqkformer.files import write_atomically, written_whole


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of the run, resumed or not')
    parser.add_argument(
        '--reference',
        required=True,
        help=f'released curves ({", ".join(released_curves())}), the work directory of another '
        'run, or a CSV file with columns epoch and some of ' + ', '.join(TAGS),
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of comparison.png, .csv and .json (default: WORK_DIR/comparison)',
    )
    rule = Rule()
    options = parser.add_argument_group(
        'when it departs',
        'The tolerance of an epoch is the largest of a floor and lag * |slope| + spread * sqrt(2) '
        '* sigma, with the slope of the reference around that epoch and its standard deviation '
        'about it. The learning rate has none: it is compared in the digits printed.',
    )
    options.add_argument(
        '--patience',
        type=at_least(1),
        default=rule.patience,
        help='so many epochs in a row are out of the tolerance (default: %(default)s)',
    )
    options.add_argument(
        '--lag',
        type=number(0),
        default=rule.lag,
        help='epochs that it may be early or late (default: %(default)s)',
    )
    options.add_argument(
        '--spread',
        type=number(0),
        default=rule.spread,
        help='standard deviations (default: %(default)s)',
    )
    options.add_argument(
        '--window',
        type=at_least(1),
        default=rule.window,
        help='epochs to either side that slope and deviation are of (default: %(default)s)',
    )
    options.add_argument(
        '--accuracy-floor',
        type=number(0),
        default=rule.accuracy_floor,
        help='percentage points (default: %(default)s)',
    )
    options.add_argument(
        '--loss-floor',
        type=number(0),
        default=rule.loss_floor,
        help="share of the reference's loss (default: %(default)s)",
    )
    return parser.parse_args()


def summary(comparison: Comparison) -> str:
    """What is compared, what the reference has to say, and a line for each quantity."""
    lines = []
    for what, curves in (('run', comparison.run), ('reference', comparison.reference)):
        epochs = curves.epochs
        lines.append(f'{what}: {curves.name}, epochs {epochs[0]} to {epochs[-1]}')
        lines += [f'  {note}' for note in curves.notes]
    verdicts = {compared.quantity: verdict(compared) for compared in comparison.compared}
    for name in TAGS:
        if name in verdicts:
            lines.append(f'{name:<13}{verdicts[name]}')
        elif name in comparison.run.values or name in comparison.reference.values:
            place = 'reference' if name in comparison.run.values else 'run'
            lines.append(f'{name:<13}not in the {place}')
    return '\n'.join(lines)


def write(comparison: Comparison, folder: Path) -> None:
    """The picture, the table and the JSON."""
    figure = Figure(figsize=(12, 6), layout='constrained')
    draw_comparison(figure, comparison)
    save_figure(figure, folder / 'comparison.png')
    with (
        written_whole(folder / 'comparison.csv') as partial,
        open(partial, 'w', newline='', encoding='utf-8') as file,
    ):
        table = csv.writer(file)
        table.writerow(['quantity', 'epoch', 'run', 'reference', 'difference', 'tolerance'])
        for compared in comparison.compared:
            for d in compared.differences:
                row = (d.epoch, d.run, d.reference, d.value, d.tolerance)
                table.writerow([compared.quantity, *row])
    write_atomically(json.dumps(asdict(comparison)).encode(), folder / 'comparison.json')
    print(f'written: {folder}/comparison.png, .csv and .json')


def main() -> None:
    args = parse_args()
    rule = Rule(
        patience=args.patience,
        lag=args.lag,
        spread=args.spread,
        window=args.window,
        accuracy_floor=args.accuracy_floor,
        loss_floor=args.loss_floor,
    )
    run, reference = read_work_dir(args.work_dir), read_curves(args.reference)
    comparison = compare_curves(run, reference, rule)
    print(summary(comparison))
    write(comparison, args.out or Path(args.work_dir) / 'comparison')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
