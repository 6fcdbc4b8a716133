// Runs a WASI preview 1 program in node: `node node_wasi.mjs [--dir FOLDER]... PROGRAM [ARGS...]`.
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const rest = process.argv.slice(2);
const preopens = {};
while (rest[0] === "--dir") {
  const [, folder] = rest.splice(0, 2);
  preopens[folder] = folder;
}
const wasi = new WASI({ version: "preview1", args: rest, env: {}, preopens, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(rest[0]));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
