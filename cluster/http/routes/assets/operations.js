// Shows the operations of an OpenAPI document, each with a form that sends its request.

const MOST_SHOWN = 200_000; // characters of an answer

function operationBox(method, path, operation) {
  const box = element(
    "details",
    { class: "operation", id: `${method}-${path}` },
    element(
      "summary",
      {},
      element("code", { class: `method ${method}` }, method.toUpperCase()),
      element("code", { class: "path" }, visible(path)),
      element("span", { class: "dim" }, visible(operation.summary || "")),
    ),
  );
  box.addEventListener("toggle", () => {
    if (box.open && box.childElementCount === 1) box.append(operationBody(method, path, operation));
  });
  return box;
}

function operationBody(method, path, operation) {
  const parameters = operation.parameters || [];
  return element(
    "div",
    {},
    element("p", {}, prose(operation.description)),
    parameters.length ? [element("h3", {}, "Parameters"), parameterTable(parameters)] : null,
    operation.requestBody ? [element("h3", {}, "Body"), contentBoxes(operation.requestBody.content)] : null,
    element("h3", {}, "Answers"),
    answerTables(operation.responses),
    element("h3", {}, "Try it"),
    tryForm(method, path, operation),
  );
}

// All problems have one form: they are listed without it, in a box that opens.
function answerTables(responses) {
  const answers = [];
  const problems = [];
  for (const [status, each] of Object.entries(responses)) {
    const code = cell(element("code", {}, status));
    if (Number(status) < 400) answers.push(row(code, cell([prose(each.description), contentBoxes(each.content)])));
    else problems.push(row(code, cell(prose(each.description))));
  }
  const box = element("details", {}, element("summary", {}, "Problems (ProblemDocument)"), rowsTable([], problems));
  return [rowsTable([], answers), problems.length ? box : null];
}

function parameterTable(parameters) {
  const rows = parameters.map((each) =>
    row(
      cell([element("code", {}, visible(each.name)), each.required ? " *" : ""]),
      cell(`${each.in}, ${visible(typeText(plainSchema(each.schema)))}`),
      cell(prose(each.description), "dim"),
    ),
  );
  return rowsTable([], rows);
}

// ---- a form ------------------------------------------------------------------------------------------------

function plainSchema(schema) {
  return (schema.anyOf || [schema]).find((each) => each.type !== "null") || {};
}

function fieldFor(parameter) {
  const schema = plainSchema(parameter.schema || {});
  const choices = schema.enum || (schema.type === "boolean" ? [true, false] : null);
  if (choices) {
    const options = [
      element("option", { value: "" }, "–"),
      ...choices.map((each) => element("option", {}, String(each))),
    ];
    return element("select", {}, options);
  }
  const example = parameter.example ?? parameter.schema?.examples?.[0] ?? schema.examples?.[0];
  const kind = schema.type === "integer" || schema.type === "number" ? "number" : "text";
  const hint = example ?? (schema.default === undefined || schema.default === "" ? null : `default ${schema.default}`);
  return element("input", {
    type: kind,
    required: parameter.required,
    min: schema.minimum,
    max: schema.maximum,
    placeholder: hint,
  });
}

function bodyField(body) {
  const [media, content] = Object.entries(body.content)[0];
  const example = content.example ?? "";
  const text = typeof example === "string" ? example : JSON.stringify(example, null, 2);
  const area = element("textarea", { rows: Math.min(12, text.split("\n").length + 1), spellcheck: "false" });
  area.value = text;
  const kinds = Object.keys(body.content).map((each) => element("option", {}, each));
  const select = element("select", {}, kinds);
  select.value = media;
  select.addEventListener("change", () => {
    const other = body.content[select.value].example;
    if (other !== undefined) area.value = typeof other === "string" ? other : JSON.stringify(other, null, 2);
  });
  return { area, select };
}

function labelled(text, field) {
  return element("label", {}, visible(text), field);
}

function tryForm(method, path, operation) {
  const fields = (operation.parameters || []).map((parameter) => ({ parameter, field: fieldFor(parameter) }));
  const body = operation.requestBody ? bodyField(operation.requestBody) : null;
  const shown = element("div", { role: "status" });
  const stop = element("button", { type: "button", class: "button", hidden: true }, "Stop");
  const form = element(
    "form",
    { class: "try" },
    fields.map(({ parameter, field }) => labelled(`${parameter.name} (${parameter.in})`, field)),
    body ? [labelled("media type", body.select), labelled("body", body.area)] : null,
    element("div", { class: "send" }, element("button", { class: "button main" }, "Send"), stop),
    shown,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const sending = new AbortController();
    stop.onclick = () => sending.abort();
    stop.hidden = false;
    await send(requestOf(method, path, fields, body), sending.signal, shown);
    stop.hidden = true;
  });
  return form;
}

function requestOf(method, path, fields, body) {
  const headers = {};
  const query = new URLSearchParams();
  let place = path;
  for (const { parameter, field } of fields) {
    if (parameter.in === "path") place = place.replace(`{${parameter.name}}`, encodeURIComponent(field.value));
    else if (field.value !== "" && parameter.in === "query") query.set(parameter.name, field.value);
    else if (field.value !== "" && parameter.in === "header") headers[parameter.name] = field.value;
  }
  if (body) headers["Content-Type"] = body.select.value;
  const address = query.size ? `${place}?${query}` : place;
  return { method: method.toUpperCase(), address, headers, body: body?.area.value };
}

// ---- an answer ---------------------------------------------------------------------------------------------

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function asCommand(request) {
  const words = ["curl -sS"];
  if (request.method !== "GET") words.push(`-X ${request.method}`);
  words.push(quoted(location.origin + request.address));
  if (storedToken()) words.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(request.headers)) words.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (request.body) words.push(`--data-binary ${quoted(request.body)}`);
  return words.join(" ");
}

async function send(request, signal, shown) {
  const output = element("pre", { tabindex: "0" });
  const status = element("p", {}, "…");
  shown.replaceChildren(element("pre", {}, visible(asCommand(request))), status, output);
  const began = performance.now();
  try {
    const answer = await ask(request.method, request.address, { body: request.body, headers: request.headers, signal });
    status.textContent = statusText(answer, began);
    status.className = answer.ok ? "good" : "bad";
    await showAnswer(answer, output);
  } catch (error) {
    status.textContent = signal.aborted ? "stopped" : error.message;
    status.className = "bad";
  }
}

function statusText(answer, began) {
  const told = ["location", "retry-after", "link"].filter((name) => answer.headers.has(name));
  const headers = told.map((name) => `${name}: ${answer.headers.get(name)}`);
  const took = `${Math.round(performance.now() - began)} ms`;
  return visible([`${answer.status} ${answer.statusText}`, took, ...headers].join(" · "));
}

async function showAnswer(answer, output) {
  const media = answer.headers.get("content-type") || "";
  if (media.startsWith("text/event-stream")) {
    for await (const each of eventsOf(answer.body)) {
      output.append(visible(`${each.id} ${each.kind} ${JSON.stringify(each.data)}`), "\n");
    }
    return;
  }
  let text = await answer.text();
  if (media.includes("json") && text.length < MOST_SHOWN) text = JSON.stringify(JSON.parse(text), null, 2);
  output.textContent = visible(text.slice(0, MOST_SHOWN)) + (text.length > MOST_SHOWN ? "\n… and more" : "");
}
