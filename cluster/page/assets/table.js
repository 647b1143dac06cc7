// A table of rows: search, filters with counts, sort, and pages of a hundred rows.

const PAGE_ROWS = 100;
const MOST_COLUMNS = 14; // are shown at first
const MANY_ROWS = 50_000; // a search waits for a pause in typing
const RESERVED = new Set(["q", "sort", "page"]);

function parameter(name) {
  return RESERVED.has(name) ? `f.${name}` : name;
}

class RowView {
  constructor(report, table, noun) {
    this.report = report;
    this.table = table;
    this.noun = noun;
    this.state = new URLSearchParams();
    this.order = null; // the rows that are found, in their order
    this.facets = [];
    this.shown = [];
    this.query = { words: [], tests: [] };
  }

  async prepare() {
    await this.report.load();
    if (this.facets.length || this.shown.length) return;
    const { columns } = this.table;
    this.shown = columns
      .map((column, place) => ({ ...column, place }))
      .filter((column) => !column.hidden && column.kind !== "cause")
      .filter((column) => column.role === "output" || column.kind === "key" || this.hasValue(column.place));
    this.hidden = new Set(this.leastWanted().map((column) => column.name));
    const kinds = new Set(["state", "choice", "labels", "cause"]);
    this.facets = columns
      .map((column, place) => ({ ...column, place }))
      .filter((column) => kinds.has(column.kind) && !column.hidden)
      .map((column) => facetOf(this.table, column))
      .filter((facet) => facet.values.length > 1 || facet.kind === "state");
  }

  // Returns the columns beyond the first that fit. Those of the input give way to the answers.
  leastWanted() {
    const order = [...this.shown].sort((one, other) => (one.role === "input") - (other.role === "input"));
    return order.slice(MOST_COLUMNS);
  }

  hasValue(place) {
    for (let row = 0; row < this.table.count; row += 1) {
      const value = this.table.at(place, row);
      if (value !== null && value !== undefined && value !== "" && value !== 0) return true;
    }
    return false;
  }

  // ---- what is found -------------------------------------------------------------------------------------

  get words() {
    return this.query.words;
  }

  find() {
    this.query = queryOf(this.table, this.state.get("q") ?? "");
    const wanted = this.facets.map((facet) => this.state.get(parameter(facet.name)));
    const { found, counts } = matches(this.table, this.query, this.facets, wanted);
    this.order = sortedRows(this.table, found, ...this.sorting);
    this.counts = counts;
  }

  get sorting() {
    const given = this.state.get("sort") ?? "";
    return given.startsWith("-") ? [given.slice(1), true] : [given, false];
  }

  get page() {
    const last = Math.max(1, Math.ceil(this.order.length / PAGE_ROWS));
    return Math.min(Math.max(1, Number.parseInt(this.state.get("page") ?? "1", 10) || 1), last);
  }

  address(changes) {
    const state = new URLSearchParams(this.state);
    for (const [name, value] of Object.entries({ page: null, ...changes })) {
      if (value === null || value === "") state.delete(name);
      else state.set(name, value);
    }
    const text = state.toString();
    return `#/${this.table.name}${text ? `?${text}` : ""}`;
  }

  change(changes) {
    history.replaceState(null, "", this.address(changes));
    lists[this.table.name] = location.hash;
    this.state = new URLSearchParams(location.hash.split("?")[1] ?? "");
    this.refresh();
  }

  // ---- what is shown -------------------------------------------------------------------------------------

  async show(container, state) {
    this.state = state;
    await this.prepare();
    this.find();
    this.chips = element("div", { class: "chips", role: "group", "aria-label": "State" });
    this.tools = element("div", { class: "tools" });
    this.body = element("div");
    container.replaceChildren(
      element("h1", { class: "unseen" }, this.noun),
      this.tools,
      this.chips,
      this.body,
    );
    this.makeTools();
    this.draw();
  }

  refresh() {
    this.find();
    this.draw();
    byId("live").textContent = `${WHOLE.format(this.order.length)} found`;
  }

  makeTools() {
    this.search = element("input", {
      type: "search",
      value: this.state.get("q") ?? "",
      placeholder: this.hint(),
      autocomplete: "off",
      spellcheck: "false",
    });
    this.search.addEventListener("input", () => this.searched());
    this.selects = new Map();
    const selects = this.facets
      .filter((facet) => facet.kind !== "state")
      .map((facet) => {
        const select = element("select");
        select.addEventListener("change", () => this.change({ [parameter(facet.name)]: select.value || null }));
        this.selects.set(facet.name, select);
        return element("label", {}, visible(facet.name), select);
      });
    this.tools.append(
      element("label", { class: "search" }, "Search", this.search),
      ...selects,
      this.shown.length > MOST_COLUMNS ? this.chooser() : "",
      button("Export CSV", { title: "Export the rows that are found" }, () => this.export()),
    );
  }

  // Lets the reader choose among many columns.
  chooser() {
    const boxes = this.shown.slice(1).map((column) => {
      const box = element("input", { type: "checkbox", checked: !this.hidden.has(column.name) });
      box.addEventListener("change", () => {
        if (box.checked) this.hidden.delete(column.name);
        else this.hidden.add(column.name);
        this.draw();
      });
      return element("label", {}, box, " ", visible(column.name));
    });
    return element("details", { class: "chooser" }, element("summary", { class: "button" }, "Columns"), element("div", {}, boxes));
  }

  get visibleColumns() {
    return this.shown.filter((column) => !this.hidden.has(column.name));
  }

  hint() {
    const column = this.shown.find((each) => RIGHT.has(each.kind) || each.kind === "score");
    return `Words in any column, prompt or answer${column ? `; or ${column.name}<1` : ""}`;
  }

  searched() {
    clearTimeout(this.waiting);
    const search = () => this.change({ q: this.search.value.trim() || null });
    if (this.table.count < MANY_ROWS) search();
    else this.waiting = setTimeout(search, 150);
  }

  draw() {
    this.drawFilters();
    const begin = (this.page - 1) * PAGE_ROWS;
    const rows = this.order.slice(begin, begin + PAGE_ROWS);
    this.body.replaceChildren(
      this.pager("Pages"),
      rows.length ? this.tableOf(rows, begin) : this.nothing(),
      rows.length > 20 ? this.pager("Pages, below the rows") : "",
    );
  }

  nothing() {
    const clear = button("Clear search and filters", {}, () => {
      this.search.value = "";
      history.replaceState(null, "", `#/${this.table.name}`);
      this.state = new URLSearchParams();
      this.refresh();
    });
    return element("p", { class: "note" }, `No ${this.noun.toLowerCase()} match. `, clear);
  }

  drawFilters() {
    this.facets.forEach((facet, place) => {
      const counts = this.counts[place];
      const active = this.state.get(parameter(facet.name));
      if (facet.kind === "state") this.drawChips(facet, counts, active);
      else this.drawSelect(facet, counts, active);
    });
  }

  drawChips(facet, counts, active) {
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const chip = (label, value, count) => {
      const made = element(
        "button",
        { type: "button", class: "chip", "aria-pressed": String((active ?? "") === value) },
        label,
        " ",
        element("span", { class: "count" }, WHOLE.format(count)),
      );
      made.addEventListener("click", () => this.change({ [parameter(facet.name)]: value || null }));
      return made;
    };
    this.chips.replaceChildren(
      chip("all", "", all),
      ...facet.values.map((value) => chip(stateOf(value), value, counts.get(value) ?? 0)),
    );
  }

  drawSelect(facet, counts, active) {
    const select = this.selects.get(facet.name);
    const values = active !== null && !facet.values.includes(active) ? [active, ...facet.values] : facet.values;
    select.replaceChildren(
      element("option", { value: "" }, "all"),
      ...values.map((value) =>
        element(
          "option",
          { value, selected: value === active },
          `${visible(value).slice(0, 80)} (${WHOLE.format(counts.get(value) ?? 0)})`,
        ),
      ),
    );
  }

  pager(label) {
    const last = Math.max(1, Math.ceil(this.order.length / PAGE_ROWS));
    const { page } = this;
    const begin = (page - 1) * PAGE_ROWS;
    const of = this.order.length === this.table.count ? "" : `, of ${WHOLE.format(this.table.count)}`;
    const said = this.order.length
      ? `${WHOLE.format(begin + 1)}–${WHOLE.format(Math.min(begin + PAGE_ROWS, this.order.length))} of ${WHOLE.format(this.order.length)} found${of}`
      : `none found${of}`;
    const pages = element(
      "nav",
      { "aria-label": label },
      button("← Previous", { disabled: page <= 1 }, () => this.turn(-1)),
      " ",
      button("Next →", { disabled: page >= last }, () => this.turn(1)),
    );
    return element(
      "div",
      { class: "pager" },
      element("span", { class: "dim" }, said, this.report.isSearchable ? "" : " (prompts are still being read)"),
      last > 1 ? pages : null,
    );
  }

  turn(by) {
    const page = this.page + by;
    if (page < 1 || (page - 1) * PAGE_ROWS >= this.order.length) return;
    this.change({ page: page === 1 ? null : String(page) });
    this.tools.scrollIntoView();
  }

  tableOf(rows, begin) {
    const head = element("tr", { role: "row" }, this.visibleColumns.map((column) => this.header(column)));
    const body = element("tbody", { role: "rowgroup" }, rows.map((row) => this.row(row)));
    return element(
      "div",
      { class: "scroll", role: "region", tabindex: "0", "aria-label": `${this.noun}, from ${begin + 1}` },
      element(
        "table",
        { class: "grid rows", role: "table" },
        element("thead", { role: "rowgroup" }, head),
        body,
      ),
    );
  }

  header(column) {
    const [name, descending] = this.sorting;
    const isSorted = name === column.name;
    const sort = isSorted ? (descending ? "descending" : "ascending") : null;
    const sorter = element("button", { type: "button", "data-sort": column.name }, visible(column.name));
    sorter.addEventListener("click", () => {
      const next = !isSorted ? column.name : descending ? null : `-${column.name}`;
      this.change({ sort: next });
      this.body.querySelector(`[data-sort="${CSS.escape(column.name)}"]`)?.focus();
    });
    const align = RIGHT.has(column.kind) ? "number" : null;
    return element("th", { scope: "col", role: "columnheader", class: align, "aria-sort": sort }, sorter);
  }

  row(row) {
    return element(
      "tr",
      { role: "row" },
      this.visibleColumns.map((column, place) => cell(this.report, this.table, column, row, this.words, place === 0)),
    );
  }

  // ---- keys and export -----------------------------------------------------------------------------------

  select(by) {
    const links = [...this.body.querySelectorAll("tbody tr")].map((row) => row.querySelector("a"));
    if (!links.length) return;
    const current = links.indexOf(document.activeElement);
    const next = Math.min(Math.max(current < 0 ? (by > 0 ? 0 : links.length - 1) : current + by, 0), links.length - 1);
    links[next]?.focus();
  }

  export() {
    const columns = this.table.columns
      .map((column, place) => ({ ...column, place }))
      .filter((column) => !column.hidden && column.kind !== "cause");
    const values = (row) =>
      columns.map((column) =>
        column.kind === "task" ? this.report.keyOf(this.table.at(column.place, row)) : this.table.at(column.place, row),
      );
    const text = csvOf(columns.map((column) => column.name), this.order.map(values));
    download(`${this.report.index.run}-${this.table.name}.csv`, text);
  }
}
