/*
 * Makes the rows of the skill picker convenient: finds skills as the API's search does, grouped by community, that of
 * the chosen role first, and by their descriptions only where no name or alias holds what is typed; suggests what other
 * listings of the role require; adds and removes rows, keeps skills from being chosen twice, and says how many
 * volunteers there are for the rows.
 * The text field follows the combobox pattern of the WAI-ARIA Authoring Practices (list autocomplete with manual
 * selection). Without this script the rows are an ordinary form.
 */
"use strict";

(() => {
  const NO_COMMUNITY = "Other";
  const COUNT_DELAY = 300;

  const fold = (text) => text.trim().toLowerCase();

  class SkillPicker {
    constructor(root) {
      this.root = root;
      this.rows = root.querySelector(".skill-rows");
      this.status = root.querySelector(".skill-count");
      this.template = root.querySelector("template");
      this.skills = [...root.querySelectorAll("datalist option")].map((option) => ({
        name: option.value,
        aliases: option.dataset.aliases?.trim().split("\n") ?? [],
        communities: option.textContent ? option.textContent.split(", ") : [NO_COMMUNITY],
      }));
      const aliases = this.skills.flatMap(({ name, aliases }) => aliases.map((alias) => [fold(alias), name]));
      this.names = new Map([...aliases, ...this.skills.map(({ name }) => [fold(name), name])]);
      this.usual = root.querySelector(".skill-usual");
      this.added = 0;
      this.all = new Set();
      for (const element of [...this.rows.children]) {
        const row = new SkillRow(this, element);
        if (!row.field.value && !row.level.value) {
          row.discard();
        }
      }
      root.querySelector(".skill-plain").remove();
      const add = root.querySelector(".skill-add");
      add.hidden = false;
      add.addEventListener("click", () => this.add().field.focus());
      if (!this.rows.children.length) {
        this.add();
      }
      const form = root.closest("form");
      this.role = form.elements.role;
      this.role?.addEventListener("change", () => this.count());
      form.addEventListener("restore", ({ detail }) => this.restore(detail));
      this.count();
    }

    add() {
      const row = this.template.content.firstElementChild.cloneNode(true);
      this.added += 1;
      for (const element of row.querySelectorAll("[id], [for]")) {
        const attribute = element.id ? "id" : "for";
        element.setAttribute(attribute, `${element.getAttribute(attribute)}${this.added}`);
      }
      this.rows.append(row);
      return new SkillRow(this, row);
    }

    /* Makes as many rows as were kept, and fills them: `values` has those of each field by its name. */
    restore(values) {
      this.all.forEach((row) => row.discard());
      const [names, levels] = [...this.template.content.querySelectorAll("[name]")].map(({ name }) => values.get(name));
      names?.forEach((name, index) => {
        const row = this.add();
        row.field.value = name;
        row.level.value = levels[index];
      });
      this.changed();
    }

    chosenBesides(field) {
      const others = [...this.all].filter((row) => row.field !== field);
      return new Set(others.map((row) => fold(row.field.value)).filter(Boolean));
    }

    async found(text, field) {
      const names = text.trim() ? await this.search(text) : null;
      const chosen = this.chosenBesides(field);
      const skills = this.skills.filter(({ name }) => (names?.has(name) ?? true) && !chosen.has(fold(name)));
      const words = fold(text).split(/\s+/);
      const holds = (name) => words.every((word) => fold(name).includes(word));
      const named = skills
        .map((skill) => ({ ...skill, foundBy: [skill.name, ...skill.aliases].find(holds) }))
        .filter(({ foundBy }) => foundBy);
      return named.length ? named : skills;
    }

    /* The skills by community, that of the chosen role first. */
    grouped(skills) {
      const first = this.role?.selectedOptions[0]?.closest("optgroup")?.label;
      const groups = new Map();
      for (const skill of skills) {
        const community = skill.communities.includes(first) ? first : skill.communities[0];
        groups.set(community, [...(groups.get(community) ?? []), skill]);
      }
      return [...groups].sort(([a], [b]) => (b === first) - (a === first) || (a < b ? -1 : 1));
    }

    /* What isn't offered is retired. */
    suggest(names) {
      const buttons = names.filter((name) => this.names.has(fold(name))).map((name) => this.usualButton(name));
      this.usual.replaceChildren("Listings of this role often require: ", ...buttons);
      this.showUsual();
    }

    /* Hides what is chosen already. The buttons stay, for one may be about to be clicked. */
    showUsual() {
      const chosen = this.chosenBesides(null);
      const buttons = [...this.usual.querySelectorAll("button")];
      buttons.forEach((button) => (button.hidden = chosen.has(fold(button.value))));
      this.usual.hidden = buttons.every(({ hidden }) => hidden);
    }

    usualButton(name) {
      const button = document.createElement("button");
      button.type = "button";
      button.value = name;
      button.textContent = name;
      button.setAttribute("aria-label", `Add ${name}`);
      button.addEventListener("click", () => {
        const row = [...this.all].find(({ field }) => !field.value) ?? this.add();
        row.choose(name);
      });
      return button;
    }

    async search(text) {
      try {
        const answer = await fetch(`${this.root.dataset.searchUrl}?${new URLSearchParams({ search: text })}`);
        return answer.ok ? new Set((await answer.json()).map(({ name }) => name)) : null;
      } catch {
        return null;
      }
    }

    changed() {
      this.root.dispatchEvent(new Event("change", { bubbles: true }));
      this.all.forEach((row) => row.check());
      this.showUsual();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.count(), COUNT_DELAY);
    }

    async count() {
      if (!this.root.dataset.countUrl) {
        return;
      }
      this.asked?.abort();
      this.asked = new AbortController();
      const role = this.role?.value;
      const query = new URLSearchParams(role && role !== this.suggestedFor ? { role } : {});
      for (const row of this.all) {
        if (row.field.value && row.level.value && !row.problem()) {
          query.append("skill_levels_name", row.field.value);
          query.append("skill_levels_level", row.level.value);
        }
      }
      try {
        const answer = await fetch(`${this.root.dataset.countUrl}?${query}`, { signal: this.asked.signal });
        const { text, usual } = answer.ok ? await answer.json() : { text: "" };
        this.status.textContent = text;
        if (answer.ok && role !== this.suggestedFor) {
          this.suggestedFor = role;
          this.suggest(usual);
        }
      } catch (error) {
        if (error.name !== "AbortError") {
          this.status.textContent = "";
        }
      }
    }
  }

  class SkillRow {
    constructor(picker, element) {
      this.picker = picker;
      picker.all.add(this);
      this.element = element;
      this.field = element.querySelector(".skill-name");
      this.level = element.querySelector(".skill-level");
      this.remove = element.querySelector(".skill-remove");
      this.message = element.querySelector(".skill-problem");
      this.refused = this.message && this.values();
      this.options = [];
      this.active = -1;
      this.search = null;
      this.isWaiting = false;
      this.makeCombobox();
      this.remove.hidden = false;
      this.remove.addEventListener("click", () => this.removeRow());
      this.level.addEventListener("change", () => this.picker.changed());
      this.nameButton();
    }

    makeCombobox() {
      const wrapper = document.createElement("div");
      wrapper.className = "skill-field";
      this.field.before(wrapper);
      wrapper.append(this.field);
      this.list = document.createElement("ul");
      this.list.id = `${this.field.id}_list`;
      this.list.setAttribute("role", "listbox");
      this.list.setAttribute("aria-label", "Skills");
      this.list.hidden = true;
      wrapper.append(this.list);
      this.field.removeAttribute("list");
      for (const [name, value] of Object.entries({
        role: "combobox",
        "aria-autocomplete": "list",
        "aria-controls": this.list.id,
        "aria-expanded": "false",
      })) {
        this.field.setAttribute(name, value);
      }
      this.field.addEventListener("input", () => this.open());
      this.field.addEventListener("click", () => this.open());
      this.field.addEventListener("keydown", (event) => this.pressed(event));
      this.field.addEventListener("blur", () => this.left());
      this.list.addEventListener("mousedown", (event) => this.clicked(event));
    }

    async open() {
      const search = this.picker.found(this.field.value, this.field);
      this.search = search;
      const skills = await search;
      if (this.search !== search) {
        return;
      }
      this.search = null;
      this.options = [];
      this.list.replaceChildren(
        ...this.picker.grouped(skills).map(([community, members]) => this.group(community, members)),
      );
      this.activate(-1);
      this.show(this.options.length > 0);
      if (this.values() !== this.refused) {
        this.tell(skills.length ? "" : this.problem());
      }
    }

    group(community, skills) {
      const heading = document.createElement("span");
      heading.className = "skill-group";
      heading.id = `${this.list.id}_${this.options.length}_group`;
      heading.setAttribute("role", "presentation");
      heading.textContent = community;
      const group = document.createElement("ul");
      group.setAttribute("role", "group");
      group.setAttribute("aria-labelledby", heading.id);
      group.append(heading, ...skills.map((skill) => this.option(skill, community)));
      return group;
    }

    option({ name, communities, foundBy = name }, community) {
      const option = document.createElement("li");
      option.id = `${this.list.id}_${this.options.length}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.dataset.name = name;
      const others = communities.filter((each) => each !== community);
      const note = foundBy === name ? others.length && `also ${others.join(", ")}` : foundBy;
      option.textContent = note ? `${name} (${note})` : name;
      this.options.push(option);
      return option;
    }

    show(shown) {
      this.list.hidden = !shown;
      this.field.setAttribute("aria-expanded", String(shown));
      if (!shown) {
        this.search = null;
        this.activate(-1);
      }
    }

    activate(index) {
      this.options[this.active]?.setAttribute("aria-selected", "false");
      this.active = index;
      const option = this.options[index];
      if (option) {
        option.setAttribute("aria-selected", "true");
        option.scrollIntoView({ block: "nearest" });
        this.field.setAttribute("aria-activedescendant", option.id);
      } else {
        this.field.removeAttribute("aria-activedescendant");
      }
    }

    pressed(event) {
      if (event.isComposing || event.keyCode === 229) {
        return; // the key belongs to the input method
      }
      const opened = !this.list.hidden;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        this.step(event.key === "ArrowDown" ? 1 : -1, opened);
      } else if (event.key === "Enter") {
        event.preventDefault();
        this.accept();
      } else if (event.key === "Escape") {
        if (opened) {
          event.preventDefault();
        }
        this.show(false);
      }
    }

    async step(direction, opened) {
      if (!opened) {
        await this.open();
      }
      const count = this.options.length;
      if (!count) {
        return;
      }
      const start = direction > 0 ? -1 : count;
      const from = this.active < 0 ? start : this.active;
      this.activate((from + direction + count) % count);
    }

    accept() {
      const name = this.options[this.active]?.dataset.name ?? this.picker.names.get(fold(this.field.value));
      if (name) {
        this.choose(name);
      } else if (this.search) {
        this.acceptWhenFound(this.search);
      } else if (!this.list.hidden && this.options.length === 1) {
        this.choose(this.options[0].dataset.name);
      }
    }

    async acceptWhenFound(search) {
      this.isWaiting = true;
      this.level.focus(); // what is typed next is the level
      const skills = await search;
      this.isWaiting = false;
      if (skills.length === 1) {
        this.field.value = skills[0].name;
      } else if (document.activeElement === this.level) {
        this.field.focus();
        this.open();
      }
      this.picker.changed();
    }

    clicked(event) {
      event.preventDefault();
      const option = event.target.closest('[role="option"]');
      if (option && event.button === 0) {
        this.choose(option.dataset.name);
      }
    }

    choose(name) {
      this.field.value = name;
      this.show(false);
      this.level.focus();
      this.picker.changed();
    }

    left() {
      this.show(false);
      this.field.value = this.picker.names.get(fold(this.field.value)) ?? this.field.value.trim();
      this.picker.changed();
    }

    values() {
      return `${this.level.value} ${this.field.value}`;
    }

    /* What the server says of a row holds until the row is changed. */
    check() {
      this.nameButton();
      if (this.values() !== this.refused) {
        this.tell(this.isWaiting || this.field === document.activeElement ? "" : this.problem());
      }
    }

    problem() {
      const name = this.field.value;
      if (name && !this.picker.names.has(fold(name))) {
        return `There is no skill “${name}”. Choose one from the list, or ask an administrator to add it.`;
      }
      return this.picker.chosenBesides(this.field).has(fold(name)) ? `${name} is listed already.` : "";
    }

    tell(problem) {
      if (problem === (this.message?.textContent ?? "")) {
        return;
      }
      this.message?.remove();
      this.message = null;
      for (const field of [this.field, this.level]) {
        field.removeAttribute("aria-describedby");
        field.removeAttribute("aria-invalid");
      }
      if (problem) {
        this.message = document.createElement("p");
        this.message.className = "skill-problem";
        this.message.setAttribute("role", "alert");
        this.message.id = `${this.field.id}_problem`;
        this.message.textContent = problem;
        this.element.append(this.message);
        this.field.setAttribute("aria-describedby", this.message.id);
        this.field.setAttribute("aria-invalid", "true");
      }
    }

    nameButton() {
      this.remove.setAttribute("aria-label", this.field.value ? `Remove ${this.field.value}` : "Remove the empty row");
    }

    removeRow() {
      const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
      this.discard();
      (next?.querySelector(".skill-name") ?? this.picker.root.querySelector(".skill-add")).focus();
      this.picker.changed();
    }

    discard() {
      this.picker.all.delete(this);
      this.element.remove();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".skill-picker").forEach((root) => new SkillPicker(root));
  });
})();
