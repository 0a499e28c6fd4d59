"""What the analysis tools look at."""

import argparse
from pathlib import Path

import pytest
import torch

from mmqkformer.analysis import recording
from mmqkformer.analysis.subject import add_subject_arguments, open_subject
from mmqkformer.datasets.digits import Digits
from mmqkformer.neurons import SpikingNeuron

ROOT = Path(__file__).resolve().parents[2]
SEVEN = ROOT / 'tests/data/seven.png'
CONFIG = str(ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py')
WEIGHTS = str(ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth')


def opened(*argv):
    parser = argparse.ArgumentParser()
    add_subject_arguments(parser, images=200)
    return open_subject(parser.parse_args(argv))


def test_samples_are_the_first_of_the_test_set():
    subject = opened(CONFIG, WEIGHTS)
    assert subject.trained
    assert not subject.model.training
    batches = list(subject.batches(200))
    assert [len(batch['inputs']) for batch in batches] == [180, 20]
    labels = [int(sample.gt_label) for batch in batches for sample in batch['data_samples']]
    digits = Digits(split='test', pipeline=[])
    assert labels == [digits.get_data_info(i)['gt_label'] for i in range(200)]
    with torch.no_grad():
        right = sum(
            int(sample.pred_label) == int(sample.gt_label)
            for batch in batches
            for sample in subject.model(**batch, mode='predict')
        )
    assert right > 190


def test_random_weights_fire_and_are_the_same_every_time():
    first, second = opened(CONFIG), opened(CONFIG)
    assert not first.trained
    for one, other in zip(first.model.state_dict().values(), second.model.state_dict().values()):
        assert torch.equal(one, other)
    with torch.no_grad(), recording(first.model, SpikingNeuron, torch.mean) as rates:
        first.model(next(first.batches(8))['inputs'])
    assert all(0 < float(rate) < 1 for calls in rates.values() for rate in calls)


def test_an_image_goes_through_the_test_pipeline():
    image = opened(CONFIG, WEIGHTS).image(SEVEN)
    assert image['inputs'].shape == (1, 3, 8, 8)


def test_one_sample_is_that_of_the_batches():
    subject = opened(CONFIG, WEIGHTS)
    (batch,) = subject.batches(4)
    sample = subject.sample(3)
    assert torch.equal(sample['inputs'], batch['inputs'][3:])
    assert sample['data_samples'][0].gt_label == batch['data_samples'][3].gt_label
    with pytest.raises(ValueError, match='sample 360: expected 0 to 359'):
        subject.sample(360)


def test_with_an_image_no_data_set_is_needed():
    parser = argparse.ArgumentParser()
    add_subject_arguments(parser, images=1)
    argv = [CONFIG, '--cfg-options', 'test_dataloader.dataset.data_root=nowhere']
    args = parser.parse_args(argv)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        open_subject(args)
    subject = open_subject(args, lambda subject: subject.image(SEVEN)['inputs'])
    with torch.no_grad(), recording(subject.model, SpikingNeuron, torch.mean) as rates:
        subject.model(subject.image(SEVEN)['inputs'])
    assert all(0 < float(rate) < 1 for calls in rates.values() for rate in calls)


def test_what_cannot_be_opened_is_told_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth'):
        opened(CONFIG, 'nothing.pth')
    with pytest.raises(ValueError, match='model: expected one'):
        opened(CONFIG, '--cfg-options', 'model=None')
    with pytest.raises(ValueError, match='test_dataloader: expected one'):
        opened(CONFIG, '--cfg-options', 'test_dataloader=None')
    with pytest.raises(ValueError, match=r'keys\n .* of another shape'):
        opened(CONFIG, WEIGHTS, '--cfg-options', 'model.head.num_classes=7')
    with pytest.raises(FileNotFoundError, match=r'test_dataloader.*data_root'):
        opened(str(ROOT / 'configs/qkformer/hst-10-384_8xb64_in1k.py'))
    subject = opened(CONFIG, WEIGHTS)
    with pytest.raises(FileNotFoundError, match='no such file'):
        subject.image(tmp_path / 'none.png')
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(OSError, match=r'text\.png: expected an image'):
        subject.image(tmp_path / 'text.png')
