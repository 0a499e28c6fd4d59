"""What a spiking network does and costs: rates, operations, energy, attention, memory, time."""

from .attention import Attention, TokenMap, record_attention
from .awaken import awaken
from .batch_independence import BatchRow, batch_independence, with_batch_leak
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .curves import (
    Comparison,
    Curves,
    Rule,
    compare_curves,
    read_curves,
    read_work_dir,
    released_curves,
)
from .early_exit import (
    EarlyExit,
    ExitPoint,
    ExitRule,
    StepCosts,
    StepPredictions,
    exit_early,
    measure_steps,
    predict_over_time,
    sweep_thresholds,
)
from .energy import (
    ENERGY_MODELS,
    FLOAT32,
    INT8,
    EnergyEstimate,
    EnergyModel,
    Factor,
    ImpliedInput,
    LayerWork,
    NeuronWork,
    OtherEstimate,
    Purity,
    Remark,
    Work,
    ann_operations,
    estimate_energy,
    implied_input,
    measure_work,
    purity,
    spikingjelly_energy,
)
from .feature_maps import Raster, StageMap, below, record_rasters, record_stage_maps
from .live_bytes import LiveBytes
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import LayerOperations, Operations, count_operations
from .published import PAPER_TABLE_7, PUBLISHED_ENERGIES, PublishedEnergy
from .rate_hook import FiringRateHook
from .rates import FiringRates, LayerRate, firing_rates, table_7
from .record import recording
from .recovery import Recovery, recover
from .saved_bytes import SavedBytes, saved_bytes
from .stepwise import StepwiseRun, logits_over_time, run_stepwise

__all__ = [
    'ENERGY_MODELS',
    'FLOAT32',
    'INT8',
    'PAPER_TABLE_7',
    'PUBLISHED_ENERGIES',
    'Attention',
    'BatchDifference',
    'BatchRow',
    'Comparison',
    'Curves',
    'EarlyExit',
    'EnergyEstimate',
    'EnergyModel',
    'ExitPoint',
    'ExitRule',
    'Factor',
    'FiringRateHook',
    'FiringRates',
    'ImpliedInput',
    'LayerOperations',
    'LayerRate',
    'LayerWork',
    'LiveBytes',
    'NeuronWork',
    'Operations',
    'OtherEstimate',
    'PublishedEnergy',
    'Purity',
    'Raster',
    'Recovery',
    'Remark',
    'Rule',
    'SavedBytes',
    'StageMap',
    'StepCosts',
    'StepPredictions',
    'StepwiseRun',
    'TokenMap',
    'TrainingMemory',
    'Work',
    'ann_operations',
    'awaken',
    'batch_independence',
    'below',
    'compare_curves',
    'compare_with_batch_of_one',
    'count_operations',
    'estimate_energy',
    'exit_early',
    'firing_rates',
    'implied_input',
    'logits_over_time',
    'measure_steps',
    'measure_work',
    'micro_batches',
    'predict_over_time',
    'purity',
    'read_curves',
    'read_work_dir',
    'record_attention',
    'record_rasters',
    'record_stage_maps',
    'recording',
    'recover',
    'released_curves',
    'run_stepwise',
    'saved_bytes',
    'spikingjelly_energy',
    'sweep_thresholds',
    'table_7',
    'training_memory',
    'with_batch_leak',
]
