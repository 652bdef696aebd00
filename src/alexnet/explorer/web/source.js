// Where the page's data comes from: a server, or files beside the page. Both answer the same questions.
const isStatic = document.body.dataset.static === "true";
const kept = new Map();

function once(name, make) {
  if (!kept.has(name)) {
    const promise = make();
    promise.catch(() => kept.delete(name));
    kept.set(name, promise);
    if (kept.size > 400) kept.delete(kept.keys().next().value);
  }
  return kept.get(name);
}

async function answerOf(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Error(told.error ?? `${response.status}: no answer`);
}

const floats = async (path) => {
  const response = await answerOf(path);
  const bytes = await response.arrayBuffer();
  const bias = response.headers.get("X-Bias");
  return {
    shape: response.headers.get("X-Shape").split(",").map(Number),
    values: new Float32Array(bytes),
    bias: bias === null ? null : Number(bias),
  };
};

const server = {
  isStatic,
  about: () => once("about", async () => (await answerOf("about")).json()),
  look: (model, key) => once(`${model}/${key}`, async () =>
    (await answerOf(`models/${model}/pictures/${key}`)).json()),
  maps: (model, key, layer) => once(`${model}/${key}/maps/${layer}`, () =>
    floats(`models/${model}/pictures/${key}/maps/${layer}`)),
  cam: (model, key, layer, label) => once(`${model}/${key}/cam/${layer}/${label}`, () =>
    floats(`models/${model}/pictures/${key}/cam/${layer}/${label}`)),
  kernels: (model, layer) => once(`${model}/kernels/${layer}`, () => floats(`models/${model}/kernels/${layer}`)),
  kernel: (model, layer, unit) => once(`${model}/kernels/${layer}/${unit}`, () =>
    floats(`models/${model}/kernels/${layer}/${unit}`)),
  whatIf: async (model, settings) => {
    const asked = new URLSearchParams(settings.map((each) => ["set", each]));
    return (await answerOf(`models/${model}/what-if?${asked}`)).json();
  },
  add: async (file) => {
    const kind = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const options = { method: "POST", body: file, headers: { "Content-Type": kind } };
    return (await (await answerOf("pictures", options)).json()).key;
  },
};

// A page from a disk may load scripts, and may not fetch: each file calls explorerData with what it holds.
const arrived = new Map();
globalThis.explorerData = (name, value) => arrived.set(name, value);

const file = (name) => once(name, () => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  script.src = `data-${name.replaceAll("/", "-")}.js`;
  script.onload = () => (arrived.has(name) ? resolve(arrived.get(name)) : reject(new Error(`${name}: is damaged`)));
  script.onerror = () => reject(new Error("This page has no data ready for that; `alexnet explore` has all of it."));
  document.head.append(script);
}));

function decoded({ shape, values }) {
  const bytes = Uint8Array.from(atob(values), (character) => character.charCodeAt(0));
  return { shape, values: new Float32Array(bytes.buffer) };
}
const fileFloats = (name) => once(`floats ${name}`, async () => decoded(await file(name)));

const site = {
  isStatic,
  about: () => file("about"),
  look: (model, key) => file(`models/${model}/pictures/${key}`),
  maps: (model, key, layer) => fileFloats(`models/${model}/pictures/${key}/maps/${layer}`),
  cam: (model, key, layer, label) => fileFloats(`models/${model}/pictures/${key}/cam/${layer}/${label}`),
  kernels: (model, layer) => fileFloats(`models/${model}/kernels/${layer}`),
  kernel: async (model, layer, unit) => {
    const name = `models/${model}/kernels/${layer}`;
    const { units, biases, kernel } = await file(name);
    const at = units.indexOf(unit);
    if (at < 0) throw new Error("This page has the strongest units of so large a layer; `alexnet explore` has all.");
    const { values } = await fileFloats(name);
    const length = kernel.reduce((product, side) => product * side, 1);
    return { shape: kernel, values: values.subarray(at * length, (at + 1) * length), bias: biases[at] };
  },
  whatIf: async (model, settings) => {
    const found = (await file(`models/${model}/what-if`))[settings.join("&")];
    if (!found) throw new Error("This page has single changes ready, and what mends them; `alexnet explore` answers any.");
    return found;
  },
  add: async () => {
    throw new Error("This page has its own pictures; for yours: alexnet explore WEIGHTS");
  },
};

export const source = isStatic ? site : server;
