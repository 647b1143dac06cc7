// Asks the service, with the token of this tab. A token is kept as long as the tab, and sent nowhere else.

const KEPT_TOKEN = "token";

function storedToken() {
  return sessionStorage.getItem(KEPT_TOKEN) || "";
}

function storeToken(value) {
  sessionStorage.setItem(KEPT_TOKEN, value);
}

class RefusedError extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

async function ask(method, path, { body, headers = {}, signal } = {}) {
  const all = { ...headers };
  if (storedToken()) all.Authorization = `Bearer ${storedToken()}`;
  if (body !== undefined && !all["Content-Type"]) all["Content-Type"] = "application/json";
  return fetch(path, { method, headers: all, body, signal });
}

// Returns the document of an answer. Throws what a problem document says.
async function documentOf(answer) {
  const found = await answer.json();
  if (answer.ok) return found;
  const faults = (found.errors || []).map((each) => `${each.pointer}: ${each.detail}`).join("; ");
  throw new RefusedError(found.detail + (faults ? ` (${faults})` : ""), answer.status);
}

async function read(path) {
  return documentOf(await ask("GET", path));
}

// Yields the server-sent events of an answer. Comments, which keep the connection open, are left out.
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line && !line.startsWith(":"));
      const fields = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
      );
      if (fields.data) yield { id: Number(fields.id || 0), kind: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

function pause(milliseconds) {
  return new Promise((done) => {
    setTimeout(done, milliseconds);
  });
}

// ---- the form for a token ----------------------------------------------------------------------------------

function askForToken() {
  const form = byId("token-form");
  if (!form.hidden) return;
  byId("token-note").textContent = storedToken() ? "This token is not known." : "";
  form.hidden = false;
  byId("token").focus();
}

function onToken(entered) {
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    storeToken(byId("token").value.trim());
    byId("token").value = "";
    byId("token-form").hidden = true;
    entered();
  });
}
