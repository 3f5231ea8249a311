import { startRedis } from '../../scripts/lab/redis-server.ts';
import { contract } from './contract.ts';

contract('one server', startRedis);
