/** The network between everybody and Redis, through a proxy. */
import type { TcpProxy } from '../../lab/tcp-proxy.ts';
import type { Fault, FaultContext } from '../fault.ts';

const proxyOf = ({ proxy }: FaultContext): TcpProxy => {
  if (!proxy) throw new Error('this fault needs a proxy');
  return proxy;
};

export const networkFaults: readonly Fault[] = [
  {
    name: 'net-reset',
    about: 'all connections reset, sometimes refused for a while',
    needs: 'proxy',
    async inject(context) {
      const proxy = proxyOf(context);
      for (let i = 0; i < 6; i++) {
        const refuse = context.random.chance(0.4);
        proxy.refuse(refuse);
        await context.note('reset');
        proxy.cutNow();
        await context.pause(50, refuse ? 600 : 250);
        proxy.refuse(false);
      }
    },
  },
  {
    name: 'net-half-open',
    about: 'nothing is forwarded any more and nobody is told, beyond the leases',
    needs: 'proxy',
    async inject(context) {
      const proxy = proxyOf(context);
      await context.note('half-open');
      proxy.halfOpen(true);
      await context.pause(300, 2500);
      proxy.halfOpen(false);
      proxy.cutNow();
      await context.pause(100, 300);
    },
  },
  {
    name: 'net-lost-replies',
    about: 'commands are executed, their replies lost, the connection cut',
    needs: 'proxy',
    async inject(context) {
      const proxy = proxyOf(context);
      for (let i = 0; i < 6; i++) {
        await context.note('lost reply');
        await Promise.race([
          proxy.dropRepliesThenCut(context.random.whole(1, 6)),
          context.pause(2000, 2000),
        ]);
        await context.pause(50, 250);
      }
    },
  },
  {
    name: 'net-slow',
    about: 'up to 150 ms each way, changing all the time',
    needs: 'proxy',
    async inject(context) {
      const proxy = proxyOf(context);
      await context.note('slow');
      for (let i = 0; i < 6; i++) {
        proxy.delay(context.random.whole(0, 150));
        await context.pause(200, 500);
      }
      proxy.delay(0);
    },
  },
];
