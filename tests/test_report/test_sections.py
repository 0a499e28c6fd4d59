"""What a report says, against the analyses and counts by hand."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmqkformer.analysis.subject import add_subject_arguments, open_subject
from mmqkformer.report import Request, report_sections
from mmqkformer.report.page import Chart, Films, Table, Text, Tiles
from mmqkformer.report.sections import training_section

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py')
WEIGHTS = str(ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth')


def opened(*argv):
    parser = argparse.ArgumentParser()
    add_subject_arguments(parser, images=20)
    return open_subject(parser.parse_args(argv))


@pytest.fixture(scope='module')
def subject():
    return opened(CONFIG, WEIGHTS)


@pytest.fixture(scope='module')
def sections(subject):
    found = report_sections(subject, Request(samples=20, shown=[2]))
    return {section.title: section.parts for section in found}


def only(parts, kind):
    (part,) = (part for part in parts if isinstance(part, kind))
    return part


def test_everything_has_a_section(sections):
    assert list(sections) == [
        'Summary',
        'Firing rates',
        'Energy',
        'Is it really spikes?',
        'Attention',
        'Fewer time steps',
        'Memory of an attention',
    ]


def test_the_summary_is_that_of_the_model(subject, sections):
    tiles = {name: value for name, value, _ in only(sections['Summary'], Tiles).tiles}
    with torch.no_grad():
        (batch,) = subject.batches(20)
        right = sum(
            int(s.pred_label) == int(s.gt_label) for s in subject.model(**batch, mode='predict')
        )
    assert tiles['top-1'] == f'{100 * right / 20:.2f} %'
    assert tiles['parameters'] == '466 k'
    assert sum(p.numel() for p in subject.model.parameters()) == 465626
    assert tiles['time steps'] == '4'


def test_energies_of_layers_add_up_to_the_whole(sections):
    tiles = {name: value for name, value, _ in only(sections['Summary'], Tiles).tiles}
    layers = next(part for part in sections['Energy'] if isinstance(part, Table) and part.folded)
    # An addition of spikes takes 0.9 pJ, a multiplication with an addition 4.6 pJ
    pj = 0.0
    for _, kind, dense, synaptic, _ in layers.rows:
        price, count = (4.6, dense) if kind == 'analogue' else (0.9, synaptic)
        pj += price * int(count.replace(',', ''))
    value, unit = tiles['energy'].split()
    assert unit == 'µJ'
    assert float(value) == pytest.approx(pj * 1e-6, rel=5e-3)


def test_attention_moves_through_time(sections):
    films = only(sections['Attention'], Films)
    assert films.steps == 4
    names = [caption.partition(':')[0] for caption, _ in films.films]
    assert names == ['sample 2', *(f'stages.{i}.blocks.0.attention' for i in range(3))]
    assert all(len(pictures) == 4 for _, pictures in films.films)
    # An image stands still
    assert len(set(films.films[0][1])) == 1


def test_charts_say_what_is_to_be_seen(sections):
    charts = [part for parts in sections.values() for part in parts if isinstance(part, Chart)]
    assert len(charts) == 6
    assert all(chart.alt and chart.light != chart.dark for chart in charts)


def test_random_weights_and_what_a_model_does_not_have_are_told():
    subject = opened(CONFIG)
    for stage in subject.model.backbone.stages:
        for block in stage.blocks:
            block.attention = Echo()
    parts = {s.title: s.parts for s in report_sections(subject, Request(2, [0]))}
    assert only(parts['Summary'], Text).warning
    assert 'RANDOM WEIGHTS' in only(parts['Summary'], Text).text
    assert 'top-1' not in [name for name, *_ in only(parts['Summary'], Tiles).tiles]
    assert 'expected an attention with a map' in only(parts['Attention'], Text).text
    assert 'Memory of an attention' not in parts


class Echo(torch.nn.Module):
    def forward(self, x):
        return x


def test_a_training_is_compared(tmp_path):
    rows = [f'{epoch},{3 / (epoch + 1)}' for epoch in range(12)]
    reference = tmp_path / 'reference.csv'
    reference.write_text('\n'.join(['epoch,train_loss', *rows]))
    logs = tmp_path / 'run' / '20260101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    lines = [
        f'{{"train_epoch/loss": {3 / (epoch + 1) + 2 * (epoch > 5)}, "step": {epoch + 1}}}'
        for epoch in range(12)
    ]
    (logs / 'scalars.json').write_text('\n'.join(lines))
    section = training_section(tmp_path / 'run', reference)
    assert section.title == 'Training against the reference'
    ((quantity, verdict),) = only(section.parts, Table).rows
    assert quantity == 'train_loss'
    assert 'departs at epoch 7' in verdict


def test_what_cannot_be_reported_is_one_error(subject):
    with pytest.raises(ValueError, match='sample 360: expected 0 to 359'):
        report_sections(subject, Request(4, [360]))
    backbone = replace(subject, model=subject.model.backbone)
    with pytest.raises(ValueError, match='expected a classifier'):
        report_sections(backbone, Request(4, []))
