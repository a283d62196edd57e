"""The dashboards that others made: each in an environment and a store of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from peers import Charts, Heldout, Peer, Series, floats
from serving import Answer, NotFinished, Request
from workload import values_file

FILLING = Path(__file__).with_name("filling.py")
FACTS = "facts.json"
OFFLINE = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Nothing may reach for a network; everything else is each tool's default."""


class Tool(Peer):
    """One that others made: it runs in an environment of its own, filled by `filling.py`."""

    data: ClassVar[Sequence[str]] = ()
    """Environment variables that hold the folder's path."""

    def fill(self, limit_seconds: float) -> bool:
        facts = self.folder / FACTS
        if facts.exists():
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        values = values_file(self.work, self.size)
        command = [self.python, str(FILLING), "fill", self.name, str(values), str(facts)]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit_seconds,
            )
        except subprocess.TimeoutExpired:
            shutil.rmtree(self.folder)
            raise NotFinished(f"store not filled in {limit_seconds:.0f} s") from None
        if done.returncode:
            raise NotFinished(f"filling: {done.stdout.decode(errors='replace')[-2000:]}")
        return True

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / FACTS).read_text())
        return found

    def environment(self) -> dict[str, str]:
        return {**OFFLINE, **{name: str(self.folder) for name in self.data}}


class Trackio(Tool):
    """Its page asks for all metrics at once, every second again, and never for a part of the steps."""

    name = package = "trackio"
    data = ("TRACKIO_DIR",)
    says = "launched at"  # it asks itself first, and ends if others keep it from answering

    def command(self, port: int) -> list[str]:
        code = f"import trackio; trackio.show(open_browser=False, server_port={port})"
        return [self.python, "-c", code]

    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        runs = [{"run": "run", "run_id": self.facts.get("run_id", "run")}]
        asked = {"project": "run", "runs": runs, "scalar_only": True}
        return [Request(method="POST", path="/api/get_logs_batch", body=json.dumps(asked).encode())]

    def series(self, answers: Sequence[Answer]) -> Series:
        rows = json.loads(answers[0].body)["data"][0]["logs"]
        return {
            name: (
                floats([row["step"] for row in rows if name in row]),
                floats([row[name] for row in rows if name in row]),
            )
            for name in self.size.names
        }

    def charts(self) -> Charts:
        return Charts(path="/?project=run", each=".vega-embed canvas")


class TensorBoard(Tool):
    """Its page asks for each metric by itself and, unless told to reload, once; a group a metric."""

    name = package = "tensorboard"

    def command(self, port: int) -> list[str]:
        options = ["--logdir", str(self.folder), "--port", str(port)]
        return [self.python, "-m", "tensorboard.main", *options]

    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        path = "/experiment/defaultExperimentId/data/plugin/timeseries/timeSeries"
        form = "application/x-www-form-urlencoded"
        asked = [json.dumps([{"plugin": "scalars", "tag": name}]) for name in self.size.names]
        bodies = [urlencode({"requests": each}).encode() for each in asked]
        return [Request(method="POST", path=path, body=b, content_type=form) for b in bodies]

    def series(self, answers: Sequence[Answer]) -> Series:
        found = {}
        for answer in answers:
            for each in json.loads(answer.body):
                for points in each.get("runToSeries", {}).values():
                    steps = floats([point["step"] for point in points])
                    found[each["tag"]] = steps, floats([point["value"] for point in points])
        return found

    def charts(self) -> Charts:
        return Charts(
            path="/#timeseries",
            each="line-chart .series-view :is(canvas, svg)",
            unfold=".group-toolbar:has(mat-icon[svgicon=expand_more_24px])",
        )


class MLflow(Tool):
    """Its page asks for each metric by itself, every 30 s while the run goes on, and on a zoom again."""

    name = package = "mlflow"

    def command(self, port: int) -> list[str]:
        store = ["--backend-store-uri", "sqlite:///mlflow.db"]
        return [self.python, "-m", "mlflow", "ui", "--port", str(port), *store]

    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
        asked: dict[str, Any] = {"run_ids": self.facts["run_id"], "max_results": 320}
        if first is not None:
            asked |= {"start_step": first, "end_step": last}
        return [
            Request(path=f"{path}?{urlencode({**asked, 'metric_key': name})}")
            for name in self.size.names
        ]

    def series(self, answers: Sequence[Answer]) -> Series:
        found = {}
        for answer in answers:
            points = json.loads(answer.body).get("metrics", [])
            if points:
                steps = floats([point.get("step", 0) for point in points])
                found[points[0]["key"]] = steps, floats([point["value"] for point in points])
        return found

    def charts(self) -> Charts:
        path = f"/#/experiments/0/runs/{self.facts['run_id']}/model-metrics"
        return Charts(path=path, each=".js-plotly-plot .scatterlayer")


class Aim(Tool):
    """A run's page asks for all metrics at once, and not again."""

    name = package = "aim"

    def command(self, port: int) -> list[str]:
        start = "from aim.cli.cli import cli_entry_point; cli_entry_point()"
        options = ["--repo", str(self.folder), "--port", str(port), "--yes"]
        return [self.python, "-c", start, "up", *options]

    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        asked = [{"name": name, "context": {}} for name in self.size.names]
        path = f"/api/runs/{self.facts['run_id']}/metric/get-batch/"
        return [Request(method="POST", path=path, body=json.dumps(asked).encode())]

    def series(self, answers: Sequence[Answer]) -> Series:
        return {
            each["name"]: (floats(each["iters"]), floats(each["values"]))
            for each in json.loads(answers[0].body)
        }

    def charts(self) -> Charts:
        path = f"/runs/{self.facts['run_id']}/metrics"
        return Charts(path=path, each="svg.Visualization")


PEERS: Mapping[str, type[Peer]] = {
    peer.name: peer for peer in (Heldout, Trackio, TensorBoard, MLflow, Aim)
}
