// Makes the reference from the OpenAPI document of the service.

function operationsByTag() {
  const tags = new Map();
  for (const [path, operations] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] || "others";
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(operationBox(method, path, operation));
    }
  }
  return tags;
}

function showTokenNote() {
  byId("token-note").textContent = storedToken() ? "A token is kept in this tab." : "";
}

function openNamed() {
  const box = byId(decoded(location.hash.slice(1)) ?? "");
  if (box?.classList.contains("operation")) {
    box.open = true;
    box.scrollIntoView();
  }
}

async function showReference() {
  try {
    openapi = await read("/openapi.json");
  } catch (error) {
    byId("about").textContent = error.message;
    return;
  }
  byId("title").textContent = `${openapi.info.title}: HTTP API`;
  byId("version").textContent = openapi.info.version;
  byId("about").textContent = openapi.info.description;
  byId("token-box").hidden = !openapi.components.securitySchemes;
  showTokenNote();
  byId("operations").replaceChildren(
    ...[...operationsByTag()].flatMap(([tag, boxes]) => [element("h2", {}, visible(tag)), ...boxes]),
  );
  const names = Object.keys(openapi.components.schemas).sort();
  byId("schemas").replaceChildren(...names.map((name) => schemaBox({ $ref: `#/components/schemas/${name}` })));
  openNamed();
}

byId("token-box").addEventListener("submit", (event) => {
  event.preventDefault();
  storeToken(byId("token").value.trim());
  byId("token").value = "";
  showTokenNote();
});
addEventListener("hashchange", openNamed);
showReference();
