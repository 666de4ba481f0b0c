/* What there is to see: the trace, read once, with everything that the picture and the lists ask
   for. Owns no element of the page and draws nothing. */

const ID_LIMIT = 9; // Ids longer than this are cut where there is little room.
const CHECKPOINT = 500;

/* Kinds of events that can be hidden together. Everything else is always shown. */
const GROUPS = [
  ["votes", "Votes"],
  ["entries", "Entries"],
  ["heartbeats", "Heartbeats"],
  ["snapshots", "Snapshots"],
  ["reads", "Reads"],
  ["disk", "Disk"],
  ["commits", "Commits"],
];

const MESSAGES = {
  RequestVote: { group: "votes", short: "vote?" },
  RequestVoteResponse: { group: "votes", short: "vote" },
  PreVote: { group: "votes", short: "pre-vote?" },
  PreVoteResponse: { group: "votes", short: "pre-vote" },
  TimeoutNow: { group: "votes", short: "" },
  TransferLeader: { group: "votes", short: "transfer" },
  AppendEntries: { group: "entries", short: "append" },
  AppendEntriesResponse: { group: "entries", short: "" },
  Propose: { group: "entries", short: "propose" },
  Heartbeat: { group: "heartbeats", short: "heartbeat" },
  HeartbeatResponse: { group: "heartbeats", short: "heard" },
  InstallSnapshot: { group: "snapshots", short: "" },
  ReadIndex: { group: "reads", short: "" },
  ReadIndexResponse: { group: "reads", short: "" },
};

const KIND_GROUPS = {
  persisted: "disk",
  committed: "commits",
  applied: "commits",
  proposed: "commits",
  compacted: "snapshots",
  snapshot: "snapshots",
  read: "reads",
};

/* What one wants to be taken to with one key. */
const MILESTONES = new Set([
  "started", "crashed", "role", "cut", "healed", "membership", "refused", "violated", "omitted",
]);

const position = (id) => (id ? (id[1] === 0 ? "0" : `${id[0]}/${id[1]}`) : "");
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function groupOf(event) {
  if (event.name !== undefined) return MESSAGES[event.name]?.group;
  return KIND_GROUPS[event.kind];
}

class Model {
  constructor({ header, events }) {
    this.header = header;
    this.events = events;
    this.nodes = header.nodes;
    this.lanes = new Map(header.nodes.map((id, lane) => [String(id), lane]));
    this.arrows = [];
    this.violations = [];
    this.milestones = [];
    this.omissions = [];
    this.counts = { terms: new Set(), leaders: 0, crashes: 0, sent: 0, lost: 0 };
    /* For each lane: spans of a role, spans of broken links, pauses, indexes that have grown. */
    this.spans = this.nodes.map(() => []);
    this.breaks = this.nodes.map(() => []);
    this.pauses = this.nodes.map(() => []);
    this.commits = this.nodes.map(() => []);
    this.checkpoints = [];
    this.byMessage = new Map();
    this.cuts = new Set();
    this.read();
  }

  /* Of links that are cut one after another, only the first is. */
  isMilestone(index) {
    const { kind } = this.events[index];
    return MILESTONES.has(kind) && !(kind === "cut" && this.events[index - 1]?.kind === "cut");
  }

  lane(id) {
    return this.lanes.get(String(id));
  }

  read() {
    let state = this.nodes.map(() => ({ life: "unknown" }));
    this.events.forEach((event, index) => {
      if (index % CHECKPOINT === 0) this.checkpoints.push(state.map((node) => ({ ...node })));
      if (event.message !== undefined) this.readMessage(event, index);
      if (this.isMilestone(index)) this.milestones.push(index);
      if (event.kind === "violated") this.violations.push(index);
      if (event.kind === "omitted") this.omissions.push(index);
      if (event.kind === "crashed") this.counts.crashes += 1;
      if (event.kind === "role" && event.role === "leader") this.counts.leaders += 1;
      if (event.kind === "role" || event.kind === "started") this.counts.terms.add(event.term);
      if (event.kind === "cut" || event.kind === "healed") this.readLink(event, index);
      if (event.node === undefined) return;
      const lane = this.lane(event.node);
      this.readSpan(event, index, lane);
      Model.apply(state[lane], event);
    });
    const end = this.events.length;
    for (const list of [...this.spans, ...this.breaks, ...this.pauses]) {
      const last = list.at(-1);
      if (last && last.end === undefined) last.end = end;
    }
    this.counts.terms.delete(0);
  }

  readMessage(event, index) {
    const known = this.byMessage.get(event.message);
    if (event.kind === "sent") {
      const arrow = {
        message: event.message, name: event.name, term: event.term, text: event.text,
        from: this.lane(event.node), to: this.lane(event.to), start: index, how: "flying",
      };
      this.counts.sent += 1;
      this.byMessage.set(event.message, arrow);
      this.arrows.push(arrow);
      return;
    }
    if (event.kind === "refused") {
      if (known) known.refused = index;
      return;
    }
    if (event.kind === "lost") this.counts.lost += 1;
    const how = event.kind === "lost" ? "lost" : event.kind;
    if (known && known.end === undefined) {
      known.end = index;
      known.how = how;
    } else {
      const arrow = {
        message: event.message, name: event.name, term: known?.term, text: known?.text,
        from: this.lane(event.from), to: this.lane(event.node), start: known?.start, end: index, how,
      };
      if (!known) this.byMessage.set(event.message, arrow);
      this.arrows.push(arrow);
    }
  }

  /* From which nodes nothing arrives, and to which nothing gets. */
  readLink(event, index) {
    if (event.kind === "cut") this.cuts.add(`${event.node} ${event.to}`);
    else if (event.to !== undefined) this.cuts.delete(`${event.node} ${event.to}`);
    else this.cuts.clear();
    this.nodes.forEach((id, lane) => {
      const others = this.nodes.filter((other) => other !== id);
      const deaf = others.filter((other) => this.cuts.has(`${other} ${id}`));
      const mute = others.filter((other) => this.cuts.has(`${id} ${other}`));
      const text = Model.describeLinks(others, deaf, mute);
      const list = this.breaks[lane];
      const last = list.at(-1);
      if (last?.end === undefined && last?.text === text) return;
      if (last && last.end === undefined) last.end = index;
      if (text) list.push({ start: index, text, isWhole: text === "cut off" });
    });
  }

  static describeLinks(others, deaf, mute) {
    const all = others.length;
    if (deaf.length === 0 && mute.length === 0) return "";
    if (deaf.length === all && mute.length === all) return "cut off";
    const both = deaf.filter((id) => mute.includes(id));
    const onlyDeaf = deaf.filter((id) => !mute.includes(id));
    const onlyMute = mute.filter((id) => !deaf.includes(id));
    const parts = [];
    if (both.length) parts.push(`cut off from ${both.join(", ")}`);
    if (onlyDeaf.length) parts.push(onlyDeaf.length === all ? "hears nobody" : `does not hear ${onlyDeaf.join(", ")}`);
    if (onlyMute.length) parts.push(onlyMute.length === all ? "nobody hears it" : `not heard by ${onlyMute.join(", ")}`);
    return parts.join("; ");
  }

  readSpan(event, index, lane) {
    const list = this.spans[lane];
    const begin = (span) => {
      const last = list.at(-1);
      if (last && last.end === undefined) last.end = index;
      list.push({ start: index, ...span });
    };
    const pauses = this.pauses[lane];
    const endPause = () => {
      const last = pauses.at(-1);
      if (last && last.end === undefined) last.end = index;
    };
    switch (event.kind) {
      case "started":
        begin({ role: "follower", term: event.term });
        if (event.commit > 0) this.commits[lane].push({ index, commit: event.commit });
        endPause();
        break;
      case "crashed":
        begin({ role: "down" });
        endPause();
        break;
      case "role":
        begin({ role: event.role, term: event.term });
        break;
      case "paused":
        endPause();
        pauses.push({ start: index, text: event.text });
        break;
      case "resumed":
        endPause();
        break;
      case "committed":
        this.commits[lane].push({ index, commit: event.index });
        break;
      case "applied":
        this.commits[lane].push({ index, applied: event.index });
        break;
    }
  }

  /* What an event makes of the state of its node. */
  static apply(node, event) {
    switch (event.kind) {
      case "started":
        Object.assign(node, {
          life: "up", role: "follower", term: event.term, vote: event.vote, disk: event.last_log,
          commit: event.commit, applied: event.applied, leader: undefined, paused: undefined,
        });
        break;
      case "crashed":
        Object.assign(node, { life: "down", role: undefined, leader: undefined, paused: undefined });
        break;
      case "role":
        if (event.term !== node.term) node.leader = undefined;
        Object.assign(node, { life: "up", role: event.role, term: event.term });
        break;
      case "leader":
        node.leader = event.leader;
        break;
      case "persisted":
        if (event.term !== undefined) node.vote = event.vote;
        if (event.last_log) node.disk = event.last_log;
        break;
      case "committed":
        node.commit = event.index;
        break;
      case "applied":
        node.applied = event.index;
        break;
      case "paused":
        node.paused = event.text;
        break;
      case "resumed":
        node.paused = undefined;
        break;
    }
  }

  /* The state of every node just after an event. */
  stateAfter(index) {
    const from = Math.floor(index / CHECKPOINT);
    const state = (this.checkpoints[from] ?? []).map((node) => ({ ...node }));
    for (let at = from * CHECKPOINT; at <= index && at < this.events.length; at += 1) {
      const event = this.events[at];
      if (event.node !== undefined) Model.apply(state[this.lane(event.node)], event);
    }
    return state;
  }

  /* Whether what was committed and written by then was left out of the trace. */
  isThinAt(index) {
    return this.omissions.some((omission) => omission > index);
  }

  /* The event in words; the node that it happened on is told elsewhere. */
  describe(event) {
    const message = event.message === undefined ? undefined : this.byMessage.get(event.message);
    const says = message?.text ? `: ${message.text}` : "";
    const inTerm = message?.term ? ` (term ${message.term})` : "";
    switch (event.kind) {
      case "started": {
        const vote = event.vote === undefined ? "" : `, vote for ${event.vote}`;
        return `starts: term ${event.term}${vote}, log up to ${position(event.last_log)}, commit ${event.commit}, applied ${event.applied}; ${event.members}`;
      }
      case "crashed": return `goes down: ${event.text}`;
      case "paused": return `stands still: ${event.text}`;
      case "resumed": return "goes on";
      case "role": return event.role === "leader" ? `leads term ${event.term}` : `is ${event.role} in term ${event.term}`;
      case "leader": return `hears that ${event.leader} leads term ${event.term}`;
      case "sent": return `${event.name} to ${event.to}${inTerm}${says}`;
      case "delivered": return `${event.name} from ${event.from}${inTerm}${says}`;
      case "duplicated": return `again ${event.name} from ${event.from}${inTerm}${says}`;
      case "lost": return `${event.name} from ${event.from} is lost: ${event.text}`;
      case "refused": return `refuses ${event.name} from ${event.from}: ${event.text}`;
      case "persisted": return `write ${event.write} is durable: ${event.text}`;
      case "committed": return `commit index ${event.index}`;
      case "applied": return `applied up to ${event.index}`;
      case "proposed": {
        const [first, last] = [position(event.first), position(event.last)];
        return first === last ? `appends entry ${first} to its log` : `appends entries ${first} to ${last} to its log`;
      }
      case "snapshot": {
        const what = `snapshot up to ${position(event.last_included)}`;
        if (event.stage === "sent") return `sends a ${what} to ${event.peer}`;
        return event.stage === "restored" ? `restores its state from a ${what}` : `accepts a ${what}`;
      }
      case "compacted": return `forgets its log up to ${event.through}`;
      case "membership": return `is in a cluster of ${event.text}`;
      case "cut": return `nothing that it sends reaches ${event.to} any more`;
      case "healed": return event.to === undefined ? "all links work again" : `the link to ${event.to} works again`;
      case "violated": return event.text;
      case "omitted": return `${plural(event.events, "earlier event")} left out (${event.text})`;
      default: return event.text ?? event.kind;
    }
  }

  moment(event) {
    const time = `${event.time} ${this.header.unit}`;
    return event.step ? `step ${event.step}, ${time}` : time;
  }

  shortLabel(arrow) {
    const short = MESSAGES[arrow.name]?.short ?? arrow.name;
    const says = (arrow.text ?? "").split(/[,(]/)[0].trim();
    const label = `${short} ${says}`.trim();
    return label.length > 30 ? `${label.slice(0, 29)}…` : label;
  }
}
