// What a layer makes of the picture: its maps, one of them large, and the value that is chosen on it.
import { h, roving, shapeText, short } from "explorer/dom.js";
import { paint } from "explorer/colours.js";

const SHOWN = 96; // maps at first
const unfolded = new Set(); // the layers of which all are shown

// A vector is laid out as rows of a square.
export function grid(shape) {
  if (shape.length === 3) return { depth: shape[0], height: shape[1], width: shape[2] };
  const width = Math.ceil(Math.sqrt(shape[0]));
  return { depth: 1, height: Math.ceil(shape[0] / width), width };
}

export function mapTiles(row, told, found, chosen, choose) {
  const { depth, height, width } = grid(found.shape);
  const bounds = [told.smallest, told.largest];
  const shape = found.shape.length === 3 ? [height, width, depth] : found.shape;
  const head = h("p", {}, `${shapeText(shape)} values from ${short(told.smallest)} to ${short(told.largest)}.`);
  if (found.shape.length === 1) return h("div", {}, head);
  const tiles = h("div", { class: "tiles", role: "group", "aria-label": `Maps of ${row.name}` });
  const items = [];
  const strongest = new Set(told.strongest);
  const tile = (channel) => {
    const canvas = paint(h("canvas"), found.values, channel * height * width, height, width, ...bounds);
    const mark = strongest.has(channel) ? ", one of the strongest" : "";
    return h("button", {
      type: "button", "aria-label": `Map ${channel}${mark}`, "data-channel": channel,
      "aria-pressed": String(channel === chosen), class: mark ? "strong" : null, title: `map ${channel}${mark}`,
      onclick: () => choose(channel), tabindex: -1,
    }, canvas);
  };
  const fill = () => {
    const all = Array.from({ length: depth }, (_, channel) => channel);
    const shown = new Set([...all.slice(0, unfolded.has(row.name) ? depth : SHOWN), ...told.strongest, chosen]);
    items.splice(0, items.length, ...all.filter((channel) => shown.has(channel)).map(tile));
    tiles.replaceChildren(...items);
  };
  fill();
  roving(tiles, items);
  const unfold = (event) => {
    unfolded.add(row.name);
    fill();
    items[SHOWN].focus();
    event.target.remove();
  };
  const more = items.length < depth && h("button", { type: "button", onclick: unfold }, `All ${depth} maps`);
  return h("div", {}, head, tiles, more || null,
    h("p", { class: "quiet" }, "Framed: the strongest. All on one scale, dark for the smallest value."));
}

// The chosen map, large. A click, or the arrow keys, choose a value on it.
export function largeMap(row, told, found, at, choose) {
  const { height, width } = grid(found.shape);
  const vector = found.shape.length === 1;
  const offset = vector ? 0 : at.channel * height * width;
  const values = vector ? pad(found.values, height * width) : found.values;
  const canvas = paint(h("canvas", { class: "large" }), values, offset, height, width, told.smallest, told.largest);
  const place = vector ? { row: Math.floor(at.channel / width), column: at.channel % width } : at;
  const marker = h("span", { class: "marker", style: {
    left: `${(100 * place.column) / width}%`, top: `${(100 * place.row) / height}%`,
    width: `${100 / width}%`, height: `${100 / height}%`,
  } });
  const go = (line, column) => {
    if (line < 0 || column < 0 || line >= height || column >= width) return;
    if (!vector) choose({ ...at, row: line, column });
    else if (line * width + column < found.shape[0]) choose({ channel: line * width + column, row: 0, column: 0 });
  };
  const board = h("div", {
    class: "board", tabindex: 0, role: "group", "data-focus": "board",
    "aria-label": vector ? `Values of ${row.name}: arrow keys choose one` : `Map ${at.channel} of ${row.name}: arrow keys choose a value`,
    onclick: (event) => {
      const edge = canvas.getBoundingClientRect();
      go(Math.floor(((event.clientY - edge.top) / edge.height) * height),
        Math.floor(((event.clientX - edge.left) / edge.width) * width));
    },
    onkeydown: (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      go(place.row + step[0], place.column + step[1]);
    },
  }, canvas, marker);
  const value = values[offset + place.row * width + place.column];
  const where = vector ? `unit ${at.channel}` : `map ${at.channel}, row ${at.row}, column ${at.column}`;
  return h("figure", {}, board, h("figcaption", { role: "status" }, `${where}: ${short(value)}`));
}

// What is no value has no colour.
function pad(values, length) {
  if (values.length === length) return values;
  const padded = new Float32Array(length).fill(NaN);
  padded.set(values);
  return padded;
}
