/** Light, dark or the system's choice; `Theme` tells charts when to read the colours again. */

import { createContext } from "preact";
import { useContext, useEffect, useMemo, useState } from "preact/hooks";
import { recall, useRemembered } from "./remember";

export type Choice = "system" | "light" | "dark";
export const CHOICES: readonly Choice[] = ["system", "light", "dark"];

const dark = matchMedia("(prefers-color-scheme: dark)");

function show(choice: Choice): void {
  if (choice === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = choice;
}

/** Set the remembered theme before anything is drawn. */
export function startTheme(): void {
  const choice = recall("theme");
  if (choice === "light" || choice === "dark") show(choice);
}

/** The colours in force: changes whenever a chart has to be drawn in other ones. */
export const Theme = createContext<"light" | "dark">("light");

export function useTheme(): {
  choice: Choice; shown: "light" | "dark"; choose: (choice: Choice) => void;
} {
  const [choice, remember] = useRemembered<Choice>("theme", CHOICES, "system");
  const [systemDark, setSystemDark] = useState(dark.matches);
  useEffect(() => {
    const changed = () => setSystemDark(dark.matches);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  const shown = choice === "system" ? (systemDark ? "dark" : "light") : choice;
  // The attribute has to stand before the children read the colours.
  const choose = (next: Choice) => { show(next); remember(next); };
  return { choice, shown, choose };
}

/** Read CSS variables as colours a canvas understands, each once a theme. */
export function useColours(): (name: string) => string {
  const theme = useContext(Theme);
  return useMemo(() => {
    const style = getComputedStyle(document.documentElement);
    const known = new Map<string, string>();
    return (name) => {
      const found = known.get(name) ?? style.getPropertyValue(name).trim();
      known.set(name, found);
      return found;
    };
  }, [theme]);
}
