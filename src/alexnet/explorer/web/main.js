// The page: what is chosen, and which part shows it.
import { argmax, h, refill } from "explorer/dom.js";
import { compareView } from "explorer/compare.js";
import { kernelPictures, layerFigures } from "explorer/layer.js";
import { largeMap, mapTiles } from "explorer/maps.js";
import { drawNetwork } from "explorer/network.js";
import { answers, pictureChoice, pictureView, seenBy } from "explorer/picture.js";
import { source } from "explorer/source.js";
import { createState } from "explorer/state.js";
import { tourView } from "explorer/tour.js";
import { unitFigures } from "explorer/unit.js";
import { whatIfView } from "explorer/whatif.js";

const VIEWS = { layer: "Layer", "what-if": "What if", tour: "Tour", compare: "Compare" };

async function start() {
  const about = await source.about();
  const state = createState({
    model: 0, layer: about.models[0].outcome.summary.layers[0].name, key: about.pictures[0]?.key ?? null,
    own: [], at: null, label: null, step: 0, view: viewOf(),
  });
  const complaint = h("p", { role: "alert", class: "complaint" });
  const complain = (text) => complaint.replaceChildren(text);
  const model = () => about.models[state.get("model")];
  const rowOf = (name) => model().outcome.summary.layers.find((row) => row.name === name);
  const nameOf = (key) => [...about.pictures, ...state.get("own")].find((each) => each.key === key)?.name ?? "";

  const strip = h("div", { class: "wide strip", tabindex: 0, role: "region", "aria-label": "The network, to scale" });
  const sentence = h("p", { class: "sentence", role: "status" });
  const nav = h("nav", { "aria-label": "Views" });
  const view = h("div", { class: "view" });
  const aside = h("aside", { "aria-label": "The picture" });
  const models = about.models.length > 1 && h("label", {}, "Model ", h("select", {
    onchange: (event) => state.set({ model: Number(event.target.value), at: null, label: null,
      layer: about.models[event.target.value].outcome.summary.layers[0].name }),
  }, about.models.map((each, index) => h("option", { value: index }, each.name))));
  document.body.append(
    h("header", {}, h("h1", {}, "AlexNet explorer"), models || null),
    h("main", {}, strip, sentence, complaint, nav, h("div", { class: "parts" }, view, aside)));

  window.addEventListener("hashchange", () => state.set({ view: viewOf() }));
  state.on(["model", "layer"], () => {
    const hint = (row) => sentence.replaceChildren(row ? `${row.name}: ${row.sentence}` : defaultHint());
    const defaultHint = () => `${state.get("layer")}: ${rowOf(state.get("layer")).sentence}`;
    const focused = strip.contains(document.activeElement);
    const { scrollLeft } = strip;
    strip.replaceChildren(drawNetwork(model().outcome, {
      chosen: state.get("layer"), hint, label: `The network ${model().outcome.summary.network.name}`,
      choose: (layer) => { state.set({ layer, at: null }); location.hash = "layer"; },
    }));
    strip.scrollLeft = scrollLeft;
    if (focused) strip.querySelector(".chosen")?.focus();
    hint(null);
  });
  state.on(["view"], () => {
    const shown = Object.entries(VIEWS).filter(([name]) => name !== "compare" || about.models.length > 1);
    refill(nav, ...shown.map(([name, title]) =>
      h("a", { href: `#${name}`, "aria-current": name === state.get("view") ? "page" : null }, title)));
  });

  const choice = pictureChoice(about, state, complain);
  let [turn, pictureTurn] = [0, 0];
  state.on(["view", "model", "layer", "key", "at"], async () => {
    const mine = (turn += 1);
    complain("");
    try {
      const made = await content();
      if (mine !== turn) return; // something else has been chosen meanwhile
      if (made) refill(view, made);
      view.dataset.ready = `${state.get("view")} ${state.get("layer")} ${state.get("key")}`;
    } catch (error) {
      if (mine === turn) complain(error.message);
    }
  });
  state.on(["view", "model", "layer", "key", "at", "label"], async () => {
    const mine = (pictureTurn += 1);
    try {
      const made = await pictureParts((text) => mine === pictureTurn && complain(text));
      if (mine === pictureTurn) refill(aside, choice, ...made);
    } catch (error) {
      if (mine === pictureTurn) complain(error.message);
    }
  });

  async function content() {
    const index = state.get("model");
    if (state.get("view") === "what-if") return shownOnce("what-if", () => whatIfView(index, model()));
    if (state.get("view") === "tour") return shownOnce("tour", () => tourView(model(), state));
    if (state.get("view") === "compare") return compareView(about, state.get("key"), nameOf(state.get("key")));
    return layerParts(index);
  }

  // A view with a state of its own stays as it is, while something else changes and while another is looked at.
  const kept = new Map();
  function shownOnce(name, make) {
    const tag = `${name} ${state.get("model")}`;
    if (!kept.has(tag)) kept.set(tag, make());
    return view.firstElementChild === kept.get(tag) ? null : kept.get(tag);
  }

  async function layerParts(index) {
    const [row, key] = [rowOf(state.get("layer")), state.get("key")];
    const choose = (at) => state.set({ at });
    const parts = [layerFigures(model(), row)];
    if (key) parts.push(await valueParts(index, key, row, choose));
    else if (!source.isStatic) parts.push(h("p", {}, "With a picture, its maps are here: choose, drop or paste one."));
    parts.push(await kernelPictures(index, row, (channel) => choose({ ...placeOf(row), channel })));
    return h("section", { class: "layer" }, parts);
  }

  const placeOf = (row) => state.get("at") ?? { channel: 0, row: 0, column: 0, layer: row.name };

  async function valueParts(index, key, row, choose) {
    const { network, layers } = model().outcome.summary;
    const place = layers.indexOf(row);
    const before = place ? layers[place - 1].name : "normalize";
    const [look, found] = await Promise.all([source.look(index, key), source.maps(index, key, row.name),
      source.maps(index, key, before)]); // what it was made of is asked for at once, and read further down
    const told = look.layers[row.name];
    const at = state.get("at") ?? strongestPlace(told, found);
    const parts = h("div", {}, h("h3", {}, "What it makes of the picture"),
      mapTiles(row, told, found, at.channel, (channel) => choose({ ...at, channel })),
      largeMap(row, told, found, at, choose));
    try {
      parts.append(await unitFigures(index, key, network.layers[place], row, before, found, at));
    } catch (error) {
      parts.append(h("p", { role: "status" }, error.message));
    }
    return parts;
  }

  async function pictureParts(warn) {
    const [index, key] = [state.get("model"), state.get("key")];
    if (!key) return [];
    const look = await source.look(index, key);
    const label = state.get("label");
    const answer = look.answers.find((each) => each.label === label);
    const choose = (next) => state.set({ label: next === label ? null : next });
    const row = rowOf(state.get("layer"));
    const at = state.get("view") !== "layer" ? null
      : state.get("at") ?? strongestPlace(look.layers[row.name], await source.maps(index, key, row.name));
    const square = at ? seenBy(row, at, look.layers.normalize.shape) : null;
    const cam = rowOf(model().cam);
    let heat = null;
    try {
      heat = answer && cam ? await source.cam(index, key, cam.name, label) : null;
    } catch (error) {
      warn(error.message); // the answers are there all the same, and it can be asked for again
    }
    return [
      pictureView(look, nameOf(key), { square, heat, row: cam }),
      h("p", { class: "quiet" }, heat ? `Where ${cam.name} speaks for ${answer.name} (Grad-CAM).`
        : cam ? "Choose an answer to see where the network looked." : ""),
      answers(look, label, choose),
    ];
  }

  document.body.dataset.ready = "true";
}

// Where the strongest map is largest.
function strongestPlace(told, { shape, values }) {
  const [channel] = told.strongest;
  if (shape.length === 1) return { channel, row: 0, column: 0 };
  const [, height, width] = shape;
  const map = values.subarray(channel * height * width, (channel + 1) * height * width);
  const place = argmax(map);
  return { channel, row: Math.floor(place / width), column: place % width };
}

function viewOf() {
  const asked = location.hash.slice(1);
  return asked in VIEWS ? asked : "layer";
}

start().catch((error) => document.body.append(h("p", { role: "alert" }, `The explorer cannot start: ${error.message}`)));
