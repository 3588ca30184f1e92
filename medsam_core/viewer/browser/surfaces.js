// The surface of a mask as triangles, by surface nets: a vertex in each cell of eight voxels that the surface crosses,
// at the mean of the crossed edges, then moved halfway to the mean of its neighbours, because voxels make steps.

const SMOOTHINGS = 2;

// {points: Float32Array of mm (RAS), triangles: Uint32Array} of a mask in its box.
function surfaceOf({ voxels, size, origin }, affine) {
  const [depth, height, width] = size.map((length) => length + 2); // with a frame of zeros, so that all is closed
  const framed = new Uint8Array(depth * height * width);
  for (let z = 0; z < size[0]; z++) {
    for (let y = 0; y < size[1]; y++) {
      const from = (z * size[1] + y) * size[2];
      framed.set(voxels.subarray(from, from + size[2]), ((z + 1) * height + y + 1) * width + 1);
    }
  }
  const strides = [height * width, width, 1];
  const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => [bits >> 2, (bits >> 1) & 1, bits & 1]);
  const offsets = corners.map((corner) => corner.reduce((sum, one, axis) => sum + one * strides[axis], 0));
  const edges = [];
  for (let a = 0; a < 8; a++) for (const bit of [4, 2, 1]) if (!(a & bit)) edges.push([a, a | bit]);

  const numbers = new Int32Array(framed.length).fill(-1); // cell, by its first corner -> its vertex
  const places = [];
  const crossing = []; // the cells that have a vertex
  for (let z = 0; z < depth - 1; z++) {
    for (let y = 0; y < height - 1; y++) {
      for (let x = 0, cell = (z * height + y) * width; x < width - 1; x++, cell++) {
        let bits = 0;
        for (let corner = 0; corner < 8; corner++) bits |= framed[cell + offsets[corner]] << corner;
        if (bits === 0 || bits === 255) continue;
        const place = [0, 0, 0];
        let crossed = 0;
        for (const [a, b] of edges) {
          if (((bits >> a) & 1) === ((bits >> b) & 1)) continue;
          for (let axis = 0; axis < 3; axis++) place[axis] += (corners[a][axis] + corners[b][axis]) / 2;
          crossed++;
        }
        numbers[cell] = places.length;
        places.push([z - 1 + place[0] / crossed, y - 1 + place[1] / crossed, x - 1 + place[2] / crossed]);
        crossing.push(cell);
      }
    }
  }
  const quads = [];
  for (const cell of crossing) {
    for (let axis = 0; axis < 3; axis++) {
      if (framed[cell] === framed[cell + strides[axis]]) continue;
      // the edge from this cell's first corner along the axis is shared by four cells
      const [p, q] = [strides[(axis + 1) % 3], strides[(axis + 2) % 3]];
      const quad = [numbers[cell], numbers[cell - p], numbers[cell - p - q], numbers[cell - q]];
      quads.push(framed[cell] ? quad : quad.reverse());
    }
  }
  for (let round = 0; round < SMOOTHINGS; round++) smooth(places, quads);
  const points = new Float32Array(places.length * 3);
  places.forEach((place, at) => points.set(positionOf(affine, place.map((one, axis) => one + origin[axis])), 3 * at));
  const mirrored = determinant(affine) < 0; // (slice, row, column) is a mirrored (x, y, z)
  const triangles = new Uint32Array(quads.length * 6);
  quads.forEach(([a, b, c, d], at) => triangles.set(mirrored ? [a, b, c, a, c, d] : [a, c, b, a, d, c], 6 * at));
  return { points, triangles };
}

function determinant([a, b, c]) {
  return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
}

function smooth(places, quads) {
  const sums = places.map(() => [0, 0, 0, 0]);
  for (const quad of quads) {
    for (let at = 0; at < 4; at++) {
      const sum = sums[quad[at]], other = places[quad[(at + 1) % 4]];
      for (let axis = 0; axis < 3; axis++) sum[axis] += other[axis];
      sum[3]++;
    }
  }
  places.forEach((place, at) => {
    const sum = sums[at];
    if (sum[3]) for (let axis = 0; axis < 3; axis++) place[axis] = (place[axis] + sum[axis] / sum[3]) / 2;
  });
}
