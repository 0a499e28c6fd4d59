"""The index of detectors and segmentation models: complete, exact, without invented accuracies."""

import re
from pathlib import Path

import pytest
import yaml
from dense import DETECTION, SEGMENTATION, load, name_of
from test_detection import PARAMETERS as DETECTORS
from test_segmentation import PARAMETERS as SEGMENTERS

ROOT = Path(__file__).resolve().parents[2]
PATHS = dict(detection=DETECTION, segmentation=SEGMENTATION)
PARAMETERS = {**DETECTORS, **SEGMENTERS}
pytestmark = [pytest.mark.det, pytest.mark.seg]


def models(family):
    metafile = ROOT / 'configs' / family / 'metafile.yml'
    return yaml.safe_load(metafile.read_text())['Models']


@pytest.mark.parametrize('family', PATHS)
def test_every_config_is_listed(family):
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert f'configs/{family}/metafile.yml' in index['Import']
    listed = models(family)
    assert [ROOT / model['Config'] for model in listed] == PATHS[family]
    for model in listed:
        assert model['Name'] == Path(model['Config']).stem
        metadata = model['Metadata']
        assert metadata['Parameters'] == PARAMETERS[model['Name']]
        assert metadata['FLOPs'] == metadata['Accumulates'] + metadata['Multiply-Accumulates']
        assert metadata['Time Steps'] == load(ROOT / model['Config']).model.backbone.time_steps
        # Nothing counts as a result that nobody measured
        assert ('Results' in model) == ('digits' in model['Name'])


@pytest.mark.parametrize('family', PATHS)
def test_the_pages_table_is_the_indexs(family):
    text = (ROOT / 'configs' / family / 'README.md').read_text()
    rows = re.findall(
        r'^\| `([\w.-]+)` \|.*\| ([\d,]+) \| ([\d.]+) G \| ([\d.]+) G \|$', text, re.M
    )
    assert [row[0] for row in rows] == [model['Name'] for model in models(family)]
    for (_, parameters, *operations), model in zip(rows, models(family)):
        assert int(parameters.replace(',', '')) == model['Metadata']['Parameters']
        for shown, key in zip(operations, ('Accumulates', 'Multiply-Accumulates')):
            digits = len(shown.partition('.')[2])
            assert f'{model["Metadata"][key] / 1e9:.{digits}f}' == shown


@pytest.mark.parametrize('path', [*DETECTION, *SEGMENTATION], ids=name_of)
def test_classification_hub_leaves_dense_models_alone(path):
    from mmpretrain.apis import ModelHub

    import mmqkformer  # noqa: F401

    assert path.stem not in ModelHub._models_dict
