/* Adds and removes rows of the week editor. Without this script the rows are an ordinary form, with spare ones. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const fieldsOf = (root) => [...root.querySelectorAll("[name]")];

  for (const root of document.querySelectorAll(".week-editor")) {
    const rows = root.querySelector(".rows");
    const template = root.querySelector("template").content;
    const button = root.querySelector(".week-add");

    const nameButton = (row) => {
      const [day] = fieldsOf(row);
      const name = day.value ? `Remove ${day.selectedOptions[0].text}` : "Remove the empty row";
      row.querySelector("button").setAttribute("aria-label", name);
    };
    /* What the server says of a row holds until the row is changed. */
    const changed = (row) => {
      nameButton(row);
      row.querySelector(".row-problem")?.remove();
      fieldsOf(row).forEach((field) => field.removeAttribute("aria-invalid"));
    };
    const remove = (row) => {
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (next ? fieldsOf(next)[0] : button).focus();
      root.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const watch = (row) => {
      row.querySelector("button").hidden = false;
      row.querySelector("button").addEventListener("click", () => remove(row));
      row.addEventListener("focusin", () => nameButton(row));
      row.addEventListener("change", () => changed(row));
      nameButton(row);
      return row;
    };
    const add = () => {
      rows.append(template.firstElementChild.cloneNode(true));
      return watch(rows.lastElementChild);
    };

    for (const row of [...rows.children]) {
      if (fieldsOf(row).some(({ value }) => value)) {
        watch(row);
      } else {
        row.remove();
      }
    }
    root.querySelector(".week-plain").remove();
    button.hidden = false;
    button.addEventListener("click", () => fieldsOf(add())[0].focus());
    // Makes as many rows as were kept; the form fills them.
    root.closest("form").addEventListener("restore", ({ detail }) => {
      rows.replaceChildren();
      detail.get(fieldsOf(template)[0].name)?.forEach(add);
    });
  }
});
