"""Operations and energy of a spiking network on real inputs, and what of it is additions of spikes.

Layer by layer: dense products, what the layer takes (binary spikes, numbers of spikes or analogue
numbers), and the additions that those make. Then what a neuromorphic chip could not run as
additions, and the energy under named models beside the same network as an ANN.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console
from rich.table import Table

from mmqkformer.analysis import (
    ENERGY_MODELS,
    PAPER_TABLE_7,
    PUBLISHED_ENERGIES,
    EnergyEstimate,
    Factor,
    OtherEstimate,
    Purity,
    Work,
    ann_operations,
    estimate_energy,
    implied_input,
    measure_work,
    purity,
    spikingjelly_energy,
)
from mmqkformer.analysis.energy.figure import draw_energy, figure_height, in_joules
from mmqkformer.analysis.figures import save_figure
from mmqkformer.analysis.subject import RANDOM_WEIGHTS, Subject, add_subject_arguments, open_subject
from mmqkformer.deploy import as_deployed
from mmqkformer.engine import launch
from mmqkformer.files import disk_errors_in_one_line, written_whole

# SpikingJelly runs so many samples of a batch at most
SAMPLES = 8
PRODUCTS = """\
dense: products of convolutions, linear layers and matrix products for one sample, all time steps
together. SOPs: additions that the spikes make of them, borders exact. Not counted: norms, which
fold into the layers, biases, pooling, element-wise products, and neurons (see --neurons)."""
IMPLIED = """\
No reproduction: the energy is the paper's, the operations are counted here from the shapes, and no
weights are involved. E = 4.6 pJ x MACs of the first layer + 0.9 pJ x r x dense products of all
others is solved for r, the mean number of spikes of an input."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_subject_arguments(parser, images=100)
    parser.add_argument(
        '--out',
        type=Path,
        help='folder for energy.csv, energy.json and energy.png (default: <work_dir>/energy)',
    )
    parser.add_argument(
        '--as-trained',
        action='store_true',
        help='norms and RepConvs as they are trained, not folded as in a deployed network',
    )
    parser.add_argument('--neurons', action='store_true', help="list the neurons' updates too")
    parser.add_argument(
        '--no-spikingjelly', action='store_true', help="leave out SpikingJelly's estimates"
    )
    parser.add_argument(
        '--implied',
        action='store_true',
        help='only, without images and weights: what the energy that the QKFormer paper publishes '
        'for this config says of its firing',
    )
    return parser.parse_args()


def what_of(factor: Factor) -> str:
    """What a factor is made of, with the value of a spike where that is not 1."""
    return factor.made_of + (f', {factor.unit:g} each' if factor.unit not in (None, 1) else '')


def spikes_of(factor: Factor) -> str:
    """The mean number of spikes, and the most where there may be more than one."""
    if factor.mean is None:
        return '-'
    return f'{factor.mean:.4f}' + (f' (to {factor.most})' if factor.most > 1 else '')


def print_layers(console: Console, work: Work) -> None:
    table = Table(title=f'Layers, means of {work.samples} samples')
    table.add_column('layer', no_wrap=True)
    for column in ('kind', 'takes', 'spikes an element', 'non-zero', 'dense', 'SOPs'):
        table.add_column(column, justify='left' if column in ('kind', 'takes') else 'right')
    for layer in work.layers:
        table.add_row(
            layer.name or '(the model)',
            layer.kind,
            '\n'.join(map(what_of, layer.factors)),
            '\n'.join(map(spikes_of, layer.factors)),
            '\n'.join(f'{factor.nonzero:.1%}' for factor in layer.factors),
            f'{layer.dense:,}',
            '-' if layer.kind == 'analogue' else f'{layer.synaptic:,.0f}',
        )
    console.print(table)
    console.print(PRODUCTS)


def print_neurons(console: Console, work: Work) -> None:
    table = Table('neuron', title='Neurons, one sample, all time steps together')
    for column in ('updates', 'spikes'):
        table.add_column(column, justify='right')
    for neuron in work.neurons:
        table.add_row(neuron.name, f'{neuron.updates:,}', f'{neuron.spikes:,.0f}')
    console.print(table)


def print_purity(console: Console, work: Work, pure: Purity, how: str) -> None:
    shares = ', '.join(f'{kind} {share:.2%}' for kind, share in pure.shares.items())
    console.print(f'\nThe network {how}.\nShares of the dense products: {shares}')
    console.print(
        f'Operations of one sample: {work.synaptic("binary"):,.0f} additions of binary spikes, '
        f'{work.synaptic("integer"):,.0f} of numbers of spikes, '
        f'{work.dense("analogue"):,} multiply-accumulates'
    )
    for title, remarks in (
        ('What a chip could not run as additions of spikes', pure.impure),
        ('What folds into weights or thresholds', pure.folds),
    ):
        table = Table('where', 'what', title=title)
        for remark in remarks:
            table.add_row(remark.name or '(the model)', remark.reason)
        console.print(table if remarks else f'{title}: nothing')


def print_energies(
    console: Console, estimates: Sequence[EnergyEstimate], others: Sequence[OtherEstimate]
) -> None:
    table = Table(title='Energy of one sample')
    table.add_column('model')
    for column in (
        'SNN',
        'its neurons, apart',
        'ANN, one step',
        'ANN, int8',
        'mean input',
        'break-even, ANN',
        'break-even, int8',
    ):
        table.add_column(column, justify='right')
    for e in estimates:
        energies = (e.snn_mj, e.neurons_mj, e.ann_mj, e.ann_int8_mj)
        breaks = ('never' if r is None else f'{r:.4f}' for r in (e.break_even, e.break_even_int8))
        table.add_row(e.model.name, *map(in_joules, energies), f'{e.mean_input:.4f}', *breaks)
    console.print(table)
    for e in estimates:
        console.print(f'{e.model.name}: {e.model.assumptions} ({e.model.source})')
    if not others:
        return
    table = Table(title="SpikingJelly's estimates of one sample")
    table.add_column('model')
    for column in ('energy', 'of it memory'):
        table.add_column(column, justify='right')
    table.add_column('assumptions')
    table.add_column('leaves out', justify='right')
    for o in others:
        energies = ('-' if e is None else in_joules(e) for e in (o.energy_mj, o.memory_mj))
        table.add_row(o.name, *energies, f'{o.assumptions} ({o.source})', f'{len(o.remarks)}')
    console.print(table)
    console.print('leaves out: so many remarks of SpikingJelly, which energy.json has')


def print_implied(console: Console, args: argparse.Namespace) -> None:
    """Counts the network of a config, and solves the published energy for its firing.

    Raises:
        ValueError: Nothing is published of the config.
    """
    name = Path(args.config).stem
    published = {entry.config: entry for entry in PUBLISHED_ENERGIES}
    if name not in published:
        raise ValueError(f'{args.config}: --implied: expected one of {sorted(published)}')
    cfg = launch.load_config(args)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    implied = implied_input(MODELS.build(cfg.model), published[name])
    table = Table(title=f'{implied.published.model} at {implied.published.size}: what is implied')
    table.add_column('quantity')
    table.add_column('value', justify='right')
    for row in (
        ('published energy (NeurIPS 2024)', f'{implied.published.energy_mj:g} mJ'),
        ('MACs of the first layer, counted', f'{implied.first_macs:,}'),
        ('dense products of all others, counted', f'{implied.dense:,}'),
        ('implied mean input r, in spikes', f'{implied.mean_input:.4f}'),
        ('r, if the first layer runs every step', f'{implied.mean_input_repeated:.4f}'),
    ):
        table.add_row(*row)
    console.print(table)
    table = Table('', *PAPER_TABLE_7[1], title='Published firing rates of HST-10-768')
    for stage, rates in PAPER_TABLE_7.items():
        table.add_row(f'stage {stage}', *(f'{rate:.4f}' for rate in rates.values()))
    console.print(table)
    console.print(IMPLIED)


def write_files(
    out: Path,
    subject: Subject,
    work: Work,
    pure: Purity,
    estimates: Sequence[EnergyEstimate],
    others: Sequence[OtherEstimate],
) -> None:
    """Writes the layers as CSV, everything as JSON, and the chart."""
    weights = 'trained' if subject.trained else 'RANDOM'
    with written_whole(out / 'energy.csv') as partial, open(partial, 'w', newline='') as file:
        rows = csv.writer(file)
        factors = [
            f'{field}{i}'
            for i in (1, 2)
            for field in ('made_of', 'kind', 'unit', 'mean', 'most', 'nonzero')
        ]
        energies = [f'pJ, {e.model.name}' for e in estimates]
        rows.writerow(
            ['layer', 'operator', 'kind', 'dense', 'synaptic', *energies, *factors, 'weights']
        )
        for layer in work.layers:
            found = [
                value
                for f in layer.factors
                for value in (f.made_of, f.kind, f.unit, f.mean, f.most, f.nonzero)
            ]
            found += [None] * (len(factors) - len(found))
            spent = [e.model.layer_pj(layer) for e in estimates]
            numbers = (layer.dense, layer.synaptic)
            rows.writerow(
                [layer.name, layer.operator, layer.kind, *numbers, *spent, *found, weights]
            )
    everything = dict(
        name=subject.name,
        weights=weights,
        work=asdict(work),
        purity=asdict(pure),
        energy=[asdict(e) for e in estimates],
        spikingjelly=[asdict(o) for o in others],
    )
    with written_whole(out / 'energy.json') as partial:
        partial.write_text(json.dumps(everything, indent=1) + '\n')
    figure = plt.figure(figsize=(13, figure_height(work, estimates[0].model)), layout='constrained')
    title = f'{subject.name}: {work.samples} samples of the test set'
    if not subject.trained:
        title += '\nRANDOM WEIGHTS, set so that every layer fires: nothing of a trained model'
    figure.suptitle(title, fontsize=11)
    draw_energy(figure, work, estimates, others)
    save_figure(figure, out / 'energy.png')
    print(f'files: {out}/energy.csv, energy.json, energy.png')


def look(console: Console, args: argparse.Namespace) -> None:
    """Runs the config's network on its images, prints what was found and writes it."""
    subject = open_subject(args)
    out = subject.folder(args.out, 'energy')
    model, how = subject.model, 'as trained: norms and RepConvs are not folded'
    if not args.as_trained:
        model, how = as_deployed(subject.model)
    x = next(subject.batches(min(args.images, SAMPLES)))['inputs']
    with console.status("SpikingJelly's estimates"):
        others = [] if args.no_spikingjelly else spikingjelly_energy(model, x)
    work = measure_work(model, subject.batches(args.images))
    ann_macs = ann_operations(model, tuple(x.shape[1:]))
    estimates = [estimate_energy(work, ann_macs, energy) for energy in ENERGY_MODELS]
    pure = purity(work)
    if not subject.trained:
        console.print(RANDOM_WEIGHTS)
    print_layers(console, work)
    if args.neurons:
        print_neurons(console, work)
    print_purity(console, work, pure, how)
    print_energies(console, estimates, others)
    write_files(out, subject, work, pure, estimates, others)
    if not subject.trained:
        console.print(RANDOM_WEIGHTS)


def main() -> None:
    args = parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False)
    try:
        with disk_errors_in_one_line():
            if args.implied:
                print_implied(console, args)
            else:
                look(console, args)
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f'error: {error}') from error


if __name__ == '__main__':
    main()
