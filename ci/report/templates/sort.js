// SPDX-License-Identifier: Apache-2.0
// Tables of the class "sort" are sorted by a click on a heading. Without scripts they stay as the record has them.
"use strict";
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0];
  const order = Array.from(body.rows);
  const value = (row, at) => {
    const cell = row.cells[at];
    if (!cell) return "";
    if (cell.dataset.value === undefined) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") {
      // What has no number stands last in both directions.
      if (Number.isNaN(one) || Number.isNaN(other)) return null;
      return one - other;
    }
    return String(one).localeCompare(String(other), "en", {numeric: true});
  };
  Array.from(table.tHead.rows[0].cells).forEach((heading, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      const sorted = order.map((row) => [value(row, at), row]);
      sorted.sort(([one], [other]) => {
        const result = compare(one, other);
        return result === null ? Number(Number.isNaN(one)) - Number(Number.isNaN(other)) : sign * result;
      });
      body.append(...sorted.map(([, row]) => row));
    });
  });
}
