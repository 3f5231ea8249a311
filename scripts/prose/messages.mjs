/**
 * Finds the texts within code: errors, help, log messages. Each string is judged, because a string
 * that has sentences is for people.
 */
import ts from 'typescript';
import { paragraphsOf } from './paragraphs.mjs';

/** Tables and examples of `--help` are indented. */
const CODE = /^ {2,}\S/;
const CODE_INDENT = 2;
// A comment before a template with code names its language: /* sh */.
const LANGUAGE = /\/\* [a-z]+ \*\/\s*$/;
/** Stands for a value within a text. */
const VALUE = 'value';

/** @returns {{ line: number, text: string }[]} paragraphs of the strings; a value is one word */
export function messageParagraphs(path, source) {
  const tree = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const paragraphs = [];
  const visit = (node) => {
    if (LANGUAGE.test(source.slice(node.pos, node.getStart(tree)))) return undefined;
    const text = textOf(node, visit);
    if (text === null) return ts.forEachChild(node, visit);
    const lines = text.split('\n').map((line) => (CODE.test(line) ? null : line));
    const first = tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1;
    paragraphs.push(...paragraphsOf(lines, { first, codeIndent: CODE_INDENT }));
    return undefined;
  };
  visit(tree);
  return paragraphs;
}

/**
 * Returns a string, a template or a sum with one of them as one text; null for all else. The values
 * within may have texts of their own: they go to `visit`.
 */
function textOf(node, visit) {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    for (const { expression } of node.templateSpans) visit(expression);
    return node.head.text + node.templateSpans.map(({ literal }) => VALUE + literal.text).join('');
  }
  if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.PlusToken)
    return null;
  const parts = [];
  for (const side of [node.left, node.right]) {
    const text = textOf(side, visit);
    if (text === null) visit(side);
    parts.push(text);
  }
  return parts.every((text) => text === null) ? null : parts.map((text) => text ?? VALUE).join('');
}
