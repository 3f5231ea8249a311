/** A payload as a tree of names and values. Masked and cut values say so in words of their own. */
import type { FC } from 'hono/jsx';
import type { Cut, Shown } from '../payload/shown-payload.ts';
import { count, size, text } from './page-figures.ts';

/** A value of one kind, with the way to the whole value of a cut. */
interface Of<Kind extends Shown['kind']> {
  value: Extract<Shown, { kind: Kind }>;
  whole: (cut: Cut) => string;
}

/** @param whole way to a page with the whole value of a cut */
export const Value: FC<{ value: Shown; whole: (cut: Cut) => string }> = ({ value, whole }) => {
  switch (value.kind) {
    case 'message':
      return <Message value={value} whole={whole} />;
    case 'list':
      return <List value={value} whole={whole} />;
    case 'map':
      return <Entries value={value} whole={whole} />;
    case 'text':
      return (
        <>
          <q>{text(value.text, Infinity)}</q>
          {value.invalid ? <em class="muted"> (not UTF-8)</em> : null}
          <CutLink cut={value.cut} whole={whole} />
        </>
      );
    case 'bytes':
      return (
        <>
          <code>{value.base64}</code> <span class="muted">{size(value.length)}</span>
          <CutLink cut={value.cut} whole={whole} />
        </>
      );
    case 'number':
    case 'time':
    case 'duration':
      return <code>{value.text}</code>;
    case 'bool':
      return <code>{String(value.value)}</code>;
    case 'enum':
      return <code>{value.name ?? String(value.number)}</code>;
    case 'null':
      return <span class="muted">not set</span>;
    case 'masked':
      return <em class="masked">{MASKS[value.why]}</em>;
    case 'left-out':
      return (
        <>
          <span class="muted">left out here</span>
          <CutLink cut={value.cut} whole={whole} />
        </>
      );
    case 'unreadable':
      return <em>{`unreadable: ${text(value.problem)}`}</em>;
  }
};

const Message: FC<Of<'message'>> = ({ value, whole }) => (
  <ul class="tree">
    {value.fields.map(({ name, value: inner }) => (
      <li>
        <span class="name">{text(name)}</span> <Value value={inner} whole={whole} />
      </li>
    ))}
    {value.more > 0 ? (
      <li class="muted">
        {`${count(value.more)} more fields`}
        <CutLink cut={value.cut} whole={whole} />
      </li>
    ) : null}
    {value.unknown > 0 ? (
      <li class="muted">{`${count(value.unknown)} values that the schema does not declare`}</li>
    ) : null}
  </ul>
);

const List: FC<Of<'list'>> = ({ value, whole }) => (
  <>
    <span class="muted">{`${count(value.size)} items`}</span>
    <ol class="tree" start={0}>
      {value.items.map((item) => (
        <li>
          <Value value={item} whole={whole} />
        </li>
      ))}
    </ol>
    <Rest shown={value.items.length} value={value} whole={whole} />
  </>
);

const Entries: FC<Of<'map'>> = ({ value, whole }) => (
  <>
    <span class="muted">{`${count(value.size)} entries`}</span>
    <ul class="tree">
      {value.entries.map(({ key, value: inner }) => (
        <li>
          <span class="name">
            <Value value={key} whole={whole} />
          </span>{' '}
          <Value value={inner} whole={whole} />
        </li>
      ))}
    </ul>
    <Rest shown={value.entries.length} value={value} whole={whole} />
  </>
);

const MASKS = {
  field: 'masked by the schema',
  schema: 'not shown: its schema is not known',
  access: 'not shown: your token sees no payloads',
} as const;

const CutLink: FC<{ cut: Cut | undefined; whole: (cut: Cut) => string }> = ({ cut, whole }) =>
  cut === undefined ? null : (
    <>
      {' '}
      <a href={whole(cut)}>{cut.bytes === null ? 'the whole' : `the whole, ${size(cut.bytes)}`}</a>
    </>
  );

const Rest: FC<Of<'list' | 'map'> & { shown: number }> = ({ shown, value, whole }) =>
  shown >= value.size ? null : (
    <p class="muted">
      {`${count(value.size - shown)} more`}
      <CutLink cut={value.cut} whole={whole} />
    </p>
  );
