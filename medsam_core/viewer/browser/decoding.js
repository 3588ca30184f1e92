// Reads what medsam_core/viewer/encoding.py writes. All arrays are (slice, row, column), the column running fastest.

const arrived = new Map(); // address of a script -> what it gave to MedsamViewer.add

function add(content) {
  arrived.set(document.currentScript.src, content);
}

function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => { script.remove(); resolve(); };
    script.onerror = () => { script.remove(); reject(new Error(`${address}: cannot be loaded; is the file there?`)); };
    document.head.append(script);
  });
}

// The content of a script of data; nothing of it is kept here.
async function loadContent(address) {
  await loadScript(address);
  const content = arrived.get(address);
  arrived.delete(address);
  if (content?.error) throw new Error(content.error);
  if (!content) throw new Error(`${address}: holds no data for the viewer; score the case again.`);
  return content;
}

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// An image's greys in its own box, at full resolution.
async function decodeImage(image) {
  const size = image.size.map((length, axis) => Math.ceil(length / image.step[axis]));
  const greys = await inflate(image.voxels);
  const [depth, height, width] = size;
  const row = width, plane = height * width;
  let at = 0;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const sum = (z ? greys[at - plane] : 0) + (y ? greys[at - row] : 0) + (x ? greys[at - 1] : 0);
        greys[at] += Math.floor(sum / 3); // modulo 256, as the array is of bytes
      }
    }
  }
  const brightest = 255 >> image.shift;
  const shown = greys.map((grey) => Math.round((grey * 255) / brightest));
  if (image.step.every((step) => step === 1)) return { origin: image.origin, size: image.size, voxels: shown };
  const whole = new Uint8Array(image.size[0] * image.size[1] * image.size[2]);
  at = 0;
  for (let z = 0; z < image.size[0]; z++) {
    for (let y = 0; y < image.size[1]; y++) {
      const start = (Math.floor(z / image.step[0]) * height + Math.floor(y / image.step[1])) * width;
      for (let x = 0; x < image.size[2]; x++) whole[at++] = shown[start + Math.floor(x / image.step[2])];
    }
  }
  return { origin: image.origin, size: image.size, voxels: whole };
}

// A mask in its own box, a byte a voxel; null if it is not known.
async function decodeMask(mask) {
  if (!mask) return null;
  const bits = await inflate(mask.bits);
  const voxels = new Uint8Array(mask.size[0] * mask.size[1] * mask.size[2]);
  for (let at = 0; at < voxels.length; at++) voxels[at] = (bits[at >> 3] >> (7 - (at & 7))) & 1;
  return { origin: mask.origin, size: mask.size, voxels };
}

// The smallest box around all boxes that hold something.
function around(boxes) {
  const filled = boxes.filter((box) => box && box.size.every((length) => length > 0));
  const origin = [0, 1, 2].map((axis) => Math.min(...filled.map((box) => box.origin[axis])));
  const end = [0, 1, 2].map((axis) => Math.max(...filled.map((box) => box.origin[axis] + box.size[axis])));
  return { origin, size: end.map((one, axis) => one - origin[axis]) };
}

// The voxels of a box put into another one that contains it; zeros elsewhere.
function placed(box, target) {
  const voxels = new Uint8Array(target.size[0] * target.size[1] * target.size[2]);
  if (!box) return voxels;
  const [dz, dy, dx] = box.origin.map((start, axis) => start - target.origin[axis]);
  const [depth, height, width] = box.size;
  for (let z = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      const from = (z * height + y) * width;
      const to = ((z + dz) * target.size[1] + y + dy) * target.size[2] + dx;
      voxels.set(box.voxels.subarray(from, from + width), to);
    }
  }
  return voxels;
}

// Everything of a case on one grid: the box around the head and all masks.
async function loadCase(address) {
  const stored = await loadContent(address);
  const storedImage = await loadContent(new URL(stored.image, address).href);
  const [image, truth, prediction] = await Promise.all([
    decodeImage(storedImage), decodeMask(stored.truth), decodeMask(stored.prediction),
  ]);
  const box = around([image, truth, prediction]);
  return {
    id: stored.id,
    missing: stored.missing,
    shape: stored.shape,
    affine: storedImage.affine,
    window: storedImage.window,
    coarse: storedImage.step.some((step) => step > 1),
    keySlice: stored.keySlice,
    worstSlice: stored.worstSlice,
    prompts: stored.prompts,
    origin: box.origin,
    size: box.size,
    image: placed(image, box),
    truth: placed(truth, box),
    prediction: prediction && placed(prediction, box),
    boxes: { truth, prediction },
  };
}

// The position in mm (RAS) of a voxel [slice, row, column] of the whole volume.
function positionOf(affine, voxel) {
  const [z, y, x] = voxel;
  return [0, 1, 2].map((row) => affine[row][0] * x + affine[row][1] * y + affine[row][2] * z + affine[row][3]);
}

// A NIfTI file of greys on the case's grid: 348 bytes of header, 4 of no extension, the voxels.
function niftiOf(data) {
  const buffer = new ArrayBuffer(352 + data.image.length);
  const view = new DataView(buffer);
  view.setInt32(0, 348, true);
  [3, data.size[2], data.size[1], data.size[0], 1, 1, 1, 1].forEach((n, at) => view.setInt16(40 + 2 * at, n, true));
  view.setInt16(70, 2, true); // unsigned bytes
  view.setInt16(72, 8, true);
  const spacing = [0, 1, 2].map((axis) => Math.hypot(...[0, 1, 2].map((row) => data.affine[row][axis])));
  [1, ...spacing, 1, 1, 1, 1].forEach((n, at) => view.setFloat32(76 + 4 * at, n, true));
  view.setFloat32(108, 352, true);
  view.setFloat32(112, 1, true); // slope
  view.setFloat32(124, 255, true); // white; black is 0
  view.setUint8(123, 2); // mm
  view.setInt16(254, 1, true); // the sform is the scanner's
  const first = positionOf(data.affine, data.origin);
  for (let row = 0; row < 3; row++) {
    [...data.affine[row].slice(0, 3), first[row]].forEach((n, at) => view.setFloat32(280 + 16 * row + 4 * at, n, true));
  }
  [110, 43, 49, 0].forEach((byte, at) => view.setUint8(344 + at, byte)); // n+1
  new Uint8Array(buffer, 352).set(data.image);
  return buffer;
}
