"""What a family of released checkpoints is, and the one engine that converts all of them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..build import build
from ..layers.quant import LSQ
from ..models.weights import weight_fault


class UnknownCheckpointError(ValueError):
    """The file is no released checkpoint of a known family, or a damaged one."""


@dataclass(frozen=True)
class Family:
    """A family of released models: how to tell, to rename and to rebuild them.

    A rule is a regular expression and a template. The first whose expression fits a released name
    counts; ``{1}``, ``{2}``, ... of its template are the groups. An expression names a module: what
    may follow, such as ``.weight`` or ``.running_mean``, is kept. A rule with None in place of a
    template drops what the release holds and never uses; its expression fits whole names.

    Attributes:
        name (str): Name of the family, written into converted files.
        marks (Sequence[Collection[str]]): Released names that tell the family, a set for each of
            its forms. Keys that hold a whole set are of this family, unless they hold one of which
            it is a part: what has more names than another family is told by those.
        rules (Sequence[tuple[str, str | None]]): The table, from released names to those in an
            ``ImageClassifier`` of this project.
        words (Mapping[str, str]): What groups become, as ``bn`` becomes ``norm``; those that are
            not listed stay as they are.
        backbone (Callable[[Mapping[str, Tensor]], dict]): Config of a backbone with the names and
            shapes of a renamed state dict, see :func:`count` and :func:`channels`. The state dict
            may be damaged: what the function raises, or building its config, refuses the file. The
            classifier is quantised as the backbone is.
        head_bias (bool): Whether the classifier has a bias. Defaults to True.
        without (Collection[str]): Released names of another family that has all of the marks too.
            Defaults to none.
    """

    name: str
    marks: Sequence[Collection[str]]
    rules: Sequence[tuple[str, str | None]]
    words: Mapping[str, str]
    backbone: Callable[[Mapping[str, Tensor]], dict]
    head_bias: bool = True
    without: Collection[str] = ()

    def rename(self, name: str) -> str | None:
        """Maps a released name (of a weight, buffer or neuron) to this project's.

        Args:
            name (str): Released name without ``module.``, e.g. ``stage1.0.tssa.q_conv.weight`` or
                ``stage1.0.tssa.q_lif``.

        Returns:
            str | None: Name in an ``ImageClassifier``; None for what is dropped.

        Raises:
            UnknownCheckpointError: The family has no such name.
        """
        for pattern, template in self.rules:
            if template is None:
                if re.fullmatch(pattern, name):
                    return None
            elif match := re.fullmatch(rf'(?:{pattern})(\.[a-z_]+)?', name):
                *groups, leaf = match.groups('')
                return template.format(name, *(self.words.get(g, g) for g in groups)) + leaf
        raise UnknownCheckpointError(f'{name!r} is not a name of the {self.name} family')


FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Makes a family known to :func:`family_of`, and with it to all of the package."""
    FAMILIES[family.name] = family


def count(state_dict: Mapping[str, Tensor], pattern: str) -> int:
    """Counts the modules of a list.

    Args:
        state_dict (Mapping[str, Tensor]): Renamed state dict.
        pattern (str): Regular expression of the beginning of names, with their number in the list
            as its group.

    Returns:
        int: How many numbers there are, at least 1; a number itself may be of any size in a
        hostile file.
    """
    return max(1, len({match[1] for name in state_dict if (match := re.match(pattern, name))}))


def channels(state_dict: Mapping[str, Tensor], name: str, axis: int = 0) -> int:
    """Size of a weight along an axis: 0 for output channels, 1 for input channels.

    Raises:
        UnknownCheckpointError: There is no such weight.
    """
    if name not in state_dict:
        raise UnknownCheckpointError(f'weights are missing, e.g. {[name]}')
    return state_dict[name].size(axis)


def family_of(keys: Collection[str]) -> str:
    """Tells the family of a released state dict from its keys alone.

    Args:
        keys (Collection[str]): Released names, without ``module.``.

    Returns:
        str: A name of :data:`FAMILIES`, e.g. ``qkformer`` or ``spikformer``.

    Raises:
        UnknownCheckpointError: The keys are those of no family, or of more than one.
    """
    keys = set(keys)
    held = [
        (name, set(marks))
        for name, family in FAMILIES.items()
        for marks in family.marks
        if keys.issuperset(marks) and keys.isdisjoint(family.without)
    ]
    found = sorted({name for name, marks in held if not any(marks < more for _, more in held)})
    if len(found) != 1:
        raise UnknownCheckpointError(
            f'these keys are of {" and ".join(found) or "no released"} family (known: '
            f'{", ".join(FAMILIES)}); the first are {sorted(keys)[:3]}'
        )
    return found[0]


def convert_state_dict(released: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Renames the weights of a released state dict and gives them the shapes of this project's.

    Linear layers, 1-D and 3-D convolutions become 1 x 1 convolutions where the model has such.

    Args:
        released (Mapping[str, Tensor]): Released names (``module.`` allowed) to tensors.

    Returns:
        tuple[str, dict[str, Tensor]]: The family, see :func:`family_of`, and the state dict of an
        ``ImageClassifier`` of this project.

    Raises:
        UnknownCheckpointError: A key is unknown, missing or there twice, or a value is no usable
            weight or of a wrong shape.
    """
    for name in released:
        if not isinstance(name, str):
            raise UnknownCheckpointError(f'{name!r} is no name: expected names of weights')
    family = FAMILIES[family_of([name.removeprefix('module.') for name in released])]
    renamed: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for name, value in released.items():
        new = family.rename(name.removeprefix('module.'))
        if new is None:
            continue
        if new in renamed:
            raise UnknownCheckpointError(f'{name!r} names {new!r} a second time')
        if fault := weight_fault(value):
            raise UnknownCheckpointError(f'{name!r} is {fault}')
        renamed[new], origins[new] = value, name
    weights = _weights_of_the_model(family, renamed)
    missing = sorted(set(weights) - set(renamed))
    if missing:
        steps = all(name.endswith(('.alpha', '.init_state')) for name in missing)
        raise UnknownCheckpointError(
            f'{len(missing)} {"steps of quantised " if steps else ""}weights of the {family.name} '
            f'family are missing, e.g. {missing[:3]}'
        )
    converted = {}
    for new, value in renamed.items():
        if new not in weights:
            raise UnknownCheckpointError(
                f'{origins[new]!r} is not a name of the {family.name} family'
            )
        own = weights[new]
        converted[new] = _as_convolution(value) if own.dim() == 4 else value
        if fault := weight_fault(value, own.dtype):
            raise UnknownCheckpointError(f'{origins[new]!r} is {fault}')
        if converted[new].shape != own.shape:
            raise UnknownCheckpointError(
                f'{origins[new]!r} has shape {list(value.shape)}: expected that of {new!r}, '
                f'{list(own.shape)}'
            )
    return family.name, converted


def _weights_of_the_model(family: Family, renamed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights, without values, of the model that a renamed state dict belongs to."""
    try:
        classes = renamed['head.fc.weight'].size(0) if 'head.fc.weight' in renamed else 1
        with torch.device('meta'):
            cfg = family.backbone(renamed)
            backbone = MODELS.build(cfg)
            parts = {'backbone': backbone}
            for name in ('head.fc', 'head.fc_distilled'):
                if name == 'head.fc' or f'{name}.weight' in renamed:
                    width = backbone.channels[-1]
                    parts[name] = nn.Linear(width, classes, bias=family.head_bias)
                    if quant := cfg.get('quant'):
                        build(quant, LSQ)(parts[name], name)
    except UnknownCheckpointError:
        raise
    except Exception as error:  # of any kind: what damaged shapes break is not foreseeable
        raise UnknownCheckpointError(
            f'no model of the {family.name} family has weights of these shapes: {error}'
        ) from error
    return {
        f'{part}.{name}': weight
        for part, module in parts.items()
        for name, weight in module.state_dict().items()
    }


def _as_convolution(value: Tensor) -> Tensor:
    """``[out, in]``, ``[out, in, 1]`` or ``[out, in, 1, 1, 1]`` to ``[out, in, 1, 1]``."""
    if value.dim() not in (2, 3, 5) or any(size != 1 for size in value.shape[4:]):
        return value
    return value.reshape(*(*value.shape, 1, 1)[:4])
