/**
 * Pictures as files: the marks that stand on the page become SVG, or are painted on a canvas for PNG.
 * Nothing is fetched and no image is loaded, so the server's policy stays as strict as it is.
 */

import { colourOf, marksOf, tableOf, type Mark } from "./marks";
import { fileName, toCsv, toJson, type TableData } from "./tables";

const PADDING = 16;
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

/** `name` is its title; else what the element is called. */
export function toSvg(root: Element, name = nameOf(root)): string {
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
    + `<title>${escape(name)}</title><rect x="${-PADDING}" y="${-PADDING}" width="${width}" height="${height}" fill="${ground}"/>${parts.join("\n")}</svg>\n`;
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

export type Kind = "PNG" | "SVG" | "CSV" | "JSON";

const TYPES: Record<Kind, string> = {
  PNG: "image/png", SVG: "image/svg+xml", CSV: "text/csv", JSON: "application/json",
};

/** Save it; the file's name begins with `files`. */
export async function download(element: Element, kind: Kind, files: string): Promise<void> {
  const content = kind === "PNG" ? await pngOf(element) : kind === "SVG" ? toSvg(element) : contentOf(tableOf(element), kind);
  give(content, `${files} ${nameOf(element)}`, kind);
}

export function contentOf(table: TableData, kind: "CSV" | "JSON"): string {
  return kind === "CSV" ? toCsv(table) : toJson(table);
}

/** Hand a file of this name to the browser. */
export function give(content: string | Blob, name: string, kind: Kind): void {
  const blob = typeof content === "string" ? new Blob([content], { type: `${TYPES[kind]};charset=utf-8` }) : content;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${fileName(name)}.${kind.toLowerCase()}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function pngOf(element: Element): Promise<Blob> {
  return new Promise((resolve, reject) => toCanvas(element).toBlob(
    (blob) => blob ? resolve(blob) : reject(new Error("the picture is too large for this browser")), TYPES.PNG));
}
