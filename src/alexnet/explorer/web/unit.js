// One value: the window it looked at, the kernel, the products and their sum, beside what the network computed.
import { count, extent, h, short } from "explorer/dom.js";
import { arithmetic } from "explorer/arithmetic.js";
import { inkOn, sequential } from "explorer/colours.js";
import { source } from "explorer/source.js";

const LISTED = 20; // of the terms of a sum that has no window

export async function unitFigures(index, key, layer, row, before, found, at) {
  const input = await source.maps(index, key, before);
  const weighted = layer.kind === "conv" || layer.kind === "dense";
  const kernel = weighted ? await source.kernel(index, layer.name, at.channel) : null;
  const made = arithmetic(layer, input, at, kernel);
  const network = valueAt(found, at);
  return h("div", { class: "unit" },
    h("h3", {}, "This value's arithmetic"),
    told(layer, made),
    made.rule === "sum" && layer.kind === "conv" && windows(layer, made, input),
    made.rule === "sum" && layer.kind === "dense" && largest(made.terms),
    (made.rule === "max" || made.rule === "mean") && numbers(made.terms, (term) => term.value, `its window on ${before}`),
    h("p", { class: "result" }, "computed here: ", h("strong", { "data-sum": made.result }, short(made.result)),
      ", by the network: ", h("strong", { "data-network": network }, short(network))),
  );
}

export function valueAt({ shape, values }, at) {
  const [, height, width] = shape;
  return shape.length === 1 ? values[at.channel] : values[(at.channel * height + at.row) * width + at.column];
}

function told(layer, made) {
  const [first] = made.terms;
  switch (made.rule) {
    case "sum":
      return h("p", {}, `${count(made.terms.length)} products, added up, and the bias `,
        `${short(made.bias)}: ${short(made.result - made.bias)} + ${short(made.bias)} = ${short(made.result)}.`);
    case "max":
      return h("p", {}, `The largest of ${made.terms.length} values.`);
    case "mean":
      return h("p", {}, `The mean of ${made.terms.length} values.`);
    case "relu":
      return h("p", {}, `max(0, ${short(first.value)}) = ${short(made.result)}.`);
    case "lrn":
      // The mean is over the whole size, also where fewer channels lie beside.
      return h("p", {}, `${short(made.own)} / (${layer.k} + ${layer.alpha}${layer.mean ? ` / ${layer.size}` : ""} x the `,
        `sum of the squares of ${made.terms.length} neighbouring channels) ^ ${layer.beta} = `,
        `${short(made.own)} / ${short(made.divisor)} = ${short(made.result)}.`);
    default:
      return h("p", {}, `The value ${short(first.value)}, as it came.`);
  }
}

// A window's terms by input channel: the one that adds most is shown, the others can be chosen.
function windows(layer, made, input) {
  const sums = new Map();
  for (const term of made.terms) sums.set(term.channel, (sums.get(term.channel) ?? 0) + term.product);
  const order = [...sums].sort(([, one], [, other]) => Math.abs(other) - Math.abs(one));
  const shown = h("div", { class: "windows" });
  const show = (channel) => {
    const terms = made.terms.filter((term) => term.channel === channel);
    shown.replaceChildren(
      numbers(terms, (term) => term.value, "what it sees"), h("span", { class: "sign" }, "×"),
      numbers(terms, (term) => term.weight, "its kernel"), h("span", { class: "sign" }, "="),
      numbers(terms, (term) => term.product, `products: ${short(sums.get(channel))}`));
  };
  const choice = h("select", { onchange: (event) => show(Number(event.target.value)) },
    order.map(([channel, total]) => h("option", { value: channel }, `channel ${channel}: ${short(total)}`)));
  show(order[0][0]);
  return h("div", {}, h("label", {}, `Of its ${order.length} input channels, by what they add: `, choice), shown);
}

function numbers(terms, value, title) {
  const bounds = extent(terms.map(value));
  const lines = new Map();
  for (const term of terms) lines.set(term.row, [...(lines.get(term.row) ?? []), term]);
  return h("figure", {}, h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": title },
    h("table", { class: "numbers" }, h("tbody", {}, [...lines.values()].map((line) => h("tr", {}, line.map((term) => {
      const share = (value(term) - bounds[0]) / (bounds[1] - bounds[0] || 1);
      const colour = sequential(share).map(Math.round);
      const style = { background: `rgb(${colour})`, color: inkOn(colour) };
      return h("td", { style, title: term.outside ? "in the padding" : null }, short(value(term)));
    })))))), h("figcaption", {}, title));
}

function largest(terms) {
  const order = [...terms].sort((one, other) => Math.abs(other.product) - Math.abs(one.product)).slice(0, LISTED);
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Largest products" }, h("table", {},
    h("thead", {}, h("tr", {}, ["input", "value", "weight", "product"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, order.map((term) => h("tr", {}, h("td", {}, term.channel),
      [term.value, term.weight, term.product].map((number) => h("td", {}, short(number))))))));
}
