// Reads the tables of the page: compressed blocks of columns, each in a template of its own.

async function unpacked(id) {
  const packed = byId(id).content.textContent;
  const characters = atob(packed);
  const bytes = new Uint8Array(characters.length);
  for (let place = 0; place < characters.length; place += 1) bytes[place] = characters.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// Lets the browser draw and take keys before more work is done.
function rested() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

class Table {
  constructor(name, given) {
    this.name = name;
    this.columns = given.columns;
    this.count = given.count;
    this.total = given.total;
    this.starts = given.starts;
    this.values = [];
    this.loading = null;
    this.texts = null; // what a search looks into, by row
  }

  place(name) {
    return this.columns.findIndex((column) => column.name === name);
  }

  // Returns a value by the place of its column.
  at(place, row) {
    return this.values[place][row];
  }

  get(name, row) {
    return this.at(this.place(name), row);
  }

  load() {
    this.loading ??= this.loadAll();
    return this.loading;
  }

  async loadAll() {
    const blocks = await Promise.all(this.starts.map((_, number) => unpacked(`${this.name}-${number}`)));
    this.values = this.columns.map((_, place) => blocks.flatMap((block) => block[place]));
    this.texts = Array.from({ length: this.count }, (_, row) => {
      const parts = this.columns.map((_column, place) => asText(this.at(place, row)));
      return parts.join("\n").toLowerCase();
    });
  }
}

// The histories of tasks. A few blocks are kept: one task is read at a time, and its neighbours are likely next.
class Histories {
  constructor(given) {
    this.starts = given.starts;
    this.count = given.count;
    this.blocks = new Map();
  }

  async block(number) {
    let found = this.blocks.get(number);
    if (!found) {
      found = unpacked(`history-${number}`).then((columns) => columns[0]);
      this.blocks.set(number, found);
      if (this.blocks.size > 4) this.blocks.delete(this.blocks.keys().next().value);
    }
    return found;
  }

  async of(task) {
    let number = this.starts.length - 1;
    while (this.starts[number] > task) number -= 1;
    return (await this.block(number))[task - this.starts[number]];
  }
}

class ReportData {
  constructor(index) {
    this.index = index;
    this.isMap = index.isMap;
    this.began = index.began;
    this.tasks = new Table("tasks", index.tables.tasks);
    this.items = new Table("items", index.tables.items);
    this.histories = new Histories(index.tables.history);
    this.isSearchable = false; // whether prompts and findings are among the texts
    this.keys = new Map();
  }

  async load() {
    await Promise.all([this.tasks.load(), this.items.load()]);
    if (!this.keys.size) {
      const place = this.tasks.place("key");
      for (let row = 0; row < this.tasks.count; row += 1) this.keys.set(this.tasks.at(place, row), row);
    }
  }

  taskOf(item) {
    return this.items.get("task", item);
  }

  keyOf(task) {
    return this.tasks.get("key", task);
  }

  itemsOf(task) {
    if (this.isMap) return [];
    const first = this.tasks.get("first item", task);
    const rows = [];
    for (let row = first; row < this.items.count && this.taskOf(row) === task; row += 1) rows.push(row);
    return rows;
  }

  // Adds prompts, findings and inputs to what a search looks into. Rests after each block.
  async makeSearchable() {
    await this.load();
    for (let number = 0; number < this.histories.starts.length; number += 1) {
      const [histories] = await unpacked(`history-${number}`);
      histories.forEach((history, place) => this.addTexts(this.histories.starts[number] + place, history));
      await rested();
    }
    this.isSearchable = true;
  }

  addTexts(task, history) {
    const findings = (history.findings ?? []).map((one) => one.finding ?? "");
    const asked = (history.asked ?? []).map((steps, place) => {
      const prompts = steps.map((step) => step.prompt ?? "");
      return [...prompts, history.texts?.[place] ?? ""].join("\n").toLowerCase();
    });
    const own = [...findings, asText(history.params)].join("\n").toLowerCase();
    this.tasks.texts[task] += `\n${own}${this.isMap ? `\n${asked.join("\n")}` : ""}`;
    if (this.isMap) return;
    const first = this.tasks.get("first item", task);
    const key = String(this.keyOf(task)).toLowerCase();
    asked.forEach((text, place) => {
      if (first + place < this.items.count) this.items.texts[first + place] += `\n${key}\n${text}`;
    });
  }
}
