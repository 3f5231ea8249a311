import { startRedis } from '../support/redis-server.ts';
import { contract } from './contract.ts';

contract('one server', startRedis);
