/*
 * Keeps what was typed into a form of the admin in this tab until it is saved, and offers it where the form is opened
 * again: after Back, a reload, or another sign-in. Leaving such a form asks. Passwords and files are never kept.
 * Without this script the forms are ordinary ones.
 */
"use strict";

(() => {
  const KEPT = "unsaved";
  const SIGNED_OUT = "signed-out";
  const MAX_LENGTH = 500_000;
  const NOT_TYPED = new Set(["hidden", "password", "file", "submit"]);
  const { user } = document.currentScript.dataset;
  /* A duplicate's form is another one than that of a new row, at the same path. */
  const PLACE = location.pathname + (new URLSearchParams(location.search).get("duplicate") ?? "");

  /* Who types, and since which time of signing out in any tab: nobody else is shown it, nor anybody after that. */
  const owner = () => `${user} ${localStorage.getItem(SIGNED_OUT)}`;

  /* Returns the drafts by the places of their forms, the latest last. */
  const readDrafts = () => {
    const drafts = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return new Map(drafts.filter(([, draft]) => !user || draft.owner === owner()));
  };

  const changeDrafts = (change) => {
    const drafts = readDrafts();
    change(drafts);
    const entries = [...drafts];
    while (JSON.stringify(entries).length > MAX_LENGTH) {
      entries.shift();
    }
    sessionStorage.setItem(KEPT, JSON.stringify(entries));
  };

  const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const fieldsOf = (form) => [...form.elements].filter(({ name, type }) => name && !NOT_TYPED.has(type));
  /* Returns the hidden field that says which version of the row the form was made from; a new row has none. */
  const versionOf = (form) => [...form.elements].find(({ name, type }) => type === "hidden" && /version/i.test(name));

  const valuesOf = (form) => {
    const names = new Set(fieldsOf(form).map(({ name }) => name));
    return [...new FormData(form)].filter(([name]) => names.has(name));
  };

  const fill = (form, entries) => {
    const values = new Map(entries.map(([name]) => [name, []]));
    entries.forEach(([name, value]) => values.get(name).push(value));
    form.dispatchEvent(new CustomEvent("restore", { detail: values }));
    for (const field of fieldsOf(form)) {
      const own = values.get(field.name) ?? [];
      if (field.type === "checkbox" || field.type === "radio") {
        field.checked = own.includes(field.value);
      } else if (field.type === "select-multiple") {
        [...field.options].forEach((option) => (option.selected = own.includes(option.value)));
      } else if (own.length) {
        field.value = own.shift();
      }
    }
  };

  class UnsavedForm {
    constructor(form) {
      const draft = readDrafts().get(PLACE);
      this.form = form;
      this.shown = valuesOf(form);
      this.wasRefused = Boolean(document.querySelector(".errornote"));
      this.version = versionOf(form)?.value ?? ((this.wasRefused && draft?.version) || this.shown);
      form.addEventListener("input", () => this.keep());
      form.addEventListener("change", () => this.keep());
      form.addEventListener("submit", () => this.keep(true));
      window.addEventListener("beforeunload", (event) => this.isUnsaved() && !this.isSent && event.preventDefault());
      window.addEventListener("pageshow", ({ persisted }) => persisted && this.reload());
      if (draft && !this.wasRefused && !isSame(draft.values, this.shown)) {
        this.offer(draft);
      } else {
        this.keep();
      }
      // After the admin's own script, which takes the cursor to the first field of a new row.
      window.addEventListener("load", () => (this.question?.querySelector("button") ?? this.firstWrong())?.focus());
    }

    isUnsaved() {
      return this.wasRefused || !isSame(valuesOf(this.form), this.shown);
    }

    /* Stores what is typed by now; what is offered still gives way only to what is sent. */
    keep(isSent = false) {
      const isUnsaved = this.isUnsaved();
      this.isSent = isSent;
      if (this.question && !(isSent && isUnsaved)) {
        return;
      }
      changeDrafts((drafts) => {
        drafts.delete(PLACE);
        if (isUnsaved) {
          const values = valuesOf(this.form);
          drafts.set(PLACE, { owner: owner(), version: this.version, values, isSent });
        }
      });
    }

    /* The browser has kept the whole page, which may have been saved, or its user signed out, since. */
    reload() {
      this.isSent = true;
      location.reload();
    }

    offer(draft) {
      history.scrollRestoration = "manual"; // or the question is scrolled out of sight
      const since = isSame(draft.version, this.version) ? "" : ", and what is stored has been changed since";
      this.question = document.createElement("div");
      this.question.setAttribute("role", "group");
      this.question.setAttribute("aria-labelledby", "unsaved-question");
      this.question.innerHTML = `<ul class="messagelist"><li class="warning unsaved">
        <span id="unsaved-question">What you typed here was not saved${since}.</span>
        <button type="button" class="button">Bring it back</button>
        <button type="button" class="button">Throw it away</button></li></ul>`;
      const [back, away] = this.question.querySelectorAll("button");
      back.addEventListener("click", () => this.answer(draft));
      away.addEventListener("click", () => this.answer(null));
      document.getElementById("content").before(this.question);
    }

    /* The version comes back with the rest, for the server to see what somebody else has changed since. */
    answer(draft) {
      this.question.remove();
      this.question = null;
      if (draft) {
        const field = versionOf(this.form);
        if (field) {
          field.value = draft.version;
        }
        this.version = draft.version;
        fill(this.form, draft.values);
      }
      this.keep();
      fieldsOf(this.form)[0].focus();
    }

    firstWrong() {
      const line = this.form.querySelector(".errors");
      const wrong = line?.querySelector('[aria-invalid="true"]')?.closest("li, .errors") ?? line;
      const fields = fieldsOf(this.form).filter((field) => wrong?.contains(field));
      return fields.find((field) => !field.value && field.hasAttribute("aria-invalid")) ?? fields[0];
    }
  }

  /* Shows what was typed into a form that may not be changed any more, for it to be copied. */
  const showTexts = ({ values }) => {
    const texts = values.map(([, value]) => value).filter((value) => value && !/^[0-9a-f-]{36}$/.test(value));
    const note = document.createElement("ul");
    note.className = "messagelist";
    note.innerHTML = '<li class="warning">This is not yours to change any more. What you typed: <q></q></li>';
    note.querySelector("q").textContent = texts.join("; ");
    document.getElementById("content").before(note);
  };

  document.addEventListener("DOMContentLoaded", () => {
    // Or the browser restores fields by their position: levels beside other skills, ticks beside other rows.
    for (const each of document.querySelectorAll("#content form:not(:has([type=password]))")) {
      each.autocomplete = "off";
    }
    const form = document.querySelector(".change-form #content-main > form");
    if (document.querySelector(".messagelist .success")) {
      changeDrafts((drafts) => drafts.forEach(({ isSent }, path) => isSent && drafts.delete(path)));
    } else if (form || !readDrafts().has(PLACE)) {
      changeDrafts((drafts) => drafts.forEach((draft) => (draft.isSent = false)));
    }
    const draft = readDrafts().get(PLACE);
    if (form && fieldsOf(form).length) {
      new UnsavedForm(form);
    } else if (form && draft) {
      showTexts(draft);
    }
    document.getElementById("logout-form")?.addEventListener("submit", () => {
      localStorage.setItem(SIGNED_OUT, Date.now());
      sessionStorage.removeItem(KEPT);
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) {
      event.preventDefault(); // it ends the composition, and sends no form
    }
  });
})();
