// The whole network, to scale: a box a layer that has weights or makes a new shape, and below it the others.
import { shapeText, svg } from "explorer/dom.js";

const TALL = 120; // px of the largest height
const DEEP = 64; // px of the largest depth
const SLANT = 0.35; // of a box's width, as it goes into the page
const GAP = 106;
const LONGEST = 14; // characters of a name
let drawn = 0; // networks so far

function box(row, scale) {
  if (row.output.length === 1) {
    return { height: Math.max(3, TALL * (row.output[0] / scale.units)), depth: 10, slant: 0 };
  }
  const [height, width, depth] = row.output;
  return {
    height: Math.max(3, (TALL * height) / scale.side),
    depth: Math.max(3, (DEEP * depth) / scale.depth),
    slant: ((SLANT * TALL * width) / scale.side) * 0.6,
  };
}

const ownBox = (row) => row.weights > 0 || String(row.input) !== String(row.output);

function drawing({ height, depth, slant }, x, base, kind) {
  const top = base - height;
  const face = `M${x},${top}h${depth}v${height}h${-depth}z`;
  const lid = `M${x},${top}l${slant},${-slant}h${depth}l${-slant},${slant}z`;
  const side = `M${x + depth},${top}l${slant},${-slant}v${height}l${-slant},${slant}z`;
  return [lid, side, face].map((d) => svg("path", { d, class: `box ${kind}` }));
}

// `choose` is told a layer's name, `hint` the layer that is pointed at, or null; without them it is to be seen only.
export function drawNetwork(outcome, { chosen = null, choose = null, hint = null, label }) {
  const arrow = `arrow-${(drawn += 1)}`; // there may be several on a page
  const rows = outcome.summary.layers;
  const input = outcome.summary.network.input;
  const volumes = [input, ...rows.map((row) => row.output).filter((shape) => shape.length === 3)];
  const scale = {
    side: Math.max(...volumes.map((shape) => Math.max(shape[0], shape[1]))),
    depth: Math.max(...volumes.map((shape) => shape[2])),
    units: Math.max(1, ...rows.filter((row) => row.output.length === 1).map((row) => row.output[0])),
  };
  const base = TALL * (1 + SLANT) + 8;
  let [x, last, below, deepest] = [8, 0, 0, 0];
  const parts = [];

  const picture = box({ output: input }, scale);
  parts.push(svg("g", {}, drawing(picture, x, base, "picture"), caption(x, base + 18, ["picture", shapeText(input)])));
  x += picture.depth + picture.slant + 74;

  for (const row of rows) {
    const told = `${row.name}, ${shapeText(row.output)}. ${row.sentence}`;
    const active = !choose ? { class: "layer", role: "img", "aria-label": told } : {
      class: `layer${row.name === chosen ? " chosen" : ""}`,
      role: "button",
      tabindex: 0,
      "data-layer": row.name,
      "aria-label": told,
      "aria-pressed": String(row.name === chosen),
      onclick: () => choose(row.name),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose(row.name);
      },
      onfocus: () => hint(row),
      onmouseenter: () => hint(row),
      onmouseleave: () => hint(null),
    };
    if (ownBox(row)) {
      const size = box(row, scale);
      parts.push(svg("path", { d: `M${x - 30},${base - 12}h20`, class: "arrow", "marker-end": `url(#${arrow})` }));
      const flows = { x: x - 8, y: base - 20, class: "quiet flow" };
      parts.push(svg("text", flows, shapeText(row.input)));
      const text = [row.name, shapeText(row.output)];
      const hit = svg("rect", { x: x - 6, y: 4, width: GAP - 28, height: base + 32, class: "hit" });
      parts.push(svg("g", active, hit, drawing(size, x, base, row.kind), caption(x, base + 18, text)));
      last = x;
      x += Math.max(size.depth + size.slant, 30) + GAP - 30;
      below = 0;
    } else {
      below += 1;
      deepest = Math.max(deepest, below);
      const y = base + 26 + 20 * below;
      const hit = svg("rect", { x: last - 6, y: y - 5, width: 70, height: 18, rx: 4, class: "hit chip" });
      parts.push(svg("g", active, hit, svg("text", { x: last, y: y + 8 }, svg("title", {}, row.name), clipped(row.name))));
    }
  }
  if (outcome.breaks) {
    parts.push(svg("path", { d: `M${x},${base - 44}l32,32m0,-32l-32,32`, class: "broken" }));
    parts.push(caption(x, base + 18, [outcome.breaks.layer]));
    x += 60;
  }
  const height = base + 44 + 20 * deepest;
  const marker = svg("marker", { id: arrow, viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 6, markerHeight: 6 },
    svg("path", { d: "M0,0L6,3L0,6z" }));
  return svg("svg", { class: "network", width: x, height, viewBox: `0 0 ${x} ${height}`, role: "group", "aria-label": label },
    svg("defs", {}, marker), parts);
}

// Long names end in dots, so that none lies over the next; the whole is what the layer is called to who cannot see it.
const clipped = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);

function caption(x, y, lines) {
  return lines.map((line, index) =>
    svg("text", { x, y: y + 14 * index, class: index ? "quiet" : "" }, svg("title", {}, line), clipped(line)));
}
