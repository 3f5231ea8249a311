/**
 * Sends scripts: EVALSHA, and EVAL once where the server does not know the script. After NOSCRIPT
 * sending again is safe, because the script did not run.
 */
import { Command, type Redis } from 'ioredis';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { RedisArg, ScriptCall } from './contract.ts';
import { isMoved, isNoScript } from './replies.ts';
import { settledBy } from './retry.ts';

export type ReplyEncoding = 'utf8' | null;

/**
 * The choice of a Cluster's node for one command, as ioredis takes it. ioredis fills in `redis`
 * itself. Commands with the same choice go to the same node.
 */
export interface NodeChoice {
  slot: number | null;
  redis?: Redis;
}

/** The part of a connection that sends scripts. */
export interface Wire {
  readonly isCluster: boolean;
  /**
   * Writes a command.
   * @param label name of the command in errors
   */
  write(label: string, command: Command, choice?: NodeChoice): Promise<unknown>;
}

/** Form of EVALSHA and EVAL. A user may have the right to only one of the two. */
type Form = '' | '_RO';

export class ScriptSender {
  readonly #wire: Wire;
  /** Form in which scripts without writes are sent. `_RO` asks for no right to write their keys. */
  #reading: Form = '_RO';

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** @param untilMs by monotonicMs() */
  send(call: ScriptCall, encoding: ReplyEncoding, untilMs: number): Promise<unknown> {
    return call.readOnly
      ? this.#sendReadOnly(call, encoding, untilMs)
      : this.#sendAs('', call, encoding, untilMs);
  }

  async #sendReadOnly(
    call: ScriptCall,
    encoding: ReplyEncoding,
    untilMs: number,
  ): Promise<unknown> {
    const form = this.#reading;
    try {
      return await this.#sendAs(form, call, encoding, untilMs);
    } catch (error) {
      if (!(error instanceof RedisReplyError) || error.reply !== 'NOPERM') throw error;
      const other = form === '' ? '_RO' : '';
      const reply = await this.#sendAs(other, call, encoding, untilMs);
      this.#reading = other;
      return reply;
    }
  }

  #sendAs(
    form: Form,
    call: ScriptCall,
    encoding: ReplyEncoding,
    untilMs: number,
  ): Promise<unknown> {
    const evalSha = commandOf(`EVALSHA${form}`, call.sha, call, encoding);
    return settledBy(untilMs, call.name, this.#wire.write(call.name, evalSha)).catch(
      (error: unknown) => {
        if (!isNoScript(error)) throw error;
        const evalSource = commandOf(`EVAL${form}`, call.source, call, encoding);
        return settledBy(untilMs, call.name, this.#wire.write(call.name, evalSource));
      },
    );
  }

  /**
   * See RedisSender.scriptThen.
   * @param untilMs by monotonicMs()
   */
  async sendThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    encoding: ReplyEncoding,
    untilMs: number,
  ): Promise<[unknown, unknown]> {
    const pair = (script: Command): Promise<[unknown, unknown]> =>
      settledBy(untilMs, call.name, this.#writePair(call.name, script, follow, encoding));
    try {
      return await pair(commandOf('EVALSHA', call.sha, call, encoding));
    } catch (error) {
      if (!isNoScript(error)) {
        if (!isMoved(error)) throw error;
        // ioredis does not redirect a command with a chosen node. Any command by key makes ioredis
        // learn the new owner.
        const learn = new Command('EXISTS', [call.keys[0] ?? ''], { replyEncoding: 'utf8' });
        await this.#wire.write('EXISTS', learn);
      }
      return pair(commandOf('EVAL', call.source, call, encoding));
    }
  }

  async #writePair(
    label: string,
    script: Command,
    [name, ...args]: readonly [string, ...RedisArg[]],
    encoding: ReplyEncoding,
  ): Promise<[unknown, unknown]> {
    // WAIT has no key, so ioredis would send it to any node of a Cluster. The shared choice makes
    // it the script's node.
    const choice: NodeChoice | undefined = this.#wire.isCluster
      ? { slot: script.getSlot() }
      : undefined;
    const follow = new Command(name, args, { replyEncoding: encoding });
    const [first, second] = await Promise.allSettled([
      this.#wire.write(label, script, choice),
      this.#wire.write(name, follow, choice),
    ]);
    if (first.status === 'rejected') throw first.reason;
    if (second.status === 'rejected') throw second.reason;
    return [first.value, second.value];
  }
}

/**
 * Arguments without lists in them. A Command flattens its arguments; for those of a script that
 * costs more than the encoding of the command.
 */
class FlatArgs extends Array<RedisArg> {
  override flat(): never {
    return this as never;
  }
}

function commandOf(
  name: string,
  first: string,
  { keys, args }: ScriptCall,
  replyEncoding: ReplyEncoding,
): Command {
  const all = new FlatArgs();
  all.push(first, keys.length);
  for (const key of keys) all.push(key);
  for (const arg of args) all.push(arg);
  return new Command(name, all, { replyEncoding });
}
