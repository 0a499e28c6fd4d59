"""Classifiers as files that run without this package: torch.export's (.pt2) and ONNX."""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..analysis.record import recording
from ..checks import check_str
from ..files import written_whole
from ..neurons import BatchLeakingNeuron, SpikingNeuron
from ..neurons.base import DescribedNeuron
from .flips import Flips

FORMATS = ('onnx', 'pt2')
NEEDS = 'pip install onnx onnxscript onnxruntime'
# Largest difference of logits that sums in another order leave
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How a file does what a model does, on some samples in batches of one size.

    Attributes:
        size (tuple[int, int]): Height and width of the input.
        batch (int): Size of a batch.
        samples (int): Number of samples.
        same (int): Samples of which the class with the highest logit is the same.
        flips (Flips): Spikes and logits that differ.
    """

    size: tuple[int, int]
    batch: int
    samples: int
    same: int
    flips: Flips

    def __str__(self) -> str:
        height, width = self.size
        return (
            f'{height} x {width}, batches of {self.batch}: {self.flips}; '
            f'top-1 is the same for {self.same} of {self.samples}'
        )


class _Graph(nn.Module):
    """What is exported: inputs to logits, and where they are asked for all spikes behind them."""

    def __init__(self, model: nn.Module, preprocess: bool, spikes: bool) -> None:
        super().__init__()
        self.model, self.preprocess, self.spikes = model, preprocess, spikes

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.preprocess:
            inputs = self.model.data_preprocessor(dict(inputs=inputs), False)['inputs']
        if not self.spikes:
            return self.model(inputs)
        with recording(self.model, SpikingNeuron) as spikes:
            logits = self.model(inputs)
        return logits, *(call for calls in spikes.values() for call in calls)


def export(
    model: nn.Module,
    path: str | Path,
    inputs: Mapping[tuple[int, int], Tensor],
    *,
    form: str = 'onnx',
    batches: Sequence[int] = (1, 4),
    reference: nn.Module | None = None,
    preprocess: bool = False,
    dynamic_size: bool = False,
    max_flips: float = 0.05,
    metadata: Mapping[str, str] | None = None,
) -> list[Agreement]:
    """Writes a classifier as a file, which is loaded and compared before it gets its name.

    The graph takes ``inputs``, a batch of any size, and gives ``logits``; T is unrolled. A second
    file, which also gives the spikes of all neurons, tells how many differ; it is not kept.

    Args:
        model (nn.Module): Classifier. It stays as it is: a copy is exported, in eval mode, on the
            CPU, with the reference backend of the neurons.
        path (str | Path): File to write.
        inputs (Mapping[tuple[int, int], Tensor]): Samples to compare on, by their height and
            width: images ``[N, C, H, W]`` or frames ``[N, T, C, H, W]``. The first fixes the
            graph's size.
        form (str): ``onnx`` or ``pt2``. Defaults to ``onnx``.
        batches (Sequence[int]): Sizes of batches to compare in. Defaults to (1, 4).
        reference (nn.Module | None): What it is compared with. Defaults to None: ``model``.
        preprocess (bool): Whether the data preprocessor is in the graph, so that ``inputs`` are
            images as the pipeline gives them. Defaults to False.
        dynamic_size (bool): Whether the graph takes other sizes too, of multiples of the total
            stride, from two of them on; then ``inputs`` are of two sizes at least. Defaults to
            False.
        max_flips (float): Share of the spikes that may differ. Defaults to 0.05.
        metadata (Mapping[str, str] | None): What else the file says of itself. Defaults to None.

    Returns:
        list[Agreement]: One for each size and size of a batch.

    Raises:
        ImportError: A package that ONNX needs is missing.
        ValueError: The model cannot be exported, or the file does something else.
        OSError: The file cannot be written.
    """
    check_str('form', form, FORMATS)
    write, load = _FORMATS[form]
    if Path(path).is_dir():
        raise IsADirectoryError(f'{path}: expected the name of a file, it is a folder')
    check_exportable(model, preprocess)
    example = next(iter(inputs.values()))
    copied = _prepared(model, dynamic_size)
    shapes = _dynamic_shapes(example, model.backbone.strides[-1] if dynamic_size else None)
    if dynamic_size and len(inputs) < 2:
        raise ValueError(
            f'sizes={list(inputs)!r}: expected two at least to compare at, where the size is '
            f'dynamic'
        )
    # A batch of one would fix the batch
    example = torch.cat([example[:1]] * 2).cpu()
    with written_whole(path) as partial, TemporaryDirectory() as folder:
        spiking = Path(folder) / 'spikes'

        def program(spikes: bool) -> ExportedProgram:
            return _program(_Graph(copied, preprocess, spikes), example, shapes)

        write(program, spiking, partial, metadata or {})
        given, fired = (_explained(load(file), path) for file in (partial, spiking))
        expected = _Graph(model if reference is None else reference, preprocess, True).eval()
        found = [
            _compare(given, fired, expected, samples, batch)
            for samples in inputs.values()
            for batch in batches
        ]
        _check(found, max_flips, path)
    return found


def check_exportable(model: nn.Module, preprocess: bool = False) -> None:
    """Refuses what :func:`export` does not write.

    Args:
        model (nn.Module): The model.
        preprocess (bool): Whether its data preprocessor is to be in the graph. Defaults to False.

    Raises:
        ValueError: It is no classifier, takes events that are to be preprocessed, or one of its
            membranes runs through the batch.
    """
    if not hasattr(model, 'head') or not hasattr(model.head, 'num_classes'):
        raise ValueError(
            f'{type(model).__name__}: expected an image classifier; of detectors and segmentors '
            f'export the backbone with torch.export, as docs/export.md says'
        )
    if preprocess and hasattr(model.data_preprocessor, 'polarities'):
        raise ValueError(
            f'data_preprocessor={type(model.data_preprocessor).__name__}: expected to stay outside '
            f'of the graph, as counts of events go in as they are'
        )
    for name, module in model.named_modules():
        if isinstance(module, BatchLeakingNeuron):
            raise ValueError(
                f'{name}: its membrane runs through the batch, which a graph for any batch does '
                f'not unroll; expected release_batch_leak=False'
            )


def _prepared(model: nn.Module, dynamic_size: bool) -> nn.Module:
    """A copy that torch.export follows: it draws in PyTorch's own operators."""
    model = copy.deepcopy(model).cpu().eval()
    for module in model.modules():
        if isinstance(module, DescribedNeuron):
            module.backend = 'torch'
        if dynamic_size and hasattr(module, 'contraction'):
            # Which order is cheaper depends on the tokens; what comes out does not
            module.contraction = 'kv_first'
    return model


def _dynamic_shapes(example: Tensor, stride: int | None) -> dict:
    # A named one would have guards proven that are true: B * min(C, B * C) == B * C of one token
    shapes: dict[int, object] = {0: Dim.DYNAMIC}
    if stride is not None:
        height, width = (example.dim() - 2, example.dim() - 1)
        for axis, name in ((height, 'height'), (width, 'width')):
            if example.size(axis) % stride or example.size(axis) < 2 * stride:
                raise ValueError(
                    f'input of {example.size(height)} x {example.size(width)} pixels: expected '
                    f'multiples of the total stride, {stride}, from {2 * stride} on, where the '
                    f'size is dynamic'
                )
            # Pools leave guards that hold for multiples of their strides
            shapes[axis] = stride * Dim(f'{name}_in_strides', min=2)
    return dict(inputs=shapes)


def _program(graph: nn.Module, example: Tensor, shapes: dict) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(graph.eval(), (example,), dynamic_shapes=shapes)
    except Exception as error:
        raise ValueError(
            f'torch.export cannot express this model: {_in_one_line(error)}'
        ) from error


# A graph with or without all spikes among what it gives, and a loaded one
Program = Callable[[bool], ExportedProgram]
Run = Callable[[Tensor], list[Tensor]]


def _write_onnx(program: Program, spiking: Path, path: Path, metadata: Mapping[str, str]) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{error.name} is missing, which ONNX files need: {NEEDS}') from error
    exported = program(True)
    spikes = len(exported.graph_signature.user_outputs) - 1
    names = ['logits', *(f'spikes.{i}' for i in range(spikes))]
    args = dict(input_names=['inputs'], output_names=names, dynamo=True, verbose=False)
    onnx_program = torch.onnx.export(exported, **args)
    onnx_program.save(spiking, external_data=False)
    # The same graph, of which the spikes no longer leave
    del onnx_program.model.graph.outputs[1:]
    onnx_program.model.metadata_props.update(metadata)
    onnx_program.save(path, external_data=False)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda inputs: list(
        map(torch.from_numpy, session.run(None, {'inputs': inputs.cpu().numpy()}))
    )


def _write_pt2(program: Program, spiking: Path, path: Path, metadata: Mapping[str, str]) -> None:
    extra = {'metadata.json': json.dumps(dict(metadata))}
    for spikes, target in ((True, spiking), (False, path)):
        with open(target, 'wb') as file:
            torch.export.save(program(spikes), file, extra_files=extra)


def _load_pt2(path: Path) -> Run:
    with open(path, 'rb') as file:
        module = torch.export.load(file).module()

    def run(inputs: Tensor) -> list[Tensor]:
        outputs = module(inputs.cpu())
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    return run


_FORMATS: dict[str, tuple[Callable, Callable[[Path], Run]]] = dict(
    onnx=(_write_onnx, _load_onnx), pt2=(_write_pt2, _load_pt2)
)


def _explained(run: Run, path: str | Path) -> Run:
    """``run``, with one error for all that a runtime may say of a shape."""

    def explained(inputs: Tensor) -> list[Tensor]:
        try:
            return run(inputs)
        except Exception as error:
            raise ValueError(
                f'{path}: not written, as the file does not run on {list(inputs.shape)}: '
                f'{_in_one_line(error)}'
            ) from error

    return explained


def _in_one_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:300] or type(error).__name__


@torch.no_grad()
def _compare(given: Run, fired: Run, expected: nn.Module, samples: Tensor, batch: int) -> Agreement:
    """The logits of the file, and the spikes of its other graph, against the model's own."""
    same = flips = outputs = 0
    difference = 0.0
    for inputs in samples.split(batch):
        logits, *spikes = (x.cpu() for x in expected(inputs))
        (found,) = given(inputs)
        for ours, theirs in zip(spikes, fired(inputs)[1:], strict=True):
            flips += int((ours != theirs).sum())
            outputs += ours.numel()
        gap = (found - logits).abs()
        # A maximum of nan would be lost beside numbers
        difference = max(difference, gap.max().item()) if gap.isfinite().all() else math.inf
        same += int((found.argmax(1) == logits.argmax(1)).sum())
    height, width = samples.shape[-2:]
    return Agreement((height, width), batch, len(samples), same, Flips(flips, outputs, difference))


def _check(found: Sequence[Agreement], max_flips: float, path: str | Path) -> None:
    for each in found:
        flips = each.flips
        if flips.flips > max_flips * flips.outputs or not math.isfinite(flips.difference):
            raise ValueError(
                f'{path}: not written, as the file does something else than the model. {each}; '
                f'expected at most {max_flips:g} of the spikes'
            )
        if flips.flips == 0 and flips.difference > _ROUNDING:
            raise ValueError(
                f'{path}: not written, as logits differ by more than {_ROUNDING:g} where all '
                f'spikes are the same. {each}'
            )
