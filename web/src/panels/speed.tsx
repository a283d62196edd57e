import { useEffect, useRef } from "preact/hooks";
import { Absent } from "../absent";
import { LineChartView, type Line } from "../chart";
import { toNumber, type RunView } from "../fold";
import { formatExact, formatLeft, formatNumber, formatShare, formatValue } from "../format";
import { exporting } from "../marks";
import { Empty, Fact, type FactProps, type Panel, type PanelProps } from "../panel";
import { isLeft, metric, series } from "../read";
import type { Float } from "../records";
import type { Phase, Snapshot, Throughput } from "../snapshot";

const CURVES = [
  { names: ["throughput/tokens_per_second"], colour: "--series-1" },
  { names: ["time/step"], colour: "--series-2" },
  { names: ["utilisation/mfu", "utilisation/model_flops"], colour: "--series-3" },
  { names: ["memory/device", "memory/device_peak", "memory/host"], colour: "--series-4" },
] as const;

const PHASES: readonly { phase: Phase; title: string; paint: string }[] = [
  { phase: "data", title: "waiting for data", paint: "--series-2" },
  { phase: "forward_backward", title: "forward and backward", paint: "--series-1" },
  { phase: "optimizer", title: "optimizer", paint: "--series-3" },
  { phase: "other", title: "rest of the step", paint: "--raw" },
  { phase: "evaluation", title: "evaluation", paint: "--series-4" },
  { phase: "saving", title: "saving", paint: "--series-5" },
  { phase: "monitor", title: "heldout itself", paint: "--ink" },
];

function Speed({ view }: PanelProps) {
  const { snapshot } = view;
  const drawn = curves(view);
  if (drawn.length === 0) {
    return <Empty>No speed, because no training step has been timed yet.</Empty>;
  }
  return (
    <>
      <dl class="facts">{facts(snapshot).map((fact) => <Fact key={fact.label} {...fact} />)}</dl>
      <TimeSplit throughput={snapshot.throughput} />
      <div class="pair">
        {drawn.map(({ name, colour }) => {
          const { title, unit } = metric(snapshot, name);
          const format = (value: number) => name === "utilisation/mfu" ? formatShare(value) : formatValue(value, unit);
          const line: Line = { name: title, series: series(view, name), colour, width: 1.5, unit, format };
          return (
            <LineChartView
              key={name} title={title} lines={[line]} height={120} min={0}
              axisFormat={(value: number) => value === 0 ? "0" : unit === "tokens/s" ? formatNumber(value) : format(value)}
              summary={`${title} by step; latest ${format(line.series.values.at(-1) ?? NaN)}.`}
            />
          );
        })}
      </div>
      <Absent
        snapshot={snapshot}
        promised={[
          { name: "split of the time", isThere: snapshot.throughput.time !== undefined, why: "only whole steps were timed" },
          { name: "model FLOPs utilisation (MFU)", isThere: snapshot.throughput.mfu !== undefined, why: "it was not measured" },
        ]}
      />
    </>
  );
}

/** Of each group the first that was recorded. */
function curves(view: RunView): { name: string; colour: string }[] {
  return CURVES.flatMap(({ names, colour }) => {
    const name = names.find((each) => series(view, each).steps.length > 0);
    return name === undefined ? [] : [{ name, colour }];
  });
}

/** Where the time goes: one bar of all of it, and every part of it in words. */
function TimeSplit({ throughput: { time, time_steps: steps } }: { throughput: Throughput }) {
  const parts = PHASES.flatMap(({ phase, ...look }) => {
    const share = time?.[phase];
    return share === undefined ? [] : [{ ...look, share: toNumber(share) }];
  });
  return parts.length === 0 ? null : <Split parts={parts} steps={steps} />;
}

function Split({ parts, steps }: { parts: { title: string; paint: string; share: number }[]; steps: number | undefined }) {
  const figure = useRef<HTMLElement>(null);
  const told = parts.map(({ title, share }) => `${title} ${formatShare(share)}`).join(", ");
  useEffect(() => exporting(figure.current as HTMLElement, {
    table: () => ({ columns: ["phase", "share"], rows: parts.map(({ title, share }) => [title, share]) }),
  }));
  return (
    <figure class="split" ref={figure} data-picture="Where the time goes" data-data="Where the time goes">
      <figcaption class="axis-title">
        where the time goes, over the last {formatNumber(steps)} steps
      </figcaption>
      <div class="split-bar" role="img" aria-label={`Where the time goes: ${told}.`}>
        {parts.filter(({ share }) => share > 0).map(({ title, share, paint }) => (
          <span
            key={title} title={`${title}: ${formatExact(100 * share)}\u202f%`}
            style={{ flexGrow: String(share), background: `var(${paint})` }}
          >
            {share >= 0.12 && formatShare(share)}
          </span>
        ))}
      </div>
      <ul class="key split-key">
        {parts.map(({ title, share, paint }) => (
          <li key={title}>
            <span class="swatch" aria-hidden="true" style={{ background: `var(${paint})` }} />
            {title}<b>{formatShare(share)}</b>
          </li>
        ))}
      </ul>
    </figure>
  );
}

/** What is known in numbers; what is not is left out. */
function facts(snapshot: Snapshot): FactProps[] {
  const { throughput: speed, latest } = snapshot;
  const found: FactProps[] = [];
  const add = (label: string, known: Float | undefined, value: string, note = "", unit = "") => {
    if (known !== undefined) found.push({ label, value, exact: formatExact(known, unit), ...(note ? { note } : {}) });
  };
  const of = (name: string) => formatValue(latest[name], metric(snapshot, name).unit);
  const bytes = (name: string) => formatValue(latest[name], "bytes");
  const when = (name: string, text: string) => latest[name] === undefined ? [] : [text];

  add("Tokens per second", speed.tokens_per_sec, formatNumber(speed.tokens_per_sec),
    speed.mean_tokens_per_sec === undefined ? ""
      : `${formatNumber(toWhole(speed.mean_tokens_per_sec))} since the start`, "tokens/s");
  add("Label tokens per second", speed.label_tokens_per_sec,
    formatNumber(speed.label_tokens_per_sec), "the loss is computed on these", "tokens/s");
  add("Time per step", speed.step_seconds, formatValue(speed.step_seconds, "s"), "latest", "s");
  if (isLeft(snapshot)) add("Time left", speed.eta_seconds, formatLeft(speed.eta_seconds).replace(/ left$/, ""), "", "s");
  add("Tokens in total", speed.total_tokens, formatNumber(speed.total_tokens),
    speed.tokens_per_step === undefined ? "counted"
      : `counted; ${formatNumber(speed.tokens_per_step)} in the latest step`, "tokens");
  add("Padding", speed.padding, formatShare(speed.padding), "of all positions");
  add("Model FLOPs utilisation", speed.mfu, formatShare(speed.mfu),
    ["of the bfloat16 peak", ...when("utilisation/model_flops", of("utilisation/model_flops"))]
      .join("; "));
  if (speed.mfu === undefined) {
    add("Model FLOP/s", latest["utilisation/model_flops"], of("utilisation/model_flops"), "", "FLOP/s");
  }
  add("GPU at work", latest["gpu/utilisation"], formatShare(latest["gpu/utilisation"]),
    [...when("gpu/power", of("gpu/power")), ...when("gpu/temperature", of("gpu/temperature"))]
      .join(", "));
  add("Device memory", latest["memory/device"] ?? latest["memory/device_peak"],
    bytes(latest["memory/device"] === undefined ? "memory/device_peak" : "memory/device"),
    [...when("memory/device_peak", `peak ${bytes("memory/device_peak")}`),
      ...when("memory/device_reserved", `reserved ${bytes("memory/device_reserved")}`)].join(", "), "bytes");
  add("Host memory", latest["memory/host"], bytes("memory/host"), "of the training process", "bytes");
  return found;
}

function toWhole(value: Parameters<typeof toNumber>[0]): number {
  const x = toNumber(value);
  return x >= 100 ? Math.round(x) : x;
}

export const panel: Panel = {
  id: "speed",
  title: "Speed",
  order: 5,
  component: Speed,
  curves: (view) => curves(view).map(({ name }) => name),
  gist: ({ snapshot: { throughput: { tokens_per_sec: speed } } }) => speed === undefined ? ""
    : `${formatNumber(speed)} tokens/s`,
};
