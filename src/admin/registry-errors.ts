/** The registry's errors as the Confluent Schema Registry numbers them. */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import {
  DeletionError,
  describeFindings,
  IncompatibleSchemaError,
  RegistryFullError,
  RegistryInputError,
  SchemaReferencedError,
  UnknownSchemaError,
  UnknownSubjectError,
  UnknownVersionError,
} from '../registry/schema-errors.ts';
import { InvalidSchemaError } from '../registry/schema-tools.ts';

/** Error of a route, answered with its own status and code. */
export class ApiError extends Error {
  readonly status: number;
  readonly errorCode: number;
  constructor(status: number, errorCode: number, message: string) {
    super(message);
    this.status = status;
    this.errorCode = errorCode;
  }
}

/** Returns the answer to an error. Null: the error is a failure of the server itself. */
export function toApiError(error: unknown): ApiError | null {
  if (error instanceof ApiError) return error;
  if (error instanceof UnknownSubjectError)
    return new ApiError(404, 40401, `Subject '${error.subject}' not found.`);
  if (error instanceof UnknownVersionError)
    return new ApiError(404, 40402, `Version ${error.version} not found.`);
  if (error instanceof UnknownSchemaError) return new ApiError(404, 40403, 'Schema not found');
  if (error instanceof DeletionError) return deletion(error);
  if (error instanceof IncompatibleSchemaError) {
    const findings = describeFindings(error.findings).join('; ');
    return new ApiError(
      409,
      409,
      `Schema being registered is incompatible with an earlier schema for subject "${error.subject}", details: [${findings}, {oldSchemaVersion: ${error.against.at(-1) ?? 'none'}}, {compatibility: '${error.level}'}]; compatibility: ${error.level}`,
    );
  }
  if (error instanceof InvalidSchemaError)
    return new ApiError(422, 42201, `Invalid schema: ${error.message}`);
  if (error instanceof SchemaReferencedError)
    return new ApiError(422, 42206, `One or more references exist to the schema: ${error.message}`);
  if (error instanceof RegistryInputError) {
    const codes = { subject: 42208, version: 42202, level: 42203, references: 42201 } as const;
    return new ApiError(422, codes[error.what], error.message);
  }
  if (error instanceof RegistryFullError) return new ApiError(422, 42209, error.message);
  // Confluent's registry uses this code for its own store. The message names the record and the
  // cure.
  if (error instanceof CorruptDataError) return new ApiError(500, 50001, error.message);
  // Redis is away, or out of memory: the same request may succeed later.
  if (error instanceof MillraceError && error.retryable)
    return new ApiError(503, 50003, `the registry's store did not answer: ${error.message}`);
  return null;
}

function deletion({ subject, version, problem }: DeletionError): ApiError {
  if (version === null) {
    return problem === 'already'
      ? new ApiError(
          404,
          40404,
          `Subject '${subject}' was soft deleted. Set permanent=true to delete permanently`,
        )
      : new ApiError(
          404,
          40405,
          `Subject '${subject}' was not deleted first before being permanently deleted`,
        );
  }
  return problem === 'already'
    ? new ApiError(
        404,
        40406,
        `Subject '${subject}' Version ${version} was soft deleted. Set permanent=true to delete permanently`,
      )
    : new ApiError(
        404,
        40407,
        `Subject '${subject}' Version ${version} was not deleted first before being permanently deleted`,
      );
}
