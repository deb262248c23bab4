/*
 * Keeps what was typed into a form of the admin in this tab until it is saved, and offers it where the form is opened
 * again: after Back, a reload, or another sign-in. Leaving such a form asks. Without this script, and for passwords,
 * files and hidden fields, nothing is kept.
 */
"use strict";

(() => {
  const KEPT = "unsaved";
  const SIGNED_OUT = "signed-out";
  const MAX_LENGTH = 500_000;
  const NEVER_KEPT = new Set(["hidden", "password", "file", "submit"]);
  const { user } = document.currentScript.dataset;

  /* Who typed it, and between which two times of signing out in any tab. */
  const owner = () => `${user} ${localStorage.getItem(SIGNED_OUT)}`;

  /* The drafts by the paths of their forms, the latest last. */
  const readDrafts = () => {
    const drafts = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return new Map(drafts.filter(([, draft]) => !user || draft.owner === owner()));
  };

  const writeDrafts = (drafts) => {
    const entries = [...drafts];
    while (JSON.stringify(entries).length > MAX_LENGTH) {
      entries.shift();
    }
    sessionStorage.setItem(KEPT, JSON.stringify(entries));
  };

  const change = (update) => {
    const drafts = readDrafts();
    update(drafts);
    writeDrafts(drafts);
  };

  const fieldsOf = (form) => [...form.elements].filter(({ name, type }) => name && !NEVER_KEPT.has(type));

  const valuesOf = (form) => {
    const names = new Set(fieldsOf(form).map(({ name }) => name));
    return [...new FormData(form)].filter(([name]) => names.has(name));
  };

  /* What says which version of the row the form was made from: its hidden fields, but not the tokens of a request. */
  const versionsOf = (form) => [...form.elements].filter(({ name, type }) => type === "hidden" && !/token/i.test(name));

  const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

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
      this.form = form;
      this.wasRefused = Boolean(document.querySelector(".errornote"));
      this.stored = valuesOf(form);
      const draft = readDrafts().get(location.pathname);
      const versions = versionsOf(form).map(({ name, value }) => [name, value]);
      this.version = versions.length ? versions : ((this.wasRefused && draft?.version) || this.stored);
      form.autocomplete = "off"; // or the browser restores some of the fields by itself, levels beside other skills
      form.addEventListener("input", () => this.keep());
      form.addEventListener("change", () => this.keep());
      form.addEventListener("submit", () => this.keep({ isSent: true }));
      window.addEventListener("beforeunload", (event) => this.leave(event));
      window.addEventListener("pageshow", ({ persisted }) => persisted && this.reload());
      if (this.wasRefused) {
        this.keep();
        window.addEventListener("load", () => this.focusFirstWrong());
      } else if (draft && !isSame(draft.values, this.stored)) {
        this.offer(draft);
      } else {
        this.keep();
      }
    }

    isUnsaved() {
      return this.wasRefused || !isSame(valuesOf(this.form), this.stored);
    }

    /* An offer that was not answered yet gives way only to what is sent. */
    keep({ isSent = false } = {}) {
      this.isSent = isSent;
      const isUnsaved = this.isUnsaved();
      if (this.question && !(isSent && isUnsaved)) {
        return;
      }
      change((drafts) => {
        drafts.delete(location.pathname);
        if (isUnsaved) {
          const { version } = this;
          drafts.set(location.pathname, { owner: owner(), values: valuesOf(this.form), version, isSent });
        }
      });
    }

    leave(event) {
      if (!this.isSent && this.isUnsaved()) {
        event.preventDefault();
      }
    }

    /* The browser shows the page as it was left, which may be before it was saved or before somebody signed out. */
    reload() {
      this.isSent = true;
      location.reload();
    }

    offer(draft) {
      this.question = document.createElement("div");
      this.question.setAttribute("role", "group");
      this.question.setAttribute("aria-labelledby", "unsaved-question");
      this.question.innerHTML = `<ul class="messagelist"><li class="warning unsaved"><span id="unsaved-question"></span>
        <button type="button" class="button">Bring it back</button>
        <button type="button" class="button">Throw it away</button></li></ul>`;
      const isOutdated = !isSame(draft.version, this.version);
      this.question.querySelector("span").textContent = isOutdated
        ? "What you typed here was not saved, and what is stored has been changed since."
        : "What you typed here was not saved.";
      const [back, away] = this.question.querySelectorAll("button");
      back.addEventListener("click", () => this.answer(() => this.restore(draft)));
      away.addEventListener("click", () => this.answer(() => {}));
      document.getElementById("content").before(this.question);
      window.addEventListener("load", () => back.focus()); // after the admin's script, which focuses the first field
    }

    answer(action) {
      this.question.remove();
      this.question = null;
      action();
      this.keep();
      fieldsOf(this.form)[0].focus();
    }

    /* The version comes back as well, for the server to see what somebody else has changed since. */
    restore({ values, version }) {
      fill(this.form, values);
      versionsOf(this.form).forEach((field) => (field.value = new Map(version).get(field.name) ?? field.value));
      this.version = version;
    }

    focusFirstWrong() {
      const row = this.form.querySelector(".errors");
      const fields = fieldsOf(this.form).filter((field) => row?.contains(field));
      const isWrong = (field) => field.getAttribute("aria-invalid") === "true";
      (fields.find(isWrong) ?? fields.find(({ value }) => !value) ?? fields[0])?.focus();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector(".change-form #content-main > form");
    if (document.querySelector(".messagelist .success")) {
      change((drafts) => drafts.forEach(({ isSent }, path) => isSent && drafts.delete(path)));
    } else if (form || !readDrafts().has(location.pathname)) {
      change((drafts) => drafts.forEach((draft) => (draft.isSent = false)));
    }
    if (form && fieldsOf(form).length) {
      new UnsavedForm(form);
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
