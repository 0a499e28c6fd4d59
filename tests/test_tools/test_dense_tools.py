"""The tools on configs of mmdet and mmseg."""

import json
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DET = ROOT / 'configs' / 'detection' / 'retinanet_hst-3-128_fpn_digits.py'
SEG = ROOT / 'configs' / 'segmentation' / 'fpn_hst-3-128_1xb8_digits.py'
det = pytest.param(DET, marks=pytest.mark.det, id='det')
seg = pytest.param(SEG, marks=pytest.mark.seg, id='seg')
BACKBONE = dict(arch=dict(embed_dims=[8, 8, 8], stem=dict(channels=[4, 8])))


@pytest.fixture(scope='module')
def data(run_tool, tmp_path_factory):
    root = tmp_path_factory.mktemp('digits')
    tool = 'dataset_converters/make_digits_coco.py'
    run_tool(tool, root, '--images', 4, 2, 3, '--size', 96, 96)
    return root


def write_config(path, data, folder):
    """The digits config with narrow stages, one epoch, on a few images."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(
        dict(
            work_dir=str(folder / 'work_dir'),
            model=dict(backbone=BACKBONE, neck=dict(in_channels=[8, 8, 8])),
            train_cfg=dict(max_epochs=1, val_interval=1),
            param_scheduler=dict(warmup_epochs=0, max_epochs=1),
        )
    )
    cfg.model.backbone.pop('init_cfg', None)
    if path == DET:
        cfg.model.test_cfg.score_thr = 0.0  # mmdet gives no metrics where nothing is found
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = f'{data}/'
        evaluator = cfg.get(f'{split}_evaluator')
        if evaluator and 'ann_file' in evaluator:
            evaluator.ann_file = f'{data}/annotations/instances_{split}.json'
    cfg.train_dataloader.sampler.multiple_of = 2
    # mmengine keeps runners and visualizers by name, for the whole process
    cfg.experiment_name = cfg.visualizer.name = 'OF_THE_RUN'
    target = folder / path.name
    cfg.dump(target)
    target.write_text(target.read_text().replace('OF_THE_RUN', '{{$EXPERIMENT:none}}'))
    return target


@pytest.fixture(scope='module')
def runs(run_tool, data, tmp_path_factory):
    """Configs of both frameworks with the checkpoint of an epoch of ``tools/train.py``."""
    trained = {}

    def run(path):
        if path not in trained:
            config = write_config(path, data, tmp_path_factory.mktemp(path.stem))
            run_tool('train.py', config)
            trained[path] = config, config.parent / 'work_dir' / 'epoch_1.pth'
        return trained[path]

    return run


@pytest.mark.parametrize('path', [det, seg])
def test_trained_tested_and_drawn(path, runs, run_tool, tmp_path):
    config, checkpoint = runs(path)
    arguments = ('--out', tmp_path / 'metrics.json', '--out-item', 'metrics')
    run_tool('test.py', config, checkpoint, *arguments, '--show-dir', tmp_path / 'shown')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert ('coco/bbox_mAP_50' if path == DET else 'mIoU') in metrics
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 3
    run_tool('visualization/draw_scenes.py', config, checkpoint, '--out', tmp_path / 'scenes.png')
    with Image.open(tmp_path / 'scenes.png') as picture:
        assert min(picture.size) > 100


def test_only_dense_configs_are_drawn_as_scenes(make_config, run_tool):
    with pytest.raises(SystemExit, match=r"default_scope='mmpretrain', expected 'mmdet' or"):
        run_tool('visualization/draw_scenes.py', make_config(), 'none.pth')


@pytest.mark.parametrize('path', [det, seg])
def test_missing_data_shows_the_command_or_layout(path, data, run_tool, tmp_path):
    config = write_config(path, tmp_path / 'none', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'train_dataloader\.dataset\.data_root='):
        run_tool('train.py', config)


@pytest.mark.parametrize('path', [det, seg])
def test_augmentation_at_test_time_needs_the_config_to_say_how(path, runs, run_tool):
    config, checkpoint = runs(path)
    if path == DET:
        with pytest.raises(SystemExit, match='a config of mmdet needs tta_model and tta_pipeline'):
            run_tool('test.py', config, checkpoint, '--tta')
        return
    text = config.read_text() + (
        '\ntta_pipeline = [dict(type="LoadImageFromFile"), dict(type="TestTimeAug", transforms=['
        '[dict(type="Resize", scale_factor=1.0, keep_ratio=True)], '
        '[dict(type="LoadAnnotations")], [dict(type="PackSegInputs")]])]\n'
    )
    augmented = config.with_name('augmented.py')
    augmented.write_text(text)
    run_tool('test.py', augmented, checkpoint, '--tta')


@pytest.mark.parametrize('path', [det, seg])
def test_operations_of_dense_configs(path, data, run_tool, tmp_path, capsys):
    config = write_config(path, data, tmp_path)
    counts = []
    for steps in (2, 3):
        changed = config.with_name(f't{steps}.py')
        changed.write_text(config.read_text().replace('time_steps=2', f'time_steps={steps}'))
        run_tool('analysis_tools/get_flops.py', changed, '--shape', 64, 96)
        out = capsys.readouterr().out
        numbers = re.findall(r'^((?:multiply-)?accumulates): ([\d,]+)', out, re.M)
        counts.append({name: int(n.replace(',', '')) for name, n in numbers})
    two, three = counts
    # Spikes come at every step; what is analogue is computed once
    assert 2 * three['accumulates'] == 3 * two['accumulates'] > 0
    assert three['multiply-accumulates'] == two['multiply-accumulates'] > 0


@pytest.mark.det
def test_two_stage_detectors_are_counted_with_a_fixed_number_of_proposals(run_tool, capsys):
    config = ROOT / 'configs' / 'detection' / 'mask-rcnn_hst-10-384_fpn_1x_coco.py'
    outputs = []
    for _ in range(2):
        run_tool('analysis_tools/get_flops.py', config, '--shape', 64, 96)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    # Of the box head's first layer alone: 1,000 proposals x 7 x 7 x 256 x 1,024
    (analogue,) = re.findall(r'^multiply-accumulates: ([\d,]+)', outputs[0], re.M)
    assert int(analogue.replace(',', '')) > 1000 * 49 * 256 * 1024


@pytest.mark.det
def test_missing_operators_are_one_clear_error(run_tool, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    with pytest.raises(ImportError, match='needs mmcv with its compiled operators'):
        run_tool('train.py', DET)


@pytest.mark.parametrize(
    ('config', 'layer'),
    [
        pytest.param(DET, 'bbox_head.retina_cls', marks=pytest.mark.det, id='det'),
        pytest.param(SEG, 'decode_head.conv_seg', marks=pytest.mark.seg, id='seg'),
    ],
)
def test_energy_tells_that_a_stock_neck_is_analogue(config, layer, data, run_tool, tmp_path):
    path = write_config(config, data, tmp_path)
    run_tool('analysis_tools/energy.py', path, '--images', 2, '--no-spikingjelly')
    found = json.loads((tmp_path / 'work_dir/energy/energy.json').read_text())
    kinds = {layer['name']: layer['kind'] for layer in found['work']['layers']}
    assert kinds['backbone.stages.0.blocks.0.mlp.fc2.conv'] == 'binary'
    assert kinds['neck.lateral_convs.0.conv'] == kinds[layer] == 'analogue'
    reasons = {remark['reason'] for remark in found['purity']['impure']}
    assert any(reason.startswith('takes means of sums of spikes') for reason in reasons)
    assert any(reason.startswith('computes aten.relu_ of currents') for reason in reasons)
