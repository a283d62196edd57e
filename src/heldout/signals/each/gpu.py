"""What NVIDIA's driver says about the model's GPU: how busy, how hungry, how hot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from heldout.records import Direction, Metric
from heldout.signals.moment import Moment, Signal, Start, Values
from heldout.signals.peaks import accelerators

SECONDS = 1.0
"""At least this long between two readings; the driver itself renews them a few times a second."""
INSTALL = "no GPU utilisation, power and temperature: pip install nvidia-ml-py"

Reading = Callable[[Any, Any], float]
"""One number of a device, from the module `pynvml` and the device's handle."""
Join = Callable[[Sequence[float]], float]
"""One number for several devices."""


def _metric(name: str, title: str, unit: str, direction: Direction, text: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        help=text,
        source="NVML, by nvidia-ml-py",
        cost="one question to the driver, at most once a second",
    )


def _utilisation(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100


def _power(nvml: Any, handle: Any) -> float:
    return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000  # it answers in milliwatts


def _temperature(nvml: Any, handle: Any) -> float:
    """By the older call where there is one: drivers know it, CUDA 14 is to drop it."""
    ask = getattr(nvml, "nvmlDeviceGetTemperature", None) or nvml.nvmlDeviceGetTemperatureV
    return float(ask(handle, nvml.NVML_TEMPERATURE_GPU))


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


READINGS: dict[str, tuple[Reading, Join]] = {
    "gpu/utilisation": (_utilisation, _mean),
    "gpu/power": (_power, sum),
    "gpu/temperature": (_temperature, max),
}


class Gpu(Signal):
    """The driver's view of the CUDA devices that hold this process's model.

    They are found by UUID, since CUDA_VISIBLE_DEVICES gives torch other numbers than the driver
    has. Read at the first step, then at most once a second, and at the last. What a device does not
    tell (a part of a shared one has no power of its own) is left out. Absent without CUDA.
    """

    metrics = (
        _metric(
            "gpu/utilisation",
            "GPU utilisation",
            "",
            "higher",
            "Share of the driver's last sampling period in which the GPU was at work at all; "
            "the mean over the model's devices.",
        ),
        _metric("gpu/power", "GPU power", "W", "none", "Power the model's devices draw together."),
        _metric(
            "gpu/temperature",
            "GPU temperature",
            "°C",
            "lower",
            "Temperature of the hottest of the model's devices.",
        ),
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._missing = ""
        self._due = -math.inf

    def begin(self, start: Start) -> None:
        """Find the driver's handle of each device of the model."""
        devices = [device for device in accelerators(start.model) if device.type == "cuda"]
        if not devices or torch.version.hip:
            return
        try:
            import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            self._missing = INSTALL
            return
        try:
            pynvml.nvmlInit()
            self._handles = [_handle(pynvml, device) for device in devices]
        except pynvml.NVMLError as error:
            self._missing = f"no GPU utilisation, power and temperature: {error}"
        self._nvml = pynvml

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """A reading when one is due."""
        now = self._clock()
        if not self._handles or (now < self._due and not moment.last):
            return {}
        self._due = now + SECONDS
        values = {}
        for name, (read, join) in READINGS.items():
            try:
                values[name] = join([read(self._nvml, handle) for handle in self._handles])
            except self._nvml.NVMLError:
                continue
        return values

    def missing(self) -> str:
        """On CUDA without the package or its driver."""
        return self._missing


def _handle(nvml: Any, device: torch.device) -> Any:
    """NVML's handle of torch's device; raises `NVMLError` where the driver does not know it."""
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")


SIGNAL = Gpu
