/* Where everything is on the picture, and what lies under the pointer. Draws nothing itself; that is
   in picture.js. */

const AXIS = 26; // Height of the scale on top.

class Layout {
  constructor(canvas, overview, model) {
    Object.assign(this, { canvas, overview, model });
    this.hidden = new Set();
    this.axis = "order";
    this.selected = 0;
    this.hovered = undefined;
    this.scale = 10;
    this.left = 0;
    this.place();
    this.resize();
  }

  // --- Positions ---

  /* Gives every event its place on the axis. Hidden events take no room. */
  place() {
    const { events } = this.model;
    this.at = new Float64Array(events.length + 1);
    if (this.axis === "order") {
      let seen = 0;
      events.forEach((event, index) => {
        this.at[index] = seen + 0.5;
        if (this.isShown(event)) seen += 1;
      });
      this.length = Math.max(1, seen);
    } else {
      this.placeByTime(events);
    }
    this.at[events.length] = this.length;
  }

  /* Events of one moment share the room up to the next one, in their order. */
  placeByTime(events) {
    const begin = events.length ? Math.min(...this.ends(events)) : 0;
    for (let from = 0; from < events.length; ) {
      let to = from;
      while (to < events.length && events[to].time === events[from].time) to += 1;
      for (let at = from; at < to; at += 1) {
        this.at[at] = events[from].time - begin + (at - from + 0.5) / (to - from);
      }
      from = to;
    }
    this.length = events.length ? Math.max(...this.ends(events)) - begin + 1 : 1;
    for (let at = 1; at < events.length; at += 1) this.at[at] = Math.max(this.at[at], this.at[at - 1]);
  }

  ends(events) {
    return [events[0].time, events.at(-1).time];
  }

  isShown(event) {
    return !this.hidden.has(groupOf(event));
  }

  resize() {
    const lanes = Math.max(1, this.model.nodes.length);
    this.width = Math.max(200, this.canvas.parentElement.clientWidth);
    this.gutter = this.width < 600 ? 58 : 96;
    const room = Math.max(300, Math.min(window.innerHeight - 390, 720));
    this.laneHeight = Math.max(62, Math.min(112, (room - AXIS) / lanes));
    this.height = Math.round(AXIS + lanes * this.laneHeight + 4);
    this.overviewHeight = Math.max(30, 10 + lanes * 7);
    this.ratio = window.devicePixelRatio || 1;
    for (const [canvas, height] of [[this.canvas, this.height], [this.overview, this.overviewHeight]]) {
      canvas.width = Math.round(this.width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
      canvas.style.height = `${height}px`;
    }
    this.readColours();
    this.clamp();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = {};
    for (const name of ["page", "panel", "ink", "soft", "line", "lane", "accent", "select", "bad", "hatch", "none"]) {
      this.colours[name] = colour(name);
    }
    this.terms = Array.from({ length: 8 }, (_, number) => colour(`t${number}`));
    this.whole = undefined;
  }

  termColour(term) {
    if (term === undefined || Number(term) === 0) return this.colours.none;
    // A term may be a string, if it is too long for a number.
    return this.terms[(Number(String(term).slice(-6)) - 1) % 8];
  }

  get room() {
    return this.width - this.gutter;
  }

  get minScale() {
    return Math.min(this.room / Math.max(1, this.length), 40);
  }

  clamp() {
    const most = this.axis === "order" ? 160 : 4000;
    this.scale = Math.min(most, Math.max(this.minScale, this.scale));
    const slack = this.room / this.scale;
    const end = Math.max(0, this.length - slack * 0.9);
    this.left = Math.max(-slack * 0.02, Math.min(end, this.left));
    if (this.length * this.scale <= this.room + 1) this.left = 0;
  }

  /* Pixels for each event in view. */
  eventSpacing() {
    if (this.axis === "order") return this.scale;
    const inView = this.firstAt(this.left + this.room / this.scale) - this.firstAt(this.left);
    return this.room / Math.max(1, inView);
  }

  get isFar() {
    return this.spacing < FAR;
  }

  x(position) {
    return this.gutter + (position - this.left) * this.scale;
  }

  xOf(index) {
    return this.x(this.at[index]);
  }

  y(lane) {
    return AXIS + (lane + 0.5) * this.laneHeight;
  }

  /* The first event at or behind a position. */
  firstAt(position) {
    let [low, high] = [0, this.model.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at[middle] < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  zoom(factor, aroundX = this.gutter + this.room / 2) {
    const position = this.left + (aroundX - this.gutter) / this.scale;
    this.scale *= factor;
    this.clamp();
    this.left = position - (aroundX - this.gutter) / this.scale;
    this.clamp();
  }

  fit() {
    this.scale = 0;
    this.left = 0;
    this.clamp();
  }

  /* Makes an event visible; in the middle, or at the given part of the width. */
  reveal(index, part) {
    const x = this.xOf(index);
    const margin = Math.min(60, this.room / 8);
    if (part === undefined && x > this.gutter + margin && x < this.width - margin) return;
    this.left = this.at[index] - (this.room * (part ?? 0.5)) / this.scale;
    this.clamp();
  }

  visibleArrows() {
    const from = this.left - 2;
    const to = this.left + this.room / this.scale + 2;
    const arrows = [];
    for (const arrow of this.model.arrows) {
      if (this.hidden.has(MESSAGES[arrow.name]?.group)) continue;
      const start = this.at[arrow.start ?? arrow.end];
      const end = this.at[arrow.end ?? arrow.start];
      if (end < from || start > to) continue;
      arrows.push(arrow);
    }
    return arrows;
  }

  /* Both ends in pixels. An arrow of which one end is unknown is short. */
  line(arrow) {
    const [fromY, toY] = [this.y(arrow.from), this.y(arrow.to)];
    const down = Math.sign(toY - fromY) || 1;
    const stub = { x: 22, y: down * Math.min(28, this.laneHeight / 3) };
    const gap = down * 7;
    if (arrow.end === undefined) {
      const x = this.xOf(arrow.start);
      return { x1: x, y1: fromY + gap, x2: x + stub.x, y2: fromY + gap + stub.y };
    }
    const x = this.xOf(arrow.end);
    if (arrow.start === undefined) {
      return { x1: x - stub.x, y1: toY - gap - stub.y, x2: x, y2: toY - gap };
    }
    const line = { x1: this.xOf(arrow.start), y1: fromY + gap, x2: x, y2: toY - gap };
    if (arrow.how === "lost") {
      // It never gets there.
      const part = 0.8;
      line.x2 = line.x1 + (line.x2 - line.x1) * part;
      line.y2 = line.y1 + (line.y2 - line.y1) * part;
    }
    return line;
  }

  // --- What lies under the pointer ---

  /* The event or arrow nearest to a point, if one is near enough; for a finger, that is further. */
  find(x, y, slack = 1) {
    if (x < this.gutter) return undefined;
    if (y < AXIS) return this.nearest(x, slack, (event) => event.node === undefined);
    const lane = Math.min(this.model.nodes.length - 1, Math.floor((y - AXIS) / this.laneHeight));
    const near = this.findEvent(x, y, lane, slack);
    if (near) return near;
    let best = { distance: 7 * slack };
    for (const arrow of this.visibleArrows()) {
      if (this.isFar && MESSAGES[arrow.name]?.group === "heartbeats") continue;
      const distance = fromSegment(x, y, this.line(arrow));
      if (distance < best.distance) best = { distance, arrow };
    }
    if (!best.arrow) return undefined;
    const { arrow } = best;
    const { x1, x2 } = this.line(arrow);
    const isNearEnd = Math.abs(x - x2) < Math.abs(x - x1);
    const index = (isNearEnd ? arrow.end : arrow.start) ?? arrow.end ?? arrow.start;
    return { arrow, index };
  }

  findEvent(x, y, lane, slack) {
    if (Math.abs(y - this.y(lane)) > 11 * slack) return undefined;
    const id = String(this.model.nodes[lane]);
    return this.nearest(x, slack, (event) => event.node === undefined || String(event.node) === id);
  }

  /* The nearest of the events that are wanted, if it is near enough. */
  nearest(x, slack, isWanted) {
    const reach = slack * Math.max(4, Math.min(9, this.scale / 2));
    let best;
    for (let index = this.firstAt(this.left + (x - reach - this.gutter) / this.scale); index < this.model.events.length; index += 1) {
      const away = Math.abs(this.xOf(index) - x);
      if (this.xOf(index) > x + reach) break;
      const event = this.model.events[index];
      if (!this.isShown(event) || !isWanted(event)) continue;
      if (!best || away < best.away) best = { away, index };
    }
    return best && { index: best.index };
  }
}

/* How far a point is from a line between two others. */
function fromSegment(x, y, { x1, y1, x2, y2 }) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / length)) : 0;
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
}
