"""Measure the firing rate of every neuron of a model on images of its test set.

Prints a table of the layers and, of Q-K attention, the paper's Table 7, and writes firing_rates.csv
and firing_rates.png. See docs/firing_rates.md.
"""

import argparse
import csv
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mmqkformer.analysis import firing_rates, table_7
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.published import COLUMNS, PAPER_TABLE_7
from mmqkformer.analysis.rate_figure import draw_firing_rates, figure_of
from mmqkformer.analysis.rates import FiringRates
from mmqkformer.analysis.subject import RANDOM_WEIGHTS, Subject, add_subject_arguments, open_subject
from mmqkformer.files import disk_errors_in_one_line, written_whole

MOST_STEPS = 8
# What the network of the paper's table is called in a config
PUBLISHED = ('hst-10-768', dict(base='hst-10-768'))
STYLE = dict(box=SIMPLE_HEAD, title_justify='left', title_style='bold')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_subject_arguments(parser, images=256)
    parser.add_argument(
        '--out', type=Path, help="folder of the files (default: firing_rates in the config's)"
    )
    return parser.parse_args()


def table_of_layers(rates: FiringRates) -> Table:
    """A row for each neuron; graded neurons have their share of outputs that are not 0."""
    graded = any(layer.levels > 1 for layer in rates.layers)
    # More are in the file
    steps = rates.time_steps if rates.time_steps <= MOST_STEPS else 0
    table = Table('stage', 'block', 'role', title='Spikes per output', **STYLE)
    for head in ('rate', *(['not 0', 'levels'] if graded else [])):
        table.add_column(head, justify='right')
    for t in range(steps):
        table.add_column(f't = {t + 1}', justify='right')
    for layer in rates.layers:
        place = [str(n or '') for n in (layer.stage, layer.block)]
        shares = [f'{layer.active:.4f}', str(layer.levels)] if graded else []
        by_step = [f'{rate:.3f}' for rate in layer.rates[:steps]]
        table.add_row(*place, layer.role, f'{layer.rate:.4f}', *shares, *by_step)
    return table


def table_of_stages(stages: dict[int, dict[str, float | None]], title: str) -> Table:
    """The layout of the paper's Table 7."""
    table = Table('', title=title, **STYLE)
    for column in COLUMNS:
        table.add_column(column, justify='right')
    for stage, row in stages.items():
        cells = ('-' if row[column] is None else f'{row[column]:.4f}' for column in COLUMNS)
        table.add_row(f'stage {stage}', *cells)
    return table


def print_tables(subject: Subject, rates: FiringRates) -> None:
    """The layers and, where there is Q-K attention, the paper's table."""
    tables = [table_of_layers(rates)]
    if stages := table_7(rates):
        measured = f'Measured: {subject.name}, {rates.samples} samples'
        tables.append(table_of_stages(stages, measured))
        if subject.cfg.model.backbone.get('arch') in PUBLISHED:
            published = "Published, not measured here: HST-10-768 on ImageNet, the paper's Table 7"
            tables.append(table_of_stages(PAPER_TABLE_7, published))
    console = Console()
    # As wide as they are, also where that is not known to fit: numbers that are cut are none
    wide = console.options.update(width=1000)
    console.width = max(
        console.width, *(console.measure(table, options=wide).maximum for table in tables)
    )
    for table in tables:
        console.print(table)
    print(
        f'{len(rates.layers)} neurons, {rates.samples} samples, T = {rates.time_steps}: '
        f'{rates.mean:.4f} spikes per output'
    )


def write_csv(subject: Subject, rates: FiringRates, path: Path) -> None:
    """A row for each neuron, and for each X' of a Q-K attention behind them."""
    fields = ('name', 'stage', 'block', 'group', 'role', 'column', 'levels', 'unit', 'outputs')
    fields = (*fields, 'spikes', 'rate', 'active')
    steps = range(1, rates.time_steps + 1)
    with written_whole(path) as partial, open(partial, 'w', newline='') as file:
        if not subject.trained:
            file.write(f'# {RANDOM_WEIGHTS}\n')
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow([*fields, *(f'rate_{t}' for t in steps), *(f'active_{t}' for t in steps)])
        for layer in (*rates.layers, *rates.masked_keys):
            cells = [getattr(layer, name) for name in fields]
            # Of a neuron that runs fewer steps the others are empty
            rest = [None] * (rates.time_steps - len(layer.rates))
            writer.writerow([*cells, *layer.rates, *rest, *layer.actives, *rest])


def main() -> None:
    args = parse_args()
    try:
        subject = open_subject(args)
        out = subject.folder(args.out, 'firing_rates')
        if not subject.trained:
            print(RANDOM_WEIGHTS)
        rates = firing_rates(subject.model, subject.batches(args.images))
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print_tables(subject, rates)
    write_csv(subject, rates, out / 'firing_rates.csv')
    title = f'Firing rates of {subject.name}: {rates.samples} samples of the test set'
    if not subject.trained:
        title += '\nRANDOM WEIGHTS, set so that every layer fires'
    figure = figure_of(rates)
    draw_firing_rates(figure, rates, title)
    save_figure(figure, out / 'firing_rates.png')
    print(f'files: {out}/firing_rates.csv, {out}/firing_rates.png')


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
