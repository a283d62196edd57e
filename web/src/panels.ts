/** The folder is the registry: every file in panels/ is a panel of the page. */

import type { Panel } from "./panel";

const modules = import.meta.glob<{ panel: Panel }>("./panels/*.tsx", { eager: true });

export const PANELS: readonly Panel[] = Object.values(modules)
  .map((module) => module.panel)
  .sort((a, b) => a.order - b.order || a.id.localeCompare(b.id));
