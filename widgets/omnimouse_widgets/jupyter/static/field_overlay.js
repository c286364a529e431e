// What is drawn over the pixels of the field: borders of brain areas, names of imaging
// planes and probes, and a scale bar. `view` maps pixels of the field to CSS pixels.

const BAR_SHARE = 0.12; // least length of the scale bar, as a share of the width

// Text on a dark ground, which the brightest image does not hide.
function drawLabel(context, text, x, y, { align = "left" } = {}) {
  context.font = "11px system-ui, sans-serif";
  const lines = text.split("\n"), width = Math.max(...lines.map((line) => context.measureText(line).width));
  const left = align === "right" ? x - width : align === "center" ? x - width / 2 : x;
  context.fillStyle = "rgba(0,0,0,0.55)";
  context.fillRect(left - 3, y - 1, width + 6, 15 * lines.length);
  lines.forEach((line, k) => drawText(context, line, left, y + 15 * k + 1, "#d6d9df", { size: 11, align: "left", baseline: "top" }));
}

function drawPath(context, view, path, colour) {
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.beginPath();
  path.forEach(([y, x], k) => context[k ? "lineTo" : "moveTo"](view.x + x * view.zoom, view.y + y * view.zoom));
  context.stroke();
}

// On probes, units stand in the middle of an area: its name is in a corner.
function drawOutlines(context, view, outlines, plane, isOnProbes) {
  const shown = outlines.filter((outline) => plane === null || outline.plane === plane);
  for (const { path, colour } of shown) drawPath(context, view, path, colour);
  for (const { path, area, is_named } of shown) {
    if (!is_named) continue;
    const least = (axis) => Math.min(...path.map((at) => at[axis]));
    if (isOnProbes) {
      drawLabel(context, area, view.x + least(1) * view.zoom + 6, view.y + least(0) * view.zoom + 4);
      continue;
    }
    const middle = (axis) => (least(axis) + Math.max(...path.map((at) => at[axis]))) / 2;
    drawLabel(context, area, view.x + middle(1) * view.zoom, view.y + middle(0) * view.zoom - 7, { align: "center" });
  }
}

// A bar of a round length in the lower right corner.
function drawScaleBar(context, view, umPerPixel, width, height) {
  if (!umPerPixel) return;
  const length = roundStep((BAR_SHARE * width * umPerPixel) / view.zoom);
  const pixels = (length * view.zoom) / umPerPixel, right = width - 12, y = height - 12;
  const text = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  context.fillStyle = "rgba(0,0,0,0.55)";
  context.fillRect(right - pixels - 4, y - 4, pixels + 8, 11);
  context.fillStyle = "#ffffff";
  context.fillRect(right - pixels, y, pixels, 3);
  drawLabel(context, text, right - pixels / 2, y - 19, { align: "center" });
}
