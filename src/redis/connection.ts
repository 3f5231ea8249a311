/**
 * The connection to Redis, and (with script.ts) the only user of ioredis.
 *
 * What ioredis does by default is wrong for a log: it sends a command whose reply was lost a second time, silently. Here
 * a command is written to the socket at most once. It settles within a bounded time, whatever happens to the network:
 * with a reply, with RedisReplyError (Redis said no), or with UnknownOutcomeError (nobody knows). Sending again is up to
 * the caller, who knows what is idempotent: see withRetry.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Command, Redis, ReplyError, type RedisOptions } from 'ioredis';
import calculateSlot from 'cluster-key-slot';
import { ClosedError, ConfigError, MillraceError, RedisReplyError, UnknownOutcomeError } from '../core/errors.ts';
