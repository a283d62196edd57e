/** What charts are drawn on: a canvas for the screen, or SVG text for a file. Text stays text on both. */

export interface Stroke {
  stroke: string;
  width: number;
  dash?: readonly number[];
  opacity?: number;
}

export interface Lettering {
  fill: string;
  align?: "left" | "center" | "right";
  baseline?: "middle" | "bottom" | "top";
  bold?: boolean;
}

export interface Pen {
  moveTo: (x: number, y: number) => void;
  lineTo: (x: number, y: number) => void;
}

export interface Paper {
  path: (trace: (pen: Pen) => void, stroke: Stroke) => void;
  rect: (x: number, y: number, width: number, height: number, fill: string, opacity: number) => void;
  /** Many of one look at once. */
  circles: (centres: readonly (readonly [number, number])[], radius: number, look: { fill: string; opacity?: number } | Stroke) => void;
  text: (text: string, x: number, y: number, look: Lettering) => void;
  /** Only what lies in the box is seen of what `draw` draws. */
  within: (x: number, y: number, width: number, height: number, draw: () => void) => void;
  widthOf: (text: string) => number;
}

export const FONT_PIXELS = 11;
const SOLID: number[] = [];

/** On a canvas whose pixels are `scale` times as fine as the page's. */
export function canvasPaper(paper: CanvasRenderingContext2D, family: string, scale: number): Paper {
  const plain = `${FONT_PIXELS}px ${family}`;
  const bold = `600 ${plain}`;
  let font = "";
  const use = (wanted: string) => {
    if (font === wanted) return; // setting it is dear
    paper.font = wanted;
    font = wanted;
  };
  const style = ({ stroke, width, dash, opacity = 1 }: Stroke) => {
    paper.strokeStyle = stroke;
    paper.lineWidth = width;
    paper.globalAlpha = opacity;
    paper.setLineDash(dash ? [...dash] : SOLID);
  };
  paper.setTransform(scale, 0, 0, scale, 0, 0);
  paper.clearRect(0, 0, paper.canvas.width / scale, paper.canvas.height / scale);
  paper.lineJoin = "bevel";
  return {
    path(trace, stroke) {
      style(stroke);
      paper.beginPath();
      trace(stroke.dash?.length ? paper : inPieces(paper)); // dashes would begin anew
      paper.stroke();
    },
    rect(x, y, width, height, fill, opacity) {
      paper.globalAlpha = opacity;
      paper.fillStyle = fill;
      paper.fillRect(x, y, width, height);
    },
    circles(centres, radius, look) {
      paper.beginPath();
      for (const [x, y] of centres) {
        paper.moveTo(x + radius, y);
        paper.arc(x, y, radius, 0, 2 * Math.PI);
      }
      if ("stroke" in look) {
        style(look);
        paper.stroke();
        return;
      }
      paper.globalAlpha = look.opacity ?? 1;
      paper.fillStyle = look.fill;
      paper.fill();
    },
    text(text, x, y, look) {
      use(look.bold ? bold : plain);
      paper.globalAlpha = 1;
      paper.fillStyle = look.fill;
      paper.textAlign = look.align ?? "left";
      paper.textBaseline = look.baseline ?? "middle";
      paper.fillText(text, x, y);
    },
    within(x, y, width, height, draw) {
      paper.save();
      paper.beginPath();
      paper.rect(x, y, width, height);
      paper.clip();
      draw();
      paper.restore();
      font = "";
    },
    widthOf: (text) => widthOf(text, family),
  };
}

/** Rasterising a jagged line takes the square of its length, about: 20 charts of 800 points 23 ms whole, 12 in pieces. */
const PIECE_LINES = 32;

/** A pen that strokes what it has drawn again and again. */
function inPieces(paper: CanvasRenderingContext2D): Pen {
  let [lines, x, y] = [0, 0, 0];
  return {
    moveTo(toX, toY) {
      paper.moveTo(toX, toY);
      [x, y] = [toX, toY];
    },
    lineTo(toX, toY) {
      if (lines === PIECE_LINES) {
        paper.stroke();
        paper.beginPath();
        paper.moveTo(x, y);
        lines = 0;
      }
      paper.lineTo(toX, toY);
      [x, y] = [toX, toY];
      lines += 1;
    },
  };
}

/** Names boxes apart: several charts may stand in one file. */
let clips = 0;

/** An SVG of this size; `svg()` gives what was drawn. */
export function svgPaper(width: number, height: number, family: string): Paper & { svg: () => string } {
  const parts: string[] = [];
  const look = ({ stroke, width: wide, dash, opacity = 1 }: Stroke) =>
    `fill="none" stroke="${escaped(stroke)}" stroke-width="${wide}"${dash?.length ? ` stroke-dasharray="${dash.join(" ")}"` : ""}${opacity < 1 ? ` opacity="${opacity}"` : ""}`;
  return {
    path(trace, stroke) {
      let d = "";
      trace({ moveTo: (x, y) => { d += `M${r(x)} ${r(y)}`; }, lineTo: (x, y) => { d += `L${r(x)} ${r(y)}`; } });
      if (d) parts.push(`<path d="${d}" stroke-linejoin="bevel" ${look(stroke)}/>`);
    },
    rect(x, y, wide, high, fill, opacity) {
      parts.push(`<rect x="${r(x)}" y="${r(y)}" width="${r(wide)}" height="${r(high)}" fill="${escaped(fill)}" opacity="${opacity}"/>`);
    },
    circles(centres, radius, how) {
      const paint = "stroke" in how ? look(how) : `fill="${escaped(how.fill)}" opacity="${how.opacity ?? 1}"`;
      parts.push(...centres.map(([x, y]) => `<circle cx="${r(x)}" cy="${r(y)}" r="${radius}" ${paint}/>`));
    },
    text(text, x, y, { fill, align = "left", baseline = "middle", bold }) {
      const anchor = { left: "start", center: "middle", right: "end" }[align];
      const down = { middle: 0.35, bottom: -0.2, top: 0.8 }[baseline] * FONT_PIXELS;
      parts.push(`<text x="${r(x)}" y="${r(y + down)}" fill="${escaped(fill)}" text-anchor="${anchor}" font-size="${FONT_PIXELS}"${bold ? " font-weight=\"600\"" : ""} font-family="${escaped(family)}">${escaped(text)}</text>`);
    },
    within(x, y, wide, high, draw) {
      clips += 1;
      const id = `clip-${clips}`;
      parts.push(`<clipPath id="${id}"><rect x="${r(x)}" y="${r(y)}" width="${r(wide)}" height="${r(high)}"/></clipPath><g clip-path="url(#${id})">`);
      draw();
      parts.push("</g>");
    },
    widthOf: (text) => widthOf(text, family),
    svg: () => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${parts.join("")}</svg>`,
  };
}

let ruler: OffscreenCanvasRenderingContext2D | null = null;
const widths = new Map<string, number>();
const MOST_WIDTHS = 2000;

/** Measured once a text: an axis says the same numbers again and again. */
function widthOf(text: string, family: string): number {
  const key = `${family}\n${text}`;
  const known = widths.get(key);
  if (known !== undefined) return known;
  ruler ??= new OffscreenCanvas(1, 1).getContext("2d");
  if (!ruler) return text.length * FONT_PIXELS * 0.6;
  ruler.font = `${FONT_PIXELS}px ${family}`;
  const width = ruler.measureText(text).width;
  if (widths.size > MOST_WIDTHS) widths.clear();
  widths.set(key, width);
  return width;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "");
}

function r(x: number): number {
  return Math.round(100 * x) / 100;
}
