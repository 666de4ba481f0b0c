/* The page around the picture: steps, zoom, filters, the list of events, what is selected. Owns the
   selection and everything that the keyboard and the pointer do. */

const element = (id) => document.getElementById(id);
const ROW = 24; // Height of a row of the list, as in the style sheet.

const model = new Model(JSON.parse(element("trace").textContent));
const picture = new Picture(element("picture"), element("overview"), model);
let rows = []; // The events in the list, as indexes.
let isDrawing = false;

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function redraw() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    picture.draw();
  });
}

// --- The head ---

function showHead() {
  const { header, counts, events, nodes } = model;
  const facts = [
    header.seed === undefined ? "" : `seed ${header.seed}`,
    plural(nodes.length, "node"),
    plural(events.length, "event") + (header.omitted ? ` (${header.omitted.toLocaleString("en")} more left out)` : ""),
    plural(counts.terms.size, "term"),
    `${plural(counts.leaders, "election")} won`,
    plural(counts.crashes, "crash", "crashes"),
    `${plural(counts.sent, "message")}${counts.lost ? `, ${counts.lost.toLocaleString("en")} lost` : ""}`,
    header.violation === undefined ? "no broken promise" : "",
  ];
  element("facts").textContent = facts.filter(Boolean).join(" · ");
  if (header.violation === undefined) return;
  element("broken").textContent = header.violation;
  element("verdict").hidden = false;
}

// --- Selection ---

function select(index, { reveal = true, part, fromList = false } = {}) {
  if (model.events.length === 0) return showDetail();
  picture.selected = Math.max(0, Math.min(model.events.length - 1, index));
  if (reveal) picture.reveal(picture.selected, part);
  showDetail();
  showList({ scroll: !fromList });
  redraw();
  try {
    history.replaceState(null, "", `#event-${picture.selected}`);
  } catch {
    // A page that stands alone may not be allowed to; nothing rests on it.
  }
}

function who(event) {
  return event.node === undefined ? "All nodes" : `Node ${event.node}`;
}

function showDetail() {
  const index = picture.selected;
  const event = model.events[index];
  if (!event) {
    element("said").textContent = "Nothing was recorded.";
    return;
  }
  element("where").textContent = `Event ${(index + 1).toLocaleString("en")} of ${model.events.length.toLocaleString("en")}, ${model.moment(event)}`;
  const text = event.kind === "violated" ? `Broken promise: ${event.text}` : `${who(event)}: ${model.describe(event)}`;
  element("said").textContent = text;
  element("spoken").textContent = `${text}, ${model.moment(event)}`;
  const state = model.stateAfter(index);
  element("nodes").replaceChildren(...state.map((node, lane) => nodeRow(node, lane, event)));
  for (const [id, isOff] of [["first", index === 0], ["previous", index === 0], ["next", index === model.events.length - 1], ["last", index === model.events.length - 1]]) {
    element(id).disabled = isOff;
  }
}

function nodeRow(node, lane, event) {
  const id = model.nodes[lane];
  const row = make("tr", {}, make("th", { scope: "row", textContent: id }));
  if (String(event.node) === String(id)) row.className = "is-here";
  const isUp = node.life === "up";
  const role = isUp ? node.role + (node.paused ? `, ${node.paused}` : "") : node.life === "down" ? "down" : "not started";
  const term = make("td");
  if (node.term !== undefined) {
    const dot = make("span", { className: "dot" });
    dot.style.background = picture.termColour(node.term);
    term.append(dot, String(node.term));
  }
  const leader = isUp && node.role === "leader" ? id : (node.leader ?? "");
  row.append(
    make("td", { textContent: role }), term,
    ...[leader, ...nodeIndexes(node)].map((value) => make("td", { textContent: value ?? "" })),
  );
  return row;
}

function nodeIndexes(node) {
  // What is left out is not to be taken for what was.
  if (model.isThinAt(picture.selected)) return ["?", "?", "?", "?"];
  return [node.vote, position(node.disk), node.commit, node.applied];
}

// --- The list ---

function fillList() {
  const wanted = element("search").value.trim().toLowerCase();
  rows = [];
  model.events.forEach((event, index) => {
    if (!picture.isShown(event)) return;
    const text = () => `${event.node === undefined ? "" : `node ${event.node}`} ${model.describe(event)} ${model.moment(event)}`.toLowerCase();
    if (!wanted || text().includes(wanted)) rows.push(index);
  });
  element("rows").style.height = `${rows.length * ROW}px`;
  element("found").textContent = wanted ? plural(rows.length, "match", "matches") : plural(rows.length, "event");
}

/* The place in the list of the last row at or before an event. */
function rowAt(index) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle] <= index) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/* Only the rows that can be seen are there. */
function showList({ scroll = false } = {}) {
  const list = element("list");
  const selected = rowAt(picture.selected);
  if (scroll && selected >= 0) {
    const top = selected * ROW;
    if (top < list.scrollTop + ROW || top > list.scrollTop + list.clientHeight - 2 * ROW) {
      list.scrollTop = top - list.clientHeight / 2;
    }
  }
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const to = Math.min(rows.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 5);
  const shown = [];
  for (let at = from; at < to; at += 1) shown.push(listRow(at));
  element("rows").replaceChildren(...shown);
  if (rows[selected] === picture.selected) list.setAttribute("aria-activedescendant", `row-${picture.selected}`);
  else list.removeAttribute("aria-activedescendant");
}

function listRow(at) {
  const index = rows[at];
  const event = model.events[index];
  const isTrouble = event.kind === "violated" || event.kind === "refused" || event.kind === "crashed";
  const isQuiet = groupOf(event) !== undefined;
  const row = make("div", { id: `row-${index}`, className: "row" },
    make("span", { className: "when", textContent: event.step || event.time }),
    make("span", { className: "who", textContent: event.node ?? "all" }),
    make("span", { className: "what", textContent: model.describe(event) }));
  if (isTrouble) row.classList.add("trouble");
  if (model.isMilestone(index)) row.classList.add("milestone");
  else if (isQuiet) row.classList.add("quiet");
  row.style.top = `${at * ROW}px`;
  row.title = `${model.moment(event)}: ${model.describe(event)}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", index === picture.selected);
  row.setAttribute("aria-posinset", at + 1);
  row.setAttribute("aria-setsize", rows.length);
  row.addEventListener("click", () => select(index, { fromList: true }));
  return row;
}

// --- Steps ---

/* By so many rows of the list. */
function step(by) {
  const at = rowAt(picture.selected);
  const isThere = rows[at] === picture.selected;
  const next = by > 0 || isThere ? at + by : at;
  if (rows.length) select(rows[Math.max(0, Math.min(rows.length - 1, next))]);
}

function stepOnNode(by) {
  const node = model.events[picture.selected]?.node;
  for (let at = rowAt(picture.selected) + by; at >= 0 && at < rows.length; at += by) {
    if (rows[at] !== picture.selected && model.events[rows[at]].node === node) return select(rows[at]);
  }
}

function turn(by) {
  const ahead = model.milestones.filter((index) => (by > 0 ? index > picture.selected : index < picture.selected));
  const next = by > 0 ? ahead[0] : ahead.at(-1);
  if (next !== undefined) select(next);
}

function toViolation() {
  const index = model.violations[0] ?? (model.header.violation === undefined ? undefined : model.events.length - 1);
  if (index !== undefined) select(index, { part: 0.82 });
}

/* From one end of a message to the other. */
function toOtherEnd() {
  const message = model.events[picture.selected]?.message;
  if (message === undefined) return;
  const ends = model.arrows.filter((arrow) => arrow.message === message).flatMap((arrow) => [arrow.start, arrow.end]);
  const others = [...new Set(ends)].filter((index) => index !== undefined).sort((a, b) => a - b);
  const next = others.find((index) => index > picture.selected) ?? others[0];
  if (next !== undefined) select(next);
}

function zoom(factor) {
  const x = picture.xOf(picture.selected);
  picture.zoom(factor, x > picture.gutter && x < picture.width ? x : undefined);
  redraw();
}

function fit() {
  picture.fit();
  redraw();
}

const KEYS = {
  ArrowLeft: (event) => (event.shiftKey ? stepOnNode(-1) : step(-1)),
  ArrowRight: (event) => (event.shiftKey ? stepOnNode(1) : step(1)),
  Home: () => rows.length && select(rows[0]),
  End: () => rows.length && select(rows.at(-1)),
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  0: fit,
  n: () => turn(1),
  p: () => turn(-1),
  v: toViolation,
  m: toOtherEnd,
  "/": () => element("search").focus(),
};
/* In the list, where up and down mean rows. */
const LIST_KEYS = {
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  PageUp: () => step(-Math.floor(element("list").clientHeight / ROW)),
  PageDown: () => step(Math.floor(element("list").clientHeight / ROW)),
};

function search() {
  fillList();
  showList({ scroll: true });
}

function endSearch() {
  element("search").value = "";
  element("search").blur();
  search();
}

function onKey(event) {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.matches("select, input[type='search']")) {
    if (target.type !== "search") return;
    if (event.key === "Enter") step(1);
    if (event.key === "Escape") endSearch();
    return;
  }
  const isInList = target === element("list");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = (isInList && LIST_KEYS[key]) || KEYS[key];
  if (!action) return;
  event.preventDefault();
  action(event);
}

// --- The pointer ---

const pointers = new Map();
let moved = 0;

function place(event) {
  const box = element("picture").getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function onDown(event) {
  element("picture").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  if (pointers.size === 1) moved = 0;
}

function onMove(event) {
  const now = place(event);
  const before = pointers.get(event.pointerId);
  if (!before) return hover(now);
  if (pointers.size === 2) pinch(event.pointerId, before, now);
  else picture.left -= (now.x - before.x) / picture.scale;
  moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  pointers.set(event.pointerId, now);
  picture.clamp();
  element("picture").classList.add("moving");
  element("tip").hidden = true;
  redraw();
}

function pinch(id, before, now) {
  const other = [...pointers].find(([pointer]) => pointer !== id)[1];
  const [apart, was] = [now, before].map((point) => Math.max(10, Math.abs(point.x - other.x)));
  picture.zoom(apart / was, (now.x + other.x) / 2);
}

function onUp(event) {
  const isClick = pointers.size === 1 && moved < 5;
  pointers.delete(event.pointerId);
  element("picture").classList.remove("moving");
  if (!isClick || event.type === "pointercancel") return;
  const { x, y } = place(event);
  const found = picture.find(x, y, event.pointerType === "mouse" ? 1 : 2);
  if (found) select(found.index, { reveal: false });
}

function onWheel(event) {
  const isNarrow = window.innerWidth <= 900;
  if (isNarrow && !event.ctrlKey && Math.abs(event.deltaY) >= Math.abs(event.deltaX)) return;
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : 1;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    picture.left += ((event.deltaX || event.deltaY) * unit) / picture.scale;
    picture.clamp();
  } else {
    const { x } = place(event);
    const amount = Math.max(-120, Math.min(120, event.deltaY * unit));
    picture.zoom(Math.exp(-amount / (event.ctrlKey ? 60 : 300)), Math.max(picture.gutter, x));
  }
  element("tip").hidden = true;
  redraw();
}

function hover({ x, y }) {
  const found = picture.find(x, y);
  const isNew = found?.index !== picture.hovered?.index || found?.arrow !== picture.hovered?.arrow;
  picture.hovered = found;
  element("picture").classList.toggle("pointing", found !== undefined);
  const tip = element("tip");
  if (!found) {
    tip.hidden = true;
  } else {
    if (isNew || tip.hidden) tip.replaceChildren(...(found.arrow ? arrowTip(found.arrow) : eventTip(found.index)));
    tip.hidden = false;
    const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
    const stage = element("stage");
    const left = x + 14 + wide > stage.clientWidth ? Math.max(2, x - wide - 14) : x + 14;
    const top = y + 16 + high > stage.clientHeight ? Math.max(2, y - high - 12) : y + 16;
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  }
  if (isNew) redraw();
}

function leave() {
  picture.hovered = undefined;
  element("tip").hidden = true;
  redraw();
}

function line(text, className = "") {
  return make("span", { textContent: text, className });
}

function arrowTip(arrow) {
  const term = arrow.term ? `, term ${arrow.term}` : "";
  const [from, to] = [model.nodes[arrow.from], model.nodes[arrow.to]];
  const lines = [make("strong", { textContent: `${arrow.name}, ${from} → ${to}${term}` })];
  if (arrow.text) lines.push(line(arrow.text));
  const at = (index) => model.moment(model.events[index]);
  lines.push(line(arrow.start === undefined ? "sent before the record begins" : `sent at ${at(arrow.start)}`));
  if (arrow.how === "lost") lines.push(line(`lost: ${model.events[arrow.end].text}`, "bad"));
  else if (arrow.how === "flying") lines.push(line("nothing more is known of it"));
  else lines.push(line(`arrived${arrow.how === "duplicated" ? " once more" : ""} at ${at(arrow.end)}`));
  if (arrow.refused !== undefined) lines.push(line(`refused: ${model.events[arrow.refused].text}`, "bad"));
  return lines;
}

function eventTip(index) {
  const event = model.events[index];
  const isBad = event.kind === "violated" || event.kind === "refused" || event.kind === "lost";
  return [
    make("strong", { textContent: who(event) }),
    line(model.describe(event), isBad ? "bad" : ""),
    line(model.moment(event)),
  ];
}

// --- The beginning ---

function showGroups() {
  const present = new Set(model.events.map(groupOf));
  for (const [group, name] of GROUPS) {
    if (!present.has(group)) continue;
    const box = make("input", { type: "checkbox", checked: true, id: `group-${group}` });
    box.addEventListener("change", () => {
      if (box.checked) picture.hidden.delete(group);
      else picture.hidden.add(group);
      again(() => picture.place());
    });
    element("groups").append(make("label", {}, box, name));
  }
}

/* Does something that moves everything, and keeps the selected event where it is. */
function again(change) {
  const part = Math.max(0.05, Math.min(0.95, (picture.xOf(picture.selected) - picture.gutter) / picture.room));
  change();
  picture.clamp();
  fillList();
  picture.reveal(picture.selected, part);
  showList({ scroll: true });
  redraw();
}

function listen() {
  const clicks = {
    first: KEYS.Home, last: KEYS.End, previous: () => step(-1), next: () => step(1),
    "turn-back": () => turn(-1), "turn-on": () => turn(1), in: () => zoom(1.5), out: () => zoom(1 / 1.5),
    fit, "to-violation": toViolation,
  };
  for (const [id, action] of Object.entries(clicks)) element(id).addEventListener("click", action);
  const canvas = element("picture");
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerup", onUp);
  canvas.addEventListener("pointercancel", onUp);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", onWheel, { passive: false });
  const overview = element("overview");
  const jump = (event) => {
    if (event.type === "pointermove" && event.buttons === 0) return;
    const x = event.clientX - overview.getBoundingClientRect().left;
    picture.left = picture.overviewPosition(x) - picture.room / picture.scale / 2;
    picture.clamp();
    redraw();
  };
  overview.addEventListener("pointerdown", (event) => {
    overview.setPointerCapture(event.pointerId);
    jump(event);
  });
  overview.addEventListener("pointermove", jump);
  element("axis").addEventListener("change", (event) => {
    again(() => {
      const shown = picture.room / picture.scale / picture.length;
      picture.axis = event.target.value;
      picture.place();
      picture.scale = picture.room / (shown * picture.length);
    });
  });
  element("search").addEventListener("input", search);
  element("list").addEventListener("scroll", () => showList());
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    picture.readColours();
    showDetail();
    redraw();
  });
  new ResizeObserver(() => {
    picture.resize();
    showList();
    redraw();
  }).observe(element("stage").parentElement);
}

function begin() {
  showHead();
  showGroups();
  element("picture").setAttribute("aria-label",
    `Timeline of ${plural(model.nodes.length, "node")} and ${plural(model.events.length, "event")}. ` +
    "The arrow keys step through the events, and each is read out.");
  fillList();
  listen();
  picture.resize();
  // About so many events are in view: enough to see what led to the last of them.
  picture.scale = picture.room / Math.min(Math.max(picture.length, 1), picture.width < 600 ? 40 : 100);
  picture.clamp();
  const linked = /^#event-(\d+)$/.exec(location.hash);
  if (linked) select(Number(linked[1]), { part: 0.5 });
  else if (model.header.violation !== undefined) toViolation();
  else select(0, { part: 0 });
  redraw();
}

begin();
