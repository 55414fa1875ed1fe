// The calls of a profile as a tree, and summed by function. Nothing here knows the page: the flame graph and the table draw what this gives.

// One function (or one line of it) called from one place. `total` and `own` are nanoseconds; `before` and `ownBefore` those of the
// profile that is compared with, scaled to the same total.
class Call {
  constructor(group, parent) {
    this.group = group;
    this.parent = parent;
    this.depth = parent ? parent.depth + 1 : 0;
    this.children = new Map();
    this.total = this.own = this.before = this.ownBefore = 0;
    this.from = this.to = 0; // the share of the width: 0 to 1
  }
}

// `chosen`: {track: index or -1, states: Set, lines: bool, inverted: bool}.
export function callTree(profile, chosen) {
  const groups = new Map();
  const groupOf = profile.frames.map((frame) => {
    const key = JSON.stringify(chosen.lines ? [frame[0], frame[1], frame[2]] : [frame[0], frame[1]]);
    if (!groups.has(key)) groups.set(key, { name: frame[0], file: frame[1], line: chosen.lines ? frame[2] : null, kind: frame[3], lines: new Map() });
    return groups.get(key);
  });
  const root = new Call({ name: "all", file: "", line: null, kind: 2, lines: new Map() }, null);
  const add = (stack, weight, before) => {
    const path = [];
    for (let at = stack; at >= 0; at = profile.parents[at]) path.push(profile.stackFrames[at]);
    const innermost = path[0];
    if (!chosen.inverted) path.reverse();
    let call = root, first = null;
    call.total += weight; call.before += before;
    for (const frame of path) {
      const group = groupOf[frame];
      let next = call.children.get(group);
      if (!next) call.children.set(group, next = new Call(group, call));
      call = next;
      first ??= call;
      call.total += weight; call.before += before;
    }
    const ends = (chosen.inverted && first) || call; // where the time was spent: with callers below, that is on top
    ends.own += weight; ends.ownBefore += before;
    if (!path.length) return;
    const lines = groupOf[innermost].lines, line = profile.frames[innermost][2];
    if (line !== null) lines.set(line, (lines.get(line) || 0) + weight);
  };
  const sums = (track) => {
    for (let i = 0; i < track.sums.length; i += 3) {
      if (chosen.states.has(track.sums[i + 1])) add(track.sums[i], track.sums[i + 2], 0);
    }
  };
  if (chosen.track >= 0) sums(profile.tracks[chosen.track]); else profile.tracks.forEach(sums);
  if (profile.before) compare(profile.before, chosen.states, root.total, add);
  layOut(root);
  return root;
}

// The earlier profile may have run for longer: its shares are compared, not its seconds.
function compare(before, states, total, add) {
  const each = (act) => { for (let i = 0; i < before.length; i += 3) if (states.has(before[i + 1])) act(before[i], before[i + 2]); };
  let sum = 0;
  each((_, weight) => { sum += weight; });
  each((stack, weight) => add(stack, 0, sum ? weight * (total || sum) / sum : 0));
}

// Heaviest callee first. What is only in the earlier profile has no width here; the table has it.
function layOut(root) {
  root.to = 1;
  const waiting = [root];
  while (waiting.length) {
    const call = waiting.pop();
    call.order = [...call.children.values()].filter((child) => child.total > 0).sort((a, b) => b.total - a.total);
    let at = call.from;
    for (const child of call.order) {
      child.from = at;
      child.to = at += root.total ? child.total / root.total : 0;
      waiting.push(child);
    }
  }
}

// Rows for the table: each function once, also where it calls itself.
export function functions(root) {
  const found = new Map();
  const active = new Map();
  const waiting = [[root, true]];
  while (waiting.length) {
    const [call, entering] = waiting.pop();
    const depth = active.get(call.group) || 0;
    active.set(call.group, depth + (entering ? 1 : -1));
    if (!entering) continue;
    waiting.push([call, false]);
    for (const child of call.children.values()) waiting.push([child, true]);
    if (call === root) continue;
    let row = found.get(call.group);
    if (!row) found.set(call.group, row = { group: call.group, own: 0, total: 0, before: 0, ownBefore: 0, widest: call });
    row.own += call.own; row.ownBefore += call.ownBefore;
    if (depth === 0) { row.total += call.total; row.before += call.before; }
    if (call.total > row.widest.total) row.widest = call;
  }
  return [...found.values()];
}

// In the order of reading: rows from the outermost, each from left to right.
export function rows(root) {
  const all = [[root]];
  for (let row = all[0]; row.length;) {
    row = row.flatMap((call) => call.order);
    if (row.length) all.push(row);
  }
  return all;
}

export function place(group) {
  const file = group.file.split("/").pop();
  return file ? `${file}${group.line === null ? "" : `:${group.line}`}` : "";
}

export function matches(group, words) {
  return words !== "" && `${group.name} ${group.file}${group.line === null ? "" : `:${group.line}`}`.toLowerCase().includes(words);
}
