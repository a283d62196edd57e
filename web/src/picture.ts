/**
 * Pictures and tables as files: what stands on the page is measured and written down as marks
 * (boxes, texts, strokes), and the marks become SVG or are painted on a canvas for PNG. Nothing is
 * fetched and no image is loaded, so the server's policy stays as strict as it is.
 */

export type Value = string | number | null;

export interface TableData {
  columns: string[];
  rows: Value[][];
}

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

type Mark =
  | { kind: "box"; x: number; y: number; width: number; height: number; fill: string; stroke: string; radius: number; opacity: number; hatch?: string; ramp?: string[] }
  | { kind: "text"; x: number; y: number; text: string; fill: string; font: Font; opacity: number }
  | { kind: "path"; x: number; y: number; scaleX: number; scaleY: number; d: string; fill: string; stroke: string; width: number; dash: number[]; opacity: number }
  | { kind: "chart"; x: number; y: number; width: number; height: number; svg: string; canvas: HTMLCanvasElement };

interface Font { size: number; weight: string; family: string }

const PADDING = 16;
const SKIPPED = ".glass, .unseen, button:not(.key-line):not(.event-mark), input, select, .segments, summary, .tip";

/** Everything visible in `root`, from its own corner, in drawing order. */
function marksOf(root: Element): Mark[] {
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
function colourOf(text: string): string {
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

const HATCH_PIXELS = 7;

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "");
}

function extent(root: Element): { width: number; height: number; ground: string } {
  const box = root.getBoundingClientRect();
  const ground = colourOf(getComputedStyle(document.documentElement).getPropertyValue("--surface"));
  return { width: Math.ceil(box.width) + 2 * PADDING, height: Math.ceil(box.height) + 2 * PADDING, ground };
}

type Box = Extract<Mark, { kind: "box" }>;

function boxSvg(mark: Box, id: string): string {
  const rect = (fill: string, stroke: string) => `<rect x="${r(mark.x)}" y="${r(mark.y)}" width="${r(mark.width)}" height="${r(mark.height)}" rx="${r(mark.radius)}" fill="${fill || "none"}"${stroke ? ` stroke="${stroke}"` : ""} opacity="${mark.opacity}"/>`;
  if (mark.ramp) {
    const stops = mark.ramp.map((colour, i) => `<stop offset="${i / Math.max(1, (mark.ramp as string[]).length - 1)}" stop-color="${colour}"/>`);
    return `<linearGradient id="${id}">${stops.join("")}</linearGradient>${rect(`url(#${id})`, mark.stroke)}`;
  }
  if (mark.hatch) {
    const pattern = `<pattern id="${id}" width="${HATCH_PIXELS}" height="${HATCH_PIXELS}" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.5" height="${HATCH_PIXELS}" fill="${mark.hatch}"/></pattern>`;
    return pattern + rect(mark.fill, mark.stroke) + rect(`url(#${id})`, "");
  }
  return rect(mark.fill, mark.stroke);
}

export function toSvg(root: Element): string {
  const { width, height, ground } = extent(root);
  const parts = marksOf(root).map((mark, i) => {
    switch (mark.kind) {
      case "box":
        return boxSvg(mark, `fill-${i}`);
      case "text":
        return `<text x="${r(mark.x)}" y="${r(mark.y)}" fill="${mark.fill}" font-size="${mark.font.size}" font-weight="${mark.font.weight}" font-family="${escape(mark.font.family)}" opacity="${mark.opacity}">${escape(mark.text)}</text>`;
      case "path":
        return `<path transform="translate(${r(mark.x)} ${r(mark.y)}) scale(${mark.scaleX} ${mark.scaleY})" d="${escape(mark.d)}" fill="${mark.fill || "none"}" stroke="${mark.stroke || "none"}" stroke-width="${mark.width}"${mark.dash.length ? ` stroke-dasharray="${mark.dash.join(" ")}"` : ""} vector-effect="non-scaling-stroke" opacity="${mark.opacity}"/>`;
      case "chart":
        return `<g transform="translate(${r(mark.x)} ${r(mark.y)})">${mark.svg}</g>`;
    }
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${-PADDING} ${-PADDING} ${width} ${height}">`
    + `<title>${escape(nameOf(root))}</title><rect x="${-PADDING}" y="${-PADDING}" width="${width}" height="${height}" fill="${ground}"/>${parts.join("\n")}</svg>\n`;
}

const PNG_SCALE = 2;

export function toCanvas(root: Element): HTMLCanvasElement {
  const { width, height, ground } = extent(root);
  const canvas = document.createElement("canvas");
  canvas.width = width * PNG_SCALE;
  canvas.height = height * PNG_SCALE;
  const paper = canvas.getContext("2d") as CanvasRenderingContext2D;
  paper.scale(PNG_SCALE, PNG_SCALE);
  paper.fillStyle = ground;
  paper.fillRect(0, 0, width, height);
  paper.translate(PADDING, PADDING);
  for (const mark of marksOf(root)) {
    paper.save();
    if (mark.kind === "chart") paper.drawImage(mark.canvas, mark.x, mark.y, mark.width, mark.height);
    else paintOn(paper, mark);
    paper.restore();
  }
  return canvas;
}

function paintOn(paper: CanvasRenderingContext2D, mark: Exclude<Mark, { kind: "chart" }>): void {
  paper.globalAlpha = mark.opacity;
  paper.fillStyle = mark.fill || "transparent";
  if (mark.kind === "text") {
    paper.font = `${mark.font.weight} ${mark.font.size}px ${mark.font.family}`;
    paper.fillText(mark.text, mark.x, mark.y);
    return;
  }
  if (mark.kind === "box") {
    if (mark.ramp) {
      const ramp = paper.createLinearGradient(mark.x, 0, mark.x + mark.width, 0);
      mark.ramp.forEach((colour, i, { length }) => ramp.addColorStop(i / Math.max(1, length - 1), colour));
      paper.fillStyle = ramp;
    }
    paper.beginPath();
    paper.roundRect(mark.x, mark.y, mark.width, mark.height, mark.radius);
    paper.fill();
    if (mark.hatch) hatch(paper, mark, mark.hatch);
    if (mark.stroke) {
      paper.strokeStyle = mark.stroke;
      paper.stroke();
    }
    return;
  }
  const path = new Path2D();
  path.addPath(new Path2D(mark.d), new DOMMatrix().translate(mark.x, mark.y).scale(mark.scaleX, mark.scaleY));
  if (mark.fill) paper.fill(path);
  if (mark.stroke) {
    paper.strokeStyle = mark.stroke;
    paper.lineWidth = mark.width;
    paper.setLineDash(mark.dash);
    paper.stroke(path);
  }
}

/** Slanted strokes inside of a box whose outline is the present path. */
function hatch(paper: CanvasRenderingContext2D, { x, y, width, height }: Box, colour: string): void {
  paper.save();
  paper.clip();
  paper.strokeStyle = colour;
  paper.lineWidth = 1.5;
  const lines = new Path2D();
  for (let at = x - height; at < x + width; at += HATCH_PIXELS * Math.SQRT2) {
    lines.moveTo(at, y + height);
    lines.lineTo(at + height, y);
  }
  paper.stroke(lines);
  paper.restore();
}

function r(x: number): string {
  return String(Math.round(100 * x) / 100);
}

/** What the element is called in the menu and in the file's name. */
export function nameOf(element: Element): string {
  return (element as HTMLElement).dataset["picture"] ?? (element as HTMLElement).dataset["data"] ?? "";
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

/** A cell that a spreadsheet would take for a formula is kept as text. */
export function toCsv({ columns, rows }: TableData): string {
  const cell = (value: Value) => {
    if (value === null) return "";
    const text = typeof value === "string" && /^[=+@\t\r-]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

/** An object a row. A number that is not finite is its name, as everywhere in heldout. */
export function toJson({ columns, rows }: TableData): string {
  const plain = (value: Value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, plain(row[i] ?? null)]))), null, 1) + "\n";
}

export type Kind = "PNG" | "SVG" | "CSV" | "JSON";

const TYPES: Record<Kind, string> = {
  PNG: "image/png", SVG: "image/svg+xml", CSV: "text/csv", JSON: "application/json",
};

export async function download(element: Element, kind: Kind, run: string): Promise<void> {
  const text = kind === "SVG" ? toSvg(element) : kind === "CSV" ? toCsv(tableOf(element)) : kind === "JSON" ? toJson(tableOf(element)) : null;
  const blob = text === null ? await pngOf(element) : new Blob([text], { type: `${TYPES[kind]};charset=utf-8` });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${fileName(`${run} ${nameOf(element)}`)}.${kind.toLowerCase()}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function pngOf(element: Element): Promise<Blob> {
  return new Promise((resolve, reject) => toCanvas(element).toBlob(
    (blob) => blob ? resolve(blob) : reject(new Error("the picture is too large for this browser")), TYPES.PNG));
}

export function fileName(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 80);
}
