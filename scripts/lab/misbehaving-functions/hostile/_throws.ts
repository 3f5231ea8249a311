/** Values that no well-meant handler would throw, by name, so that an event can order one. */

class Throwing {
  get name(): string {
    throw new Error('name cannot be read');
  }
  get message(): string {
    throw new Error('message cannot be read');
  }
  get stack(): string {
    throw new Error('stack cannot be read');
  }
  get cause(): unknown {
    throw new Error('cause cannot be read');
  }
}

const cyclic = (): Error => {
  const error = new Error('its cause is itself');
  return Object.assign(error, { cause: error });
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const endless = (): object => new Proxy({}, { getPrototypeOf: () => endless() });

export const THROWS: Readonly<Record<string, () => unknown>> = {
  'half a pair': () => new Error(`no template for ${'Zoë 🙂'.slice(0, 5)}`),
  'half a pair at the cut': () => new Error(`${'x'.repeat(499)}🙂`),
  'the other half': () => new Error('🙂'.slice(1)),
  'half a pair in the name': () => Object.assign(new Error('m'), { name: '\ud83d' }),
  'half a pair in the stack': () => Object.assign(new Error('m'), { stack: '\ud83d' }),
  'half a pair in the cause': () => new Error('m', { cause: new Error('\udc00') }),
  'half a pair, no error': () => '\ud83d',
  'NUL bytes': () => new Error('\0a\0'),
  'an enormous text': () => new Error('🙂'.repeat(5_000_000)),
  'getters that throw': () => new Throwing(),
  'texts that are none': () =>
    Object.assign(new Error('m'), { name: 7, message: { a: 1 }, stack: Symbol('s') }),
  'a cyclic cause': cyclic,
  null: () => null,
  undefined: () => undefined,
  'a symbol': () => Symbol('\ud83d'),
  'a bigint': () => 1n,
  'a function': () => () => 1,
  'no prototype': () => Object.create(null) as object,
  'toJSON that lies': () => ({ toJSON: () => undefined, toString: () => 7 }),
  'a proxy that throws': () =>
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('no');
        },
        getPrototypeOf: () => {
          throw new Error('no');
        },
      },
    ),
  'a revoked proxy': revoked,
  'prototypes without end': endless,
};
