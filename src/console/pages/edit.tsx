/** Edits the data of a dead event: the new data as JSON, then the difference, then the change. */
import { getDeadLetter, type DeadLetter } from '../../pipeline/dead/dead-letters.ts';
import type { LetterEditPlan } from '../../mend/edit-letter.ts';
import { PayloadCodecs } from '../../mend/payload-codecs.ts';
import { readEvent } from '../../wire/batch-reader.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { ChangeForm, Command, Empty } from '../parts.tsx';
import { shellWord, text } from '../page-figures.ts';
import { mayChange, refusalFor } from '../granted.ts';
import { Changes } from './rehearsal.tsx';

interface Edit {
  readonly letter: DeadLetter;
  /** JSON in the field. */
  readonly data: string;
  /** Null: nothing was checked yet. */
  readonly plan: LetterEditPlan | null;
  /** Why the data does not fit. Null: it fits, or was not checked yet. */
  readonly problem: string | null;
}

/** @throws DeadLetterIdError, DeadLetterNotFoundError */
export async function editFormPage(context: PageContext): Promise<PageContent> {
  const letter = await getDeadLetter(context.deployment, context.c.req.query('id') ?? '');
  if (letter.kind !== 'event' || context.access !== 'full')
    return {
      title: 'Edit a dead event',
      at: 'console/dead',
      content: (
        <Empty>
          {letter.kind === 'event'
            ? 'An edit shows the whole data, and your token may not see it.'
            : 'This letter holds no event.'}
        </Empty>
      ),
    };
  const codecs = new PayloadCodecs(context.deployment);
  const header = readEvent(letter.bytes, letter.batchSource);
  const shown = await codecs.show(letter.type, letter.bytes, header);
  const data = shown.kind === 'data' ? JSON.stringify(shown.data, null, 2) : '{}';
  return editPage(context, { letter, data, plan: null, problem: null });
}

export function editPage(context: PageContext, { letter, data, plan, problem }: Edit): PageContent {
  return {
    title: 'Edit a dead event',
    at: 'console/dead',
    content: (
      <>
        <p>
          {`Event ${text(letter.eventId)} of ${text(letter.subject)}, type ${text(letter.type)}. The original bytes are kept in the letter.`}
        </p>
        <form method="post" action={`${context.root}console/letter/check`}>
          <input type="hidden" name="id" value={letter.id} />
          <label>
            Data, as JSON
            <textarea name="data" rows={16} spellcheck={false}>
              {data}
            </textarea>
          </label>
          <button type="submit" class="primary">
            Check
          </button>
        </form>
        {problem === null ? null : (
          <div class="notice bad" role="alert">
            <p>Nothing was changed. The data does not fit:</p>
            <p>{text(problem, 2000)}</p>
          </div>
        )}
        {plan === null ? null : (
          <>
            {plan.differences === null ? (
              <Empty>The data before cannot be read, so there is no difference to show.</Empty>
            ) : (
              <Changes caption="Difference" differences={plan.differences} />
            )}
            <ChangeForm
              title="Write this data into the letter"
              action={`${context.root}console/letter/edit`}
              allowed={mayChange(context, 'operate')}
              refusal={refusalFor(context, 'operate')}
              command={`millrace dlq edit ${shellWord(letter.id)} --data ${shellWord(JSON.stringify(plan.after))}`}
              hidden={{ id: letter.id, data }}
            >
              <p>The letter is replaced by one with the new data. Nothing runs yet.</p>
            </ChangeForm>
          </>
        )}
        <Command line={`millrace dlq show ${shellWord(letter.id)} --payload`} />
      </>
    ),
  };
}
