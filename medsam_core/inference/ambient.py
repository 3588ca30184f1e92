"""What a process was set to (autocast, TF32, default dtype …) is set aside while the model works, then put back.

A conftest.py, a notebook's first cell or another library may have set any of it, and it would change the masks: with
`torch.set_float32_matmul_precision("medium")`, say, "fp32" would be bfloat16. The model works under torch's own initial
settings instead, whatever they are outside. That includes TF32 in cuDNN's convolutions, which torch allows by default.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from medsam_core.text import counted

_DEVICES = ("cpu", "cuda")
Found = tuple[dict[str, Any], dict[tuple[str, str], str], dict[str, Any]]
"""What a process is set to: `_PROCESS` by name, float32's precision by its place, the older settings of that."""


@dataclass(frozen=True)
class _Setting:
    """Something that the whole process is set to."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    wanted: Any


def _attribute(path: str, wanted: bool) -> _Setting:
    """The setting `torch.backends.<path>`."""
    *parents, name = path.split(".")
    owner: Any = torch.backends
    for parent in parents:
        owner = getattr(owner, parent)
    return _Setting(path, lambda: getattr(owner, name), lambda value: setattr(owner, name, value), wanted)


def _attention(kind: str) -> _Setting:
    """Whether scaled_dot_product_attention may use its kernels of that kind; on the CPU, too."""
    cuda: Any = torch.backends.cuda
    return _Setting(
        f"{kind} attention", getattr(cuda, f"{kind}_sdp_enabled"), getattr(cuda, f"enable_{kind}_sdp"), True
    )


_PROCESS = (
    _Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    _Setting("deterministic mode", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    _attribute("cudnn.enabled", True),
    _attribute("cudnn.benchmark", False),
    _attribute("cudnn.deterministic", False),
    _attribute("cuda.matmul.allow_bf16_reduced_precision_reduction", True),
    _attribute("mkldnn.enabled", True),
    *(_attention(kind) for kind in ("flash", "mem_efficient", "math", "cudnn")),
)

# float32's own precision: since torch 2.9 a tree of settings, of which the leaves are read by the kernels
_OF_ALL = (("generic", "all"), ("cuda", "all"), ("mkldnn", "all"))
_OF_KERNELS = {
    ("cuda", "matmul"): "ieee",
    ("cuda", "conv"): "tf32",
    ("cuda", "rnn"): "tf32",
    ("mkldnn", "matmul"): "ieee",
    ("mkldnn", "conv"): "ieee",
    ("mkldnn", "rnn"): "ieee",
}
_read_precision: Callable[[str, str], str] | None = getattr(torch._C, "_get_fp32_precision_getter", None)
_write_precision: Callable[[str, str, str], object] | None = getattr(torch._C, "_set_fp32_precision_setter", None)


class _Process:
    """The settings of the whole process: set aside when the first thread comes, put back when the last one leaves."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.found: tuple[str, ...] = ()
        self.put_back = ExitStack()

    def enter(self) -> tuple[str, ...]:
        with self.lock:
            if not self.threads:
                self.found = _process_differences()
                with ExitStack() as stack:
                    if self.found:
                        _set_process_aside(stack)
                    self.put_back = stack.pop_all()
            self.threads += 1
            return self.found

    def leave(self) -> None:
        with self.lock:
            self.threads -= 1
            if not self.threads:
                self.put_back.close()


_process, _thread = _Process(), threading.local()


def differences() -> tuple[str, ...]:
    """What this process and this thread are set to that would change the numbers, in a few words each."""
    return (*_process_differences(), *_thread_differences())


def sentence(found: Sequence[str]) -> str:
    """What was found, as a note of a report."""
    return f"set aside while the model works: {', '.join(found)}"


def process_settings() -> Found:
    """What this process is set to, for `apply_settings` in another process of the same torch. Can be pickled."""
    tree = {} if _read_precision is None else {place: _read_precision(*place) for place in (*_OF_ALL, *_OF_KERNELS)}
    matmul, convolutions = _legacy_precision()
    return {setting.name: setting.read() for setting in _PROCESS}, tree, {"matmul": matmul, "conv": convolutions}


def apply_settings(found: Found) -> None:
    """Set this process to what `process_settings` found in another one."""
    process, tree, legacy = found
    if legacy["conv"] is not None:
        torch.backends.cudnn.allow_tf32 = legacy["conv"]
    if legacy["matmul"] is not None:
        torch.set_float32_matmul_precision(legacy["matmul"])
    if _read_precision is not None and _write_precision is not None:
        for place in reversed(tree):  # as `_set_precision_aside` puts them back
            if _read_precision(*place) != tree[place]:
                _write_precision(*place, tree[place])
    for setting in _PROCESS:
        if setting.read() != process[setting.name]:
            setting.write(process[setting.name])


@contextmanager
def set_aside(threads: int | None = None) -> Iterator[tuple[str, ...]]:
    """The context in which the model is loaded and works; gives what was found different. Nested, it does nothing.

    threads: how many torch uses; None leaves that as it is.
    Gradients and inference mode, which change no number, are off and not counted as a difference.
    """
    if getattr(_thread, "inside", False):
        yield ()
        return
    with ExitStack() as stack:
        found = [*_process.enter()]
        stack.callback(_process.leave)
        found += _thread_differences()
        _set_thread_aside(stack)
        before = torch.get_num_threads()
        if threads is not None and threads != before:
            found.append(counted(before, "thread"))
            stack.callback(torch.set_num_threads, before)
            torch.set_num_threads(threads)
        _thread.inside = True
        stack.callback(setattr, _thread, "inside", False)
        yield tuple(found)


def _process_differences() -> tuple[str, ...]:
    values = [(setting, setting.read()) for setting in _PROCESS]
    return (
        *_precision_differences(),
        *(f"{setting.name} {_word(value)}" for setting, value in values if value != setting.wanted),
    )


def _set_process_aside(stack: ExitStack) -> None:
    _set_precision_aside(stack)
    for setting in _PROCESS:
        value = setting.read()
        if value != setting.wanted:
            stack.callback(setting.write, value)
            setting.write(setting.wanted)


def _thread_differences() -> tuple[str, ...]:
    casts = [f"autocast {name} {_word(torch.get_autocast_dtype(name))}" for name in _DEVICES if _casts(name)]
    device = torch.get_default_device()
    return (*casts, *([f"default device {device}"] if device.type != "cpu" else []))


def _set_thread_aside(stack: ExitStack) -> None:
    casting = [name for name in _DEVICES if _casts(name)]
    for name in casting:
        stack.callback(torch.set_autocast_enabled, name, True)
        torch.set_autocast_enabled(name, False)
    if casting:  # the surrounding context keeps cast weights until it ends; ours are not to be among them
        torch.clear_autocast_cache()
        stack.callback(torch.clear_autocast_cache)
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    if torch.is_inference_mode_enabled():  # tensors made in it could not be used outside
        stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.no_grad())


def _casts(device: str) -> bool:
    return bool(torch.is_autocast_enabled(device))


def _precision_differences() -> tuple[str, ...]:
    matmul, convolutions = _legacy_precision()
    named = [f"float32 matmul precision {matmul}"] if matmul not in ("highest", None) else []
    if _read_precision is None:
        return (*named, *([] if convolutions else ["cudnn.allow_tf32 False"]))
    for kernel, wanted in _OF_KERNELS.items():
        precision = _read_precision(*kernel).replace("none", "ieee")
        if precision != wanted and not (named and kernel[1] == "matmul"):
            named.append(f"{'.'.join(kernel)} {precision}")
    return tuple(named)


def _set_precision_aside(stack: ExitStack) -> None:
    matmul, convolutions = _legacy_precision()
    if _read_precision is not None and _write_precision is not None:
        for place in (*_OF_ALL, *_OF_KERNELS):  # from the top: what was not set shows the value from further up
            stack.callback(_write_precision, *place, _read_precision(*place))
            _write_precision(*place, "none")
    # put back before the tree, parts of which they overwrite
    if matmul is not None:
        stack.callback(torch.set_float32_matmul_precision, matmul)
    if convolutions is not None:
        stack.callback(setattr, torch.backends.cudnn, "allow_tf32", convolutions)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    if _write_precision is not None:
        for kernel, precision in _OF_KERNELS.items():
            _write_precision(*kernel, precision)


def _legacy_precision() -> tuple[str | None, bool | None]:
    """(float32 matmul precision, cudnn.allow_tf32), None where torch refuses: when the newer settings contradict it."""
    values: list[Any] = []
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            values.append(read())
        except RuntimeError:
            values.append(None)
    return values[0], values[1]


def _word(value: Any) -> str:
    return str(value).removeprefix("torch.")
