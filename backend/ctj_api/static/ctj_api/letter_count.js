/* Counts the letters of a description. Without this script the field is an ordinary one. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const field of document.querySelectorAll("textarea[maxlength]")) {
    const most = field.maxLength.toLocaleString("en");
    const told = document.createElement("div");
    told.className = "help letter-count";
    const count = () => (told.textContent = `${[...field.value].length.toLocaleString("en")} of at most ${most} letters`);
    (field.closest(".flex-container") ?? field).after(told);
    field.addEventListener("input", count);
    // After the script that brings back what was typed.
    field.form.addEventListener("restore", () => setTimeout(count));
    count();
  }
});
