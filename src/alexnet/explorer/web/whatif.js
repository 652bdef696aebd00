// What if: settings that are changed, and what becomes of every later layer.
import { count, h, refill, shapeText } from "explorer/dom.js";
import { drawNetwork } from "explorer/network.js";
import { source } from "explorer/source.js";

export function whatIfView(index, model) {
  const outcomeHeld = h("div", { "aria-live": "polite" });
  const chips = h("p", { class: "chips" });
  let settings = [];
  let held = { settings, outcome: model.outcome }; // what was answered last
  const values = new Map();
  for (const change of model.changes) {
    const [target, value] = change.split("=");
    values.set(target, [...(values.get(target) ?? []), value]);
  }
  const target = h("select", { id: "target", onchange: () => fillValues() },
    [...values.keys()].map((name) => h("option", {}, name)));
  const list = h("datalist", { id: "values" });
  const value = source.isStatic ? h("select", { id: "value" })
    : h("input", { id: "value", list: "values", inputmode: "decimal", size: 7, autocomplete: "off" });
  function fillValues() {
    const usual = values.get(target.value);
    (source.isStatic ? value : list).replaceChildren(...usual.map((each) => h("option", {}, each)));
    value.value = usual[0];
  }
  let turn = 0;
  const apply = async (changed) => {
    const mine = turn += 1;  // an answer that comes after the next change is of no use
    // Of settings of one field the last counts.
    const last = new Map(changed.map((each) => [each.split("=")[0], each]));
    settings = [...last.values()];
    const undone = chips.contains(document.activeElement);
    tell();
    if (undone && !settings.length) value.focus();
    if (!settings.length) return show(model.outcome);
    try {
      const outcome = await source.whatIf(index, settings);
      if (mine === turn) show(outcome);
    } catch (error) {
      if (mine !== turn) return;
      settings = held.settings; // what is refused is no setting
      tell();
      show(held.outcome, h("p", { role: "alert" }, error.message));
    }
  };
  const tell = () => refill(chips, ...settings.map((each) => h("button", {
    type: "button", "aria-label": `Undo ${each}`, onclick: () => apply(settings.filter((other) => other !== each)),
  }, each, " ×")));
  const show = (outcome, ...refusal) => {
    held = { settings, outcome };
    refill(outcomeHeld, ...refusal, ...outcomeParts(model, outcome, settings, apply));
  };
  fillValues();
  show(model.outcome);
  const form = h("form", { class: "change", onsubmit: (event) => {
    event.preventDefault();
    apply([...settings, `${target.value}=${value.value}`]);
  } }, h("label", { for: "target" }, "Change "), target, h("label", { for: "value" }, " to "), value, list,
  h("button", {}, "See"));
  return h("section", {}, h("h2", {}, "What if"), form, chips, outcomeHeld);
}

function outcomeParts(model, outcome, settings, apply) {
  const broken = outcome.breaks;
  const before = new Map(model.outcome.summary.layers.map((row) => [row.name, row]));
  const drawn = drawNetwork(outcome, { label: "The changed network" });
  const lines = outcome.summary.layers.filter((row) => row.kind !== "relu").map((row) => {
    const was = before.get(row.name);
    const changed = shapeText(was.output) !== shapeText(row.output) || was.weights !== row.weights;
    return h("tr", { class: changed ? "changed" : null }, h("th", { scope: "row" }, row.name),
      h("td", {}, shapeText(was.output)), h("td", {}, shapeText(row.output)),
      h("td", {}, count(was.weights)), h("td", {}, count(row.weights)), h("td", {}, count(row.macs)));
  });
  const heads = ["layer", "output before", "output", "weights before", "weights", "MACs"];
  return [
    broken && h("div", { role: "alert", class: "breaks" }, h("p", {}, h("strong", {}, broken.reason)),
      broken.routes.length > 0 && h("p", {}, "It would fit with ", broken.routes.map((route) =>
        h("button", { type: "button", onclick: () => apply([...settings, ...route]) }, route.join(" and "))))),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "The changed network" }, drawn),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Its figures, before and after" }, h("table", {},
      h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, lines))),
    h("p", {}, `${count(outcome.summary.totals.weights)} weights${broken ? " up to there" : ""}; `,
      `${count(model.outcome.summary.totals.weights)} in the whole network before.`),
  ].filter(Boolean);
}
