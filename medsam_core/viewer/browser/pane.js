// One case in one canvas: NiiVue draws the image and the surfaces, a canvas above it the contours and the prompts.

const COLOURS = { truth: [64, 230, 64], prediction: [255, 64, 220], prompt: [255, 225, 40], background: [255, 160, 40] };
const css = (name, alpha = 1) => `rgba(${COLOURS[name].join(",")},${alpha})`;
const AXIAL = 0, CORONAL = 1, SAGITTAL = 2, RENDER = 4; // NiiVue's slice types; 0, 1, 2 are also our axes
const PLANES = ["axial", "coronal", "sagittal"];
const GAP = 0.004; // between tiles, of the canvas's width
const AZIMUTH = 200, ELEVATION = 15;

class Pane {
  constructor(element, name, data, settings) {
    this.element = element;
    this.name = name;
    this.data = data;
    this.settings = settings; // shared by all panes of a viewer
    this.onMove = () => {};
    this.onTurn = () => {};
    this.meshes = {}; // by mask
    this.paths = new Map(); // "mask axis index" -> outlines; a few of them are kept
  }

  async start() {
    this.canvas = document.createElement("canvas");
    this.above = document.createElement("canvas");
    this.above.className = "medsam-above";
    this.element.append(this.canvas, this.above);
    const nv = (this.nv = new niivue.Niivue({
      logLevel: "silent",
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0, // ours has the same width at every size
      fontColor: [0.75, 0.75, 0.75, 1],
      meshThicknessOn2D: 0,
      isOrientCube: true,
      showAllOrientationMarkers: true,
      multiplanarShowRender: 1,
      show3Dcrosshair: false,
    }));
    const draw = nv.drawScene.bind(nv);
    nv.drawScene = () => {}; // not before everything is there
    nv.drawImage3D = () => {}; // in 3-D only the surfaces: the head would hide them
    await nv.attachToCanvas(this.canvas);
    const image = await niivue.NVImage.new(niftiOf(this.data), "image.nii", "gray", 1, null, 0, 255);
    nv.addVolume(image);
    for (const mask of ["truth", "prediction"]) this.addSurface(mask);
    nv.scene.renderAzimuth = AZIMUTH;
    nv.scene.renderElevation = ELEVATION;
    nv.drawScene = () => { draw(); this.paint(); this.onTurn(this); };
    nv.onLocationChange = () => this.onMove(this, this.voxel());
    this.layOut();
  }

  addSurface(mask) {
    const box = this.data.boxes[mask];
    if (!box || !box.voxels.length) return;
    const { points, triangles } = surfaceOf(box, this.data.affine);
    const colour = new Uint8Array([...COLOURS[mask], 255]);
    const opacity = mask === "truth" ? 1 : 0.55;
    const mesh = new niivue.NVMesh(points, triangles, mask, colour, opacity, true, this.nv.gl);
    this.nv.meshes.push(mesh); // addMesh would send the image to the GPU again
    this.meshes[mask] = mesh;
  }

  // In 3-D the surfaces of all panes are in the middle and fill the tile.
  centre(meshes) {
    if (!meshes.length) return;
    const ends = (pick, name) => [0, 1, 2].map((axis) => pick(...meshes.map((mesh) => mesh[name][axis])));
    const low = ends(Math.min, "extentsMin"), high = ends(Math.max, "extentsMax");
    this.nv.setPivot3D = () => {
      this.nv.pivot3D = low.map((one, axis) => (one + high[axis]) / 2);
      this.nv.furthestFromPivot = Math.hypot(...low.map((one, axis) => high[axis] - one)) / 2;
    };
  }

  // The tiles: the axial plane is the largest; a tall canvas has it on top.
  layOut() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const tile = (sliceType, x, y, w, h) => ({ sliceType, position: [x, y, w - GAP, h - GAP] });
    let layout = [tile(RENDER, 0, 0, 1, 1)];
    if (this.settings.view !== "3d") {
      layout = width > height
        ? [tile(AXIAL, 0, 0, 0.6, 1), tile(CORONAL, 0.6, 0, 0.4, 1 / 3), tile(SAGITTAL, 0.6, 1 / 3, 0.4, 1 / 3),
          tile(RENDER, 0.6, 2 / 3, 0.4, 1 / 3)]
        : [tile(AXIAL, 0, 0, 1, 0.6), tile(CORONAL, 0, 0.6, 0.5, 0.2), tile(SAGITTAL, 0, 0.8, 0.5, 0.2),
          tile(RENDER, 0.5, 0.6, 0.5, 0.4)];
    }
    this.nv.setCustomLayout(layout);
  }

  // Where a point of the whole volume's array, in voxels, is in the volume that NiiVue shows: 0 … 1 along right,
  // anterior, superior. A voxel's centre is at its index plus one half.
  fractionOf(point) {
    const { origin, size } = this.data;
    const local = [2, 1, 0].map((axis) => (point[axis] - origin[axis]) / size[axis]); // x, y, z
    return this.nv.volumes[0].permRAS.map((one) => (one > 0 ? local[one - 1] : 1 - local[-one - 1]));
  }

  // The voxel under the crosshair.
  voxel() {
    const { origin, size } = this.data;
    const position = this.nv.scene.crosshairPos;
    const local = [0, 0, 0];
    this.nv.volumes[0].permRAS.forEach((one, at) => {
      local[Math.abs(one) - 1] = one > 0 ? position[at] : 1 - position[at];
    });
    return [2, 1, 0].map((from, axis) => clamp(Math.floor(local[from] * size[axis]), 0, size[axis] - 1) + origin[axis]);
  }

  moveTo(voxel) {
    const { origin, size } = this.data;
    const inside = voxel.map((one, axis) => clamp(one, origin[axis], origin[axis] + size[axis] - 1) + 0.5);
    this.nv.scene.crosshairPos = this.fractionOf(inside);
    this.nv.drawScene();
  }

  turnLike(other) {
    const [to, from] = [this.nv.scene, other.nv.scene];
    const same = ["renderAzimuth", "renderElevation", "volScaleMultiplier"].every((name) => to[name] === from[name]);
    if (same && [0, 1, 2, 3].every((at) => to.pan2Dxyzmm[at] === from.pan2Dxyzmm[at])) return;
    for (const name of ["renderAzimuth", "renderElevation", "volScaleMultiplier"]) to[name] = from[name];
    to.pan2Dxyzmm = [...from.pan2Dxyzmm];
    this.nv.drawScene();
  }

  show() {
    for (const [mask, mesh] of Object.entries(this.meshes)) mesh.visible = this.settings[mask];
    this.nv.drawScene();
  }

  // The transform from a tile's plane (across, down, in voxels of the whole volume) to pixels of the canvas.
  transformOf(tile) {
    const axis = tile.axCorSag;
    const swizzle = [[0, 1], [0, 2], [1, 2]][axis];
    let [left, top, width, height] = tile.leftTopWidthHeight;
    const mirrored = width < 0;
    if (mirrored) { left += width; width = -width; }
    const pixel = (across, down) => {
      const point = [0, 0, 0];
      point[ACROSS[axis]] = across;
      point[DOWN[axis]] = down;
      const mm = this.nv.frac2mm(this.fractionOf(point));
      const x = (mm[swizzle[0]] - tile.leftTopMM[0]) / tile.fovMM[0];
      const y = (mm[swizzle[1]] - tile.leftTopMM[1]) / tile.fovMM[1];
      return [left + (mirrored ? 1 - x : x) * width, top + (1 - y) * height];
    };
    const [x0, y0] = pixel(0, 0), [x1, y1] = pixel(1, 1);
    return { x: (u) => x0 + u * (x1 - x0), y: (v) => y0 + v * (y1 - y0), box: [left, top, width, height] };
  }

  outlinesOf(mask, axis, index) {
    const key = `${mask} ${axis} ${index}`;
    if (!this.paths.has(key)) {
      if (this.paths.size > 200) this.paths.clear();
      const { size, origin } = this.data;
      const at = index - origin[axis];
      const found = at < 0 || at >= size[axis] ? [] : outlines(planeOf(this.data[mask], size, axis, at));
      const [du, dv] = [origin[ACROSS[axis]], origin[DOWN[axis]]];
      this.paths.set(key, found.map((loop) => loop.map(([u, v]) => [u + du, v + dv])));
    }
    return this.paths.get(key);
  }

  // Draw contours, prompts and captions above NiiVue's picture.
  paint() {
    const canvas = this.above, context = canvas.getContext("2d");
    if (canvas.width !== this.canvas.width) canvas.width = this.canvas.width;
    if (canvas.height !== this.canvas.height) canvas.height = this.canvas.height;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const voxel = this.voxel();
    for (const tile of this.nv.screenSlices) {
      if (tile.axCorSag > SAGITTAL || !tile.leftTopMM.length) continue;
      const axis = tile.axCorSag, index = voxel[axis];
      const transform = this.transformOf(tile);
      context.save();
      context.beginPath();
      context.rect(...transform.box);
      context.clip();
      for (const mask of ["truth", "prediction"]) {
        if (this.settings[mask] && this.data[mask]) this.paintMask(context, mask, this.outlinesOf(mask, axis, index), transform);
      }
      if (this.settings.prompt) this.data.prompts.forEach((prompt) => this.paintPrompt(context, prompt, axis, index, transform));
      this.paintCrosshair(context, axis, voxel, transform);
      context.restore();
      this.caption(context, axis, index, transform.box);
    }
  }

  paintCrosshair(context, axis, voxel, { x, y, box: [left, top, width, height] }) {
    const dpr = window.devicePixelRatio || 1, gap = 14 * dpr;
    const cx = Math.round(x(voxel[ACROSS[axis]] + 0.5)) + 0.5, cy = Math.round(y(voxel[DOWN[axis]] + 0.5)) + 0.5;
    context.lineWidth = dpr;
    context.strokeStyle = "rgba(100,165,255,0.7)";
    line(context, left, cy, cx - gap, cy);
    line(context, cx + gap, cy, left + width, cy);
    line(context, cx, top, cx, cy - gap);
    line(context, cx, cy + gap, cx, top + height);
  }

  // The truth's line runs inside its edge, the prediction's outside: both are seen where they agree.
  paintMask(context, mask, loops, transform) {
    if (!loops.length) return;
    const path = pathOf(loops, transform);
    const fill = css(mask, this.settings.opacity);
    context.fillStyle = fill;
    context.fill(path, "evenodd");
    const side = new Path2D(path);
    if (mask === "prediction") side.rect(...transform.box);
    context.save();
    context.clip(side, "evenodd");
    context.lineWidth = 2 * 1.6 * (window.devicePixelRatio || 1); // half of it is clipped
    context.strokeStyle = css(mask);
    context.stroke(path);
    context.restore();
  }

  // A prompt on its axial slice; in the other planes where it crosses them.
  paintPrompt(context, prompt, axis, index, { x, y }) {
    const dpr = window.devicePixelRatio || 1;
    context.lineWidth = 1.5 * dpr;
    context.strokeStyle = css("prompt");
    if (axis !== AXIAL) {
      const spans = crossings(prompt, axis, index);
      for (const [from, to] of spans) {
        line(context, x(from), y(prompt.key_slice + 0.5), x(to), y(prompt.key_slice + 0.5));
      }
      return;
    }
    if (index !== prompt.key_slice) return;
    if (prompt.box) {
      const [x0, y0, x1, y1] = prompt.box; // the last voxels belong to it
      const beside = context.lineWidth / 2; // outside of its edges, as the prediction's contour
      const [left, top] = [Math.min(x(x0), x(x1 + 1)) - beside, Math.min(y(y0), y(y1 + 1)) - beside];
      const [width, height] = [Math.abs(x(x1 + 1) - x(x0)) + 2 * beside, Math.abs(y(y1 + 1) - y(y0)) + 2 * beside];
      context.strokeRect(left, top, width, height);
    }
    if (prompt.mask) {
      context.save();
      context.setLineDash([5 * dpr, 4 * dpr]);
      context.stroke(pathOf(outlines(maskOfRuns(prompt.mask)), { x, y }));
      context.restore();
    }
    (prompt.points || []).forEach(([u, v], at) => {
      const inside = (prompt.point_labels || [])[at] !== 0;
      const arm = 7 * dpr, [cx, cy] = [x(u + 0.5), y(v + 0.5)];
      for (const [colour, width] of [["#000", 5], [css(inside ? "prompt" : "background"), 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = width * dpr;
        if (inside) { line(context, cx - arm, cy, cx + arm, cy); line(context, cx, cy - arm, cx, cy + arm); }
        else { line(context, cx - arm, cy - arm, cx + arm, cy + arm); line(context, cx - arm, cy + arm, cx + arm, cy - arm); }
      }
    });
  }

  caption(context, axis, index, [left, top]) {
    const dpr = window.devicePixelRatio || 1;
    const marks = axis !== AXIAL ? "" : [
      this.data.prompts.some((prompt) => prompt.key_slice === index) ? " · prompted" : "",
      this.data.worstSlice === index ? " · worst" : "",
    ].join("");
    context.font = `${12 * dpr}px system-ui, sans-serif`;
    context.textBaseline = "top";
    context.fillStyle = "#ddd";
    context.fillText(`${PLANES[axis]} ${index}${marks}`, Math.max(left, 0) + 6 * dpr, Math.max(top, 0) + 6 * dpr);
  }

  close() {
    this.nv.drawScene = () => {};
    this.nv.cleanup();
    this.nv.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.element.remove();
  }
}
