// Planes of a mask, the outlines in them, and what is drawn of prompts.

// The two axes of a plane, across and down in the array, by the axis that it is perpendicular to.
const ACROSS = { 0: 2, 1: 2, 2: 1 };
const DOWN = { 0: 1, 1: 0, 2: 0 };

// The plane `index` perpendicular to `axis` as {width, height, voxels}.
function planeOf(voxels, size, axis, index) {
  const stride = [size[1] * size[2], size[2], 1];
  const width = size[ACROSS[axis]], height = size[DOWN[axis]];
  const plane = new Uint8Array(width * height);
  for (let v = 0; v < height; v++) {
    let at = index * stride[axis] + v * stride[DOWN[axis]];
    for (let u = 0; u < width; u++, at += stride[ACROSS[axis]]) plane[v * width + u] = voxels[at];
  }
  return { width, height, voxels: plane };
}

// Closed outlines along the edges of the voxels, as lists of corners [u, v]; voxel (u, v) spans u … u + 1, v … v + 1.
function outlines({ width, height, voxels }) {
  const inside = (u, v) => u >= 0 && v >= 0 && u < width && v < height && voxels[v * width + u] !== 0;
  const next = new Map(); // corner -> corners that an edge leads to, with the mask on its right
  const key = (u, v) => v * (width + 1) + u;
  const edge = (from, to) => { if (next.has(from)) next.get(from).push(to); else next.set(from, [to]); };
  for (let v = 0; v < height; v++) {
    for (let u = 0; u < width; u++) {
      if (!voxels[v * width + u]) continue;
      if (!inside(u, v - 1)) edge(key(u, v), key(u + 1, v));
      if (!inside(u + 1, v)) edge(key(u + 1, v), key(u + 1, v + 1));
      if (!inside(u, v + 1)) edge(key(u + 1, v + 1), key(u, v + 1));
      if (!inside(u - 1, v)) edge(key(u, v + 1), key(u, v));
    }
  }
  const loops = [];
  for (const [start, targets] of next) {
    while (targets.length) {
      const loop = [];
      let corner = start;
      do {
        loop.push([corner % (width + 1), Math.floor(corner / (width + 1))]);
        corner = next.get(corner).pop();
      } while (corner !== start);
      loops.push(loop);
    }
  }
  return loops;
}

// The Dice of a slice, null if neither mask is in it.
function sliceDice(data, slice) {
  if (!data.prediction) return null;
  const plane = data.size[1] * data.size[2];
  const start = (slice - data.origin[0]) * plane;
  if (start < 0 || start >= data.truth.length) return null;
  let both = 0, sum = 0;
  for (let at = start; at < start + plane; at++) {
    both += data.truth[at] & data.prediction[at];
    sum += data.truth[at] + data.prediction[at];
  }
  return sum ? (2 * both) / sum : null;
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function pathOf(loops, { x, y }) {
  const path = new Path2D();
  for (const loop of loops) {
    loop.forEach(([u, v], at) => (at ? path.lineTo(x(u), y(v)) : path.moveTo(x(u), y(v))));
    path.closePath();
  }
  return path;
}

// Where a coronal or sagittal plane at `index` meets a prompt: spans along the plane's other axis.
function crossings(prompt, axis, index) {
  const [along, across] = axis === CORONAL ? [0, 1] : [1, 0]; // of (x, y)
  const spans = [];
  if (prompt.box && index >= Math.floor(prompt.box[across]) && index <= Math.ceil(prompt.box[across + 2])) {
    spans.push([prompt.box[along], prompt.box[along + 2] + 1]);
  }
  for (const point of prompt.points || []) {
    if (Math.floor(point[across]) === index) spans.push([point[along] - 1, point[along] + 2]);
  }
  return spans;
}

// A stored mask (run lengths in row order) as {width, height, voxels}.
function maskOfRuns({ shape: [height, width], starts, lengths }) {
  const voxels = new Uint8Array(height * width);
  starts.forEach((start, at) => voxels.fill(1, start, start + lengths[at]));
  return { width, height, voxels };
}
