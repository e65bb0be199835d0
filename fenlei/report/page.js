(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement, english = document.getElementById("en"), chinese = document.getElementById("zh");
  root.classList.add("js");

  // The reader's language, then the reader's choice.
  const speak = () => { root.lang = chinese.checked ? "zh-Hans" : "en"; };
  chinese.checked = /^zh\b/i.test(navigator.language);
  english.checked = !chinese.checked;
  [english, chinese].forEach((choice) => choice.addEventListener("change", speak));
  speak();

  // A cell of the confusion matrix opens its texts; arrow keys go from one to the next.
  const cells = all("a.cell");
  const open = (cell) => {
    cells.forEach((each) => each.setAttribute("aria-current", String(each === cell)));
    all(".texts").forEach((texts) => texts.classList.toggle("open", `#${texts.id}` === cell.hash));
  };
  const step = (cell, down, right) => {
    const row = +cell.dataset.row, column = +cell.dataset.column;
    const ahead = cells.map((each) => [each, (each.dataset.row - row) * down + (each.dataset.column - column) * right])
      .filter(([each, far]) => far > 0 && (down ? +each.dataset.column === column : +each.dataset.row === row));
    return ahead.sort((a, b) => a[1] - b[1])[0]?.[0];
  };
  const arrows = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  cells.forEach((cell) => {
    cell.addEventListener("click", (event) => { event.preventDefault(); open(cell); });
    cell.addEventListener("keydown", (event) => {
      if (event.key === " ") { event.preventDefault(); open(cell); }
      const next = arrows[event.key] && step(cell, ...arrows[event.key]);
      if (next) { event.preventDefault(); next.focus(); }
    });
  });
  const first = cells.find((cell) => cell.hash === location.hash)
    || (all(".texts")[0] && cells.find((cell) => cell.hash === `#${all(".texts")[0].id}`));
  if (first) open(first);

  // A head sorts its table, the other way at the second click.
  all("table.sortable").forEach((table) => all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const body = table.tBodies[0], numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : !numeric;
      const value = (row) => row.cells[column].dataset.v ?? "";
      const order = (a, b) => (numeric ? value(a) - value(b) : value(a).localeCompare(value(b))) * (up ? 1 : -1);
      all("thead th", table).forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...[...body.rows].sort(order));
    });
  }));

  // On paper everything is open.
  const opened = [];
  addEventListener("beforeprint", () => all("details:not([open])").forEach((each) => { each.open = true; opened.push(each); }));
  addEventListener("afterprint", () => opened.splice(0).forEach((each) => { each.open = false; }));
})();
