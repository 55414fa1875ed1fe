// What is asked of the server: events that come by themselves, documents, and looks that cost something.

let postToken = "";

// One stream for what is shown now; `heard` is called with (name of the event, value), and with ("broken", null) where it ended.
export class Live {
  constructor(heard) {
    this.heard = heard;
    this.source = null;
    this.wait = 0;
  }

  open({ host, pid, view }) {
    this.close();
    const source = new EventSource(`/api/live?${new URLSearchParams(pid ? { pid, view, ...(host ? { host } : {}) } : {})}`);
    this.source = source;
    for (const name of ["hello", "list", "found", "deep", "memory", "jobs", "host"]) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        const value = JSON.parse(event.data);
        if (name === "hello") postToken = value.token;
        this.heard(name, value);
      });
    }
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.heard("broken", null);
      if (source.readyState === EventSource.CLOSED) this.wait = setTimeout(() => this.open({ host, pid, view }), 5000);
    });
  }

  close() {
    clearTimeout(this.wait);
    this.source?.close();
    this.source = null;
  }
}

// Where something of the process that is shown is asked for.
export function path(known, what) {
  const { host, pid } = known.place;
  return `/api/p/${pid}/${what}${host ? `?${new URLSearchParams({ host })}` : ""}`;
}

// A document; an error of the server's is thrown as {tried, said, remedy}.
export async function get(path) {
  return answer(fetch(path));
}

export async function post(path, body = {}) {
  return answer(fetch(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-pellucid-token": postToken } }));
}

async function answer(asked) {
  let reply, text;
  try {
    reply = await asked;
    text = await reply.text();
  } catch {
    throw { tried: "reach the server", said: "it does not answer: it has ended, or the way to it is broken", remedy: "pellucid web" };
  }
  if (reply.ok) return JSON.parse(text);
  let failed = { tried: "do that", said: text.trim() || reply.statusText, remedy: "" };
  try { failed = { ...failed, ...JSON.parse(text).error }; } catch { /* it is a sentence */ }
  throw failed;
}

// A document of the server's, asked for once and kept until the view asks again; null while it is on its way.
export function fetched(known, name, path, draw) {
  const kept = known.documents.get(name);
  if (kept) return kept;
  known.documents.set(name, { waiting: true });
  const documents = known.documents;
  get(path).then((value) => documents.set(name, { value }), (failed) => documents.set(name, { failed })).then(draw);
  return known.documents.get(name);
}
