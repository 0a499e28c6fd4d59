"""Early exit over T: accuracy, operations and time of a classifier that stops when it is sure."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mmqkformer.analysis import (
    EarlyExit,
    ExitRule,
    measure_steps,
    predict_over_time,
    sweep_thresholds,
)
from mmqkformer.analysis.early_exit import RULES
from mmqkformer.analysis.exit_figure import draw_early_exit
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.stepwise import check_stepwise
from mmqkformer.analysis.subject import RANDOM_WEIGHTS, Subject, add_subject_arguments, open_subject
from mmqkformer.checks import at_least, number
from mmqkformer.files import disk_errors_in_one_line, write_atomically

THRESHOLDS = dict(
    confidence=[0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0],
    margin=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0],
    entropy=[1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.0],
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_subject_arguments(parser, images=1000)
    parser.add_argument('--rule', choices=RULES, default='confidence', help='when it stops')
    parser.add_argument(
        '--thresholds',
        type=number(0, 1),
        nargs='+',
        help='where the rule stops, from 0 to 1 (default: eleven or twelve of them)',
    )
    parser.add_argument(
        '--repeats', type=at_least(1), default=10, help='measurements of each time, of a batch of 1'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='folder of early_exit.png, .csv and .json (default: <work_dir>/early_exit)',
    )
    return parser.parse_args()


def table_of(result: EarlyExit) -> Table:
    """A line for each threshold."""
    table = Table(f'{result.rule}', 'accuracy', 'steps', 'M operations', 'ms', 'exits after 1..T')
    for point in result.points:
        table.add_row(
            f'{point.threshold:g}',
            f'{point.accuracy:.2f} %',
            f'{point.mean_steps:.2f}',
            f'{point.operations / 1e6:.2f}',
            f'{point.milliseconds:.1f}',
            ' '.join(map(str, point.exits)),
        )
    return table


def table_of_steps(result: EarlyExit) -> Table:
    """A line for each number of steps."""
    costs = result.costs
    table = Table('steps', 'accuracy', 'M operations', 'ms in one run', 'ms step by step')
    for t, accuracy in enumerate(result.accuracies):
        table.add_row(
            f'{t + 1}',
            f'{accuracy:.2f} %',
            f'{(costs.accumulates[t] + costs.multiply_accumulates[t]) / 1e6:.2f}',
            f'{costs.whole[t]:.1f}',
            f'{costs.stepwise[t]:.1f}',
        )
    return table


def csv_of(result: EarlyExit) -> str:
    """A line for each threshold, with a header."""
    names = [f'exits_{t + 1}' for t in range(len(result.accuracies))]
    lines = [['rule', 'threshold', 'accuracy', 'mean_steps', 'operations', 'milliseconds', *names]]
    for point in result.points:
        values = list(asdict(point).values())
        values[3:4] = []
        lines.append([result.rule, *map(str, values), *map(str, point.exits)])
    return ''.join(','.join(line) + '\n' for line in lines)


def write_files(result: EarlyExit, subject: Subject, note: str, out: Path) -> None:
    """The chart, and the numbers with what they are of."""
    figure = Figure(figsize=(10, 6.5), layout='constrained')
    draw_early_exit(figure, result, subject.name, note)
    save_figure(figure, out / 'early_exit.png')
    about = dict(config=subject.name, trained=subject.trained)
    numbers = json.dumps(about | asdict(result), indent=1) + '\n'
    write_atomically(numbers.encode(), out / 'early_exit.json')
    table = (f'# {note}\n' if note else '') + csv_of(result)
    write_atomically(table.encode(), out / 'early_exit.csv')
    print(f'files: {out}/early_exit.png, .csv, .json')


def main() -> None:
    args = parse_args()
    try:
        subject = open_subject(args)
        out = subject.folder(args.out, 'early_exit')
        check_stepwise(subject.model)
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    thresholds = args.thresholds or THRESHOLDS[args.rule]
    predictions = predict_over_time(subject.model, subject.batches(args.images))
    sample = next(subject.batches(1))['inputs']
    costs = measure_steps(subject.model, sample, ExitRule(args.rule, thresholds[0]), args.repeats)
    result = sweep_thresholds(predictions, args.rule, thresholds, costs)

    console = Console()
    note = '' if subject.trained else RANDOM_WEIGHTS
    if note:
        print(note)
    print(f'{subject.name}: {result.samples} samples')
    console.print(table_of_steps(result))
    console.print(table_of(result))
    write_files(result, subject, note, out)


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
