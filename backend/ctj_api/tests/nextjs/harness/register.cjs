// Lets Node run TypeScript, and puts site.ts in the place of what only a Next.js server has.
"use strict";

const { readFileSync } = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const ts = require("typescript");

const ROOT = path.dirname(__dirname);
const SITE = path.join(__dirname, "site.ts");
const REPLACED = new Set(["next/headers", "server-only"]);
const OPTIONS = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.CommonJS,
  jsx: ts.JsxEmit.ReactJSX,
  esModuleInterop: true,
  inlineSourceMap: true,
};

const resolve = Module._resolveFilename;
Module._resolveFilename = (request, ...rest) => {
  const name = REPLACED.has(request) ? SITE : request.replace(/^@\//, `${ROOT}/`);
  return resolve.call(Module, name, ...rest);
};

for (const extension of [".ts", ".tsx"]) {
  Module._extensions[extension] = (module, filename) => {
    const source = readFileSync(filename, "utf8");
    module._compile(ts.transpileModule(source, { compilerOptions: OPTIONS, fileName: filename }).outputText, filename);
    if (/^(\/\/.*\n)*"use server";/.test(source)) {
      module.exports = require(SITE).asServerActions(module.exports);
    }
  };
}
