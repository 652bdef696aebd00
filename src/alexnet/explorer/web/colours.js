// Values as colours, on canvases of a pixel a value.
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // dark to bright

const WARM = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const SOFTWARE = { willReadFrequently: true }; // small canvases, drawn once: no texture for each
const COVERED = 0.8; // of the picture, by the largest value

function along(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((from, index) => from + (stops[low + 1][index] - from) * (place - low));
}

export const sequential = (share) => along(STOPS, share);

// The colours as pixels of a canvas, 256 of them: red, green, blue and alpha in a number, as memory has them.
const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  const pixel = Uint8ClampedArray.of(...sequential(index / 255), 255);
  return new Uint32Array(pixel.buffer)[0];
});

// Black or white, whichever is easier to read on a colour: by WCAG's relative luminance, 4.5 to 1 or better.
export function inkOn(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

// A canvas of height x width values from `offset` on, coloured between the two bounds.
export function paint(canvas, values, offset, height, width, smallest, largest) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 255 / (largest - smallest || 1);
  for (let index = 0; index < height * width; index += 1) {
    pixels[index] = TABLE[Math.min(Math.max(Math.round((values[offset + index] - smallest) * scale), 0), 255)];
  }
  canvas.getContext("2d", SOFTWARE).putImageData(image, 0, 0);
  return canvas;
}

// A kernel over red, green and blue as a picture: grey is 0, all kernels of a layer on one scale.
export function paintKernel(canvas, values, offset, height, width, largest) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const area = height * width;
  for (let index = 0; index < area; index += 1) {
    const colour = [0, 1, 2].map((channel) => 127.5 + (127.5 * values[offset + channel * area + index]) / largest);
    image.data.set([...colour, 255], 4 * index);
  }
  canvas.getContext("2d", SOFTWARE).putImageData(image, 0, 0);
  return canvas;
}

// Heat over a picture: each value a cell about the middle of its window, one stride wide, as `visualize` draws it;
// between middles it is interpolated, where no cell reaches there is none.
export function paintHeat(canvas, { shape, values }, row, side) {
  const [height, width] = shape;
  const largest = values.reduce((most, value) => Math.max(most, value), 0) || 1;
  [canvas.height, canvas.width] = side;
  const across = spread(width, canvas.width, row);
  const down = spread(height, canvas.height, row);
  const image = new ImageData(canvas.width, canvas.height);
  down.forEach((line, y) => across.forEach((cells, x) => {
    let heat = 0;
    for (const [i, one] of line) for (const [j, other] of cells) heat += one * other * values[i * width + j];
    const share = heat / largest;
    image.data.set([...along(WARM, share), 255 * COVERED * share ** 0.7], 4 * (y * canvas.width + x));
  }));
  canvas.getContext("2d", SOFTWARE).putImageData(image, 0, 0);
}

// For each pixel of a side the values whose cells it is in, as [index, share]: two between middles, or none.
function spread(length, pixels, row) {
  const stride = row.receptive_stride ?? pixels / length;
  const first = row.receptive_stride === null ? stride / 2 : row.receptive_start + row.receptive_field / 2;
  return Array.from({ length: pixels }, (_, pixel) => {
    const place = (pixel + 0.5 - first) / stride;
    if (place < -0.5 || place > length - 0.5) return [];
    const held = Math.min(Math.max(place, 0), length - 1);
    const low = Math.min(Math.floor(held), Math.max(length - 2, 0));
    return [[low, 1 - (held - low)], [low + 1, held - low]].filter(([index, share]) => index < length && share > 0);
  });
}
