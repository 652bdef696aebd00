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

// The index of the largest, and the smallest and largest: of any number, which Math.max(...) is not.
export function argmax(numbers) {
  let best = 0;
  for (let index = 1; index < numbers.length; index += 1) if (numbers[index] > numbers[best]) best = index;
  return best;
}

export function extent(numbers) {
  return numbers.reduce(([least, most], each) => [Math.min(least, each), Math.max(most, each)], [Infinity, -Infinity]);
}

// What an element is known by when it has been made anew: not its place, which may have changed.
const known = (element) => `${element.tagName} ${element.dataset.focus || element.id
  || element.getAttribute("aria-label") || element.textContent}`;
const FOCUSABLE = "a[href], button:not(:disabled), input, select, [tabindex]";

// Other children, and the keyboard's focus where it was: on the same one made anew, else on the one in its place.
export function refill(container, ...children) {
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const among = () => [...container.querySelectorAll(FOCUSABLE)];
  const alike = () => among().filter((each) => each.tagName === focused.tagName);
  const place = focused && alike().indexOf(focused);
  container.replaceChildren(...children);
  if (!focused || container.contains(document.activeElement)) return;
  const now = alike();
  const next = now.find((each) => known(each) === known(focused)) ?? now[Math.min(place, now.length - 1)] ?? among()[0];
  next?.focus({ preventScroll: true });
}

// One of many is in the tab order; arrow keys go to the others, also to those that `items` gets later.
export function roving(container, items) {
  const columns = () => items.findIndex((item) => item.offsetTop > items[0].offsetTop); // -1: one row
  const first = Math.max(items.findIndex((item) => item.getAttribute("aria-pressed") === "true"), 0);
  items.forEach((item, index) => (item.tabIndex = index === first ? 0 : -1));
  container.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const across = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const step = across ?? (columns() > 0 ? down * columns() : NaN);
    const to = event.key === "Home" ? 0 : event.key === "End" ? items.length - 1 : at + step;
    if (at < 0 || !(to >= 0 && to < items.length)) return;
    event.preventDefault();
    items.forEach((item) => (item.tabIndex = -1));
    items[to].tabIndex = 0;
    items[to].focus();
  });
}
