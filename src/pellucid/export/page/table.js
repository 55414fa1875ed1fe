// The functions as a real table, which can be sorted and read aloud: the same numbers as the flame graph.
import { place } from "./calls.js";

const FIRST = 100; // rows, before one asks for more

export class Table {
  // `spell` has the words for numbers (share, change, time of nanoseconds; lines); `picked(row)` is called for the function that was chosen.
  constructor(table, rest, spell, picked) {
    Object.assign(this, { table, rest, spell, picked, by: "own", down: true, all: false, words: "" });
    rest.querySelector("button").addEventListener("click", () => { this.all = true; this.draw(); });
  }

  show(rows, total, compared) {
    this.total = total;
    this.rows = rows;
    this.columns = [
      { key: "name", title: "Function", of: (row) => row.group.name.toLowerCase() },
      { key: "own", title: "Own", of: (row) => row.own, number: true },
      { key: "total", title: "Total", of: (row) => row.total, number: true },
    ];
    if (compared) {
      this.columns.push(
        { key: "change", title: "Own, change", of: (row) => row.own - row.ownBefore, change: true, number: true },
        { key: "totalChange", title: "Total, change", of: (row) => row.total - row.before, change: true, number: true },
      );
      if (!this.compared) this.by = "change";
    }
    this.compared = compared;
    this.draw();
  }

  draw() {
    const column = this.columns.find((one) => one.key === this.by) || this.columns[1];
    const size = (row) => (column.change ? Math.abs(column.of(row)) : column.of(row));
    const sorted = [...this.rows].sort((a, b) => {
      const one = size(a), other = size(b);
      return (one < other ? 1 : one > other ? -1 : b.total - a.total) * (this.down ? 1 : -1);
    });
    const shown = this.words ? sorted.filter((row) => `${row.group.name} ${row.group.file}`.toLowerCase().includes(this.words)) : sorted;
    const few = this.all ? shown : shown.slice(0, FIRST);
    this.table.tHead.rows[0].replaceChildren(...this.columns.map((one) => this.head(one)));
    this.table.tBodies[0].replaceChildren(...few.map((row) => this.row(row)));
    this.rest.hidden = few.length === shown.length;
    this.rest.querySelector("span").textContent = `${few.length} of ${shown.length} functions.`;
  }

  head(column) {
    const cell = document.createElement("th"), button = document.createElement("button");
    cell.scope = "col";
    cell.className = column.number ? "number" : "";
    const sorted = column.key === this.by;
    cell.setAttribute("aria-sort", sorted ? (this.down ? "descending" : "ascending") : "none");
    button.type = "button";
    button.textContent = `${column.title}${sorted ? (this.down ? " ▾" : " ▴") : ""}`;
    button.addEventListener("click", () => {
      this.down = sorted ? !this.down : column.number === true;
      this.by = column.key;
      this.draw();
      this.table.tHead.rows[0].cells[this.columns.indexOf(column)].firstChild.focus();
    });
    cell.append(button);
    return cell;
  }

  row(row) {
    const line = document.createElement("tr"), first = document.createElement("td"), button = document.createElement("button"), file = document.createElement("div");
    button.type = "button";
    button.textContent = row.group.name;
    button.addEventListener("click", () => this.picked(row));
    file.className = "file";
    const hottest = [...row.group.lines].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([number]) => number);
    file.textContent = row.group.file + (row.group.line !== null ? `:${row.group.line}` : hottest.length ? this.spell.lines(hottest) : "");
    file.title = place(row.group);
    first.append(button, file);
    line.append(first, ...this.columns.filter((column) => column.number).map((column) => this.cell(column, row)));
    return line;
  }

  cell(column, row) {
    const cell = document.createElement("td"), value = column.of(row);
    cell.className = "number";
    cell.textContent = column.change ? this.spell.change(value) : `${this.spell.share(value)} · ${this.spell.time(value)}`;
    return cell;
  }
}
