// One layer: what it does, its figures with their arithmetic, its share of the whole, its kernels.
import { count, h, percent, roving, shapeText } from "explorer/dom.js";
import { paintKernel } from "explorer/colours.js";
import { source } from "explorer/source.js";

const words = (name) => name.replaceAll("_", " ").replace("macs", "MACs");

export function layerFigures(model, row) {
  const share = model.shares[row.name];
  const totals = model.outcome.summary.totals;
  return h("div", {},
    h("h2", {}, row.name, " ", h("small", {}, `${row.kind}, ${shapeText(row.input)} to ${shapeText(row.output)}`)),
    h("p", {}, row.sentence),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Figures and their arithmetic" },
      h("table", {},
        h("tbody", {}, Object.entries(row.formulas).map(([name, formula]) =>
          h("tr", {}, h("th", { scope: "row" }, words(name)), h("td", { class: "formula" }, formula)))))),
    share && h("p", {},
      `${percent(share.weights)} of the network's ${count(totals.weights)} weights, `,
      `${percent(share.macs)} of its ${count(totals.macs)} multiply-adds.`),
    row.fully_connected_weights && h("p", {},
      `If every output saw every input: ${count(row.fully_connected_weights)} weights, `,
      `${count(Math.round(row.fully_connected_weights / row.weights))} times as many.`),
  );
}

// The kernels of a convolution over colours, as pictures; nothing for other layers.
export async function kernelPictures(index, row, choose) {
  const held = h("div", { class: "kernels" });
  if (row.kind !== "conv" || row.input[2] !== 3 || (row.groups ?? 1) !== 1) return held;
  const { shape, values } = await source.kernels(index, row.name);
  const [units, depth, height, width] = shape;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  held.append(h("h3", {}, `Its ${units} kernels`),
    h("p", { class: "quiet" }, "Grey is 0; brighter and darker are weights above and below it, all on one scale."));
  const tiles = Array.from({ length: units }, (_, unit) => {
    const canvas = paintKernel(h("canvas"), values, unit * depth * height * width, height, width, largest);
    return h("button", { type: "button", "aria-label": `Kernel ${unit}`, onclick: () => choose(unit) }, canvas);
  });
  held.append(h("div", { class: "tiles small" }, tiles));
  roving(held, tiles);
  return held;
}
