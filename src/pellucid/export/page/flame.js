// The flame graph on a canvas: the outermost call on top, each row what the row above it called. Only what is in sight is drawn, so that
// a hundred thousand calls and a recursion of twenty thousand are as quick as ten.
import { matches, place, rows } from "./calls.js";

const ROW = 20; // CSS pixels
const LEAST = 0.4; // of a pixel: what is narrower is not drawn

export class Flame {
  // `changed(call, zoomed)` is called when another call is selected or zoomed into.
  constructor(canvas, scroller, spacer, changed) {
    Object.assign(this, { canvas, scroller, spacer, changed, words: "", compared: false });
    this.pen = canvas.getContext("2d", { alpha: false });
    canvas.addEventListener("click", (event) => {
      const call = this.at(event);
      if (call) { this.select(call); this.zoom(call); }
    });
    canvas.addEventListener("mousemove", (event) => this.hover(this.at(event)));
    canvas.addEventListener("mouseleave", () => this.hover(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(scroller);
  }

  show(root, compared) {
    this.root = this.zoomed = this.selected = root;
    this.compared = compared;
    this.hovered = null;
    this.rows = rows(root);
    this.scroller.scrollTop = 0;
    this.search(this.words);
    this.changed(root, root);
  }

  search(words) {
    this.words = words.trim().toLowerCase();
    this.found = [];
    for (const row of this.rows) for (const call of row) if (call !== this.root && matches(call.group, this.words)) this.found.push(call);
    this.draw();
    return this.found;
  }

  // The share of what was found; a call inside of one that was found counts with it.
  foundShare() {
    const found = new Set(this.found);
    let sum = 0;
    for (const call of this.found) {
      let above = call.parent;
      while (above && !found.has(above)) above = above.parent;
      if (!above) sum += call.total;
    }
    return this.root.total ? sum / this.root.total : 0;
  }

  select(call) {
    this.selected = call;
    const top = call.depth * ROW, height = this.scroller.clientHeight;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW > this.scroller.scrollTop + height) this.scroller.scrollTop = top + ROW - height;
    this.draw();
    this.changed(call, this.zoomed);
  }

  zoom(call) {
    this.zoomed = call;
    this.draw();
    this.changed(this.selected, call);
  }

  reveal(call) {
    if (call.from < this.zoomed.from || call.to > this.zoomed.to || call.depth < this.zoomed.depth) this.zoomed = this.root;
    this.select(call);
  }

  hover(call) {
    if (call === this.hovered) return;
    this.hovered = call;
    this.draw();
    this.changed(call || this.selected, this.zoomed);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowUp: () => this.selected !== this.zoomed && this.selected.parent && this.select(this.selected.parent),
      ArrowDown: () => this.selected.order.length && this.select(this.selected.order[0]),
      ArrowLeft: () => this.neighbour(-1),
      ArrowRight: () => this.neighbour(1),
      Enter: () => this.zoom(this.selected),
      " ": () => this.zoom(this.selected),
      Escape: () => this.out(),
      Backspace: () => this.out(),
      0: () => { this.zoom(this.root); this.select(this.root); },
      n: () => this.next(1),
      N: () => this.next(-1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  neighbour(step) {
    const row = this.rows[this.selected.depth];
    const next = row[row.indexOf(this.selected) + step];
    if (next && next.from >= this.zoomed.from - 1e-12 && next.to <= this.zoomed.to + 1e-12) this.select(next);
  }

  out() {
    const to = this.zoomed.parent || this.root;
    this.zoom(to);
    this.select(to);
  }

  next(step) {
    if (!this.found.length) return;
    const at = this.found.indexOf(this.selected);
    this.reveal(this.found[(at + step + this.found.length + (at < 0 && step < 0 ? 1 : 0)) % this.found.length]);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const depth = Math.floor((event.clientY - box.top + this.scroller.scrollTop) / ROW);
    if (depth < this.zoomed.depth) {
      let call = this.zoomed;
      while (call.depth > depth) call = call.parent;
      return call;
    }
    const x = this.zoomed.from + (event.clientX - box.left) / box.width * (this.zoomed.to - this.zoomed.from);
    return (this.rows[depth] || []).find((call) => call.from <= x && x < call.to && this.inside(call)) || null;
  }

  inside(call) {
    return call.to > this.zoomed.from + 1e-15 && call.from < this.zoomed.to - 1e-15;
  }

  draw() {
    if (!this.root) return;
    const width = this.scroller.clientWidth, ratio = window.devicePixelRatio || 1;
    this.spacer.style.height = `${this.rows.length * ROW}px`;
    const height = Math.max(this.scroller.clientHeight, ROW);
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.height = `${height}px`;
    }
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = Object.fromEntries(["page", "edge", "frame-text", "frame-light", "frame-dim", "library", "other", "found", "focus"].map((name) => [name, colour(name)]));
    const pen = this.pen;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = this.colours.page;
    pen.fillRect(0, 0, width, height);
    pen.font = '12px ui-monospace, "DejaVu Sans Mono", monospace';
    pen.textBaseline = "middle";
    this.letter = pen.measureText("m").width;
    const first = Math.floor(this.scroller.scrollTop / ROW), last = Math.min(this.rows.length - 1, first + Math.ceil(height / ROW));
    const scale = width / (this.zoomed.to - this.zoomed.from || 1);
    for (let depth = first; depth <= last; depth++) {
      const y = depth * ROW - this.scroller.scrollTop;
      if (depth < this.zoomed.depth) {
        let call = this.zoomed;
        while (call.depth > depth) call = call.parent;
        this.box(call, 0, y, width, true);
        continue;
      }
      for (const call of this.rows[depth]) {
        if (!this.inside(call)) continue;
        const x = (call.from - this.zoomed.from) * scale, wide = (call.to - call.from) * scale;
        if (wide >= LEAST) this.box(call, x, y, wide, false);
      }
    }
  }

  box(call, x, y, width, dimmed) {
    const pen = this.pen, gap = width > 3 ? 1 : 0;
    pen.fillStyle = matches(call.group, this.words) ? this.colours.found : this.fill(call, dimmed);
    pen.fillRect(x, y, Math.max(width - gap, LEAST), ROW - 1);
    if (call === this.selected || call === this.hovered) {
      pen.strokeStyle = this.colours.focus;
      pen.lineWidth = call === this.selected ? 2 : 1;
      pen.strokeRect(x + 1, y + 1, Math.max(width - gap - 2, 1), ROW - 3);
    }
    const from = Math.max(x, 0), letters = Math.floor((Math.min(x + width, this.scroller.clientWidth) - from - 6) / this.letter);
    if (letters < 3) return;
    const where = place(call.group), text = where ? `${call.group.name} (${where})` : call.group.name;
    pen.fillStyle = this.colours["frame-text"];
    pen.fillText(text.length <= letters ? text : `${text.slice(0, letters - 1)}…`, from + 4, y + ROW / 2);
  }

  // The program's own files have a hue each, libraries are grey. In a comparison: red has grown, blue has shrunk; the words say it too.
  fill(call, dimmed) {
    const light = dimmed ? this.colours["frame-dim"] : this.colours["frame-light"];
    if (this.compared) {
      const change = this.root.total ? (call.total - call.before) / this.root.total : 0;
      if (Math.abs(change) < 0.001) return this.colours.other;
      const strong = Math.min(1, Math.sqrt(Math.abs(change)) * 2);
      return `hsl(${change > 0 ? 8 : 212} ${Math.round(25 + 65 * strong)}% ${light})`;
    }
    if (call.group.kind === 2) return this.colours.other;
    if (call.group.kind === 1) return this.colours.library;
    let hash = 7;
    for (const letter of call.group.file) hash = (hash * 31 + letter.codePointAt(0)) % 9973;
    return `hsl(${(hash * 47) % 360} ${dimmed ? 25 : 62}% ${light})`;
  }
}
