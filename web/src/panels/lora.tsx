import { formatNumber, formatShare } from "../format";
import { Leaders, Troubles } from "../lora/lists";
import { Profile } from "../lora/profile";
import { IMPACT, kindTitle, nameOf } from "../lora/quantities";
import { AllLayers } from "../lora/table";
import { Empty, Fact, Fold, type Panel, type PanelProps } from "../panel";
import type { LoraLayers } from "../snapshot";

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
  const { layers, stacks, sentence, note } = lora;
  const inDepth = layers.filter(({ layer }) => layer >= 0);
  const [top, topImpact] = [lora.top_moved, lora.top_impact]
    .map((some) => new Set(some.map((layer) => nameOf(layer, stacks))));
  return (
    <>
      {sentence && <p class="sentence">{sentence}</p>}
      {note && <p class="small-print">{note}</p>}
      <p class="axis-title">
        layers by depth at step {formatNumber(lora.step)}, the five largest in full colour
      </p>
      {[...new Set(inDepth.map(({ stack }) => stack))].map((stack) => (
        <Profile
          key={stack} stack={stack} stacks={stacks} layers={inDepth.filter((layer) => layer.stack === stack)}
          movement={lora.movement} top={top as Set<string>} topImpact={topImpact as Set<string>}
        />
      ))}
      <Leaders lora={lora} />
      <Troubles lora={lora} />
      <Kinds kinds={lora.kinds} />
      <Fold id="lora-layers" title={`All ${layers.length} layers by kind`}>
        <AllLayers lora={lora} />
      </Fold>
    </>
  );
}

function Kinds({ kinds }: Pick<LoraLayers, "kinds">) {
  if (kinds.length < 2) return null;
  const hasImpact = kinds.some(({ share }) => share !== null);
  return (
    <>
      <h3>By kind of module</h3>
      {hasImpact && <p class="axis-title">share of the impact ({IMPACT})</p>}
      <dl class="facts">
        {kinds.map(({ kind, norm, share }) => (
          <Fact
            key={kind} label={kindTitle(kind)}
            value={hasImpact ? formatShare(share) : `‖ΔW‖ ${formatNumber(norm)}`}
            {...(hasImpact ? { note: `‖ΔW‖ ${formatNumber(norm)}` } : {})}
          />
        ))}
      </dl>
    </>
  );
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
