"""tools/test.py with the config key ``compile``: the same metrics and scores, one graph."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / 'configs/qkformer/hst-3-128_1xb64_digits.py'
WEIGHTS = ROOT / 'weights/qkformer_hst-3-128_1xb64_digits.pth'


@pytest.fixture
def tested(run_tool, tmp_path):
    """Test a checkpoint with some options; returns metrics, scores, and counts of graphs."""

    def test(config, checkpoint, *options, arguments=()):
        torch.compiler.reset()
        counters.clear()
        results = []
        for item, suffix in (('metrics', 'json'), ('pred', 'pkl')):
            out = tmp_path / f'{len(list(tmp_path.iterdir()))}.{suffix}'
            run_tool(
                'test.py',
                config,
                checkpoint,
                *('--work-dir', tmp_path / 'run', '--out', out, '--out-item', item),
                *arguments,
                *(('--cfg-options', *options) if options else ()),
            )
            results.append(out.read_bytes())
        metrics, predictions = json.loads(results[0]), pickle.loads(results[1])
        scores = torch.stack([sample['pred_score'] for sample in predictions])
        return (
            metrics,
            scores,
            counters['stats']['unique_graphs'],
            sum(counters['graph_break'].values()),
        )

    return test


@pytest.mark.parametrize(
    ('backend', 'arguments'),
    [('eager', ()), ('eager', ('--fuse',)), ('eager', ('--tta',)), ('aot_eager', ())],
)
def test_a_compiled_model_tests_the_same(trained, tested, backend, arguments):
    config, work_dir = trained
    checkpoint = work_dir / 'epoch_2.pth'
    metrics, scores, graphs, _ = tested(config, checkpoint, arguments=arguments)
    assert graphs == 0
    options = (f'compile.backend={backend}', 'compile.fullgraph=True')
    compiled = tested(config, checkpoint, *options, arguments=arguments)
    assert compiled[0] == metrics
    torch.testing.assert_close(compiled[1], scores)
    # Weights are inputs of the graph, so that both runs share it
    assert compiled[2:] == (1, 0)


def test_false_compiles_nothing(trained, tested):
    assert tested(trained[0], trained[1] / 'epoch_2.pth', 'compile=False')[2] == 0


def test_what_is_no_option_of_the_compiler_is_refused(trained, run_tool):
    with pytest.raises(ValueError, match="compile='inductor': expected True, False or arguments"):
        run_tool(
            'test.py', trained[0], trained[1] / 'epoch_2.pth', '--cfg-options', 'compile=inductor'
        )


@pytest.mark.slow
def test_the_default_backend_tests_the_shipped_digits_the_same(tested):
    metrics, scores, graphs, _ = tested(DIGITS, WEIGHTS)
    compiled = tested(DIGITS, WEIGHTS, 'compile=True')
    assert graphs == 0 < compiled[2]
    assert compiled[3] == 0
    assert compiled[0] == metrics
    torch.testing.assert_close(compiled[1], scores, rtol=0, atol=1e-4)
