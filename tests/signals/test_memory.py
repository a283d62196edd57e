from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from heldout.signals.each.gpu import INSTALL, SECONDS, Gpu
from heldout.signals.each.memory import Memory
from heldout.signals.moment import Moment, Start


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Elsewhere(nn.Module):
    """A model that says its parameters are on these devices; there is no such device here."""

    def __init__(self, *devices: str) -> None:
        super().__init__()
        self._devices = [torch.device(device) for device in devices]

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        return iter([SimpleNamespace(device=device) for device in self._devices])


def start(*devices: str) -> Start:
    return Start(model=Elsewhere(*devices), folder=Path())


def moment(step: int = 1, last: bool = False) -> Moment:
    return Moment(step=step, seconds=1.0, model=nn.Linear(1, 1), last=last)


# Memory.


def stats(device: torch.device) -> dict[str, int]:
    """What torch.cuda.memory_stats says, scaled by the device's number."""
    i = (device.index or 0) + 1
    return {
        "allocated_bytes.all.current": 10 * i,
        "allocated_bytes.all.peak": 30 * i,
        "reserved_bytes.all.current": 40 * i,
        "reserved_bytes.all.peak": 50 * i,
    }


def test_host_memory_is_what_the_process_holds() -> None:
    signal = Memory()
    signal.begin(start("cpu"))
    values = signal.step(moment(), ())
    assert set(values) == {"memory/host"}
    assert values["memory/host"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert not signal.missing()


def test_memory_is_read_at_the_first_step_then_once_a_second_and_at_the_last() -> None:
    clock = Clock()
    signal = Memory(clock)
    signal.begin(start("cpu"))
    read = []
    for step, now in enumerate([0.0, 0.5, 0.99, 1.0, 1.5, 7.0, 7.5], start=1):
        clock.now = now
        if signal.step(moment(step, last=step == 7), ()):
            read.append(step)
    assert read == [1, 4, 6, 7]


def test_device_memory_is_that_of_the_models_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_stats", stats)
    signal = Memory()
    signal.begin(start("cpu", "cuda:2", "cuda:2"))
    values = signal.step(moment(), ())
    assert values["memory/device"] == 30
    assert values["memory/device_peak"] == 90
    assert values["memory/device_reserved"] == 120


def test_of_several_devices_the_fullest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_stats", stats)
    signal = Memory()
    signal.begin(start("cuda:1", "cuda:3", "cuda:0"))
    assert signal.step(moment(), ())["memory/device"] == 40


def test_a_device_not_used_yet_has_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: {})
    signal = Memory()
    signal.begin(start("cuda:0"))
    assert set(signal.step(moment(), ())) == {"memory/host"}


def test_apples_device_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 7)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 9)
    signal = Memory()
    signal.begin(start("mps:0"))
    values = signal.step(moment(), ())
    assert (values["memory/device"], values["memory/device_reserved"]) == (7, 9)
    assert "memory/device_peak" not in values


# The driver.


class NvmlError(Exception):
    pass


class Driver:
    """Stands in for the module pynvml, with its units: percent, milliwatts, degrees."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **cards: tuple[int, int, int]) -> None:
        self.cards = {name.replace("_", "-"): numbers for name, numbers in cards.items()}
        self.asked = 0
        self.silent: set[str] = set()
        self.works = True

    def nvmlInit(self) -> None:
        if not self.works:
            raise NvmlError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.cards:
            raise NvmlError("Not Found")
        return uuid

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=self._answer("utilisation", handle)[0], memory=99)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return self._answer("power", handle)[1]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer("temperature", handle)[2]

    def _answer(self, what: str, handle: str) -> tuple[int, int, int]:
        self.asked += 1
        if what in self.silent:
            raise NvmlError("Not Supported")
        return self.cards[handle]


class NewDriver(Driver):
    """As from CUDA 14 on, where the older call is to be gone."""

    nvmlDeviceGetTemperature = None

    def nvmlDeviceGetTemperatureV(self, handle: str, sensor: int) -> int:
        return self.cards[handle][2]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Two cards; torch's device 0 is the driver's second, as with CUDA_VISIBLE_DEVICES=1,0."""
    made = Driver(GPU_aaaa=(11, 100_000, 40), GPU_bbbb=(87, 345_678, 71))
    uuids = {"cuda:0": "bbbb", "cuda:1": "aaaa", "cuda:2": "cccc"}
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(uuid=uuids[str(device)]),
    )
    return made


def test_a_gpu_is_found_by_uuid_and_its_numbers_are_in_share_watts_and_degrees(
    driver: Driver,
) -> None:
    signal = Gpu()
    signal.begin(start("cuda:0"))
    values = signal.step(moment(), ())
    assert values == pytest.approx(
        {"gpu/utilisation": 0.87, "gpu/power": 345.678, "gpu/temperature": 71.0}
    )
    assert not signal.missing()


def test_several_gpus_are_one_mean_one_sum_and_the_hottest(driver: Driver) -> None:
    signal = Gpu()
    signal.begin(start("cuda:0", "cuda:1"))
    values = signal.step(moment(), ())
    assert values == pytest.approx(
        {"gpu/utilisation": 0.49, "gpu/power": 445.678, "gpu/temperature": 71.0}
    )


def test_the_driver_is_asked_once_a_second_and_at_the_last_step(driver: Driver) -> None:
    clock = Clock()
    signal = Gpu(clock)
    signal.begin(start("cuda:0"))
    read = []
    for step, now in enumerate([0.0, 0.5, SECONDS, 1.5, 1.75], start=1):
        clock.now = now
        if signal.step(moment(step, last=step == 5), ()):
            read.append(step)
    assert read == [1, 3, 5]
    assert driver.asked == 3 * 3


def test_what_a_gpu_does_not_tell_is_left_out(driver: Driver) -> None:
    driver.silent = {"utilisation", "power"}
    signal = Gpu()
    signal.begin(start("cuda:0"))
    assert signal.step(moment(), ()) == {"gpu/temperature": 71.0}


def test_the_newer_call_for_the_temperature_is_used_where_the_older_is_gone(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", NewDriver(GPU_bbbb=(1, 1, 55)))
    signal = Gpu()
    signal.begin(start("cuda:0"))
    assert signal.step(moment(), ())["gpu/temperature"] == 55.0


def test_a_driver_that_does_not_start_is_said_and_never_raises(driver: Driver) -> None:
    driver.works = False
    signal = Gpu()
    signal.begin(start("cuda:0"))
    assert signal.step(moment(), ()) == {}
    assert signal.missing().endswith("Driver Not Loaded")


def test_a_device_the_driver_does_not_know_is_said(driver: Driver) -> None:
    signal = Gpu()
    signal.begin(start("cuda:0", "cuda:2"))
    assert signal.step(moment(), ()) == {}
    assert signal.missing().endswith("Not Found")


def test_without_the_package_a_run_on_cuda_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    signal = Gpu()
    signal.begin(start("cuda:0"))
    assert signal.step(moment(), ()) == {}
    assert signal.missing() == INSTALL


@pytest.mark.parametrize("device", ["cpu", "mps:0"])
def test_without_cuda_nothing_is_missing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    signal = Gpu()
    signal.begin(start(device))
    assert signal.step(moment(), ()) == {}
    assert signal.missing() == ""
