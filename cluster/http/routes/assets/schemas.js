// Shows the schemas of an OpenAPI document: types in words, and members as tables that open.

const DEEPEST = 6;
let openapi = null;

function nameOf(reference) {
  return reference.split("/").at(-1);
}

function resolved(schema) {
  return schema?.$ref ? openapi.components.schemas[nameOf(schema.$ref)] : schema;
}

// Returns a type as a short text, such as "list of TaskDocument" or "integer, 1 to 1000".
function typeText(schema) {
  if (!schema || !Object.keys(schema).length) return "any value";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map(typeText).join(" or ");
  if (schema.type === "array") return `list of ${typeText(schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties)
    return `object of ${typeText(schema.additionalProperties)}`;
  return [schema.type || "any value", ...boundTexts(schema)].join(", ");
}

function boundTexts(schema) {
  const bounds = [];
  if (schema.format) bounds.push(schema.format);
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  if (low !== undefined && high !== undefined) bounds.push(`${low} to ${high}`);
  else if (low !== undefined) bounds.push(`at least ${low}`);
  else if (high !== undefined) bounds.push(`at most ${high}`);
  if (schema.maxLength !== undefined) bounds.push(`up to ${schema.maxLength} characters`);
  return bounds;
}

// Returns the schemas with members that a schema leads to without a further name.
function objectsIn(schema) {
  if (!schema) return [];
  if (schema.$ref) return [schema];
  return [...(schema.anyOf || schema.oneOf || []), schema.items, schema.additionalProperties]
    .filter((each) => each && typeof each === "object")
    .flatMap(objectsIn);
}

function memberRow(name, schema, isRequired, depth) {
  const details = objectsIn(schema).map((each) => schemaBox(each, depth + 1));
  const named = [element("code", {}, visible(name)), isRequired ? " *" : ""];
  return row(cell(named), cell([visible(typeText(schema)), details]), cell(prose(schema.description), "dim"));
}

function schemaTable(schema, depth = 0) {
  const object = resolved(schema);
  const required = new Set(object?.required);
  const rows = Object.entries(object?.properties || {}).map(([name, inner]) =>
    memberRow(name, inner, required.has(name), depth),
  );
  return element(
    "div",
    { class: "schema" },
    object?.description ? element("p", { class: "dim" }, prose(object.description)) : null,
    rows.length ? rowsTable([], rows) : element("p", {}, visible(typeText(object))),
  );
}

// A schema that is drawn once it is opened: schemas may lead to themselves.
function schemaBox(schema, depth = 0) {
  const box = element("details", {}, element("summary", {}, visible(typeText(schema))));
  box.addEventListener("toggle", () => {
    if (box.childElementCount === 1 && depth < DEEPEST) box.append(schemaTable(schema, depth));
  });
  return box;
}

function contentBoxes(content) {
  return Object.entries(content || {}).map(([media, each]) =>
    element("div", { class: "schema" }, element("code", {}, visible(media)), " ", schemaBox(each.schema || {})),
  );
}
