// The walk through the network, a step at a time.
import { h, refill } from "explorer/dom.js";

export function tourView(model, state) {
  const held = h("section", { class: "tour" });
  const { tour } = model;
  const show = (step) => {
    const { title, text, layer } = tour[step];
    const to = (label, next) => h("button", {
      type: "button", disabled: next < 0 || next >= tour.length, onclick: () => go(next),
    }, label);
    refill(held,
      h("h2", {}, `${step + 1} of ${tour.length}: ${title}`), h("p", { class: "step", role: "status" }, text),
      h("p", {}, to("Back", step - 1), " ", to("Next", step + 1), " ",
        layer && h("a", { href: "#layer" }, `Look at ${layer}`)));
  };
  const go = (step) => {
    const { layer } = tour[step];
    state.set({ step, ...(layer ? { layer, at: null } : {}) });  // a place is one of its own layer only
    show(step);
    held.querySelector("h2").scrollIntoView({ block: "nearest" });
  };
  show(Math.min(state.get("step"), tour.length - 1));
  return held;
}
