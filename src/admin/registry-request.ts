/** Requests of the registry API. Each parameter is heeded or refused, never ignored. */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { checkLevel } from '../registry/schema-errors.ts';
import { LEVELS, type Level } from '../registry/schema-tools.ts';
import { ApiError, toApiError } from './registry-errors.ts';

const MEDIA_TYPE = 'application/vnd.schemaregistry.v1+json';
export const TYPE = { 'content-type': MEDIA_TYPE };
const TAKEN = new Set([
  MEDIA_TYPE,
  'application/vnd.schemaregistry+json',
  'application/json',
  'application/octet-stream',
]);
/** Wildcards of `Accept` that the answer's media type matches. */
const ANY = new Set(['*/*', 'application/*']);

const FLAGS = [
  'deleted',
  'deletedOnly',
  'permanent',
  'normalize',
  'verbose',
  'defaultToGlobal',
  'latestOnly',
  'fetchMaxId',
  'lookupDeletedSchema',
  'force',
  'aliases',
  'findTags',
  'deletedAsNegative',
];
/** Flags that would change an answer, and are not supported. */
const UNSUPPORTED_FLAGS = ['aliases', 'findTags', 'deletedAsNegative'];
const UNSUPPORTED = ['format', 'referenceFormat', 'ruleType', 'resourceType', 'associationType'];

/**
 * Checks the media types and the query parameters of a request, which are the same for all routes.
 * @throws ApiError
 */
export function checkRequest(c: Context): void {
  const type = mediaType(c.req.header('content-type') ?? '');
  const hasBody = ['POST', 'PUT'].includes(c.req.method);
  if (hasBody && type !== '' && !TAKEN.has(type))
    throw new ApiError(
      415,
      415,
      `HTTP 415 Unsupported Media Type: ${type.slice(0, 100)}; send ${MEDIA_TYPE}`,
    );
  const accepted = (c.req.header('accept') ?? '*/*').split(',').map(mediaType);
  const textual = c.req.path.replace(/\/$/, '').endsWith('/schema');
  if (
    !accepted.some(
      (one) => ANY.has(one) || TAKEN.has(one) || one === '' || (textual && one.startsWith('text/')),
    )
  ) {
    throw new ApiError(406, 406, `HTTP 406 Not Acceptable: the answer is ${MEDIA_TYPE}`);
  }
  for (const name of FLAGS) {
    const value = c.req.query(name);
    if (value !== undefined && !/^(true|false)?$/i.test(value))
      throw unprocessable(
        `the parameter ${name} must be true or false, not '${value.slice(0, 50)}'`,
      );
  }
  for (const name of UNSUPPORTED_FLAGS)
    if (flag(c, name))
      throw unprocessable(`the parameter ${name} is not supported by this registry`);
  for (const name of UNSUPPORTED) {
    const value = c.req.query(name);
    if (value)
      throw unprocessable(
        `${name}=${value.slice(0, 50)} is not supported by this registry; schemas are given as text`,
      );
  }
  const subject = c.req.query('subject');
  for (const one of [subject, c.req.param('subject')]) if (one !== undefined) withoutContext(one);
}

function mediaType(value: string): string {
  return (value.split(';')[0] as string).trim().toLowerCase();
}

export function flag(c: Context, name: string): boolean {
  return c.req.query(name)?.toLowerCase() === 'true';
}

export type Handler = (c: Context) => Promise<Response> | Response;

/**
 * Wraps a handler: errors of the registry become answers of the API. Other errors go on to the
 * server.
 */
export function answering(handler: Handler): Handler {
  return async (c) => {
    try {
      checkRequest(c);
      return await handler(c);
    } catch (error) {
      const answer = toApiError(error);
      if (!answer) throw error;
      return c.json(
        { error_code: answer.errorCode, message: answer.message },
        answer.status as ContentfulStatusCode,
        TYPE,
      );
    }
  };
}

export function json(c: Context, body: unknown): Response {
  return c.json(body as object, 200, TYPE);
}

/**
 * Returns the subject of the path, without the default context.
 * @throws ApiError for another context
 */
export function subjectInPath(c: Context): string {
  return withoutContext(c.req.param('subject') ?? '');
}

/**
 * Returns the page of a list that `offset` and `limit` ask for. A limit of -1 is no limit.
 * @throws ApiError
 */
export function pageOf<T>(c: Context, list: readonly T[]): readonly T[] {
  const number = (name: string, otherwise: number): number => {
    const text = c.req.query(name) ?? '';
    if (text === '') return otherwise;
    if (!/^-?\d{1,10}$/.test(text))
      throw unprocessable(`the parameter ${name} is a whole number, not '${text.slice(0, 50)}'`);
    return Number(text);
  };
  const offset = Math.max(0, number('offset', 0));
  const limit = number('limit', -1);
  return list.slice(offset, limit > 0 ? offset + limit : undefined);
}

/**
 * Returns a subject without the default context: `:.:name` is `name`.
 * @throws ApiError for another context
 */
export function withoutContext(subject: string): string {
  const match = /^:([^:]*):(.*)$/s.exec(subject);
  if (!match) return subject;
  if (match[1] === '.' || match[1] === '') return match[2] as string;
  throw new ApiError(
    422,
    42208,
    `The specified subject '${subject.slice(0, 100)}' is in a context that this registry does not have; it has the default context '.' only`,
  );
}

/**
 * Returns `subjectPrefix`. All contexts (`:*:`, Confluent's default) are the default context.
 * @throws ApiError
 */
export function subjectPrefix(c: Context): string {
  return withoutContext((c.req.query('subjectPrefix') ?? '').replace(/^:\*:/, ''));
}

/** Returns the versions to answer with: all, or with `deletedOnly` the softly deleted ones. */
export function choose<T extends { readonly deleted: boolean }>(
  c: Context,
  versions: readonly T[],
): readonly T[] {
  return flag(c, 'deletedOnly') ? versions.filter((one) => one.deleted) : versions;
}

/**
 * Reads the body as an object with these fields.
 * @throws ApiError for a body that is no JSON object, has other fields, or sets an unsupported
 *   field
 */
export async function bodyOf(
  c: Context,
  fields: readonly string[],
  unsupported: readonly string[],
): Promise<Record<string, unknown>> {
  let body: unknown;
  try {
    body = JSON.parse(await c.req.text());
  } catch {
    throw new ApiError(400, 400, 'the body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ApiError(400, 400, 'the body is not a JSON object');
  for (const [name, value] of Object.entries(body)) {
    if (unsupported.includes(name)) {
      if (!isUnset(value)) throw unprocessable(`${name} is not supported by this registry`);
    } else if (!fields.includes(name))
      throw new ApiError(422, 422, `Unrecognized field: ${name.slice(0, 100)}`);
  }
  return body as Record<string, unknown>;
}

/** Whether a field has one of the values that clients send for an option without a value. */
function isUnset(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === false ||
    ['{}', '[]', '""'].includes(JSON.stringify(value))
  );
}

const CONFIG_UNSUPPORTED = [
  'alias',
  'compatibilityGroup',
  'compatibilityPolicy',
  'defaultMetadata',
  'overrideMetadata',
  'defaultRuleSet',
  'overrideRuleSet',
];

/**
 * Reads the level of a configuration, in upper or lower case.
 * @throws ApiError, RegistryInputError
 */
export async function levelInBody(c: Context): Promise<Level> {
  const { compatibility, normalize, validateFields, validateNames, validateRules } = await bodyOf(
    c,
    ['compatibility', 'normalize', 'validateFields', 'validateNames', 'validateRules'],
    CONFIG_UNSUPPORTED,
  );
  // Schemas are always compared in their normal form. This cannot be turned on or off.
  if (normalize !== undefined && normalize !== null && typeof normalize !== 'boolean')
    throw unprocessable('normalize must be true or false');
  if (!isUnset(validateFields) || !isUnset(validateNames) || !isUnset(validateRules))
    throw unprocessable(
      'validateFields, validateNames and validateRules are not supported by this registry',
    );
  const upper = typeof compatibility === 'string' ? compatibility.toUpperCase() : compatibility;
  return LEVELS.find((level) => level === upper) ?? checkLevel(compatibility ?? null);
}

export function unprocessable(message: string): ApiError {
  return new ApiError(422, 42201, message);
}
