"""The same network with the same weights in each library: training steps and inference, compared before they are timed.

A peer is a library with a way to use it (memory layout, dtype, compiler). One that is not installed, or cannot do what
is asked, raises `Unavailable` with the reason, which is reported in its place.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from benchmarks import gpus
from benchmarks.networks import Network
from benchmarks.outcomes import Unavailable, WrongAnswer

Array = np.ndarray[Any, Any]
State = dict[str, Array]
Prepared = TypeVar("Prepared")

LEARNING_RATE, MOMENTUM = 1e-3, 0.9

#: Largest relative differences of losses, and of outputs by norm.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
#: Of what the first step does to the parameters, by norm. Deep networks amplify rounding here, since a ReLU near 0 has
#: either gradient: in ResNet-50 at batch size 2 each library is 2 to 3 % from float64. In bfloat16 small batches of
#: some networks have gradients that are mostly noise, in every library, so that nothing can be asked.
UPDATE_TOLERANCE = {"float32": 0.1, "bfloat16": float("inf")}


@dataclass(frozen=True)
class Peer:
    name: str
    package: str  #: the module to import
    dtype: str = "float32"  #: or "bfloat16": of activations, with autocast where there are gradients
    channels_last: bool = False  #: PyTorch's memory layout (pycnn has no other, ONNX Runtime and OpenVINO choose)
    compiled: bool = False  #: pycnn.capture or torch.compile
    graph: bool = False  #: PyTorch's CUDA graph of a whole step
    device: str = "cpu"  #: or "cuda"


TRAINING = (
    Peer("pycnn", "pycnn"),
    Peer("pycnn captured", "pycnn", compiled=True),
    Peer("pycnn bf16", "pycnn", dtype="bfloat16"),
    Peer("pycnn bf16 captured", "pycnn", dtype="bfloat16", compiled=True),
    Peer("torch", "torch"),
    Peer("torch channels_last", "torch", channels_last=True),
    Peer("torch bf16", "torch", dtype="bfloat16", channels_last=True),
)
TORCH_COMPILE = Peer("torch compile", "torch", channels_last=True, compiled=True)
#: On a GPU, where PyTorch is at its best channels_last.
TRAINING_CUDA = tuple(
    Peer(f"{package}{suffix}{way}", package, dtype, package == "torch", way == " captured", way == " graph", "cuda")
    for dtype, suffix in (("float32", ""), ("bfloat16", " bf16"))
    for package, ways in (("pycnn", ("", " captured")), ("torch", ("", " graph")))
    for way in ways
)
TORCH_COMPILE_CUDA = Peer("torch bf16 compile", "torch", "bfloat16", True, compiled=True, device="cuda")
INFERENCE = (
    *TRAINING,
    Peer("onnxruntime", "onnxruntime"),
    Peer("openvino", "openvino"),
    Peer("openvino bf16", "openvino", dtype="bfloat16"),
)


def load(peer: Peer, threads: int) -> Any:
    """The peer's library, set to that many threads."""
    try:
        library = importlib.import_module(peer.package)
    except ImportError as error:
        raise Unavailable(str(error)) from None
    if hasattr(library, "set_num_threads"):
        library.set_num_threads(threads)
    if peer.device == "cuda":
        gpus.check(peer.package, library)
    if peer.package == "pycnn" and peer.compiled and not hasattr(library, "capture"):
        raise Unavailable("pycnn.capture is not available")
    return library


def prepare(peers: tuple[Peer, ...], make: Callable[[Peer], Prepared]) -> tuple[dict[Peer, Prepared], dict[str, str]]:
    """What `make` makes of each peer, and why the missing ones are missing."""
    prepared: dict[Peer, Prepared] = {}
    skipped = {}
    for peer in peers:
        try:
            prepared[peer] = make(peer)
        except Unavailable as reason:
            skipped[peer.name] = str(reason)
    return prepared, skipped


# -- weights and data -------------------------------------------------------------------------------------------------


def initial_state(network: Network) -> State:
    """The network's parameters and buffers by name. Weights are He et al.'s (2015), so that activations keep their size
    through every layer and a wrong layer shows in the output."""
    pycnn = importlib.import_module("pycnn")
    random = np.random.default_rng(0)
    state: State = {}
    for name, tensor in network.build(pycnn).state_dict().items():
        value = tensor.numpy()
        if value.ndim >= 2:
            deviation = math.sqrt(2 / math.prod(value.shape[1:]))
            value = deviation * random.standard_normal(value.shape, dtype=np.float32)
        state[name] = value.copy()
    return state


def batch(network: Network) -> tuple[Array, Array]:
    """Images (N, C, H, W), float32, and classes: int64, (N), or (N, H, W) for segmentation."""
    random = np.random.default_rng(1)
    sizes = (network.batch_size, network.size, network.size)
    images = random.standard_normal((sizes[0], network.channels, *sizes[1:]), dtype=np.float32)
    return images, random.integers(0, network.classes, sizes if network.per_pixel else sizes[0])


def build(peer: Peer, library: Any, network: Network, state: State | None, images: Array) -> tuple[Any, Any]:
    """The module with these weights (None: the library's own) and the images, in the peer's memory layout.

    pycnn and PyTorch only."""
    module = network.build(library)
    if state is not None:
        module.load_state_dict({name: library.from_numpy(value.copy()) for name, value in state.items()})
    inputs = library.from_numpy(images.copy())
    if peer.channels_last:
        module = module.to(memory_format=library.channels_last)
        inputs = inputs.contiguous(memory_format=library.channels_last)
    if peer.device == "cuda":
        device = gpus.device_of(peer.package, library)
        module, inputs = module.to(device), inputs.to(device)
    return module, inputs


def autocast(peer: Peer, library: Any) -> contextlib.AbstractContextManager[Any]:
    if peer.dtype == "float32":
        return contextlib.nullcontext()
    if peer.device == "cpu":
        return library.autocast("cpu", dtype=library.bfloat16)
    # A graph is recorded once: what autocast keeps until its end would be recorded as if it were there before.
    keeps = {"cache_enabled": False} if peer.graph else {}
    return library.autocast(gpus.device_of(peer.package, library), dtype=library.bfloat16, **keeps)


# -- training ---------------------------------------------------------------------------------------------------------


class Training:
    """A training step: forward, loss, backward, SGD with momentum, and reading the loss, which a GPU is waited for.

    `enqueue` does all but that."""

    def __init__(
        self, peer: Peer, network: Network, state: State | None, images: Array, labels: Array, threads: int
    ) -> None:
        library = load(peer, threads)
        self.module, inputs = build(peer, library, network, state, images)
        targets = library.from_numpy(labels.copy())
        fastest = {}
        if peer.device == "cuda":
            targets = targets.to(gpus.device_of(peer.package, library))
            fastest = {"fused": True} if peer.package == "torch" else {}
        optimizer = library.optim.SGD(self.module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, **fastest)
        forward = library.compile(self.module) if peer.package == "torch" and peer.compiled else self.module

        def step(x: Any, y: Any) -> Any:
            with autocast(peer, library):
                loss = library.nn.functional.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        if peer.package == "pycnn" and peer.compiled:
            step = library.capture(step)
        self.enqueue: Callable[[], Any] = lambda: step(inputs, targets)
        if peer.graph:
            self.enqueue = gpus.torch_graph_of_step(library, self.module, optimizer, self.enqueue)

    def __call__(self) -> float:
        return float(self.enqueue().item())

    def parameters(self) -> State:
        return {name: parameter.detach().cpu().numpy() for name, parameter in self.module.named_parameters()}


def check_training(
    trainings: Mapping[Peer, Training], state: State, refused: dict[str, str] | None = None
) -> dict[str, dict[str, float]]:
    """Runs the first step of each peer and compares losses and updates with those of the first peer.

    Args:
        refused: where given, the names of peers that fail or are wrong go there with the reason, and nothing is raised.

    Returns:
        by peer: its loss, and the relative differences of loss and update.

    Raises:
        WrongAnswer: one is not the same within TOLERANCE or UPDATE_TOLERANCE.
    """
    seen: dict[str, dict[str, float]] = {}
    expected: tuple[float, Array] | None = None
    for peer, training in trainings.items():
        try:
            loss = training()
            update = np.concatenate([(value - state[name]).ravel() for name, value in training.parameters().items()])
            if expected is None:
                expected = loss, update
            differences = abs(loss - expected[0]) / abs(expected[0]), relative_difference(update, expected[1])
            seen[peer.name] = {"loss": loss, "loss difference": differences[0], "update difference": differences[1]}
            require(peer, "loss", differences[0], TOLERANCE)
            require(peer, "update", differences[1], UPDATE_TOLERANCE)
        except Exception as error:
            if refused is None:
                raise
            refused[peer.name] = f"{type(error).__name__}: {error}"
    return seen


def relative_difference(got: Array, expected: Array) -> float:
    """|got - expected| / |expected| by the Euclidean norm."""
    return float(np.linalg.norm((got - expected).ravel()) / np.linalg.norm(expected.ravel()))


def require(peer: Peer, what: str, difference: float, tolerance: Mapping[str, float]) -> None:
    if not difference <= tolerance[peer.dtype]:
        raise WrongAnswer(
            f"{peer.name}: its {what} differs from that of pycnn by {difference:.2g}, more than {tolerance[peer.dtype]}"
        )


# -- inference --------------------------------------------------------------------------------------------------------


class Inference(Protocol):
    """Runs the network on the batch it was made for, to the end."""

    def __call__(self) -> Array: ...


def inference(peer: Peer, network: Network, state: State, images: Array, threads: int) -> Inference:
    library = load(peer, threads)
    if peer.package == "onnxruntime":
        return _onnxruntime(library, network, state, images, threads)
    if peer.package == "openvino":
        return _openvino(peer, library, network, state, images, threads)
    module, inputs = build(peer, library, network, state, images)
    module.eval()
    forward: Callable[[Any], Any] = module
    if peer.compiled:
        forward = library.capture(module) if peer.package == "pycnn" else library.compile(module)

    def run() -> Array:
        with library.no_grad(), autocast(peer, library):
            scores = forward(inputs)
            return (scores if peer.dtype == "float32" else scores.float()).numpy()

    return run


def check_inference(inferences: Mapping[Peer, Inference]) -> dict[str, float]:
    """Relative differences, by norm, of the peers' outputs from those of the first.

    Raises:
        WrongAnswer: one is more than TOLERANCE.
    """
    expected: Array | None = None
    seen = {}
    for peer, run in inferences.items():
        scores = run()
        expected = scores if expected is None else expected
        seen[peer.name] = relative_difference(scores, expected)
        require(peer, "output", seen[peer.name], TOLERANCE)
    return seen


def onnx_model(network: Network, state: State, images: Array) -> bytes:
    """The network in ONNX's format, written by PyTorch."""
    peer = Peer("torch", "torch")
    try:
        torch = load(peer, 1)
    except Unavailable as reason:
        raise Unavailable(f"PyTorch, which writes the ONNX model, is missing: {reason}") from None
    module, inputs = build(peer, torch, network, state, images)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without torch.export is deprecated; it needs no more packages
        try:
            torch.onnx.export(
                module.eval(), (inputs,), file, dynamo=False, input_names=["images"], output_names=["scores"]
            )
        except ImportError as error:
            raise Unavailable(f"PyTorch cannot write the ONNX model: {error}") from None
    return file.getvalue()


def _onnxruntime(library: Any, network: Network, state: State, images: Array, threads: int) -> Inference:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    model = onnx_model(network, state, images)
    session = library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images})[0]


def _openvino(peer: Peer, library: Any, network: Network, state: State, images: Array, threads: int) -> Inference:
    core = library.Core()
    if peer.dtype == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("OpenVINO does not offer bfloat16 on this processor")
    precision = {"float32": "f32", "bfloat16": "bf16"}[peer.dtype]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    model = core.compile_model(core.read_model(onnx_model(network, state, images)), "CPU", settings)
    request = model.create_infer_request()
    return lambda: request.infer({"images": images}, share_inputs=True)[0]
