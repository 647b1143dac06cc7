/* Shows one question. Texts come from strangers: they are inserted as text, never as markup. */

const at = (id) => document.getElementById(id);

/** Returns a new element with a class, and with texts or elements in it. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Returns a button with its key. */
export function button(label, key, className, onClick) {
  const made = make("button", className, make("span", "label", label));
  made.type = "button";
  if (key) {
    made.append(" ", make("kbd", "", key));
    made.setAttribute("aria-keyshortcuts", key === "Space" ? "Space" : key);
  }
  made.addEventListener("click", onClick);
  return made;
}

function part(title, ...children) {
  return make("section", "part", make("h3", "", title), ...children);
}

function text(value, className = "text") {
  if (value === null) return make("p", "soft", "no answer");
  const shown = make("div", className, value);
  shown.dir = "auto";
  return shown;
}

function fields(entries) {
  const list = make("dl", "fields");
  for (const entry of entries) {
    const name = make("dt", entry.is_asked ? "asked" : "", entry.name);
    const value = make("dd", "");
    value.append(text(entry.shown));
    list.append(name, value);
  }
  return list;
}

function prompt(step, isAlone) {
  const children = [];
  if (step.prompt !== null) children.push(text(step.prompt));
  if (step.system !== null) children.push(make("h4", "", "System"), text(step.system));
  for (const file of step.files) children.push(make("p", "soft", `file: ${file}`));
  if (step.note) children.push(make("p", "soft", step.note));
  const summary = make("summary", "", isAlone ? "Prompt" : `Prompt of ${step.step}`);
  const details = make("details", "prompt", summary, ...children);
  details.open = step.is_open;
  return details;
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
  if (card.note) parts.push(make("p", "soft", card.note));
  at("content").replaceChildren(...parts);
}

/** Shows the answer to judge, and the values to choose. `act(name, value)` takes a decision. */
export function showQuestion(card, act) {
  at("asks").textContent = card.answer === null ? `${card.field}: what is right?` : `${card.field}: is it right?`;
  const shown = at("answer");
  shown.replaceChildren(text(card.answer, "text answer"));
  if (card.about) shown.append(make("p", "soft", card.about));
  if (card.other) {
    shown.append(make("h3", "", `Run ${card.other.run}`), text(card.other.shown, "text answer other"));
  }
  const options = at("options");
  options.replaceChildren();
  card.options.forEach((option, place) => {
    const made = button(option.shown, option.key, "option", () => act("choose", place));
    if (option.is_answer) made.append(make("span", "mark", "answered"));
    options.append(made);
  });
  const hasAnswer = card.answer !== null;
  const accept = button("Accept", "a", "good", () => act("accept"));
  const reject = button("Reject", "x", "bad", () => act("reject"));
  accept.disabled = reject.disabled = !hasAnswer;
  at("actions").replaceChildren(
    accept,
    reject,
    button("Edit", "e", "quiet", () => act("edit")),
    button("Skip", "Space", "quiet", () => act("skip")),
    ...moves(act),
  );
}

/** Shows two answers without the names of their runs. */
export function showPair(card, act) {
  at("asks").textContent = "Which answer is better?";
  const [left, right] = card.sides.map((side, place) =>
    make("section", "side", make("h3", "", place ? "Right" : "Left"), fields(side)));
  at("answer").replaceChildren(make("div", "sides", left, right));
  at("options").replaceChildren(
    button("Left", "1", "option", () => act("prefer", "left")),
    button("Right", "2", "option", () => act("prefer", "right")),
    button("Neither", "0", "option", () => act("prefer", "neither")),
  );
  at("actions").replaceChildren(button("Skip", "Space", "quiet", () => act("skip")), ...moves(act));
}

function moves(act) {
  return [
    button("Undo", "u", "small", () => act("undo")),
    button("Back", "k", "small", () => act("previous")),
    button("Next", "j", "small", () => act("next")),
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
