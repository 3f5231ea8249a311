/** The two rules on sentences that a machine can judge. */

const MAX_WORDS = 25;
/** Texts of errors begin with a small letter. A lone word is a name, not a text. */
const CLAUSE = new RegExp(
  '^((What|Who|Whoever|Whatever|Whose|Of|How|Those that|That which)\\b|' +
    '(what|who|whoever|whatever|whose|how|those that|that which)\\s)',
);
/** A full stop in one of these ends no sentence. */
const ABBREVIATION = /\b(e\.g|i\.e|etc|vs|cf|No)\.$/;

/** @returns {string[]} the faults of a paragraph, sentence by sentence */
export function faultsOf(paragraph) {
  return sentencesOf(paragraph).flatMap((sentence) => {
    const count = sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
    const asks = /\?["')\]_*]*$/.test(sentence);
    const clause = CLAUSE.test(sentence.replace(/^["'(_*[]+/, '')) && !asks;
    return [
      ...(count > MAX_WORDS ? [`${count} words: ${sentence}`] : []),
      ...(clause ? [`begins with a clause: ${sentence}`] : []),
    ];
  });
}

/**
 * A code span, a link's address and a path are one word. A tag, and a parameter's name, are none.
 */
function sentencesOf(paragraph) {
  const plain = paragraph
    .replace(
      /^@(param|returns?|throws|typeParam|see|default)\b\s*(\{[^}]*\}\s*)?(\S+ )?/,
      (tag, name, type, word) => (name === 'param' ? '' : (word ?? '')),
    )
    .replace(/(`+)(?!`).*?(?<!`)\1(?!`)/g, 'CODE')
    .replace(/\]\([^)]*\)/g, ']')
    .replace(/https?:\S+/g, 'LINK')
    .replace(/\*\*|__/g, '');
  const sentences = [];
  let from = 0;
  for (const end of plain.matchAll(/[.!?]["')\]_*]*(?=\s|$)/g)) {
    const sentence = plain.slice(from, end.index + end[0].length);
    if (ABBREVIATION.test(sentence)) continue;
    sentences.push(sentence.trim());
    from = end.index + end[0].length;
  }
  const rest = plain.slice(from).trim();
  return rest === '' ? sentences : [...sentences, rest];
}
