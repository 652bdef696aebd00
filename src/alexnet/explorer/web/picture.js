// The picture: chosen, dropped, pasted or taken; what the network answers, and where it looked.
import { h, percent, refill, svg } from "explorer/dom.js";
import { paintHeat } from "explorer/colours.js";
import { source } from "explorer/source.js";

export function pictureChoice(about, state, complain) {
  const pictures = h("div", { class: "pictures" });
  let turn = 0;
  const take = async (file) => {
    if (!file) return;
    const mine = turn += 1;
    complain("");
    try {
      const key = await source.add(file);
      const own = [...state.get("own"), { key, name: file.name || "your picture" }];
      state.set(mine === turn ? { own, key } : { own }); // of several, the last that was given is looked at
    } catch (error) {
      complain(error.message);
    }
  };
  state.on(["own", "key"], () => {
    const all = [...about.pictures, ...state.get("own")];
    refill(pictures, ...all.map(({ key, name }) => h("button", {
      type: "button", "data-focus": key, "aria-pressed": String(key === state.get("key")), onclick: () => state.set({ key }),
    }, name)));
  });
  if (source.isStatic) return h("div", { class: "choice" }, pictures);
  const chooser = h("input", { type: "file", accept: "image/*", id: "own", onchange: () => take(chooser.files[0]) });
  const camera = navigator.mediaDevices?.getUserMedia
    ? h("button", { type: "button", onclick: () => photograph(take, complain) }, "Camera") : null;
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  return h("div", { class: "choice" }, pictures,
    h("p", {}, h("label", { for: "own" }, "Your own picture: choose, drop or paste it "), chooser, " ", camera));
}

async function photograph(take, complain) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    complain(`The camera: ${error.message}`);
    return;
  }
  const trigger = h("button", { type: "button", disabled: true, onclick: () => shoot() }, "Take it");
  const seen = () => { trigger.disabled = false; };
  const video = h("video", { autoplay: true, playsinline: true, muted: true, onloadeddata: seen });
  video.srcObject = stream;
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    dialog.remove();
  };
  const shoot = () => {
    trigger.disabled = true;
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => { close(); take(blob); }, "image/png");
  };
  const dialog = h("dialog", { "aria-label": "Camera", onclose: close }, video,
    h("p", {}, trigger, " ",
      h("button", { type: "button", onclick: close }, "Leave")));
  document.body.append(dialog);
  dialog.showModal();
}

// Without `choose` they are to be read only.
export function answers(look, chosen = null, choose = null) {
  return h("ol", { class: "answers", "aria-label": "What it takes the picture for" }, look.answers.map((answer) => {
    const parts = [h("span", { class: "name" }, answer.name), h("span", {}, percent(answer.probability)),
      h("span", { class: "bar", style: { width: `${100 * answer.probability}%` } })];
    return h("li", {}, choose ? h("button", {
      type: "button", "aria-pressed": String(answer.label === chosen), onclick: () => choose(answer.label),
    }, parts) : h("div", { class: "answer" }, parts));
  }));
}

// The picture as the network sees it; `square` is what a value looks at, `heat` a map over it.
export function pictureView(look, name, { square = null, heat = null, row = null } = {}) {
  const [, height, width] = look.layers.normalize.shape;
  const canvas = heat && h("canvas", { class: "over", role: "img", "aria-label": "Grad-CAM" });
  if (heat) paintHeat(canvas, heat, row, [height, width]);
  const frame = square && svg("svg", { class: "over", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    svg("rect", { x: square.left, y: square.top, width: square.width, height: square.height, class: "square" }));
  return h("div", { class: heat ? "picture heated" : "picture" }, h("img", { src: look.picture, alt: name, width, height }), canvas, frame);
}

// What one value of a layer looks at: a square of the picture, the whole where that varies.
export function seenBy(row, at, [, height, width]) {
  const stride = row.receptive_stride;
  if (stride === null || row.output.length === 1) return { left: 0, top: 0, width, height };
  return {
    left: row.receptive_start + at.column * stride,
    top: row.receptive_start + at.row * stride,
    width: row.receptive_field,
    height: row.receptive_field,
  };
}
