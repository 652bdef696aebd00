// Two models on one picture, side by side: answers, where they looked, figures.
import { count, h, shapeText } from "explorer/dom.js";
import { answers, pictureView } from "explorer/picture.js";
import { source } from "explorer/source.js";

export async function compareView(about, key, name) {
  const columns = await Promise.all(about.models.map(async (model, index) => {
    const parts = [h("h3", {}, model.name)];
    if (key) {
      const look = await source.look(index, key);
      const row = model.outcome.summary.layers.find((each) => each.name === model.cam);
      const heat = row ? await source.cam(index, key, model.cam, look.answers[0].label) : null;
      parts.push(pictureView(look, name, { heat, row }), answers(look));
    }
    return h("div", {}, parts);
  }));
  const rows = about.models.map((model) => new Map(model.outcome.summary.layers.map((row) => [row.name, row])));
  const names = [...new Set(rows.flatMap((each) => [...each.keys()]))];
  const cell = (row) => (row ? `${shapeText(row.output)}${row.weights ? `, ${count(row.weights)} weights` : ""}` : "");
  return h("section", {}, h("h2", {}, "Side by side"), h("div", { class: "columns" }, columns),
    h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Layers side by side" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "layer"),
        about.models.map((model) => h("th", { scope: "col" }, model.name)))),
      h("tbody", {}, names.map((layer) => {
        const cells = rows.map((each) => cell(each.get(layer)));
        const differs = cells.some((each) => each !== cells[0]);
        return h("tr", { class: differs ? "changed" : null }, h("th", { scope: "row" }, layer),
          cells.map((each) => h("td", {}, each)));
      })))));
}
