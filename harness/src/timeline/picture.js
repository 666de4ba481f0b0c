/* The picture: lanes, arrows and marks on a canvas, and the whole run below it. Where they are is in
   layout.js, what they mean in model.js. Decides nothing about selection. */

const BAND = { leader: 13, candidate: 9, "pre-candidate": 7, follower: 4, down: 2 };
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
/* From how many pixels for each event on arrows have labels, and which go first. */
const LABELS = {
  votes: { spacing: 6, rank: 0 },
  snapshots: { spacing: 6, rank: 0 },
  reads: { spacing: 11, rank: 1 },
  entries: { spacing: 11, rank: 1 },
  heartbeats: { spacing: 16, rank: 2 },
};
const FAR = 2.5; // With fewer pixels than this for each event there is no room for details.

class Picture extends Layout {
  // --- Drawing ---

  draw() {
    const context = this.canvas.getContext("2d");
    this.context = context;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = this.colours.panel;
    context.fillRect(0, 0, this.width, this.height);
    context.lineJoin = "round";
    this.taken = [];
    this.spacing = this.eventSpacing();
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, this.room, this.height);
    context.clip();
    this.drawLanes();
    this.drawScale();
    this.drawOmissions();
    this.drawSelection();
    const arrows = this.visibleArrows();
    this.drawArrows(arrows);
    this.drawBands();
    this.drawMarks();
    this.drawIndexes();
    this.drawViolations();
    this.drawLabels(arrows);
    context.restore();
    this.drawGutter();
    this.drawOverview();
  }

  drawLanes() {
    const { context, model } = this;
    model.nodes.forEach((_, lane) => {
      const top = AXIS + lane * this.laneHeight;
      if (lane % 2 === 0) {
        context.fillStyle = this.colours.lane;
        context.fillRect(this.gutter, top, this.room, this.laneHeight);
      }
      for (const span of model.breaks[lane]) this.drawBreak(span, top);
      for (const span of model.pauses[lane]) this.drawPause(span, top);
    });
  }

  drawBreak(span, top) {
    const [from, to] = this.clip(span);
    if (to <= from) return;
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(from, top + 1, to - from, this.laneHeight - 2);
    context.clip();
    context.strokeStyle = this.colours.hatch;
    context.globalAlpha = span.isWhole ? 0.55 : 0.22;
    context.lineWidth = 1;
    context.beginPath();
    const height = this.laneHeight;
    const step = 9;
    for (let x = Math.floor((from - height) / step) * step; x < to; x += step) {
      context.moveTo(x, top + height);
      context.lineTo(x + height, top);
    }
    context.stroke();
    context.restore();
    this.drawSpanText(span, from, to, top);
  }

  /* At the beginning of a span, or of what is visible of it. */
  drawSpanText(span, from, to, top) {
    const x = Math.max(from, this.gutter) + 5;
    const y = top + this.laneHeight - 9;
    const wide = this.measure(span.text, 11);
    if (wide > to - x - 3) return;
    this.taken.push({ x, y: y - 7, wide, high: 14 });
    this.text(span.text, x, y, { colour: this.colours.soft, size: 11 });
  }

  drawPause(span, top) {
    const [from, to] = this.clip(span);
    if (to <= from) return;
    this.context.globalAlpha = 0.35;
    this.context.fillStyle = this.colours.hatch;
    this.context.fillRect(from, top + this.laneHeight / 2 - 12, to - from, 24);
    this.context.globalAlpha = 1;
    this.drawSpanText(span, from, to, top);
  }

  clip(span) {
    const from = Math.max(this.gutter - 20, this.xOf(span.start));
    const to = Math.min(this.width + 20, this.xOf(span.end));
    return [from, to];
  }

  /* Lines where the step or the time changes, as many as there is room to label. */
  drawScale() {
    const { context, model } = this;
    let next = -Infinity;
    let last = {};
    for (let index = this.firstAt(this.left - 1); index < model.events.length; index += 1) {
      const x = this.xOf(index);
      if (x > this.width) break;
      const now = model.events[index];
      const isNewStep = this.axis === "order" && now.step !== last.step && now.step > 0;
      if ((!isNewStep && now.time === last.time) || !this.isShown(now)) continue;
      last = now;
      if (x < Math.max(next, this.gutter)) continue;
      // Time goes on where steps do not: while a run recovers.
      const label = isNewStep ? `step ${now.step}` : `${now.time} ${model.header.unit}`;
      next = x + Math.max(64, this.measure(label, 11) + 22);
      context.strokeStyle = this.colours.line;
      context.lineWidth = 1;
      context.beginPath();
      const line = Math.round(x - Math.min(5, this.scale / 2)) + 0.5;
      context.moveTo(line, AXIS - 7);
      context.lineTo(line, this.height);
      context.stroke();
      this.text(label, line + 3, 12, { colour: this.colours.soft, size: 11 });
    }
  }

  drawOmissions() {
    const { context, model } = this;
    for (const index of model.omissions) {
      const x = this.xOf(index);
      if (x < this.gutter || x > this.width) continue;
      context.fillStyle = this.colours.line;
      context.fillRect(x - 3, AXIS, 6, this.height - AXIS);
      this.text(model.describe(model.events[index]), x + 8, this.height - 10, { colour: this.colours.soft, size: 11, halo: true });
    }
  }

  drawSelection() {
    const event = this.model.events[this.selected];
    if (!event) return;
    const x = this.xOf(this.selected);
    const wide = Math.max(5, Math.min(14, this.scale));
    this.context.fillStyle = this.colours.select;
    this.context.fillRect(x - wide / 2, AXIS - 6, wide, this.height - AXIS + 6);
  }

  drawArrows(arrows) {
    const { isFar } = this;
    for (const arrow of arrows) {
      if (isFar && MESSAGES[arrow.name]?.group === "heartbeats") continue;
      this.drawArrow(arrow, isFar ? 0.3 : 0.85, isFar ? 0.7 : 1.2);
    }
    for (const arrow of this.chosen()) this.drawArrow(arrow, 1, 2.6);
  }

  /* The arrows of the selected and of the hovered event. */
  chosen() {
    const hovered = this.hovered?.arrow;
    const message = this.model.events[this.selected]?.message;
    const all = message === undefined ? [] : this.model.arrows.filter((arrow) => arrow.message === message);
    return hovered && !all.includes(hovered) ? [...all, hovered] : all;
  }

  drawArrow(arrow, alpha, width) {
    const { context } = this;
    const { x1, y1, x2, y2 } = this.line(arrow);
    const isPlain = MESSAGES[arrow.name]?.group === "heartbeats";
    const isLost = arrow.how === "lost";
    context.globalAlpha = isPlain && width < 2 ? alpha * 0.55 : alpha;
    context.strokeStyle = this.termColour(arrow.term);
    context.lineWidth = isPlain ? Math.max(0.8, width * 0.8) : width;
    if (arrow.how === "duplicated") context.setLineDash([6, 3]);
    if (arrow.how === "flying") context.setLineDash([2, 3]);
    if (isLost) context.setLineDash([8, 3]);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.setLineDash([]);
    if (!this.isFar || width > 2) {
      if (isLost) this.drawCross(x2, y2, 4);
      else this.drawHead(x1, y1, x2, y2);
      if (arrow.refused !== undefined) this.drawRefusal(x2, y2);
    }
    context.globalAlpha = 1;
  }

  drawHead(x1, y1, x2, y2) {
    const { context } = this;
    const angle = Math.atan2(y2 - y1, x2 - x1);
    const size = 7;
    context.fillStyle = context.strokeStyle;
    context.beginPath();
    context.moveTo(x2, y2);
    context.lineTo(x2 - size * Math.cos(angle - 0.4), y2 - size * Math.sin(angle - 0.4));
    context.lineTo(x2 - size * Math.cos(angle + 0.4), y2 - size * Math.sin(angle + 0.4));
    context.fill();
  }

  drawCross(x, y, size, colour = this.colours.bad) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1.8;
    context.beginPath();
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
  }

  drawRefusal(x, y) {
    const { context } = this;
    context.strokeStyle = this.colours.bad;
    context.lineWidth = 1.8;
    context.beginPath();
    context.arc(x, y, 5, 0, 7);
    context.moveTo(x - 5, y);
    context.lineTo(x + 5, y);
    context.stroke();
  }

  drawBands() {
    this.model.spans.forEach((spans, lane) => {
      for (const span of spans) {
        const [from, to] = this.clip(span);
        if (to > from) this.drawBand(span, lane, from, to);
      }
    });
  }

  drawBand(span, lane, from, to) {
    const { context } = this;
    const y = this.y(lane);
    const thick = BAND[span.role];
    const colour = span.role === "down" ? this.colours.none : this.termColour(span.term);
    context.strokeStyle = colour;
    context.lineWidth = thick;
    const dash = { down: [3, 5], candidate: [5, 2], "pre-candidate": [2, 3] }[span.role] ?? [];
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(from, y);
    context.lineTo(to, y);
    context.stroke();
    context.setLineDash([]);
    const label = span.role === "down" ? "down" : `${span.role} · term ${span.term}`;
    const short = span.role === "down" ? "" : `${span.role[0].toUpperCase()}${span.term}`;
    const x = Math.max(from, this.gutter) + 4;
    const room = to - x - 4;
    const option = { colour, size: 12, bold: span.role === "leader", halo: true };
    const top = AXIS + lane * this.laneHeight + 11;
    const fitting = [label, short].find((text) => text && this.measure(text, 12, option.bold) <= room);
    if (!fitting) return;
    this.taken.push({ x, y: top - 8, wide: this.measure(fitting, 12, option.bold), high: 16 });
    this.text(fitting, x, top, option);
  }

  drawMarks() {
    const { model } = this;
    const from = this.firstAt(this.left - 1);
    const { isFar } = this;
    for (let index = from; index < model.events.length; index += 1) {
      const event = model.events[index];
      const x = this.xOf(index);
      if (x > this.width + 10) break;
      if (event.node === undefined) this.drawMarkOnScale(x);
      if (event.node === undefined || !this.isShown(event)) continue;
      this.drawMark(event, x, this.y(model.lane(event.node)), isFar);
    }
  }

  /* What concerns all nodes. */
  drawMarkOnScale(x) {
    const { context } = this;
    context.fillStyle = this.colours.accent;
    context.beginPath();
    context.moveTo(x - 4, AXIS - 7);
    context.lineTo(x + 4, AXIS - 7);
    context.lineTo(x, AXIS);
    context.fill();
  }

  drawMark(event, x, y, isFar) {
    const { context, colours } = this;
    const ink = (fill) => {
      context.fillStyle = fill;
      context.strokeStyle = colours.panel;
      context.lineWidth = 1;
    };
    switch (event.kind) {
      case "crashed":
        this.drawCross(x, y, isFar ? 4 : 7, colours.bad);
        break;
      case "started":
        ink(colours.ink);
        context.beginPath();
        context.moveTo(x - 5, y + 6);
        context.lineTo(x + 5, y + 6);
        context.lineTo(x, y - 6);
        context.fill();
        break;
      case "snapshot":
        ink(colours.ink);
        context.fillRect(x - 5, y - 5, 10, 10);
        context.strokeRect(x - 2.5, y - 2.5, 5, 5);
        break;
      case "note":
      case "membership":
        if (isFar && event.kind === "note") break;
        this.text("!", x - 2, y - 1, { colour: colours.ink, size: 13, bold: true, halo: true });
        break;
      case "persisted":
        if (isFar) break;
        ink(colours.ink);
        context.fillRect(x - 3, y - 3, 6, 6);
        context.strokeRect(x - 3.5, y - 3.5, 7, 7);
        break;
      case "proposed":
        if (isFar) break;
        this.text("+", x - 4, y - 1, { colour: colours.ink, size: 14, bold: true, halo: true });
        break;
      case "sent":
      case "delivered":
      case "duplicated":
        if (this.spacing < 5) break;
        ink(colours.soft);
        context.beginPath();
        context.arc(x, y, 2, 0, 7);
        context.fill();
        break;
    }
  }

  /* Commit and applied indexes, as far as there is room for their numbers. */
  drawIndexes() {
    if (this.hidden.has("commits") || this.spacing < 1) return;
    this.model.commits.forEach((list, lane) => {
      const y = this.y(lane) + Math.min(19, this.laneHeight / 4 + 2);
      let free = -Infinity;
      for (const { index, commit, applied } of list) {
        const x = this.xOf(index);
        if (x < this.gutter - 40) continue;
        if (x > this.width) break;
        const label = commit === undefined ? `○${applied}` : `◆${commit}`;
        const half = this.measure(label, 11) / 2;
        if (x - half < free) continue;
        free = x + half + 4;
        this.taken.push({ x: x - half, y: y - 7, wide: half * 2, high: 14 });
        this.text(label, x - half, y, { colour: commit === undefined ? this.colours.soft : this.colours.ink, size: 11, halo: true });
      }
    });
  }

  drawViolations() {
    const { context, model } = this;
    for (const index of model.violations) {
      const x = this.xOf(index);
      if (x < this.gutter || x > this.width) continue;
      context.strokeStyle = this.colours.bad;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, this.height);
      context.stroke();
      const event = model.events[index];
      if (event.node !== undefined) {
        context.beginPath();
        context.arc(x, this.y(this.model.lane(event.node)), 11, 0, 7);
        context.stroke();
      }
      const label = "broken promise";
      const wide = this.measure(label, 12, true);
      const left = x + wide + 8 > this.width ? x - wide - 10 : x;
      context.fillStyle = this.colours.bad;
      context.fillRect(left, 1, wide + 10, 18);
      this.text(label, left + 5, 10, { colour: this.colours.panel, size: 12, bold: true });
    }
  }

  /* What messages say, for those that have room; votes before entries before heartbeats. */
  drawLabels(arrows) {
    const chosen = this.chosen();
    const label = (arrow) => LABELS[MESSAGES[arrow.name]?.group] ?? LABELS.votes;
    const others = arrows.filter((arrow) => this.spacing >= label(arrow).spacing);
    others.sort((a, b) => label(a).rank - label(b).rank);
    for (const arrow of [...chosen, ...others.slice(0, 150)]) {
      const isChosen = chosen.includes(arrow);
      const { x1, y1, x2, y2 } = this.line(arrow);
      const label = this.model.shortLabel(arrow);
      const wide = this.measure(label, 11);
      for (const part of isChosen ? [0.4] : [0.4, 0.62, 0.25]) {
        const [x, y] = [x1 + (x2 - x1) * part - wide / 2, y1 + (y2 - y1) * part];
        const box = { x: x - 2, y: y - 7, wide: wide + 4, high: 14 };
        if (!isChosen && !this.isFree(box)) continue;
        this.taken.push(box);
        this.text(label, x, y, { colour: this.termColour(arrow.term), size: 11, halo: true, bold: isChosen });
        break;
      }
    }
  }

  isFree(box) {
    if (box.x < this.gutter || box.x + box.wide > this.width) return false;
    const isOnBand = this.model.nodes.some((_, lane) => Math.abs(box.y + 7 - this.y(lane)) < 15);
    return !isOnBand && !this.taken.some((other) =>
      box.x < other.x + other.wide && other.x < box.x + box.wide &&
      box.y < other.y + other.high && other.y < box.y + box.high);
  }

  drawGutter() {
    const { context, model } = this;
    context.fillStyle = this.colours.panel;
    context.fillRect(0, 0, this.gutter, this.height);
    context.fillStyle = this.colours.line;
    context.fillRect(this.gutter - 1, 0, 1, this.height);
    const state = model.stateAfter(this.selected);
    model.nodes.forEach((id, lane) => {
      const y = this.y(lane);
      const node = state[lane] ?? {};
      const name = String(id).length > ID_LIMIT ? `…${String(id).slice(-6)}` : id;
      const isNarrow = this.gutter < 80;
      this.text(isNarrow ? `${name}` : `node ${name}`, 8, y - 8, { colour: this.colours.ink, size: 13, bold: true });
      const role = node.life === "up" ? node.role : node.life === "down" ? "down" : "";
      const colour = node.life === "up" ? this.termColour(node.term) : this.colours.soft;
      const text = role && node.life === "up" ? (isNarrow ? `${role[0].toUpperCase()} t${node.term}` : `${role === "pre-candidate" ? "pre-cand." : role} t${node.term}`) : role;
      this.text(text, 8, y + 9, { colour, size: 11 });
    });
  }

  text(text, x, y, { colour, size = 12, bold = false, halo = false }) {
    const { context } = this;
    context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
    context.textBaseline = "middle";
    if (halo) {
      context.strokeStyle = this.colours.panel;
      context.lineWidth = 3;
      context.strokeText(text, x, y);
    }
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  measure(text, size, bold = false) {
    const { context } = this;
    context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
    return context.measureText(text).width;
  }

  // --- The whole run, small ---

  drawOverview() {
    const context = this.overview.getContext("2d");
    if (!this.whole || this.wholeLength !== this.length) this.whole = this.paintWhole();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.whole, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const unit = this.room / this.length;
    const from = this.gutter + Math.max(0, this.left) * unit;
    const to = this.gutter + Math.min(this.length, this.left + this.room / this.scale) * unit;
    context.globalAlpha = 0.16;
    context.fillStyle = this.colours.accent;
    context.fillRect(from, 0, Math.max(3, to - from), this.overviewHeight);
    context.globalAlpha = 1;
    context.strokeStyle = this.colours.accent;
    context.lineWidth = 1.5;
    context.strokeRect(from, 0.75, Math.max(3, to - from), this.overviewHeight - 1.5);
  }

  paintWhole() {
    const canvas = document.createElement("canvas");
    canvas.width = this.overview.width;
    canvas.height = this.overview.height;
    this.wholeLength = this.length;
    const context = canvas.getContext("2d");
    context.scale(this.ratio, this.ratio);
    context.fillStyle = this.colours.panel;
    context.fillRect(0, 0, this.width, this.overviewHeight);
    const unit = this.room / this.length;
    const x = (index) => this.gutter + this.at[index] * unit;
    this.model.spans.forEach((spans, lane) => {
      const y = 6 + lane * 7;
      for (const span of spans) {
        if (span.role === "down") continue;
        context.fillStyle = this.termColour(span.term);
        const thick = span.role === "leader" ? 6 : span.role === "follower" ? 2 : 4;
        context.fillRect(x(span.start), y + 2 - thick / 2, Math.max(1, x(span.end) - x(span.start)), thick);
      }
    });
    this.model.events.forEach((event, index) => {
      if (event.kind !== "crashed" && event.kind !== "violated") return;
      context.fillStyle = this.colours.bad;
      if (event.kind === "violated") context.fillRect(x(index) - 1, 0, 2, this.overviewHeight);
      else context.fillRect(x(index) - 1, 5 + this.model.lane(event.node) * 7, 2, 6);
    });
    context.fillStyle = this.colours.soft;
    context.font = `11px ${FONT}`;
    context.textBaseline = "middle";
    context.fillText(this.gutter < 80 ? "all" : "whole run", 8, this.overviewHeight / 2);
    return canvas;
  }

  overviewPosition(x) {
    return ((x - this.gutter) / this.room) * this.length;
  }
}
