// One value's arithmetic: what it was made of, from its layer's input and its kernel. Knows layer kinds only.
//
// `input` is {shape: [depth, height, width] or [length], values}, `at` {channel, row, column} ({channel} of a
// vector), `kernel` {shape, values, bias}. Gives {rule, terms: [{channel, row, column, value, weight, product}],
// bias, result}; a term outside the input, in its padding, has value 0 and `outside`.

export function windowOf(layer, shape, at) {
  const [, height, width] = shape;
  switch (layer.kind) {
    case "conv":
    case "maxpool": {
      const [top, left] = [at.row * layer.stride - layer.padding, at.column * layer.stride - layer.padding];
      return { top, left, bottom: top + layer.kernel, right: left + layer.kernel };
    }
    case "adaptiveavgpool": {
      const edge = (index, side) => [
        Math.floor((index * side) / layer.size),
        Math.ceil(((index + 1) * side) / layer.size),
      ];
      const [top, bottom] = edge(at.row, height);
      const [left, right] = edge(at.column, width);
      return { top, left, bottom, right };
    }
    default:
      return { top: at.row, left: at.column, bottom: at.row + 1, right: at.column + 1 };
  }
}

function read({ shape, values }, channel, row, column) {
  const [, height, width] = shape;
  const outside = row < 0 || column < 0 || row >= height || column >= width;
  return { channel, row, column, outside, value: outside ? 0 : values[(channel * height + row) * width + column] };
}

function windowed(layer, input, at, channels, weight) {
  const { top, left, bottom, right } = windowOf(layer, input.shape, at);
  const terms = [];
  channels.forEach((channel, depth) => {
    for (let row = top; row < bottom; row += 1)
      for (let column = left; column < right; column += 1) {
        const term = read(input, channel, row, column);
        const factor = weight(depth, row - top, column - left, bottom - top);
        terms.push({ ...term, weight: factor, product: term.value * factor });
      }
  });
  return terms;
}

const sum = (terms) => terms.reduce((total, term) => total + term.product, 0);
const range = (from, length) => Array.from({ length }, (_, index) => from + index);

export function arithmetic(layer, input, at, kernel) {
  switch (layer.kind) {
    case "conv": {
      const [depth, side] = kernel.shape;
      const group = Math.floor(at.channel / (layer.filters / layer.groups));
      const weight = (d, row, column) => kernel.values[(d * side + row) * side + column];
      const terms = windowed(layer, input, at, range(group * depth, depth), weight);
      return { rule: "sum", terms, bias: kernel.bias, result: sum(terms) + kernel.bias };
    }
    case "dense": {
      const terms = Array.from(input.values, (value, channel) => ({
        channel, value, weight: kernel.values[channel], product: value * kernel.values[channel],
      }));
      return { rule: "sum", terms, bias: kernel.bias, result: sum(terms) + kernel.bias };
    }
    case "maxpool": {
      const terms = windowed(layer, input, at, [at.channel], () => 1).filter((term) => !term.outside);
      return { rule: "max", terms, result: Math.max(...terms.map((term) => term.value)) };
    }
    case "adaptiveavgpool": {
      const terms = windowed(layer, input, at, [at.channel], () => 1);
      return { rule: "mean", terms, result: sum(terms) / terms.length };
    }
    case "lrn": {
      // The window starts size/2 channels below, rounded down: of an even size it reaches further down.
      const first = at.channel - Math.floor(layer.size / 2);
      const channels = range(first, layer.size).filter((each) => each >= 0 && each < input.shape[0]);
      const terms = channels.map((channel) => {
        const term = read(input, channel, at.row, at.column);
        return { ...term, weight: term.value, product: term.value ** 2 };
      });
      const held = layer.mean ? sum(terms) / layer.size : sum(terms);
      const own = terms.find((term) => term.channel === at.channel).value;
      const divisor = (layer.k + layer.alpha * held) ** layer.beta;
      return { rule: "lrn", terms, own, divisor, result: own / divisor };
    }
    case "flatten": {
      const [, height, width] = input.shape.length === 3 ? input.shape : [0, 1, 1]; // of a vector, as it came
      const place = Math.floor(at.channel / width);
      const term = read(input, Math.floor(place / height), place % height, at.channel % width);
      return { rule: "same", terms: [term], result: term.value };
    }
    default: {
      const vector = input.shape.length === 1;
      const term = vector
        ? { channel: at.channel, value: input.values[at.channel] }
        : read(input, at.channel, at.row, at.column);
      const result = layer.kind === "relu" ? Math.max(0, term.value) : term.value;
      return { rule: layer.kind === "relu" ? "relu" : "same", terms: [term], result };
    }
  }
}
