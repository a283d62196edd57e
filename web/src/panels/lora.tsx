import { formatExact, formatNumber, formatShare } from "../format";
import { useEffect, useRef } from "preact/hooks";
import { exporting } from "../marks";
import { Heat } from "../lora/heat";
import { Leaders, Troubles } from "../lora/lists";
import { Profile } from "../lora/profile";
import { IMPACT, kindTitle, known, nameOf, QUANTITIES, type Quantity } from "../lora/quantities";
import { AllLayers, everyPart } from "../lora/table";
import { TimeSlider, useReading } from "../lora/time";
import { Empty, Fact, Fold, Segments, type Panel, type PanelProps } from "../panel";
import { useRemembered } from "../remember";
import type { LoraLayers } from "../snapshot";

const IDS = QUANTITIES.map(({ id }) => id);

function Lora({ view }: PanelProps) {
  const latest = view.snapshot.lora;
  const reading = useReading(view);
  const lora = reading.lora;
  if (!isFilled(latest) || !isFilled(lora)) {
    return (
      <Empty>
        {latest.note ? `No layers to show: ${latest.note}`
          : "No layers, because the adapters have not been read yet."}
      </Empty>
    );
  }
  const { sentence, note } = lora;
  return (
    <>
      {sentence && <p class="sentence">{sentence}</p>}
      {note && <p class="small-print">{note}</p>}
      <TimeSlider steps={latest.over_time.steps} {...reading} />
      <div class="lora-columns">
        <Depth lora={lora} />
        <div>
          <Leaders lora={lora} />
          <Kinds kinds={lora.kinds} />
          <Troubles lora={lora} />
        </div>
      </div>
    </>
  );
}

/** All layers by depth: movement and impact back to back, below them every kind in one quantity. */
function Depth({ lora }: { lora: LoraLayers }) {
  const { layers, stacks, movement } = lora;
  const [wanted, choose] = useRemembered("lora-quantity", IDS, "moved");
  const choices = known(lora);
  const quantity = choices.find(({ id }) => id === wanted) ?? choices[0] ?? (QUANTITIES[0] as Quantity);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => exporting(box.current as HTMLElement, { table: () => everyPart(layers) }));
  const inDepth = layers.filter(({ layer }) => layer >= 0);
  const ofStacks = [...new Set(inDepth.map(({ stack }) => stack))]
    .map((stack) => ({ stack, layers: inDepth.filter((layer) => layer.stack === stack) }));
  const [top, topImpact] = [lora.top_moved, lora.top_impact]
    .map((some) => new Set(some.map((layer) => nameOf(layer, stacks))));
  return (
    <div class="depth">
      <div data-picture="Layers by depth" data-data="Layers by depth" ref={box}>
        <p class="axis-title">layers by depth at step {formatNumber(lora.step)}, the five largest in full colour</p>
        {ofStacks.map((each) => (
          <Profile
            key={each.stack} stack={each.stack} stacks={stacks} layers={each.layers}
            movement={movement} top={top as Set<string>} topImpact={topImpact as Set<string>}
          />
        ))}
      </div>
      <Segments name="lora-quantity" legend="What the layers are coloured by" choices={choices} chosen={quantity.id} choose={choose} />
      <div data-picture={`Layers by kind, ${quantity.title}`}>
        <p class="axis-title">{quantity.about(movement)}</p>
        {ofStacks.map((each) => <Heat key={each.stack} lora={lora} quantity={quantity} layers={each.layers} />)}
        <div class="legend">
          {quantity.id === "state" ? <StateLegend /> : <><span>0</span><span class="ramp" aria-hidden="true" /><span>most of any kind in any layer</span></>}
          <span class="entry"><span class="swatch unknown" aria-hidden="true" />not adapted</span>
        </div>
      </div>
      <Fold id="lora-layers" title={`All ${layers.length} layers by kind`}>
        <AllLayers lora={lora} quantity={quantity} />
      </Fold>
    </div>
  );
}

function StateLegend() {
  return (
    <>
      <span class="entry first"><span class="swatch ok" aria-hidden="true" />ok</span>
      <span class="entry"><span class="mark-sign state-stalled" aria-hidden="true">▲</span>stalled, rounding or no gradient</span>
      <span class="entry"><span class="mark-sign state-blow-up" aria-hidden="true">✕</span>blow-up</span>
      <span class="entry"><span class="mark-sign state-frozen" aria-hidden="true">■</span>frozen</span>
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
            value={hasImpact ? formatShare(share) : `‖ΔW‖ ${formatNumber(norm)}`} exact={formatExact(hasImpact ? share : norm)}
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
  wide: true,
  gist: ({ snapshot: { lora } }) => lora.layers?.length ? `${lora.layers.length} layers` : "",
};
