// Values as colours, on canvases of a pixel a value.
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // dark to bright

export function sequential(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((from, index) => from + (STOPS[low + 1][index] - from) * (place - low));
}

// A canvas of height x width values from `offset` on, coloured between the two bounds.
export function paint(canvas, values, offset, height, width, smallest, largest) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const span = largest - smallest || 1;
  for (let index = 0; index < height * width; index += 1) {
    image.data.set([...sequential((values[offset + index] - smallest) / span), 255], 4 * index);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
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
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Heat over a picture: each value about the middle of the pixels it looks at, clear where it is 0.
export function paintHeat(canvas, { shape, values }, row, side) {
  const [height, width] = shape;
  const largest = values.reduce((most, value) => Math.max(most, value), 0) || 1;
  [canvas.height, canvas.width] = side;
  const across = nearness(width, canvas.width, row);
  const down = nearness(height, canvas.height, row);
  const image = new ImageData(canvas.width, canvas.height);
  const line = new Float32Array(width);
  for (let y = 0; y < canvas.height; y += 1) {
    for (let j = 0; j < width; j += 1) {
      line[j] = 0;
      for (let i = 0; i < height; i += 1) line[j] += down[y][i] * values[i * width + j];
    }
    for (let x = 0; x < canvas.width; x += 1) {
      let heat = 0;
      for (let j = 0; j < width; j += 1) heat += across[x][j] * line[j];
      image.data.set([230, 40, 20, (200 * heat) / largest], 4 * (y * canvas.width + x));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// For each pixel of a side, the shares of a map's values in it, by how near the middle of their windows is.
function nearness(length, pixels, row) {
  const stride = row.receptive_stride ?? pixels / length;
  const first = row.receptive_stride === null ? stride / 2 : row.receptive_start + row.receptive_field / 2;
  return Array.from({ length: pixels }, (_, pixel) => {
    const far = Array.from({ length }, (__, index) => ((pixel + 0.5 - first - index * stride) / (0.6 * stride)) ** 2);
    const nearest = Math.min(...far); // taken off, so that no pixel is too far from all of them
    const near = far.map((each) => Math.exp((nearest - each) / 2));
    const total = near.reduce((sum, each) => sum + each, 0);
    return near.map((each) => each / total);
  });
}
