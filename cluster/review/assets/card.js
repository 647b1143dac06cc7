/* Shows one question. Texts come from strangers: they are inserted as text, never as markup. */

/** Returns a button with its key. */
export function keyButton(label, key, kind, pressed) {
  const name = element("span", { class: "label" }, visible(label));
  const shown = key ? [name, " ", element("kbd", {}, key)] : [name];
  return button(shown, { class: `button ${kind}`, "aria-keyshortcuts": key || null }, pressed);
}

function part(title, ...children) {
  return element("section", { class: "part" }, element("h3", {}, visible(title)), children);
}

function dim(value) {
  return element("p", { class: "dim" }, visible(value));
}

function text(value, kind = "text") {
  return value === null ? dim("no answer") : element("div", { class: kind, dir: "auto" }, visible(value));
}

function fields(entries) {
  const rows = entries.map((entry) => [
    element("dt", { class: entry.is_asked && "asked" }, visible(entry.name)),
    element("dd", {}, text(entry.shown)),
  ]);
  return element("dl", { class: "fields" }, rows);
}

function prompt(step, isAlone) {
  return element(
    "details",
    { class: "prompt", open: step.is_open },
    element("summary", {}, isAlone ? "Prompt" : visible(`Prompt of ${step.step}`)),
    step.prompt !== null && text(step.prompt),
    step.system !== null && [element("h4", {}, "System"), text(step.system)],
    step.files.map((file) => dim(`file: ${file}`)),
    step.note && dim(step.note),
  );
}

/** Shows what the question is about: first what a person has to read. */
export function showMaterial(card) {
  const inputs = card.inputs.filter((each) => each.shown !== card.task); // the title is the key
  const prompts = card.prompts ?? [];
  const shown = (step) => prompt(step, prompts.length === 1);
  const parts = [];
  if (card.text !== null) parts.push(part("Text of the item", text(card.text)));
  parts.push(...prompts.filter((step) => step.is_open).map(shown));
  if (inputs.length) parts.push(part("Input", fields(inputs)));
  if (card.error) parts.push(part("Error", text(card.error, "text bad")));
  if (card.answers && card.answers.length > 1) parts.push(part("All answers", fields(card.answers)));
  for (const finding of card.evidence ?? []) {
    const score = finding.score === null ? "" : `, score ${finding.score}`;
    parts.push(part(`Evidence of ${finding.dimension}${score}`, text(finding.finding)));
  }
  parts.push(...prompts.filter((step) => !step.is_open).map(shown));
  if (card.note) parts.push(dim(card.note));
  byId("content").replaceChildren(...parts);
}

/** Shows the answer to judge, and the values to choose. `act(name, value)` takes a decision. */
export function showQuestion(card, act) {
  byId("asks").textContent = visible(`${card.field}: ${card.answer === null ? "what is right?" : "is it right?"}`);
  const shown = byId("answer");
  shown.replaceChildren(text(card.answer, "text answer"));
  if (card.about) shown.append(dim(card.about));
  if (card.other) {
    shown.append(element("h3", {}, visible(`Run ${card.other.run}`)), text(card.other.shown, "text answer other"));
  }
  const options = card.options.map((option, place) => {
    const made = keyButton(option.shown, option.key, "option", () => act("choose", place));
    if (option.is_answer) made.append(element("span", { class: "mark" }, "answered"));
    return made;
  });
  byId("options").replaceChildren(...options);
  const hasAnswer = card.answer !== null;
  const accept = keyButton("Accept", "a", "good", () => act("accept"));
  const reject = keyButton("Reject", "x", "bad", () => act("reject"));
  accept.disabled = reject.disabled = !hasAnswer;
  byId("actions").replaceChildren(
    accept,
    reject,
    keyButton("Edit", "e", "quiet", () => act("edit")),
    keyButton("Skip", "Space", "quiet", () => act("skip")),
    ...moves(act),
  );
}

/** Shows two answers without the names of their runs. */
export function showPair(card, act) {
  byId("asks").textContent = "Which answer is better?";
  const sides = card.sides.map((side, place) =>
    element("section", { class: "side" }, element("h3", {}, place ? "Right" : "Left"), fields(side)),
  );
  byId("answer").replaceChildren(element("div", { class: "sides" }, sides));
  byId("options").replaceChildren(
    keyButton("Left", "1", "option", () => act("prefer", "left")),
    keyButton("Right", "2", "option", () => act("prefer", "right")),
    keyButton("Neither", "0", "option", () => act("prefer", "neither")),
  );
  byId("actions").replaceChildren(keyButton("Skip", "Space", "quiet", () => act("skip")), ...moves(act));
}

function moves(act) {
  return [
    keyButton("Undo", "u", "small", () => act("undo")),
    keyButton("Back", "k", "small", () => act("previous")),
    keyButton("Next", "j", "small", () => act("next")),
  ];
}

/** Returns a decision in words. */
export function decisionText(decided) {
  switch (decided?.decision) {
    case "accept": return "accepted";
    case "reject": return "rejected";
    case "edit": return `corrected to ${decided.shown ?? "another value"}`;
    case "skip": return "skipped";
    case "prefer": return decided.side === "neither" ? "neither is better" : `the ${decided.side} answer is better`;
    default: return "";
  }
}
