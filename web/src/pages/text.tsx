/** Text of others, shown as what it is: nothing in it is markup, and what cannot be seen is named. */

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** They turn the direction of what follows, or are not seen at all. */
const HIDDEN = /[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;

/** The text with control characters and marks of direction made visible; line breaks and tabs stay. */
export function visible(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(CONTROL, named)
    .replace(HIDDEN, named);
}

function named(sign: string): string {
  return `\u27e8U+${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** One piece of text that cannot change how anything around it is laid out. */
export function Text({ children, kind = "" }: { children: string; kind?: string }) {
  return <bdi class={`foreign ${kind}`} dir="auto">{visible(children)}</bdi>;
}
