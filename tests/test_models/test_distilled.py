"""A second linear layer learns a teacher's labels, and the mean of both counts."""

import copy
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from mmqkformer.build import ConfigError

ROOT = Path(__file__).parents[2]
WEIGHT = 0.3
BACKBONE = dict(
    type='SpikingBackbone',
    arch=dict(base='meta_spikeformer', embed_dims=[8] * 5, depths=[0, 0, 0, 1, 0], num_heads=1),
    time_steps=2,
    out='stream',
)
HEAD = dict(
    type='SpikingClsHead',
    num_classes=5,
    in_channels=8,
    neuron=dict(type='LIFNeuron', v_threshold=0.01),
    distill_weight=WEIGHT,
)
TEACHER = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=64),
)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A teacher with weights."""
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.manual_seed(2)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.save(MODELS.build(TEACHER).state_dict(), path)
    return dict(TEACHER, init_cfg=dict(type='Pretrained', checkpoint=str(path)))


@pytest.fixture
def distilled(trained):
    def build(**changes):
        torch.manual_seed(0)
        model = dict(type='DistilledClassifier', teacher=trained, backbone=BACKBONE, head=HEAD)
        return MODELS.build({**model, **changes})

    return build


def batch(classes=(0, 3, 4)):
    generator = torch.Generator().manual_seed(1)
    images = 3 * torch.randn(len(classes), 3, 32, 32, generator=generator)
    return images, [DataSample().set_gt_label(c) for c in classes]


def test_the_loss_is_that_of_the_labels_and_that_of_the_teachers_classes(distilled, trained):
    model = distilled()
    images, samples = batch()
    losses = model(images, samples, mode='loss')
    teacher = MODELS.build(trained)
    teacher.init_weights()
    classes = teacher.eval()(images, mode='tensor').argmax(1)
    x = model.head.neuron(model.extract_feat(images)[-1].flatten(-2).mean(-1)).mean(0)
    own, second = model.head.fc(x), model.head.fc_distilled(x)
    expected = F.cross_entropy(own, torch.tensor([0, 3, 4]))
    torch.testing.assert_close(losses['loss'], (1 - WEIGHT) * expected)
    torch.testing.assert_close(losses['loss_distilled'], WEIGHT * F.cross_entropy(second, classes))
    (losses['loss'] + losses['loss_distilled']).backward()
    assert all(fc.weight.grad.any() for fc in (model.head.fc, model.head.fc_distilled))


def test_the_mean_of_both_layers_is_tested(distilled):
    model = distilled().eval()
    images, _ = batch()
    feats = model.extract_feat(images)
    x = model.head.pre_logits(feats)
    assert x.any()
    steps = (model.head.fc(x) + model.head.fc_distilled(x)) / 2
    torch.testing.assert_close(model(images), steps.mean(0))
    torch.testing.assert_close(model.head.forward_steps(feats), steps)


def test_the_teacher_is_no_part_of_the_student(distilled):
    model = distilled()
    # Testing needs none
    model.eval()(batch()[0])
    assert model.teacher.model is None
    model.train()(*batch(), mode='loss')
    teacher = model.teacher.model
    before = copy.deepcopy(teacher.state_dict())
    names = {name.split('.')[0] for name in model.state_dict()}
    assert names == {'backbone', 'head'}
    assert ExponentialMovingAverage(model).module.teacher.model is teacher
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sum(v for k, v in model.train()(*batch(), mode='loss').items() if 'loss' in k).backward()
    optimizer.step()
    assert not teacher.training
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_teacher_of_timm_and_weights_of_a_file(distilled, tmp_path):
    torch.manual_seed(3)
    weights = timm.create_model('resnet10t', num_classes=5)
    torch.save(weights.state_dict(), tmp_path / 'teacher.pth')
    model = distilled(
        teacher=dict(
            type='TimmClassifier',
            model_name='resnet10t',
            num_classes=5,
            checkpoint_path=str(tmp_path / 'teacher.pth'),
        )
    )
    images, samples = batch()
    model(images, samples, mode='loss')
    with torch.no_grad():
        expected = weights.eval()(images)
    torch.testing.assert_close(model.teacher.model(images, mode='tensor'), expected)


def test_the_teacher_of_the_configs_is_one_of_timms(distilled):
    for path in sorted((ROOT / 'configs').glob('*/*-distilled_*.py')):
        teacher = Config.fromfile(path).model.teacher
        assert teacher.type == 'TimmClassifier'
        assert teacher.model_name in timm.list_models(pretrained=True)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(teacher=dict(type='NoSuchClassifier')), r'model\.teacher=.*NoSuchClassifier'),
        (dict(teacher='resnet'), r"model\.teacher='resnet': expected a dict with the type"),
        (dict(teacher=TEACHER), r'model\.teacher=.*: expected trained weights, by one of'),
        (dict(head={**HEAD, 'distill_weight': None}), r'expected a SpikingClsHead with distill_w'),
        (dict(head={**HEAD, 'distill_weight': 1.0}), r'head\.distill_weight=1\.0'),
        (dict(head={**HEAD, 'loss_on': 'steps'}), r'head\.distill_weight=0\.3: expected None with'),
    ],
)
def test_a_wrong_config_is_named(distilled, changes, message):
    with pytest.raises(ConfigError, match=message):
        distilled(**changes)


def test_a_teacher_that_gives_no_logits_is_named(distilled, trained):
    model = distilled(teacher=dict(trained, head=None))
    with pytest.raises(ConfigError, match=r'model\.teacher=.*: expected logits \[B, classes\]'):
        model(*batch(), mode='loss')


def test_a_distilled_head_needs_its_classifier(distilled):
    model = MODELS.build(dict(type='ImageClassifier', backbone=BACKBONE, head=HEAD))
    with pytest.raises(ValueError, match=r'head\.distill_weight=0\.3: expected a DistilledClas'):
        model(*batch(), mode='loss')


def test_weights_of_one_layer_and_of_two_do_not_fit_each_other(distilled):
    two = distilled()
    one = MODELS.build(
        dict(type='ImageClassifier', backbone=BACKBONE, head={**HEAD, 'distill_weight': None})
    )
    with pytest.raises(RuntimeError, match=r'head\.distill_weight=None: the checkpoint has a'):
        one.load_state_dict(two.state_dict(), strict=False)
    with pytest.raises(RuntimeError, match=r'fc_distilled\.weight missing'):
        two.load_state_dict(one.state_dict(), strict=False)
