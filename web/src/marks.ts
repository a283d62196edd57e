/**
 * What stands on the page, measured: boxes, texts, strokes and charts, in drawing order. A chart and a
 * list that know their numbers better than can be seen register what they can give.
 */

import { type TableData, type Value } from "./tables";

/** What an element can give better than by being looked at. */
export interface Source {
  /** A drawing of the chart in the element, as SVG of this size. */
  svg?: (width: number, height: number) => string;
  table?: () => TableData;
}

const sources = new WeakMap<Element, Source>();

export function exporting(element: Element, source: Source): () => void {
  sources.set(element, source);
  return () => void sources.delete(element);
}

export type Mark =
  | { kind: "box"; x: number; y: number; width: number; height: number; fill: string; stroke: string; radius: number; opacity: number; hatch?: string; ramp?: string[] }
  | { kind: "text"; x: number; y: number; text: string; fill: string; font: Font; opacity: number }
  | { kind: "path"; x: number; y: number; scaleX: number; scaleY: number; d: string; fill: string; stroke: string; width: number; dash: number[]; opacity: number }
  | { kind: "chart"; x: number; y: number; width: number; height: number; svg: string; canvas: HTMLCanvasElement };

interface Font { size: number; weight: string; family: string }

const SKIPPED = ".glass, .unseen, button:not(.key-line):not(.event-mark):not(.tag):not(.head), input, select, .segments, summary, .tip";

/** Everything visible in `root`, from its own corner, in drawing order. */
export function marksOf(root: Element): Mark[] {
  const origin = root.getBoundingClientRect();
  const marks: Mark[] = [];
  const walk = (element: Element, faded: number): void => {
    if (element.matches(SKIPPED)) return;
    const style = getComputedStyle(element);
    if (style.display === "none" || style.visibility === "hidden") return;
    const opacity = faded * Number(style.opacity);
    const box = element.getBoundingClientRect();
    const [x, y] = [box.left - origin.left, box.top - origin.top];
    if (element instanceof HTMLCanvasElement) {
      const figure = element.closest("[data-picture]");
      const svg = (figure && sources.get(figure)?.svg?.(Math.round(box.width), Math.round(box.height))) ?? "";
      marks.push({ kind: "chart", x, y, width: box.width, height: box.height, svg, canvas: element });
      return;
    }
    if (element instanceof SVGSVGElement) {
      drawing(element, x, y, box, opacity, marks);
      return;
    }
    const painted = coloursOf(style.backgroundImage);
    const hatched = style.backgroundImage.startsWith("repeating");
    const fill = colourOf(style.backgroundColor) || (hatched ? painted.at(-1) ?? "" : "");
    const stroke = style.borderTopWidth !== "0px" && style.borderTopStyle !== "none" && style.borderLeftWidth !== "0px"
      ? colourOf(style.borderTopColor) : style.boxShadow.includes("inset") ? coloursOf(style.boxShadow)[0] ?? "" : "";
    if ((fill || stroke || painted.length > 0) && element !== root) {
      marks.push({
        kind: "box", x, y, width: box.width, height: box.height, fill, stroke, opacity,
        radius: Math.min(parseFloat(style.borderTopLeftRadius) || 0, box.height / 2),
        ...(painted.length === 0 ? {} : hatched ? { hatch: painted[0] as string } : { ramp: painted }),
      });
    } else if (style.borderTopWidth !== "0px" && style.borderTopStyle !== "none" && element !== root) {
      marks.push({ kind: "box", x, y, width: box.width, height: parseFloat(style.borderTopWidth), fill: colourOf(style.borderTopColor), stroke: "", radius: 0, opacity });
    }
    for (const child of element.childNodes) {
      if (child instanceof Text) texts(child, style, origin, opacity, marks);
      else if (child instanceof Element) walk(child, opacity);
    }
  };
  walk(root, 1);
  return marks;
}

/** One mark a line of text, as the browser broke it. */
function texts(node: Text, style: CSSStyleDeclaration, origin: DOMRect, opacity: number, marks: Mark[]): void {
  const text = node.data;
  if (text.trim() === "") return;
  const range = document.createRange();
  const font = { size: parseFloat(style.fontSize), weight: style.fontWeight, family: style.fontFamily };
  let line: { top: number; bottom: number; left: number; text: string } | null = null;
  const flush = () => {
    if (line && line.text.trim() !== "") {
      const y = (line.top + line.bottom) / 2 - origin.top + font.size * 0.35;
      marks.push({ kind: "text", x: line.left - origin.left, y, text: line.text.replace(/\s+/g, " ").trimEnd(), fill: colourOf(style.color), font, opacity });
    }
  };
  for (let i = 0; i < text.length; i += 1) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const box = range.getClientRects()[0];
    if (!box || box.width === 0) {
      if (line) line.text += text[i];
      continue;
    }
    if (line && Math.abs(box.top - line.top) < 2) line.text += text[i];
    else {
      flush();
      line = { top: box.top, bottom: box.bottom, left: box.left, text: text[i] as string };
    }
  }
  flush();
}

/** The shapes of an inline drawing, which may stretch. */
function drawing(svg: SVGSVGElement, x: number, y: number, box: DOMRect, opacity: number, marks: Mark[]): void {
  const view = svg.viewBox.baseVal;
  const [scaleX, scaleY] = view?.width ? [box.width / view.width, box.height / view.height] : [1, 1];
  for (const shape of svg.querySelectorAll("path, line, rect, circle, text")) {
    const style = getComputedStyle(shape);
    const faded = opacity * Number(style.opacity);
    const n = (name: string) => Number(shape.getAttribute(name) ?? 0);
    if (shape.tagName === "text") {
      const place = shape.getBoundingClientRect();
      const size = parseFloat(style.fontSize) * Math.min(scaleX, scaleY);
      const corner = svg.getBoundingClientRect();
      marks.push({ kind: "text", x: x + place.left - corner.left, y: y + place.bottom - corner.top - 0.25 * size, text: shape.textContent ?? "", fill: colourOf(style.fill), font: { size, weight: style.fontWeight, family: style.fontFamily }, opacity: faded });
      continue;
    }
    const d = shape.tagName === "path" ? shape.getAttribute("d") ?? ""
      : shape.tagName === "line" ? `M${n("x1")} ${n("y1")}L${n("x2")} ${n("y2")}`
      : shape.tagName === "rect" ? `M${n("x")} ${n("y")}h${n("width")}v${n("height")}h${-n("width")}Z`
      : `M${n("cx") - n("r")} ${n("cy")}a${n("r")} ${n("r")} 0 1 0 ${2 * n("r")} 0a${n("r")} ${n("r")} 0 1 0 ${-2 * n("r")} 0Z`;
    const dash = style.strokeDasharray === "none" ? [] : style.strokeDasharray.split(",").map(parseFloat);
    marks.push({ kind: "path", x, y, scaleX, scaleY, d, fill: colourOf(style.fill), stroke: colourOf(style.stroke), width: parseFloat(style.strokeWidth) || 1, dash, opacity: faded });
  }
}

/** A colour as it can be written in SVG 1.1; empty where nothing would be seen. */
export function colourOf(text: string): string {
  if (text === "" || text === "none" || text === "transparent" || /,\s*0\)$|\/\s*0\)$/.test(text)) return "";
  const paper = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  if (!paper) return "";
  paper.fillStyle = text;
  paper.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data as unknown as [number, number, number, number];
  return a === 255 ? `rgb(${r},${g},${b})` : a === 0 ? "" : `rgba(${r},${g},${b},${(a / 255).toFixed(3)})`;
}

/** The colours in a gradient or a shadow, in order. */
function coloursOf(text: string): string[] {
  return (text.match(/(?:rgba?|oklab|color)\([^)]*\)/g) ?? []).map(colourOf).filter(Boolean);
}

/** The table of an element: what it registered, else the cells, by their exact values where given. */
export function tableOf(element: Element): TableData {
  const registered = sources.get(element)?.table?.();
  if (registered) return registered;
  const [head, ...rows] = [...element.querySelectorAll("tr")].map((row) => [...row.querySelectorAll<HTMLElement>("th, td")].map(valueOf));
  return { columns: (head ?? []).map(String), rows };
}

function valueOf(cell: HTMLElement): Value {
  const exact = cell.dataset["value"];
  if (exact === undefined) return cell.innerText.replace(/\s+/g, " ").trim();
  return exact === "" ? null : Number.isFinite(Number(exact)) ? Number(exact) : exact;
}
