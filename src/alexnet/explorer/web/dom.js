// Elements in one call: h("button", {onclick, "aria-label": "x"}, child, "text").
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value); // the page's policy allows no style attributes
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export const count = (number) => number.toLocaleString("en");
export const shapeText = (shape) => (shape.length === 1 ? count(shape[0]) : shape.join("x"));
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

// A number as it is read beside others: four digits that count.
export function short(number) {
  if (number === 0) return "0";
  const size = Math.abs(number);
  return size >= 1e5 || size < 1e-3 ? number.toExponential(2) : String(Number(number.toPrecision(4)));
}

// One of many is in the tab order; arrow keys go to the others.
export function roving(container, items, columns = () => 1) {
  items.forEach((item, index) => (item.tabIndex = index ? -1 : 0));
  container.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? items.length - 1 : at + (step ?? NaN);
    if (at < 0 || !(to >= 0 && to < items.length)) return;
    event.preventDefault();
    items[at].tabIndex = -1;
    items[to].tabIndex = 0;
    items[to].focus();
  });
}
