import { toNumber } from "../fold";
import { formatNumber, formatPercent } from "../format";
import { Empty, Fold, type Panel, type PanelProps } from "../panel";
import type { Float, Layer } from "../records";
import type { LoraLayers } from "../snapshot";

const KINDS = [
  { key: "qkv", title: "q k v" },
  { key: "o", title: "o" },
  { key: "mlp", title: "mlp" },
  { key: "other", title: "other" },
] as const;

function Lora({ view }: PanelProps) {
  const lora = view.snapshot.lora;
  if (!isFilled(lora)) {
    return (
      <Empty>
        {lora.note ? `No layers to show: ${lora.note}`
          : "No layers, because the adapters have not been read yet."}
      </Empty>
    );
  }
  const { layers, top } = lora;
  const largest = Math.max(...layers.map((layer) => finite(layer.delta_norm)));
  const label = labeller(layers);
  return (
    <>
      <p class="axis-title">
        how far each layer's weights have moved (‖ΔW‖, Frobenius) at step {formatNumber(lora.step)}
      </p>
      <Profile layers={layers} largest={largest} label={label} top={top} />
      {lora.sentence && <p class="sentence">{lora.sentence}</p>}
      <h3>Moved most</h3>
      <ol class="bars">
        {top.map((layer) => (
          <li key={label(layer)}>
            <span class="bar-name">{label(layer)}</span>
            <span class="bar-track" aria-hidden="true">
              <span class="bar-fill" style={{ width: share(layer.delta_norm, largest) }} />
            </span>
            <span class="bar-value">{formatNumber(layer.delta_norm)}</span>
            <span class="bar-note">{relative(layer)}</span>
          </li>
        ))}
      </ol>
      <Fold id="lora-layers" title={`All ${layers.length} layers by kind`}>
        <AllLayers layers={layers} label={label} />
      </Fold>
      {lora.note && <p class="small-print">{lora.note}</p>}
    </>
  );
}

interface LayerProps {
  layers: Layer[];
  label: (layer: Layer) => string;
}

/** One bar a layer, first layer left: where in the depth of the model it happens. */
function Profile({ layers, largest, label, top }: LayerProps & { largest: number; top: Layer[] }) {
  const told = top.map((layer) => `${label(layer)} ${formatNumber(layer.delta_norm)}`).join(", ");
  const marked = new Set(top.map(label));
  return (
    <figure class="profile">
      <div
        class="profile-bars" role="img"
        aria-label={`Movement of ${layers.length} layers by depth. Largest: ${told}.`}
      >
        {layers.map((layer) => (
          <span
            key={label(layer)} title={`${label(layer)}: ${formatNumber(layer.delta_norm)}`}
            class={marked.has(label(layer)) ? "profile-bar top" : "profile-bar"}
            style={{ height: share(layer.delta_norm, largest) }}
          />
        ))}
      </div>
      <figcaption>
        <span>{label(layers[0] as Layer)}</span>
        <span>depth</span>
        <span>{label(layers.at(-1) as Layer)}</span>
      </figcaption>
    </figure>
  );
}

function AllLayers({ layers, label }: LayerProps) {
  const kinds = KINDS.filter(({ key }) => layers.some((layer) => layer[key] !== null));
  const largest = Math.max(
    ...layers.flatMap((layer) => kinds.map(({ key }) => finite(layer[key]))),
  );
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="All layers by kind">
      <table class="layers">
        <thead>
          <tr>
            <th scope="col">Layer</th>
            {kinds.map(({ key, title }) => <th scope="col" key={key}>{title}</th>)}
            <th scope="col">all</th>
            <th scope="col">of its weights</th>
          </tr>
        </thead>
        <tbody>
          {layers.map((layer) => (
            <tr key={label(layer)}>
              <th scope="row">{label(layer)}</th>
              {kinds.map(({ key }) => <Moved key={key} value={layer[key]} largest={largest} />)}
              <td>{formatNumber(layer.delta_norm)}</td>
              <td>{formatPercentOrDash(layer.relative)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Moved({ value, largest }: { value: Float | null; largest: number }) {
  if (value === null) return <td class="none"><span class="unseen">not adapted</span></td>;
  return (
    <td class="moved" style={{ "--em": String(largest > 0 ? finite(value) / largest : 0) }}>
      {formatNumber(value)}
    </td>
  );
}

function labeller(layers: Layer[]): (layer: Layer) => string {
  const stacks = new Set(layers.map((layer) => layer.stack));
  return (layer) => stacks.size > 1 ? `${layer.stack} ${layer.layer}` : `layer ${layer.layer}`;
}

function share(value: Float, largest: number): string {
  return `${largest > 0 ? (100 * finite(value)) / largest : 0}%`;
}

function finite(value: Float | null): number {
  const x = value === null ? 0 : toNumber(value);
  return Number.isFinite(x) ? x : 0;
}

function relative(layer: Layer): string {
  return layer.relative === null ? "" : `${formatPercentOrDash(layer.relative)} of its weights`;
}

function formatPercentOrDash(value: Float | null): string {
  if (value === null) return "–";
  const x = toNumber(value);
  return Math.abs(x) < 0.001 ? `${formatNumber(100 * x)}\u202f%` : formatPercent(x);
}

function isFilled(lora: Partial<LoraLayers>): lora is LoraLayers {
  return (lora.layers?.length ?? 0) > 0;
}

export const panel: Panel = {
  id: "lora",
  title: "LoRA Layers",
  order: 6,
  component: Lora,
  gist: ({ snapshot: { lora } }) => lora.layers?.length ? `${lora.layers.length} layers` : "",
};
