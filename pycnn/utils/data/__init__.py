"""Data sets, samplers and the loader of batches."""

from pycnn._paths import add_paths
from pycnn.utils.data.collate import default_collate, default_convert
from pycnn.utils.data.dataloader import DataLoader
from pycnn.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from pycnn.utils.data.device import prefetch
from pycnn.utils.data.distributed import DistributedSampler
from pycnn.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from pycnn.utils.data.worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "prefetch",
    "random_split",
]

add_paths(__name__, dict.fromkeys(("_utils", "_utils.collate"), "utils.data.collate"))
