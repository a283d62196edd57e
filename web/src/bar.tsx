/** The bar on top: which page and run, whether what you see is live, export, theme. */

import { address, runPath, type Link } from "./api";
import type { RunView } from "./fold";
import { formatPercent } from "./format";
import { to, type Route } from "./route";
import type { RunSummary } from "./snapshot";
import { CHOICES, type Choice, type useTheme } from "./theme";

interface BarProps {
  page: Route["page"];
  runs: RunSummary[];
  id: string | null;
  choose: (id: string) => void;
  view: RunView | null;
  link: Link;
  trouble: string;
  theme: ReturnType<typeof useTheme>;
}

export function Bar({ page, runs, id, choose, view, link, trouble, theme }: BarProps) {
  return (
    <header class="bar">
      <span class="brand"><span class="brand-mark" aria-hidden="true" />heldout</span>
      <nav class="pages" aria-label="Pages">
        <Tab href={to.runs()} here={page === "runs"}>Runs</Tab>
        {id !== null && <Tab href={to.run(id)} here={page === "run"}>Run</Tab>}
        {id !== null && <Tab href={to.examples(id)} here={page === "examples"}>Examples</Tab>}
        <Tab href={to.compare(id === null ? [] : [id])} here={page === "compare"}>Compare</Tab>
      </nav>
      {id !== null && runs.length > 1 && <Picker runs={runs} id={id} choose={choose} />}
      {page !== "home" && <Badge view={view} link={link} trouble={trouble} />}
      <span class="spacer" />
      {view && (
        <span class="exports">
          <span class="exports-label">Export</span>
          {view.exports.map(({ name, suffix }) => (
            <a
              class="button" key={suffix} download=""
              href={address(`api/${runPath(view.id).replace("run/", "runs/")}/export.${suffix}`)}
              aria-label={suffix === name ? `Export this run as ${kind(suffix)}` : `Export ${name} ${kind(suffix)}`}
            >
              {suffix === name ? kind(suffix) : `${name} ${kind(suffix)}`}
            </a>
          ))}
        </span>
      )}
      <ThemeButton {...theme} />
    </header>
  );
}

export function Tab({ href, here, children }: { href: string; here: boolean; children: string }) {
  return <a class="tab" href={href} aria-current={here ? "page" : undefined}>{children}</a>;
}

function Picker({ runs, id, choose }: Pick<BarProps, "runs" | "id" | "choose">) {
  return (
    <div class="picker">
      <select aria-label="Run" value={id ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
        {id !== null && !runs.some((run) => run.id === id) && <option value={id}>{id}</option>}
        {runs.map((run) => (
          <option key={run.id} value={run.id}>
            {run.id} · {run.state}
            {run.em !== null && run.n !== null && ` · EM ${formatPercent(run.em)} (n ${run.n})`}
          </option>
        ))}
      </select>
    </div>
  );
}

function Badge({ view, link, trouble }: Pick<BarProps, "view" | "link" | "trouble">) {
  const state = view?.snapshot.state;
  const ended = state === "finished" || state === "failed" || state === "interrupted";
  const shown = link === "live" && ended ? "ended" : link;
  return (
    <span class={`badge badge-${shown}`} role="status" title={trouble}>
      <span class="dot" aria-hidden="true" />
      {shown}
      {shown === "reconnecting" && <span class="badge-note">, what you see is old</span>}
    </span>
  );
}

/** The kind of file: the last part of its suffix. */
function kind(suffix: string): string {
  return (suffix.split(".").at(-1) ?? "").toUpperCase();
}

const THEME_SIGNS: Record<Choice, string> = { system: "◐", light: "☀", dark: "☾" };

export function ThemeButton({ choice, choose }: ReturnType<typeof useTheme>) {
  const next = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length] as Choice;
  return (
    <button
      type="button" class="button theme" onClick={() => choose(next)}
      aria-label={`Theme: ${choice}. Change to ${next}`} title={`Theme: ${choice}`}
    >
      <span aria-hidden="true">{THEME_SIGNS[choice]}</span>
      <span class="theme-name">{choice}</span>
    </button>
  );
}
