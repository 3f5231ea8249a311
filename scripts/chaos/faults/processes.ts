/** Dispatchers that die, stop, come and go. */
import { FAULT_POINTS } from '../fault-points.ts';
import type { Fault } from '../fault.ts';

const KILLS = 3;

export const processFaults: readonly Fault[] = [
  {
    name: 'kill-point',
    about: 'kill -9 of a dispatcher at named points of a turn (11 points)',
    async inject({ seed, random, spawn, dispatchers, takeover, note }) {
      const [first] = dispatchers;
      for (let i = 0; i < KILLS; i++) {
        // Each point has its turn as the seeds go up.
        const point = FAULT_POINTS[(seed * KILLS + i) % FAULT_POINTS.length] as string;
        await note(`kill at: ${point}`);
        const victim = await spawn({ CHAOS_POINT: `${point}:${random.whole(1, 6)}` });
        // A dispatcher that never reaches the point (no retry came its way) is killed all the same.
        await Promise.race([victim.gone, new Promise((resolve) => setTimeout(resolve, 1500))]);
        await victim.kill();
        if (first?.alive) await takeover(victim);
      }
    },
  },
  {
    name: 'kill-random',
    about: 'kill -9 of both dispatchers at random moments, new ones under load',
    async inject({ random, dispatchers, spawn, pause, takeover, note }) {
      for (const victim of [...dispatchers]) {
        await pause(50, 400);
        await note('kill');
        await victim.kill();
        // Sometimes nobody is left for a while. Sometimes an heir is there at once.
        if (random.chance(0.5)) await takeover(victim);
        await spawn();
      }
    },
  },
  {
    name: 'freeze',
    about: 'SIGSTOP of a dispatcher beyond its lease, then SIGCONT: a zombie',
    async inject({ random, dispatchers, pause, takeover }) {
      for (let i = 0; i < 2; i++) {
        const victim = random.pick(dispatchers);
        await victim.suspend();
        await takeover(victim);
        await pause(0, 400);
        victim.thaw();
        await pause(100, 400);
      }
    },
  },
  {
    name: 'churn',
    about: 'dispatchers join and leave in order (SIGTERM) all the time',
    async inject({ random, dispatchers, spawn, pause }) {
      for (let i = 0; i < 3; i++) {
        await spawn();
        await pause(50, 300);
        const code = await random.pick(dispatchers).terminate();
        if (code !== 0) throw new Error(`a dispatcher ended its drain with status ${String(code)}`);
      }
    },
  },
  {
    name: 'clock',
    about: 'wall clocks of dispatchers that jump by up to an hour, either way',
    environment: (random) => ({
      CHAOS_CLOCK: Array.from(
        { length: 12 },
        (_, i) => `${i * 700}:${random.pick([-3_600_000, -60_000, 0, 60_000, 3_600_000])}`,
      ).join(),
    }),
    async inject({ dispatchers, spawn, pause, takeover }) {
      await pause(1000, 2000);
      const [victim] = dispatchers;
      await victim?.kill();
      if (victim) await takeover(victim);
      await spawn();
      await pause(500, 1000);
    },
  },
];
