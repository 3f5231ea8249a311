/**
 * `npm run names`: one name, one thing. No two files of src/ export a declaration of the same name,
 * and no two files, Lua scripts among them, have the same base name. Errors name a script by its
 * base name. Re-exports are no declarations.
 *
 * Prints each name with its files. The argument is the folder to look in, default `src`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

/** Files whose base name may stand twice, with the reason. */
const CONVENTIONS = [
  { pattern: /(^|\/)index\.ts$/, reason: 'the exports of a folder' },
  { pattern: /(^|\/)main\.ts$/, reason: 'the entry of a process or of a thread' },
  { pattern: /(^|\/)cli\/commands\/[^/]+\.ts$/, reason: 'a command is named as its feature is' },
];

/** Names that a file declares and exports, each once. */
function exportsOf(path) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
  const declared = new Set();
  const exported = new Set();
  for (const statement of source.statements) {
    const names = declaredBy(statement);
    for (const name of names) declared.add(name);
    const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
    if (modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword))
      for (const name of names) exported.add(name);
    // `export { a as b }` of the file's own `a`.
    if (ts.isExportDeclaration(statement) && !statement.moduleSpecifier)
      for (const { name, propertyName } of statement.exportClause?.elements ?? [])
        if (declared.has((propertyName ?? name).text)) exported.add(name.text);
  }
  return exported;
}

/** @returns {string[]} */
function declaredBy(statement) {
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.flatMap(({ name }) => namesIn(name));
  return statement.name && ts.isIdentifier(statement.name) ? [statement.name.text] : [];
}

/** The names of a variable, also of one that is taken apart. */
function namesIn(name) {
  return ts.isIdentifier(name)
    ? [name.text]
    : name.elements.flatMap((element) => (element.name ? namesIn(element.name) : []));
}

/** Things that stand twice, by name. */
function twice(things) {
  const places = new Map();
  for (const { name, path } of things) places.set(name, [...(places.get(name) ?? []), path]);
  return [...places].filter(([, paths]) => paths.length > 1);
}

const root = process.argv[2] ?? 'src';
const paths = readdirSync(root, { recursive: true })
  .map((path) => join(root, path).replaceAll('\\', '/'))
  .filter((path) => /\.(ts|tsx|lua)$/.test(path) && !path.endsWith('.d.ts'))
  .sort();
const names = paths
  .filter((path) => /\.tsx?$/.test(path))
  .flatMap((path) => [...exportsOf(path)].map((name) => ({ name, path })));
const files = paths
  .filter((path) => !CONVENTIONS.some(({ pattern }) => pattern.test(path)))
  .map((path) => ({ name: basename(path), path }));
const faults = [
  ...twice(names).map(([name, where]) => `${name} is declared in ${where.join(' and ')}`),
  ...twice(files).map(([name, where]) => `${name} is the name of ${where.join(' and ')}`),
];
for (const fault of faults) console.error(fault);
console.log(`names: ${faults.length} stand twice`);
process.exitCode = faults.length > 0 ? 1 : 0;
