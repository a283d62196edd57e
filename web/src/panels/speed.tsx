import { LineChartView, type Line } from "../chart";
import { formatNumber, formatValue } from "../format";
import { Empty, Fact, type Panel, type PanelProps } from "../panel";
import { metric, series } from "../read";

function Speed({ view }: PanelProps) {
  const { snapshot } = view;
  const { throughput, latest } = snapshot;
  const speed = series(view, "throughput/tokens_per_second");
  if (speed.steps.length === 0) {
    return <Empty>No speed, because no training step has been timed yet.</Empty>;
  }
  const { title, unit } = metric(snapshot, "throughput/tokens_per_second");
  const line: Line = {
    name: title, series: speed, colour: "--series-1", width: 1.5,
    format: (value) => formatValue(value, unit),
  };
  return (
    <>
      <dl class="facts">
        <Fact label="Tokens per second" value={formatNumber(throughput["tokens_per_sec"])} />
        <Fact label="Tokens per step" value={formatNumber(throughput["tokens_per_step"])} />
        <Fact label="Tokens in total" value={formatNumber(throughput["total_tokens"])} note="counted" />
        <Fact
          label="Time per step"
          value={formatValue(latest["time/step"], metric(snapshot, "time/step").unit || "s")}
          note="latest"
        />
      </dl>
      <p class="axis-title">{title}, by step</p>
      <LineChartView
        lines={[line]} height={150} min={0}
        summary={`${title} by step; latest ${formatValue(speed.values.at(-1), unit)}.`}
      />
    </>
  );
}

export const panel: Panel = {
  id: "speed",
  title: "Speed",
  order: 5,
  component: Speed,
  gist: ({ snapshot: { throughput } }) => throughput["tokens_per_sec"] === undefined ? ""
    : `${formatNumber(throughput["tokens_per_sec"])} tokens/s`,
};
