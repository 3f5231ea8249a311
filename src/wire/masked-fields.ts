/**
 * The option (millrace.v1.masked) of a field: its value, and everything below it, is confidential.
 * An option that would not take effect is a problem, because a reader would take the data for
 * masked.
 */
import protobuf from 'protobufjs';

const NAMES = ['(millrace.v1.masked)', '(.millrace.v1.masked)'] as const;

/** Whether the field is masked. Any value but `false` masks, so that a fault hides too much. */
export function isMasked(field: protobuf.ReflectionObject): boolean {
  return valuesOf(field).some((value) => value !== false);
}

/** Returns the problems of all masks below a namespace. */
export function maskProblems(space: protobuf.NamespaceBase): string[] {
  const problems: string[] = [];
  const misplaced = (object: protobuf.ReflectionObject, kind: string): void => {
    if (valuesOf(object).length === 0) return;
    const name = object.fullName === '' ? '' : ` ${object.fullName.slice(1)}`;
    problems.push(
      `${object.filename ?? '?'}: ${kind}${name} has the option (millrace.v1.masked), which is for fields: give it to each field behind its number`,
    );
  };
  const walk = (at: protobuf.NamespaceBase): void => {
    misplaced(at, at instanceof protobuf.Type ? 'message' : 'the package');
    if (at instanceof protobuf.Type) {
      for (const oneof of at.oneofsArray) misplaced(oneof, 'oneof');
      for (const field of at.fieldsArray) {
        const [value] = valuesOf(field).filter((one) => typeof one !== 'boolean');
        if (value !== undefined)
          problems.push(
            `${at.filename ?? '?'}: field ${field.name} of ${at.fullName.slice(1)}: its option (millrace.v1.masked) must be true or false, it is ${JSON.stringify(value)}`,
          );
      }
    }
    for (const nested of at.nestedArray) {
      if (nested instanceof protobuf.Namespace) walk(nested);
      else if (nested instanceof protobuf.Enum) misplaced(nested, 'enum');
    }
  };
  walk(space);
  return problems;
}

function valuesOf({ options }: protobuf.ReflectionObject): unknown[] {
  return NAMES.flatMap((name) =>
    options && Object.hasOwn(options, name) ? [options[name] as unknown] : [],
  );
}
