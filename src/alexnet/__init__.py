"""AlexNet from one description. Importing this loads the standard library only.

The network in torch is `alexnet.learning.model`, pictures are `alexnet.images`.
"""

from alexnet.architecture.audit import audit
from alexnet.architecture.claim_files import read_claims
from alexnet.architecture.claims import Claims
from alexnet.architecture.compare import Difference, differences
from alexnet.architecture.findings import Finding, Findings
from alexnet.architecture.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    ReLU,
)
from alexnet.architecture.network import Network, edit, from_toml, read_network, to_toml
from alexnet.architecture.summary import MisfitError, Summary, summarize
from alexnet.architecture.zoo import NETWORKS, NOTES, get_network
from alexnet.errors import (
    AlexNetError,
    ClaimsError,
    DataError,
    ExportError,
    MissingExtraError,
    NetworkError,
    OutputError,
    PictureError,
    ServerError,
    TooManyPixelsError,
    TrainingError,
    WeightsError,
)

__version__ = "0.1.0"

__all__ = [
    "NETWORKS",
    "NOTES",
    "AdaptiveAvgPool",
    "AlexNetError",
    "Claims",
    "ClaimsError",
    "Conv",
    "DataError",
    "Dense",
    "Difference",
    "Dropout",
    "ExportError",
    "Finding",
    "Findings",
    "Flatten",
    "Layer",
    "LocalResponseNorm",
    "MaxPool",
    "MisfitError",
    "MissingExtraError",
    "Network",
    "NetworkError",
    "OutputError",
    "PictureError",
    "ReLU",
    "ServerError",
    "Summary",
    "TooManyPixelsError",
    "TrainingError",
    "WeightsError",
    "audit",
    "differences",
    "edit",
    "from_toml",
    "get_network",
    "read_claims",
    "read_network",
    "summarize",
    "to_toml",
]
