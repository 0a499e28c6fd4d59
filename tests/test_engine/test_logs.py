"""Each column of the logs, computed by hand from what a run on digits did."""

import json
import math
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from processes import run_two_processes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F

from mmqkformer.engine import CPUAmpOptimWrapper, CrossEntropy, EpochLogHook, GradNormHook
from mmqkformer.engine.launch import build_runner
from mmqkformer.models import SpikingClsHead

DIGITS = Path(__file__).parents[2] / 'configs/qkformer/hst-3-128_1xb64_digits.py'
BATCH, IMAGES, EPOCHS = 8, 32, 2


class Watch(Hook):
    """Losses, accuracies and gradients of every iteration, by epoch."""

    priority = 'LOWEST'

    def before_run(self, runner):
        self.seen = [[] for _ in range(EPOCHS)]
        runner.optim_wrapper.optimizer.register_step_pre_hook(self.measure)

    def measure(self, optimizer, *args):
        grads = [p.grad.flatten() for group in optimizer.param_groups for p in group['params']]
        self.norm = torch.cat(grads).double().square().sum().sqrt().item()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        values = {key: float(torch.as_tensor(v).detach()) for key, v in outputs.items()}
        self.seen[runner.epoch].append({**values, 'grad_norm': self.norm})


def cross_entropy(model, loader):
    """Of the whole validation set, from logits."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for batch in loader:
            data = model.data_preprocessor(batch)
            labels = torch.cat([sample.gt_label for sample in data['data_samples']])
            logits = model(data['inputs'], mode='tensor')
            total += F.cross_entropy(logits.double(), labels, reduction='sum').item()
    return total / len(loader.dataset)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Two epochs of the digits config on a few images, without mixup."""
    folder = tmp_path_factory.mktemp('digits')
    cfg = Config.fromfile(DIGITS)
    cfg.merge_from_dict(
        dict(
            work_dir=str(folder),
            experiment_name=uuid.uuid4().hex,
            train_dataloader=dict(
                batch_size=BATCH,
                dataset=dict(indices=IMAGES),
                sampler=dict(multiple_of=BATCH),
                collate_fn=dict(type='default_collate'),
            ),
            # Batches of 20, 20 and 5
            val_dataloader=dict(
                batch_size=20,
                dataset=dict(indices=45),
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(max_epochs=EPOCHS),
            param_scheduler=dict(warmup_epochs=0, max_epochs=EPOCHS),
            default_hooks=dict(logger=dict(interval=1)),
            custom_hooks=[dict(type='OptimStepEMAHook', momentum=0.3, num_samples=BATCH)],
            test_cfg=None,
            test_dataloader=None,
            test_evaluator=None,
        )
    )
    cfg.data_preprocessor.batch_augments = None
    cfg.visualizer.name = str(folder)
    runner = build_runner(cfg)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    (scalars,) = folder.rglob('scalars.json')
    (events,) = folder.rglob('events.out.tfevents.*')
    board = EventAccumulator(str(events))
    board.Reload()
    return SimpleNamespace(
        runner=runner,
        seen=watch.seen,
        lines=[json.loads(line) for line in scalars.read_text().splitlines()],
        board=board,
        saved=torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=True),
    )


def rows(run, prefix):
    """Lines of the log by step, names without their prefix."""
    found = {}
    for line in run.lines:
        names = {key.removeprefix(prefix): v for key, v in line.items() if key.startswith(prefix)}
        if names:
            found[line['step']] = names
    return found


def test_every_column_is_there_for_every_epoch(run):
    training, validation = rows(run, 'train_epoch/'), rows(run, 'val/')
    assert sorted(training) == sorted(validation) == [1, 2]
    for row in training.values():
        assert {
            'loss', 'accuracy_top-1', 'grad_norm', 'lr', 'images_per_second', 'memory', 'eta',
            'time', 'data_time',
        } == set(row)  # fmt: skip
    for row in validation.values():
        assert {'accuracy/top1', 'accuracy_ema/top1', 'loss', 'loss_ema'} < set(row)


def test_the_board_has_what_the_file_has_under_the_same_tags(run):
    tags = run.board.Tags()['scalars']
    for prefix in ('train/', 'train_epoch/', 'val/'):
        for step, row in rows(run, prefix).items():
            for name, value in row.items():
                assert prefix + name in tags
                points = {e.step: e.value for e in run.board.Scalars(prefix + name)}
                assert points[step] == pytest.approx(value, rel=1e-6)
    assert not {'loss', 'lr', 'time', 'accuracy/top1'} & set(tags)


@pytest.mark.parametrize('name', ['loss', 'accuracy_top-1', 'grad_norm'])
def test_means_are_over_all_iterations_of_the_epoch(run, name):
    for epoch, row in rows(run, 'train_epoch/').items():
        values = [iteration[name] for iteration in run.seen[epoch - 1]]
        assert len(values) == IMAGES // BATCH
        assert row[name] == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_speed_rate_memory_and_time_left(run):
    time = torch.tensor(run.runner.message_hub.get_scalar('train/time').data[0]).view(EPOCHS, -1)
    training = rows(run, 'train_epoch/')
    for epoch, row in training.items():
        total = time[epoch - 1].sum().item()
        assert row['images_per_second'] == pytest.approx(IMAGES / total)
        assert row['time'] == pytest.approx(total / (IMAGES // BATCH))
        assert row['lr'] == rows(run, 'train/')[epoch * IMAGES // BATCH]['lr']
        assert row['memory'] > 50  # MiB of a process that has imported PyTorch
    assert training[2]['eta'] == 0 < training[1]['eta']


def test_the_validation_loss_is_the_cross_entropy_of_each_set_of_weights(run):
    """The last ones; not a mean over validations, nor over batches of different size."""
    last = rows(run, 'val/')[EPOCHS]
    model, loader = run.runner.model, run.runner.val_dataloader
    assert last['loss'] == pytest.approx(cross_entropy(model, loader), rel=1e-5)
    model.load_state_dict(run.saved['state_dict'])
    assert last['loss_ema'] == pytest.approx(cross_entropy(model, loader), rel=1e-5)
    assert last['loss'] != last['loss_ema']


def test_a_certain_mistake_has_a_finite_loss():
    metric = CrossEntropy()
    scores = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    samples = [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(scores, (1, 0))
    ]
    metric.process({}, samples)
    smallest = torch.finfo(torch.float32).tiny
    assert metric.evaluate(2)['loss'] == pytest.approx(-(math.log(smallest) + math.log(0.25)) / 2)


class Square(BaseModel):
    """Gradients known by hand: loss = mean over the batch of (w x)^2 / 2."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, x):
        return (self.w * x).square().sum(-1).mean() / 2


def steps(wrapper, inputs):
    """Norms that the hook logs in a training on these inputs, one micro-batch each."""
    model = Square()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = wrapper(optimizer=optimizer)
    run = SimpleNamespace(
        optim_wrapper=wrapper, message_hub=MessageHub.get_instance(uuid.uuid4().hex)
    )
    hook = GradNormHook()
    hook.before_train(run)
    hook.before_train_epoch(run)
    norms = []
    for x in inputs:
        outputs = {}
        with wrapper.optim_context(model):
            loss = model(torch.tensor([x]))
        wrapper.update_params(loss)
        hook.after_train_iter(run, 0, outputs=outputs)
        norms.append(outputs.get('grad_norm'))
    return norms, model.w.detach()


def test_the_norm_is_that_of_the_accumulated_gradient():
    """w = (3, 4); inputs (1, 0) and (0, 1) give the gradients (3, 0) / 2 and (0, 4) / 2."""
    norms, w = steps(
        lambda optimizer: OptimWrapper(optimizer, accumulative_counts=2),
        [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]],
    )
    assert norms == [None, pytest.approx(2.5), None, pytest.approx(2 * 2.85)]
    torch.testing.assert_close(w, torch.tensor([2.85 - 0.1 * 5.7, 3.8]))


@pytest.mark.parametrize(
    'clip_grad', [dict(max_norm=1.0), dict(type='value', clip_value=0.6)], ids=['norm', 'value']
)
def test_the_norm_is_that_before_clipping_which_goes_on(clip_grad):
    """The gradient (3, 4) becomes (0.6, 0.8), or (0.6, 0.6)."""
    norms, w = steps(
        lambda optimizer: OptimWrapper(optimizer, clip_grad=dict(clip_grad)), [[1.0, 1.0]]
    )
    assert norms == [pytest.approx(5.0)]
    second = 0.8 if 'max_norm' in clip_grad else 0.6
    torch.testing.assert_close(w, torch.tensor([3 - 0.06, 4 - 0.1 * second]))


@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=1.0)], ids=['unclipped', 'clipped'])
def test_the_norm_is_free_of_the_loss_scale_and_skipped_steps_have_none(clip_grad):
    """In float16, (w x)^2 overflows at x = 200."""
    norms, w = steps(
        lambda optimizer: CPUAmpOptimWrapper(
            optimizer=optimizer,
            dtype='float16',
            loss_scale=dict(init_scale=1024.0),
            clip_grad=clip_grad and dict(clip_grad),
        ),
        [[float('inf'), 1.0], [1.0, 1.0]],
    )
    assert norms == [None, pytest.approx(5.0, rel=1e-3)]
    step = torch.tensor([3.0, 4.0]) * 0.1 / (5 if clip_grad else 1)
    torch.testing.assert_close(w, torch.tensor([3.0, 4.0]) - step, rtol=1e-3, atol=0)


class Iterations:
    """A run of which only the logs exist."""

    def __init__(self, hook, hub=None, iteration=0):
        self.hook = hook
        self.message_hub = hub or new_hub()
        self.epoch, self.iter = 0, iteration
        self.train_dataloader = range(4)
        self.timestamp = 'now'
        self.logger = SimpleNamespace(info=lambda text: None)
        self.visualizer = SimpleNamespace(add_scalars=self.keep)

    def keep(self, row, step, file_path):
        self.row, self.step = row, step

    def begin(self):
        self.hook.before_train_epoch(self)

    def end(self):
        self.hook.after_train_epoch(self)

    def iterate(self, time=1.0, images=4, **outputs):
        for name, value in dict(outputs, time=time, data_time=0.0).items():
            self.message_hub.update_scalar(f'train/{name}', value)
        self.hook.after_train_iter(self, 0, [torch.zeros(images)], outputs)
        self.iter += 1


def new_hub():
    return MessageHub.get_instance(uuid.uuid4().hex)


@pytest.mark.parametrize('trained', [0, 2, 4])
def test_an_epoch_that_is_resumed_in_its_middle_has_its_mean(trained):
    """And one that is not begun, or trained to its end, lends nothing to the next."""
    first = Iterations(EpochLogHook())
    first.begin()
    losses = [5.0, 3.0, 2.0, 4.0]
    for loss in losses[:trained]:
        first.iterate(loss=loss)
    hub = new_hub()
    hub.load_state_dict(first.message_hub.state_dict())
    resumed = Iterations(EpochLogHook(), hub, iteration=trained)
    resumed.begin()
    for loss in losses[trained % 4 :]:
        resumed.iterate(loss=loss)
    resumed.end()
    assert resumed.row['train_epoch/loss'] == 3.5
    assert resumed.row['train_epoch/images_per_second'] == 4.0
    resumed.begin()
    resumed.iterate(loss=1.0)
    resumed.end()
    assert resumed.row['train_epoch/loss'] == 1.0


def test_a_value_that_few_iterations_have_is_their_mean():
    run = Iterations(EpochLogHook())
    run.begin()
    run.iterate(loss=1.0)
    run.iterate(loss=1.0, grad_norm=2.0)
    run.end()
    assert run.row['train_epoch/grad_norm'] == 2.0


def one_of_two_processes(rank, folder):
    run = Iterations(EpochLogHook())
    run.begin()
    accuracy = {'accuracy_top-1': 50.0} if rank else {}
    run.iterate(loss=1.0 + rank, time=2.0, images=4, **accuracy)
    run.end()
    torch.save(run.row, folder / f'{rank}.pt')


def test_means_are_over_all_processes(tmp_path):
    run_two_processes(one_of_two_processes, tmp_path)
    row = torch.load(tmp_path / '0.pt')
    assert row['train_epoch/loss'] == 1.5
    assert row['train_epoch/accuracy_top-1'] == 50.0
    assert row['train_epoch/images_per_second'] == 4.0


def samples(scores=None):
    found = [DataSample().set_gt_label(label) for label in (0, 1, 2)]
    for sample, score in zip(found, [] if scores is None else scores):
        sample.set_gt_score(score)
    return found


@pytest.mark.parametrize('loss_on', ['mean', 'steps'])
def test_training_accuracy_is_that_of_the_mean_logits(loss_on):
    loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    common = dict(num_classes=3, in_channels=3, loss_on=loss_on, loss=loss)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = SpikingClsHead(topk=(1, 2), **common)
        quiet = SpikingClsHead(cal_acc=False, **common)
    with torch.no_grad():
        head.fc.weight.copy_(torch.eye(3))
        head.fc.bias.zero_()
    # Two of three are right; the third is second
    steps = torch.tensor([[[3.0, 0, 0], [0, 3, 0], [3, 0, 2]]]).repeat(2, 1, 1)
    losses = head.loss((steps,), samples())
    assert losses['accuracy_top-1'] == pytest.approx(200 / 3)
    assert losses['accuracy_top-2'] == 100
    # Switched off mixup leaves whole scores; mixed ones have no accuracy
    assert 'accuracy_top-1' in head.loss((steps,), samples(torch.eye(3, dtype=torch.long)))
    assert set(head.loss((steps,), samples(torch.full((3, 3), 1 / 3)))) == {'loss'}
    assert set(quiet.loss((steps,), samples())) == {'loss'}
