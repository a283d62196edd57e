/** Choices that outlive a reload, in localStorage; a browser that refuses it only forgets. */

import { useState } from "preact/hooks";

const PREFIX = "heldout:";

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // Storage is full or forbidden: the choice holds for this page only.
  }
}

/** A choice among `options`, remembered; an unknown stored value counts as none. */
export function useRemembered<T extends string>(
  key: string, options: readonly T[], initial: T,
): [T, (value: T) => void] {
  const [value, set] = useState<T>(() => {
    const stored = recall(key);
    return options.find((option) => option === stored) ?? initial;
  });
  return [value, (next) => { keep(key, next); set(next); }];
}
